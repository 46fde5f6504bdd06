"""What a run has to say of its student: how it was trained, and what it scored before and after."""

from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from flows.intervals import Interval
from generators.records import Record


class LossPoint(Record):
    step: NonNegativeInt
    loss: float


class Look(Record):
    """What the student measured at one step, on rows that were kept from its training."""

    step: NonNegativeInt
    phase: PositiveInt = 1
    figures: dict[str, float]
    """By the names of `glossary.MEASURED`; shares without their intervals."""


class SignalFacts(Record):
    """A teacher's signal that was written to disk before the training."""

    kept: Literal["top", "sampled"]
    rows: NonNegativeInt
    tokens: NonNegativeInt
    """Places at which the teacher's distribution is kept."""
    kept_per_token: float
    tail_mass: float
    """What is not kept of a distribution, on average."""
    bytes: NonNegativeInt
    bytes_per_token: float


class TrainingFacts(Record):
    objective: str
    """`sft`, `forward` …; those of several phases in their order."""
    told: tuple[str, ...] = ()
    """What each phase minimises, on whose tokens, and how the teacher is heard."""
    teacher: str | None = None
    """The model that is followed."""
    signal: SignalFacts | None = None
    """None where the teacher is read as it is needed."""
    looks: tuple[Look, ...] = ()
    """The first and the last of each phase; empty where nothing was measured on the way."""
    best_step: NonNegativeInt | None = None
    """The step whose student was kept, where the best one was asked for."""
    base_model: str
    made: str | None = None
    """How the student was made of its base model; None where it is that model itself."""
    path: str
    """Where the trained student lies."""
    steps: NonNegativeInt
    rows: NonNegativeInt
    skipped: NonNegativeInt = 0
    """Rows left out, each with a reason in the run's verdicts."""
    skip_reasons: dict[str, PositiveInt] = Field(default_factory=dict)
    seconds: float
    batch_sizes: tuple[PositiveInt, ...] = Field(min_length=1)
    """Rows of a step on all processes: of each phase, or once where all have the same."""
    learning_rates: tuple[float, ...] = Field(min_length=1)
    """The highest of each phase, or once where all have the same."""
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

    when: Literal["before", "after", "teacher", "random", "alone"]
    """Before or after the training, its teacher, after that on rows drawn at random, or a model of
    no run."""
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
        if self.when == "alone":
            return self.prompting
        when = "after random rows" if self.when == "random" else self.when
        return f"{when}, {self.prompting}"


class Attribution(Record):
    """What part of the gain is format, and what part skill."""

    total: Interval
    """After zero-shot, less before zero-shot."""
    format: Interval
    """Before few-shot, less before zero-shot: what examples alone unlock."""
    skill: Interval
    """After zero-shot, less before few-shot: what even examples did not unlock."""


class RandomFacts(Record):
    """The student beside it, which was taught on rows that nobody selected."""

    arm: Arm
    gain: Interval
    """What the student of selected rows scores beyond it on the same prompts, pair by pair."""
    looked_at: PositiveInt
    """Rows that either might have been taught on."""
    selected_rows: NonNegativeInt
    selected_tokens: NonNegativeInt
    rows: NonNegativeInt
    tokens: NonNegativeInt
    """Of their completions."""
    shared: NonNegativeInt
    """Rows that both were taught on."""
    steps: PositiveInt
    """Of either training."""

    @model_validator(mode="after")
    def _check_counts(self) -> Self:
        if self.shared > min(self.rows, self.selected_rows) or self.rows > self.looked_at:
            raise ValueError(
                f"{self.rows} rows drawn of {self.looked_at}, {self.shared} of them among "
                f"{self.selected_rows} selected ones, do not fit"
            )
        return self


class EvaluationFacts(Record):
    held_out: str
    """What the held-out prompts are, in a sentence."""
    arms: tuple[Arm, ...] = Field(min_length=1)
    random: RandomFacts | None = None
    """None where no student was taught on rows drawn at random."""

    @property
    def every_arm(self) -> tuple[Arm, ...]:
        """The arms, and that of the student beside it."""
        return (*self.arms, self.random.arm) if self.random else self.arms

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
