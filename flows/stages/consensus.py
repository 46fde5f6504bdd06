"""Stage `consensus`: the votes of all samplers on what no program can check are counted.

An answer that agrees with the elected one is accepted, another is rejected as outvoted; where
nothing is elected all of them are quarantined. The prompts are written once more with their votes,
which stay with every published row.
"""

from collections.abc import Iterator, Sequence

from filters.consensus_check import describe_votes
from filters.votes import Election, hold_election
from flows.history import list_earlier
from flows.run_watch import watch_stages
from flows.stages.answer import PUT_TO_VOTE
from flows.stages.family import answer_stages, evolve_stages, read_family, read_stage
from flows.store import FileEntry
from flows.work import Context, Job, Tick
from generators.consensus import ConsensusSettings
from generators.records import Answer, ConsensusCheck, Prompt, Verdict

CONSENSUS = "consensus"
VERSION = "1"


class ConsensusStage:
    """One verdict for each answer that was let on to a vote."""

    name = CONSENSUS

    def __init__(self, settings: ConsensusSettings) -> None:
        self.settings = settings

    def plan(self, context: Context) -> list[Job]:
        before = [*evolve_stages(context), "check", *answer_stages(context)]
        suspects = watch_stages(context, answer_stages(context)).suspects
        settings = [self.settings.model_dump(), VERSION, *([sorted(suspects)] if suspects else [])]
        key = context.key(self.name, settings, before)
        kinds = ("prompts", "verdicts")
        outputs = tuple(f"{context.folder}/{kind}-consensus.parquet" for kind in kinds)
        rows = sum(map(len, read_ballots(context).values()))
        return [Job(stage=self.name, outputs=outputs, rows=rows, key=key)]

    def work(self, context: Context, job: Job, tick: Tick) -> list[FileEntry]:
        prompts, ballots = read_family(context).prompts, read_ballots(context)
        let_on = read_let_on(context)
        decided: list[Prompt] = []
        verdicts: list[Verdict] = []
        for id, answers in ballots.items():
            election = count_votes(prompts[id], answers, let_on, self.settings.min_votes)
            decided.append(close_vote(prompts[id], election))
            verdicts += judge_ballot(answers, let_on, election, self.settings)
            tick(len(answers))
        return [
            context.write_records(job, job.outputs[0], Prompt, decided),
            context.write_records(job, job.outputs[1], Verdict, verdicts),
        ]


def read_ballots(context: Context) -> dict[str, list[Answer]]:
    """All answers to each prompt that is put to the vote, by prompt and id; those of a teacher that
    had turned bad have no say."""
    voted = {
        id
        for id, prompt in read_family(context).prompts.items()
        if isinstance(prompt.check, ConsensusCheck)
    }
    ballots: dict[str, list[Answer]] = {}
    suspects = watch_stages(context, answer_stages(context)).suspects
    for stage in answer_stages(context):
        for answer in read_stage(context, stage, "answers-", Answer):
            if answer.prompt_id in voted and answer.id not in suspects:
                ballots.setdefault(answer.prompt_id, []).append(answer)
    return {id: sorted(ballots[id], key=lambda answer: answer.id) for id in sorted(ballots)}


def read_let_on(context: Context) -> set[str]:
    """The answers whose form lets them vote."""
    verdicts = [
        v
        for stage in answer_stages(context)
        for v in read_stage(context, stage, "verdicts-", Verdict)
    ]
    return {verdict.subject_id for verdict in verdicts if verdict.reason == PUT_TO_VOTE}


def count_votes(
    prompt: Prompt, answers: Sequence[Answer], let_on: set[str], min_votes: int
) -> Election:
    """Hold the election on one prompt; answers of broken form abstain."""
    ballot = [answer.completion if answer.id in let_on else None for answer in answers]
    return hold_election(ballot, threshold=vote_on(prompt).threshold, min_votes=min_votes)


def close_vote(prompt: Prompt, election: Election) -> Prompt:
    """The prompt with its votes; its id stays, for it is the same task."""
    check = vote_on(prompt).model_copy(update={"votes": election.votes, "n": election.n})
    return prompt.model_copy(update={"check": check})


def judge_ballot(
    answers: Sequence[Answer], let_on: set[str], election: Election, settings: ConsensusSettings
) -> Iterator[Verdict]:
    """One verdict for each answer that was let on; the others have theirs already."""
    told = describe_votes(election.votes, election.n)
    for answer, choice in zip(answers, election.choices, strict=True):
        if answer.id not in let_on:
            continue
        decision, reason = "quarantine", "no_consensus"
        if election.n < settings.min_votes:
            reason = "too_few_votes"
        elif choice is None:
            reason = "abstained"
        elif election.elected is not None:
            elected = choice == election.elected
            decision, reason = ("accept", "elected") if elected else ("reject", "outvoted")
        yield Verdict(
            subject_id=answer.id,
            stage=CONSENSUS,
            detector=CONSENSUS,
            version=VERSION,
            decision=decision,
            reason=reason,
            evidence=told,
            score=election.share,
        )


def read_decided(context: Context) -> dict[str, Prompt]:
    """The prompts that were voted on, with their votes, by id."""
    return {p.id: p for p in read_stage(context, CONSENSUS, "prompts-", Prompt)}


def read_every_decided(context: Context) -> dict[str, Prompt]:
    """Those of this cycle and of all before it."""
    every = [*list_earlier(context), context]
    return {id: prompt for one in every for id, prompt in read_decided(one).items()}


def vote_on(prompt: Prompt) -> ConsensusCheck:
    """The vote that a prompt was put to."""
    assert isinstance(prompt.check, ConsensusCheck)
    return prompt.check


def share_of_votes(prompt: Prompt) -> float:
    """How much of the vote on a prompt its most frequent answer had."""
    vote = vote_on(prompt)
    return max(vote.votes.values(), default=0) / vote.n
