"""How a classifier is trained, and what came out: light records for the configuration."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from generators.embedded import Precision
from generators.records import Record
from trainers.evaluate import Estimate

ClassObjective = Literal["soft", "hard", "hinton"]
OF_HINTON = ("temperature", "alpha")
"""Settings that mean nothing to other objectives."""


class ClassifierSettings(Record):
    """How a classifier is trained."""

    objective: ClassObjective = "soft"
    """`soft`: the annotators' distribution. `hard`: their majority. `hinton`: a trained
    classifier's distribution, and the majority beside it."""
    teacher: str | None = None
    """The classifier that `hinton` follows; of the same labels."""
    temperature: float = Field(default=2.0, gt=0)
    """Of `hinton`: softens teacher and student."""
    alpha: float = Field(default=0.5, ge=0, le=1)
    """Of `hinton`: the teacher's share of the loss; the rest is the majority's."""
    learning_rate: float = Field(default=2e-5, gt=0)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls after the warm-up."""
    warmup: float = Field(default=0.0, ge=0, lt=1)
    """The share of the steps over which the learning rate rises."""
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float | None = Field(default=1.0, gt=0, allow_inf_nan=False)
    """A step's gradient is made no longer than this; null leaves it as it is."""
    batch_size: int = Field(default=16, ge=1)
    """Texts per forward pass and process."""
    accumulation: int = Field(default=1, ge=1)
    """Batches per step."""
    epochs: float = Field(default=1.0, gt=0)
    max_steps: int | None = Field(default=None, ge=1)
    """When given, decides in place of `epochs`."""
    max_length: int = Field(default=512, ge=2)
    """Tokens of a text with its context; longer ones are left out and counted."""
    precision: Precision = "auto"
    """`bfloat16` is autocast over float32 weights; `auto` takes it where the machine has it."""
    save_steps: int = Field(default=50, ge=1)
    seed: int = 0

    @model_validator(mode="after")
    def _settings_are_used(self) -> Self:
        if self.objective == "hinton":
            if self.teacher is None:
                raise ValueError("teacher: objective hinton needs one; name a trained classifier")
            return self
        defaults = {name: type(self).model_fields[name].default for name in OF_HINTON}
        idle = [name for name, usual in defaults.items() if getattr(self, name) != usual]
        idle += ["teacher"] if self.teacher is not None else []
        if idle:
            raise ValueError(
                f"{', '.join(idle)}: objective {self.objective} has no teacher; "
                "take it out, or choose hinton"
            )
        return self


class ClassifierResult(Record):
    """What came out of a training."""

    steps: int
    train_loss: float
    """Mean over all steps, in nats per text."""
    labels: tuple[str, ...]
    """In the order of the head's outputs."""
    rows: int
    skipped: dict[str, int]
    """Rows left out, by reason; `tie` are those whose first labels tie where one was wanted."""
    seconds: float
    """Of the process that finished it."""
    output: Path
    """The classifier's folder."""


class ClassScore(Record):
    """A classifier on held-out rows."""

    rows: int
    ties: int
    """Rows without a hard label."""
    accuracy: Estimate | None
    """None where all rows tie, as are the Brier score and the ECE."""
    cross_entropy: float
    """Mean soft cross-entropy, in nats."""
    entropy: float
    """Mean entropy of the annotators' distributions, in nats: what no classifier gets below."""
    kl: Estimate
    """Mean KL(p̂ ‖ q), in nats, with a bootstrap interval over the rows."""
    brier: float | None
    ece: float | None
