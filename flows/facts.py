"""What a run has to say for itself: every number the report, the cards and the picture show.

A `Facts` is filled once from a run directory and then only rendered, so the report, the dataset
card and the README cannot contradict one another. The models hold the conservation law: a stage
whose accepted, quarantined and rejected subjects do not add up, or whose reasons do not account
for every one that fell, cannot be built, hence cannot be shown. A section is `None` or empty when
its stage has not run; it then vanishes from the page.
"""

from datetime import datetime
from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from flows.facts_canaries import CanaryFacts
from flows.facts_contamination import BenchmarkFacts
from flows.facts_credit import CreditFacts
from flows.facts_cycles import CycleFacts
from flows.facts_evolution import JudgeFacts
from flows.facts_judging import BatteryFacts
from flows.facts_learning import EvaluationFacts, TrainingFacts
from flows.facts_sampling import MatchFacts
from flows.facts_votes import VoteFacts
from flows.facts_watch import TeacherFacts
from flows.intervals import Interval
from generators.records import Decision, Record, VerifiedBy

DIFFICULTY_BINS = ("0", "\u2264 ¼", "\u2264 ½", "\u2264 ¾", "< 1", "1")
"""Pass rates 0, (0, .25], (.25, .5], (.5, .75], (.75, 1) and 1."""


class StageTime(Record):
    stage: str
    seconds: float = Field(ge=0)


class RunFacts(Record):
    """Which run this is, and what would repeat it."""

    name: str
    started: datetime
    finished: datetime | None
    stages: tuple[StageTime, ...]
    config_digest: str
    config_path: str | None = None
    command: str | None = None
    """What was typed."""
    machine: str | None = None
    """Processor, cores and memory in a few words."""
    cycle: PositiveInt = 1
    versions: dict[str, str]
    """Of python, torch, transformers, prefect and tutelage."""

    @property
    def seconds(self) -> float:
        return sum(stage.seconds for stage in self.stages)


class ModelFacts(Record):
    id: str
    role: str
    """`teacher`, `weak sampler`, `student` …"""
    licence: str
    outputs_may_train: Literal["yes", "no", "conditional"] | None
    """None for a student: nothing is trained on its outputs."""
    terms: str = ""
    """The note on its terms, as the configuration states it."""


class SeedFacts(Record):
    total: NonNegativeInt
    by_domain: dict[str, NonNegativeInt]
    licences: tuple[str, ...]
    path: str
    synthesised: dict[str, PositiveInt] = Field(default_factory=dict)
    """How many of them each model wrote itself, by its id."""


class ReasonCount(Record):
    decision: Decision
    reason: str
    count: PositiveInt


class StageCount(Record):
    """How one stage sorted what came to it. A subject is counted once, under the reason that
    decided."""

    stage: str
    """`evolve`, `eliminate`, `answer`, `audit`, `verify`, `dedup`, `publish`."""
    unit: str
    """What is counted, in the plural: `evolved prompts`, `answers`, `rows`."""
    total: NonNegativeInt
    accepted: NonNegativeInt
    quarantined: NonNegativeInt
    rejected: NonNegativeInt
    reasons: tuple[ReasonCount, ...] = ()
    note: str | None = None
    """How this stage's input follows from the one before, where the numbers differ."""

    @model_validator(mode="after")
    def _check_conservation(self) -> Self:
        parts = self.accepted + self.quarantined + self.rejected
        if parts != self.total:
            raise ValueError(
                f"{self.stage}: {self.total} {self.unit} went in, but {parts} came out "
                f"({self.accepted} accepted, {self.quarantined} quarantined, "
                f"{self.rejected} rejected)"
            )
        for decision, fell in (("quarantine", self.quarantined), ("reject", self.rejected)):
            told = sum(r.count for r in self.reasons if r.decision == decision)
            if told != fell:
                raise ValueError(
                    f"{self.stage}: the reasons for {decision} account for {told} of {fell} "
                    f"{self.unit}"
                )
        return self


class OperatorFacts(Record):
    """What one operator did in one round."""

    round: PositiveInt
    operator: str
    tried: NonNegativeInt
    survived: NonNegativeInt
    """Not eliminated."""
    published: NonNegativeInt
    """Survivors with at least one row in the published set."""
    median_added_words: float | None
    """Of the survivors, against their parents."""
    reasons: tuple[ReasonCount, ...] = ()
    """Why the others fell."""

    @model_validator(mode="after")
    def _check_conservation(self) -> Self:
        fell = sum(reason.count for reason in self.reasons)
        if self.survived + fell != self.tried or self.published > self.survived:
            raise ValueError(
                f"round {self.round}, {self.operator}: {self.tried} tried, {self.survived} "
                f"survived, {fell} fell for a reason, {self.published} published do not fit"
            )
        return self


class SamplerFacts(Record):
    """The ledger of one sampler."""

    name: str
    model: str
    form: Literal["chat", "complete"]
    examples: NonNegativeInt = 0
    """How many worked examples it is shown."""
    prompts: NonNegativeInt
    samples: NonNegativeInt
    prompt_tokens: NonNegativeInt
    completion_tokens: NonNegativeInt
    accepted: NonNegativeInt
    """Samples that passed their check."""
    draws: PositiveInt
    """Samples per prompt: the n of coverage."""
    coverage: Interval | None
    """Mean pass@n over the prompts."""
    distinct_correct: float | None
    """Distinct correct answers per prompt."""


class DifficultyFacts(Record):
    """How often a model solves one round's prompts."""

    round: NonNegativeInt
    prompts: PositiveInt
    mean_pass_rate: float = Field(ge=0, le=1)
    histogram: tuple[NonNegativeInt, ...] = Field(min_length=6, max_length=6)
    """Prompts per bin of `DIFFICULTY_BINS`."""

    @model_validator(mode="after")
    def _check_sum(self) -> Self:
        if sum(self.histogram) != self.prompts:
            raise ValueError(f"round {self.round}: the bins do not add up to {self.prompts}")
        return self


class LineageStep(Record):
    round: NonNegativeInt
    operator: str
    """`seed` for the first."""
    text: str
    decision: Decision
    reason: str
    author: str | None = None


class Lineage(Record):
    """One published row, back to its seed."""

    row_id: str
    domain: str
    steps: tuple[LineageStep, ...] = Field(min_length=1)
    check: str
    """The row's check in words."""
    answer: str
    teacher: str
    verified_by: VerifiedBy


class DuplicateFacts(Record):
    """What deduplication found, by the way it found it."""

    exact_prompts: NonNegativeInt = 0
    near_prompts: NonNegativeInt = 0
    exact_answers: NonNegativeInt = 0
    near_answers: NonNegativeInt = 0
    semantic_prompts: NonNegativeInt = 0
    semantic_answers: NonNegativeInt = 0
    """In other words, as a model embeds them."""


class DatasetFacts(Record):
    path: str
    hash: str
    """SHA-256 over the canonical rows."""
    rows: NonNegativeInt
    prompts: NonNegativeInt
    """Distinct prompts among the rows."""
    evolved: NonNegativeInt
    """Rows that descend from an LLM-evolved prompt."""
    by_domain: dict[str, NonNegativeInt]
    by_verified_by: dict[str, NonNegativeInt]
    by_operator: dict[str, NonNegativeInt]
    by_round: dict[int, NonNegativeInt]
    by_licence: dict[str, NonNegativeInt]
    mean_completion_tokens: float
    quarantined: NonNegativeInt
    """Rows of quarantine.parquet."""
    rejected: NonNegativeInt
    """Rows of rejected.parquet."""
    licence: str
    """Of the set as a whole, as the card's front matter names it (`apache-2.0`)."""

    @model_validator(mode="after")
    def _check_sums(self) -> Self:
        for name in ("domain", "verified_by", "operator", "round", "licence"):
            counted = sum(getattr(self, f"by_{name}").values())
            if counted != self.rows:
                raise ValueError(f"by {name}: {counted} rows are counted of {self.rows}")
        return self


class StudentFacts(Record):
    """What a student's card tells, whichever rows it was taught on."""

    name: str
    config_digest: str
    training: TrainingFacts
    evaluation: EvaluationFacts | None
    models: tuple[ModelFacts, ...]
    dataset_hash: str | None
    rows_told: tuple[str, ...]
    """How the rows were verified, who wrote them, under which licences."""
    warnings: tuple[str, ...]


class Facts(Record):
    """All of it."""

    run: RunFacts
    seeds: SeedFacts
    rounds: NonNegativeInt
    """Of evolution."""
    pool: NonNegativeInt | None = None
    """Prompts that went on to be answered: seeds and survivors."""
    models: tuple[ModelFacts, ...] = ()
    counts: tuple[StageCount, ...] = ()
    """In the order of the run."""
    operators: tuple[OperatorFacts, ...] = ()
    judge: JudgeFacts | None = None
    """None where no model is to judge what evolved."""
    samplers: tuple[SamplerFacts, ...] = ()
    matches: tuple[MatchFacts, ...] = ()
    """Samplers that were given as many samples as another one's cost."""
    difficulty: tuple[DifficultyFacts, ...] = ()
    """How often the first sampler solves each round's prompts."""
    student_difficulty: tuple[DifficultyFacts, ...] = ()
    """How often the untrained student does; empty where it was not measured."""
    credit: tuple[CreditFacts, ...] = ()
    lineages: tuple[Lineage, ...] = ()
    teachers: tuple[TeacherFacts, ...] = ()
    """Empty where no watch was kept over them."""
    battery: BatteryFacts | None = None
    """None where no model judged answers."""
    votes: VoteFacts | None = None
    """None where nothing is put to the vote."""
    contamination: tuple[BenchmarkFacts, ...] = ()
    """Per benchmark that rows were held against; empty where there is none."""
    duplicates: DuplicateFacts | None = None
    dataset: DatasetFacts | None = None
    training: TrainingFacts | None = None
    evaluation: EvaluationFacts | None = None
    canaries: CanaryFacts | None = None
    cycles: CycleFacts | None = None
    """None while the dataset has one version."""
    warnings: tuple[str, ...] = ()

    def count(self, stage: str) -> StageCount | None:
        """The counts of one stage, if it has run."""
        return next((c for c in self.counts if c.stage == stage), None)
