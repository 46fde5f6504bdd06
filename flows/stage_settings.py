"""The settings of the stages that no other room has settings for: what goes in, what is published,
and how the student is taught and evaluated.
"""

from typing import Literal

from pydantic import Field

from generators.answers import SamplerSettings
from generators.records import Record, VerifiedBy
from generators.self_synthesis import SynthesisSettings
from trainers.settings import Student, TrainSettings


class SeedSettings(Record):
    paths: tuple[str, ...] = ()
    """JSONL files, relative to where the command is typed."""
    synthesise: tuple[SynthesisSettings, ...] = ()
    """Prompts that models write themselves."""


class AnswerSettings(Record):
    samplers: tuple[SamplerSettings, ...] = Field(min_length=1)
    """In the order in which they are asked: the cheap one first."""


VERIFIED: tuple[VerifiedBy, ...] = ("program", "constraint", "reference", "consensus", "person")
"""What counts as verified enough, unless the configuration says otherwise."""


class PublishSettings(Record):
    accept: tuple[VerifiedBy, ...] = VERIFIED
    """How a row may have been verified. `judge` and `none` must be named to be let in."""
    answers_per_prompt: int = Field(default=2, ge=1)
    """At most so many distinct verified answers of one prompt are published."""
    target_rows: int | None = Field(default=None, ge=1)
    """Exactly so many rows are wanted: answers are asked for until they are there, and what goes
    beyond is set aside. Without it everything is answered."""
    weights: Literal["equal", "votes"] = "equal"
    """With `votes` a row that was elected weighs its share of all votes in training, others 1."""
    licence: str
    """The published dataset's licence."""


class TrainStage(TrainSettings):
    """Training as the last step of the run."""

    student: str | Student = "smollm2-135m-instruct"
    """The model to teach: the bundled one, a folder, or a Hugging Face id; or settings that make a
    student of one (`model`, and `layers` or `fresh`)."""
    accept: tuple[VerifiedBy, ...] = VERIFIED
    """Rows verified in these ways are trained on."""

    @property
    def untaught(self) -> Student:
        """The student before its training."""
        return Student(model=self.student) if isinstance(self.student, str) else self.student


class EvaluateSettings(Record):
    """Held-out evaluation, before and after training."""

    held_out: tuple[str, ...] = Field(min_length=1)
    """JSONL files of seeds; their procedural prompts come from the held-out split."""
    prompts: int = Field(default=200, ge=1)
    """Prompts answered greedily, for pass@1."""
    k: int = Field(default=4, ge=1)
    k_prompts: int = Field(default=50, ge=0)
    """Prompts answered k times, for pass@k."""
    temperature: float = Field(default=0.7, gt=0)
    max_tokens: int = Field(default=48, ge=1)
    examples: str | None = None
    """Worked examples: with them the untrained student is scored once more, to tell how much of a
    gain is form."""
    text: str | None = None
    """JSONL of plain paragraphs for perplexity and the divergence from the teacher."""
    canaries: str | None = None
    """JSONL of questions put to the student before and after, to see what else it learned."""
    canary_tokens: int = Field(default=96, ge=1)
    batch_size: int = Field(default=64, ge=1)


class StopRuleSettings(Record):
    """How `tutelage rounds` tells whether a round of evolution still pays."""

    held_out: tuple[str, ...] = Field(min_length=1)
    """JSONL files of seeds, others than the evaluation's."""
    prompts: int = Field(default=200, ge=1)
    """Prompts answered greedily after each round, for pass@1."""
    max_tokens: int = Field(default=48, ge=1)
    tolerance: float = Field(default=0.0, ge=0, lt=1)
    """A score has fallen when it lies below the last one by more than this."""
