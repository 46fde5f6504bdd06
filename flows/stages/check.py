"""Stage `check`: which prompts can be verified at all. What nothing can verify, and what has a
check that is not fit to judge (`filters.check_trial`), is quarantined here, before its answers
are sampled (of a child the first one is drawn already, to judge it by)."""

from filters.check_trial import VERSION, try_check
from filters.sandbox import find_obstacle
from filters.verify import VERIFIERS, VERSIONS
from flows.stages.family import Family, evolve_stages, read_family, read_stage
from flows.store import FileEntry
from flows.work import Context, Job, Tick
from generators.records import CodeCheck, JudgeCheck, Prompt, Verdict

CHECKING = (*VERSIONS, VERSION)
"""What decides which checks are fit to judge."""


class CheckStage:
    """Every survivor of evolution is let on to be answered, or quarantined with the reason."""

    name = "check"

    def plan(self, context: Context) -> list[Job]:
        prompts = read_family(context).survivors()
        has_code = any(isinstance(prompt.check, CodeCheck) for prompt in prompts)
        obstacle = find_obstacle() if has_code else None  # once it is gone, checks are tried anew
        checking = (*CHECKING, obstacle) if obstacle else CHECKING
        if context.config.judge is not None:
            checking = (*checking, "judge")
        key = context.key(self.name, checking, evolve_stages(context))
        output = f"{context.folder}/verdicts-check.parquet"
        return [Job(stage=self.name, outputs=(output,), rows=len(prompts), key=key)]

    def work(self, context: Context, job: Job, tick: Tick) -> list[FileEntry]:
        has_judge = context.config.judge is not None
        survivors = read_family(context).survivors()
        verdicts = [judge_check(prompt, has_judge=has_judge) for prompt in survivors]
        tick(job.rows)
        return [context.write_records(job, job.outputs[0], Verdict, verdicts)]


def judge_check(prompt: Prompt, *, has_judge: bool = False) -> Verdict:
    """Accept a prompt whose check has a verifier here and passes its trial, or is left to a model
    that is put on trial itself."""
    reason, evidence = "verifiable", None
    if prompt.check is None:
        reason, evidence = "no_check", "nothing says what a right answer is"
    elif isinstance(prompt.check, JudgeCheck):
        if not has_judge:
            reason = "no_verifier"
            evidence = "checks of kind judge need a model that judges: add a judge section"
    elif prompt.check.kind not in VERIFIERS:
        reason, evidence = "no_verifier", f"checks of kind {prompt.check.kind} cannot be run here"
    elif objection := try_check(prompt.check):
        reason, evidence = objection
    return Verdict(
        subject_id=prompt.id,
        stage="check",
        detector="check",
        version="1",
        decision="accept" if reason == "verifiable" else "quarantine",
        reason=reason,
        evidence=evidence,
    )


def check_stage_prompts(context: Context, family: Family) -> list[Prompt]:
    """The prompts that this stage let on, by round and id."""
    verdicts = read_stage(context, "check", "verdicts-check", Verdict)
    accepted = {verdict.subject_id for verdict in verdicts if verdict.decision == "accept"}
    return [prompt for prompt in family.survivors() if prompt.id in accepted]
