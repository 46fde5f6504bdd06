"""What a run has to say of its student: how it was trained, and what it scored before and after."""

from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from flows.intervals import Interval
from generators.records import Record


class LossPoint(Record):
    step: NonNegativeInt
    loss: float


class TrainingFacts(Record):
    objective: str
    """`sft`, `forward` …"""
    base_model: str
    path: str
    """Where the trained student lies."""
    steps: NonNegativeInt
    rows: NonNegativeInt
    skipped: NonNegativeInt = 0
    """Rows left out, each with a reason in the run's verdicts."""
    skip_reasons: dict[str, PositiveInt] = Field(default_factory=dict)
    seconds: float
    batch_size: PositiveInt
    learning_rate: float
    precision: str
    losses: tuple[LossPoint, ...]

    @model_validator(mode="after")
    def _check_skipped(self) -> Self:
        if sum(self.skip_reasons.values()) != self.skipped:
            raise ValueError(f"the reasons do not account for {self.skipped} skipped rows")
        return self


class TaskScore(Record):
    task: str
    prompts: PositiveInt
    score: Interval


class PassAtK(Record):
    k: PositiveInt
    prompts: PositiveInt
    score: Interval


class Arm(Record):
    """One model, asked one way."""

    when: Literal["before", "after", "alone"]
    """Before or after the training, or a model of no run."""
    prompting: Literal["zero-shot", "few-shot"]
    model: str
    prompts: PositiveInt
    pass_at_1: Interval
    """Greedy: the share of prompts whose one answer passes its check."""
    pass_at_k: PassAtK | None = None
    by_task: tuple[TaskScore, ...] = ()
    truncated: float | None = None
    """Share of answers cut at the token limit."""
    mean_tokens: float | None = None
    perplexity: float | None = None
    kl_to_teacher: float | None = None
    """Nats per token."""
    top1_agreement: float | None = None
    """Share of tokens where the student's and the teacher's first choice agree."""

    @property
    def name(self) -> str:
        return self.prompting if self.when == "alone" else f"{self.when}, {self.prompting}"


class Attribution(Record):
    """What part of the gain is format, and what part skill."""

    total: Interval
    """After zero-shot, less before zero-shot."""
    format: Interval
    """Before few-shot, less before zero-shot: what examples alone unlock."""
    skill: Interval
    """After zero-shot, less before few-shot: what even examples did not unlock."""


class EvaluationFacts(Record):
    held_out: str
    """What the held-out prompts are, in a sentence."""
    arms: tuple[Arm, ...] = Field(min_length=1)

    def arm(self, when: str, prompting: str) -> Arm | None:
        """The arm of that name, if it was evaluated."""
        return next((a for a in self.arms if (a.when, a.prompting) == (when, prompting)), None)

    @property
    def attribution(self) -> Attribution | None:
        """None unless all three arms were evaluated."""
        before, shown = self.arm("before", "zero-shot"), self.arm("before", "few-shot")
        after = self.arm("after", "zero-shot")
        if before is None or shown is None or after is None:
            return None
        return Attribution(
            total=after.pass_at_1.minus(before.pass_at_1),
            format=shown.pass_at_1.minus(before.pass_at_1),
            skill=after.pass_at_1.minus(shown.pass_at_1),
        )
