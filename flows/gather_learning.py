"""The part of `Facts` that tells of the student: how it was trained, and what it learned."""

import json

from flows.facts_learning import Arm, EvaluationFacts, LossPoint, PassAtK, TaskScore, TrainingFacts
from flows.intervals import Interval
from flows.stages.evaluate import ArmResult, list_arms
from flows.stages.train import METRICS, STUDENT
from flows.work import Context
from generators.embedded import computes_in_bfloat16
from trainers.evaluate import PassScore, wilson_interval
from trainers.settings import TrainResult

ARMS = {
    "before": ("before", "zero-shot"),
    "few-shot": ("before", "few-shot"),
    "after": ("after", "zero-shot"),
    "zero-shot": ("alone", "zero-shot"),
}


def gather_training(context: Context) -> TrainingFacts | None:
    """How the student was trained; None when it has not been."""
    settings = context.config.train
    if settings is None or not context.run.files("train"):
        return None
    place = context.run.place
    result = TrainResult.model_validate_json(place(f"{STUDENT}/result.json").read_bytes())
    lines = [json.loads(line) for line in place(METRICS).read_text().splitlines()]
    losses = [LossPoint(step=e["step"], loss=e["loss"]) for e in lines if "loss" in e]
    precision = settings.precision
    if precision == "auto":
        precision = "bfloat16" if computes_in_bfloat16() else "float32"
    return TrainingFacts(
        objective=settings.objective,
        base_model=settings.student,
        path=STUDENT,
        steps=result.steps,
        rows=result.rows,
        skipped=sum(result.skipped.values()),
        skip_reasons=result.skipped,
        seconds=result.seconds,
        batch_size=settings.batch_size * settings.accumulation,
        learning_rate=settings.learning_rate,
        precision=precision,
        losses=tuple(losses),
    )


def gather_evaluation(context: Context) -> EvaluationFacts | None:
    """What each arm scored; None when nothing was evaluated."""
    settings = context.config.evaluate
    if settings is None:
        return None
    files = [f for arm in list_arms(settings) for f in context.run.files(f"evaluate-{arm}")]
    if not files:
        return None
    results = [ArmResult.model_validate_json(file.read_bytes()) for file in files]
    held_out = (
        f"{results[0].pass_1.prompts} prompts of {', '.join(settings.held_out)}, whose operands "
        "never occur in training"
    )
    return EvaluationFacts(held_out=held_out, arms=tuple(map(describe_arm, results)))


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
