"""The part of `Facts` that tells of the student: how it was trained, and what it learned."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from flows.facts_learning import (
    Arm,
    EvaluationFacts,
    Look,
    LossPoint,
    PassAtK,
    RandomFacts,
    TaskScore,
    TrainingFacts,
)
from flows.intervals import Interval, compare_paired
from flows.stages.evaluate import RANDOM, TEACHER, ArmResult, list_arms
from flows.stages.random_rows import RANDOM_STUDENT, TRAIN_RANDOM, read_drawn, read_result
from flows.stages.teacher_signal import gather_signal
from flows.stages.train import METRICS, STUDENT
from flows.wording_training import describe_making, describe_part
from flows.work import LearningContext, model_id
from trainers.evaluate import PassScore, wilson_interval
from trainers.precision import find_precision
from trainers.settings import TrainResult

T = TypeVar("T")
ARMS = {
    "before": ("before", "zero-shot"),
    "few-shot": ("before", "few-shot"),
    TEACHER: ("teacher", "zero-shot"),
    "after": ("after", "zero-shot"),
    RANDOM: ("random", "zero-shot"),
    "zero-shot": ("alone", "zero-shot"),
}


def gather_training(context: LearningContext) -> TrainingFacts | None:
    """How the student was trained; None when it has not been."""
    settings = context.config.train
    if settings is None or not context.run.files("train"):
        return None
    place = context.run.place
    result = TrainResult.model_validate_json(place(f"{STUDENT}/result.json").read_bytes())
    lines = [json.loads(line) for line in place(METRICS).read_text().splitlines()]
    losses = [LossPoint(step=e["step"], loss=e["loss"]) for e in lines if "loss" in e]
    parts = settings.split()
    models = context.config.models
    followed = settings.teachers if settings.follows_teacher else ()
    return TrainingFacts(
        objective=", then ".join(part.objective for part in parts),
        told=tuple(map(describe_part, parts)),
        teacher=", ".join(model_id(models[name]) for name in followed) or None,
        signal=gather_signal(context),
        looks=tuple(_gather_looks(lines)),
        best_step=result.best_step,
        base_model=settings.untaught.model,
        made=describe_making(settings.untaught),
        path=STUDENT,
        steps=result.steps,
        rows=result.rows,
        skipped=sum(result.skipped.values()),
        skip_reasons=result.skipped,
        seconds=result.seconds,
        batch_sizes=_tell_once([p.batch_size * p.accumulation * p.processes for p in parts]),
        learning_rates=_tell_once([part.learning_rate for part in parts]),
        precision=find_precision(settings.precision),
        losses=tuple(losses),
    )


def _tell_once(values: Sequence[T]) -> tuple[T, ...]:
    return tuple(values[:1] if len(set(values)) == 1 else values)


def _gather_looks(lines: Sequence[dict[str, Any]]) -> Iterator[Look]:
    """The first and the last measurement of each phase."""
    looks = [line for line in lines if "evaluation" in line]
    for phase in dict.fromkeys(line.get("phase", 1) for line in looks):
        own = [line for line in looks if line.get("phase", 1) == phase]
        for line in own[:1] + own[1:][-1:]:
            told = line["evaluation"].items()
            figures = {n: v[0] if isinstance(v, list) else v for n, v in told if v is not None}
            yield Look(step=line["step"], phase=phase, figures=figures)


def gather_evaluation(context: LearningContext) -> EvaluationFacts | None:
    """What each arm scored; None when nothing was evaluated."""
    settings = context.config.evaluate
    if settings is None:
        return None
    files = [f for arm in list_arms(context.config) for f in context.run.files(f"evaluate-{arm}")]
    if not files:
        return None
    results = [ArmResult.model_validate_json(file.read_bytes()) for file in files]
    held_out = (
        f"{results[0].pass_1.prompts} prompts of {', '.join(settings.held_out)}, whose operands "
        "never occur in training"
    )
    return EvaluationFacts(
        held_out=held_out,
        arms=tuple(map(describe_arm, results)),
        random=_gather_random(context, results) if context.run.files(TRAIN_RANDOM) else None,
    )


def _gather_random(context: Any, results: Sequence[ArmResult]) -> RandomFacts | None:
    """The student beside it; None where there is none, or one of the two is not evaluated."""
    drawn, files = read_drawn(context), context.run.files(f"evaluate-{RANDOM}")
    after = next((result.pass_1 for result in results if result.arm == "after"), None)
    if drawn is None or after is None or not files:
        return None
    (beside,) = (ArmResult.model_validate_json(file.read_bytes()) for file in files)
    pairs = [(bool(n), bool(beside.pass_1.correct[id])) for id, n in after.correct.items()]
    return RandomFacts(
        arm=describe_arm(beside),
        gain=compare_paired(pairs),
        looked_at=drawn.looked_at,
        selected_rows=drawn.selected_rows,
        selected_tokens=drawn.selected_tokens,
        rows=len(drawn.rows),
        tokens=drawn.tokens,
        shared=drawn.shared,
        steps=read_result(context, RANDOM_STUDENT).steps,
    )


def describe_arm(result: ArmResult) -> Arm:
    """One arm's figures as the report shows them."""
    when, prompting = ARMS[result.arm]
    text = result.text
    return Arm.model_validate(
        {
            "when": when,
            "prompting": prompting,
            "model": result.model,
            "prompts": result.pass_1.prompts,
            "pass_at_1": Interval.of(result.pass_1.pass_at[1]),
            "pass_at_k": _describe_pass_k(result.pass_k),
            "by_task": [
                TaskScore(task=task, prompts=n, score=Interval.of(wilson_interval(right, n)))
                for task, (n, right) in result.by_task.items()
            ],
            "truncated": result.pass_1.truncated,
            "mean_tokens": result.pass_1.mean_tokens,
            "perplexity": text.perplexity if text else None,
            "kl_to_teacher": text.kl if text else None,
            "top1_agreement": text.agreement if text else None,
        }
    )


def _describe_pass_k(score: PassScore | None) -> PassAtK | None:
    if score is None:
        return None
    k = max(score.pass_at)
    return PassAtK(k=k, prompts=score.prompts, score=Interval.of(score.pass_at[k]))
