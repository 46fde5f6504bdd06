"""How a student is trained, and what came out: light records that the configuration is made of."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from generators.embedded import Precision
from generators.records import Record
from trainers.added_losses import CorpusSettings, HiddenSettings
from trainers.mixing import AlphaSchedule
from trainers.rollout_settings import RolloutSettings
from trainers.settings_checks import (
    ACROSS,
    POLICY,
    find_endless,
    find_idle,
    find_idle_above,
    hand_down,
    refuse,
    tell_faults,
)
from trainers.signal_settings import ContextSignal, RemoteSignal, Signal, TopSignal


class Student(Record):
    """Which model is taught."""

    model: str
    """The bundled model's name, a local folder, or a Hugging Face id."""
    layers: tuple[int, ...] | None = Field(default=None, min_length=1)
    """Keep only these transformer layers, counted from 0 (for example 0, 5, 10, 15, 20, 29)."""
    fresh: dict[str, int | float | bool | str] | None = None
    """Untrained weights instead, under the model's configuration with these values in place of its
    own (for example num_hidden_layers: 6, hidden_size: 288); empty takes it as it is."""
    reuse_embeddings: bool = True
    """Begin `fresh` with the model's token embeddings and head, each where the shapes agree."""
    seed: int = 0
    """Draws the weights of `fresh`."""

    @model_validator(mode="after")
    def _fresh_or_cut(self) -> Self:
        if self.fresh is not None and self.layers is not None:
            raise ValueError(
                "layers and fresh: untrained weights have no layers to keep;"
                " give one of them, or fresh.num_hidden_layers"
            )
        if self.fresh is None and not (self.reuse_embeddings and self.seed == 0):
            raise ValueError(
                "reuse_embeddings and seed say nothing of a model that is not fresh;"
                " give fresh too (it may be empty), or leave them out"
            )
        return self


Objective = Literal[
    "sft",
    "forward",
    "reverse",
    "jsd",
    "skew_forward",
    "skew_reverse",
    "importance",
    "reinforce",
    "minillm",
    "uld",
    "aligned",
]


class PolicySettings(Record):
    """Of the objectives that learn from sampled tokens alone."""

    reward_to_go: bool = True
    """A token answers for what comes from it on, not for what was said before."""
    baseline: Literal["none", "mean"] = "mean"
    discount: float = Field(default=1.0, gt=0, le=1)
    """Below 1 the gradient is biased."""
    clip: float | None = Field(default=None, gt=0, lt=1)
    """Importance ratios stay within 1 ± clip."""
    length_normalised: bool = False
    """Of `minillm`: what follows a token counts by the token."""
    weights: Literal["per_token", "cumulative"] = "per_token"
    """Of `minillm`: importance weights of the mixed sampling; the paper's, or unbiased ones."""


class LoraSettings(Record):
    """Train low-rank adapters in the place of all weights; they are merged when it is done."""

    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    modules: tuple[str, ...] = ()
    """Names of the linear layers; all but the head where none is named."""


Metric = Literal["nll", "forward_kl", "reverse_kl", "reverse_kl_own", "pass@1"]
LOWER_IS_BETTER = ("nll", "forward_kl", "reverse_kl", "reverse_kl_own")


class MeasureSettings(Record):
    """How the student is measured while it is trained."""

    rows: int = Field(default=32, ge=1)
    """So many rows are kept from the training for this."""
    every: int | None = Field(default=None, ge=1)
    """Steps between two looks; without it there is one at the start and one at the end."""
    max_new_tokens: int = Field(default=64, ge=1)
    """Of the completions that the student writes behind the rows' prompts."""
    k: int = Field(default=1, ge=1)
    """So many are drawn behind each; pass@1 is that of one more, a greedy one."""
    metric: Metric = "nll"
    """What decides which state is the best: of the rows' completions, of the student's own
    (`reverse_kl_own`), or of its verified answers (`pass@1`)."""
    keep_best: bool = False
    """The student of the best look is kept, not the last one."""
    patience: int | None = Field(default=None, ge=1)
    """After so many looks without a better one the training ends."""

    @property
    def decides(self) -> bool:
        """Whether anything depends on the metric."""
        return self.keep_best or self.patience is not None


class Phase(Record):
    """One of several trainings in a row: what is named here takes the place of what stands above
    the phases."""

    objective: Objective | None = None
    signal: Signal | None = Field(default=None, discriminator="kind")
    rollouts: RolloutSettings | None = None
    temperature: float | None = None
    beta: float | None = None
    alpha: float | None = None
    ce_weight: float | None = None
    hidden: HiddenSettings | None = None
    corpus: CorpusSettings | None = None
    learning_rate: float | None = None
    schedule: Literal["linear", "cosine", "constant"] | None = None
    batch_size: int | None = None
    accumulation: int | None = None
    epochs: float | None = None
    max_steps: int | None = None


class TrainSettings(Record, allow_inf_nan=False):
    """How a student is trained."""

    objective: Objective = "sft"
    """`sft`: the completions' tokens. `forward`, `reverse`, `jsd`, `skew_forward`, `skew_reverse`:
    a divergence from the teacher's distribution at those tokens. `importance`, `reinforce`,
    `minillm`: policy gradients on tokens that the student drew. `uld`, `aligned`: for a teacher of
    another vocabulary, by sorted probabilities or by chunks of the same bytes."""
    teacher: str | dict[str, str] | None = None
    """The model whose distribution is followed; of the student's vocabulary, but for `uld` and
    `aligned`. Or several, by the domain of the rows that each reads; `default` reads all others."""
    signal: Signal | None = Field(default=None, discriminator="kind")
    """How the teacher is heard: read as it is needed, unless one of these is named."""
    rollouts: RolloutSettings | None = None
    """Without it all completions are the data's."""
    policy: PolicySettings = PolicySettings()
    beta: float = Field(default=0.5, gt=0, lt=1)
    """Of `jsd`: the teacher's weight in the mixture."""
    alpha: float = Field(default=0.1, ge=0, lt=1)
    """Of the skew divergences."""
    temperature: float = Field(default=1.0, gt=0)
    """Softens teacher and student in a divergence, whose loss is multiplied by its square, and in
    `uld`."""
    chunk_temperature: float = Field(default=100.0, gt=0)
    """Of `aligned`: the higher, the more unlikely chunks teach as well as likely ones."""
    tail: Literal["bucket", "renormalised"] = "bucket"
    """Of a cached teacher: what becomes of the probability that was cut off."""
    ce_weight: float = Field(default=0.0, ge=0, le=1)
    """The share of the completions' own cross-entropy beside a divergence."""
    mixing: AlphaSchedule | None = None
    """The teacher's share step by step, in the place of `ce_weight`."""
    hidden: HiddenSettings | None = None
    """With it, layers of the student follow layers of the teacher too."""
    corpus: CorpusSettings | None = None
    """With it, a student that learns from rollouts goes on modelling texts too."""
    lora: LoraSettings | None = None
    packing: bool = False
    """Rows go through the model in one line without padding; for processors with attention that
    takes it (FlashAttention)."""
    learning_rate: float = Field(default=2e-5, gt=0)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls after the warm-up."""
    warmup: float = Field(default=0.0, ge=0, lt=1)
    """The share of the steps over which the learning rate rises."""
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float | None = Field(default=1.0, gt=0, allow_inf_nan=False)
    """A step's gradient is made no longer than this; null leaves it as it is."""
    batch_size: int = Field(default=16, ge=1)
    """Rows per forward pass and process."""
    accumulation: int = Field(default=1, ge=1)
    """Batches per step."""
    epochs: float = Field(default=1.0, gt=0)
    max_steps: int | None = Field(default=None, ge=1)
    """When given, decides in place of `epochs`."""
    max_length: int = Field(default=512, ge=2)
    """Tokens of prompt and completion together; longer rows are left out and counted."""
    precision: Precision = "auto"
    """`bfloat16` is autocast over float32 weights; `auto` takes it where the machine has it."""
    processes: int = Field(default=1, ge=1)
    """So many processes of this machine share each step, a GPU each where there are any; a step
    then learns from so many times `accumulation` batches."""
    sharded: bool = False
    """Each process holds only its part of the student and of the optimizer (FSDP2), on GPUs."""
    save_steps: int = Field(default=50, ge=1)
    measure: MeasureSettings | None = None
    """Without it the student is not measured before it is finished."""
    phases: tuple[Phase, ...] = ()
    """Trainings in a row, each of the student that the one before has made."""
    seed: int = 0

    @property
    def teachers(self) -> tuple[str, ...]:
        """All models named as teacher, each once."""
        if isinstance(self.teacher, dict):
            return tuple(dict.fromkeys(self.teacher.values()))
        return () if self.teacher is None else (self.teacher,)

    @property
    def lone_teacher(self) -> str | None:
        """The teacher of all rows; None where there is none, or several are."""
        return self.teacher if isinstance(self.teacher, str) else None

    @property
    def follows_teacher(self) -> bool:
        """Whether a model named as teacher is needed."""
        if self.phases:
            return any(phase.follows_teacher for phase in self.split())
        return self.objective != "sft" and not isinstance(self.signal, ContextSignal)

    def split(self) -> list["TrainSettings"]:
        """The settings of each phase; of the whole where there are no phases."""
        if not self.phases:
            return [self]
        own_fields = set(TrainSettings.model_fields) - {"phases"}  # a stage's settings have more
        above = self.model_dump(include=own_fields, exclude_unset=True)
        parts = []
        for i, phase in enumerate(self.phases):
            try:
                part = hand_down(above, phase.model_dump(exclude_none=True))
                parts.append(TrainSettings.model_validate(part))
            except ValidationError as error:
                raise ValueError(f"phases.{i}: {tell_faults(error)}") from error
        return parts

    @property
    def writes_all(self) -> bool:
        """Whether the student writes every completion, so that prompts are all that is needed."""
        return self.rollouts is not None and self.rollouts.share == 1

    @model_validator(mode="after")
    def _settings_agree(self) -> Self:
        if self.phases:
            refuse(find_idle_above(self, self.split()))
            return self
        if self.objective == "sft" and self.teacher is not None:
            raise ValueError("teacher: objective sft asks no teacher; choose a divergence")
        if self.objective == "sft" and self.signal is not None:
            raise ValueError("signal: objective sft asks no teacher; choose a divergence")
        if isinstance(self.signal, ContextSignal) and self.teacher is not None:
            raise ValueError("teacher: with signal context the student is its own; leave it out")
        if self.objective == "sft" and self.rollouts is not None:
            raise ValueError("rollouts: nobody judges them under objective sft")
        if self.objective in POLICY and self.rollouts is not None:
            drawn = (self.rollouts.temperature, self.rollouts.top_p)
            if drawn != (1.0, 1.0):
                raise ValueError(
                    f"rollouts: objective {self.objective} weighs tokens by the chance they were"
                    " drawn with, which is known at temperature 1 and top_p 1 only"
                )
        mixed = self.rollouts is not None and self.rollouts.teacher_mix > 0
        if isinstance(self.signal, ContextSignal) and self.lora is not None:
            raise ValueError("lora: with signal context all weights are trained; leave it out")
        if self.objective in POLICY and (self.rollouts is None or self.rollouts.share < 1):
            raise ValueError(f"objective {self.objective} learns from rollouts: add them, share 1")
        if mixed and self.objective != "minillm":
            raise ValueError("rollouts.teacher_mix: only minillm weighs mixed tokens")
        if self.mixing is not None and self.ce_weight > 0:
            raise ValueError("ce_weight: mixing decides it step by step; give one of them")
        mixes = self.ce_weight > 0 or self.mixing is not None
        if mixes and self.rollouts is not None and self.rollouts.share > 0:
            raise ValueError("ce_weight, mixing: no cross-entropy on what the student wrote itself")
        if self.rollouts is not None and self.rollouts.buffer and self.objective == "reinforce":
            raise ValueError("rollouts.buffer: reinforce learns from fresh tokens only")
        if self.rollouts is not None and isinstance(self.signal, TopSignal):
            raise ValueError(
                "signal cached: nothing is on disk of what the student will write; leave it out, or"
                " name it in a phase without rollouts"
            )
        return self

    @model_validator(mode="after")
    def _additions_agree(self) -> Self:
        if self.phases:
            return self
        named = f"objective {self.objective}"
        if self.objective in ACROSS:
            if self.signal is not None:
                raise ValueError(f"signal: {named} reads the teacher in this process; leave it out")
            if self.rollouts is not None:
                raise ValueError(f"rollouts: {named} learns from answers aligned beforehand")
            if self.hidden is not None:
                raise ValueError(f"hidden: under {named} the teacher reads other tokens")
        if self.objective == "uld" and self.ce_weight == 0 and self.mixing is None:
            raise ValueError(
                "ce_weight: uld compares shapes, whatever tokens they are about; mix cross-entropy"
                " in (ce_weight or mixing)"
            )
        if self.objective == "aligned" and self.temperature != 1:
            raise ValueError("temperature: aligned softens nothing; its own is chunk_temperature")
        if self.hidden is not None and (self.objective == "sft" or self.signal is not None):
            raise ValueError(
                "hidden: layers are read of a teacher in this process that reads what the student"
                " reads; choose an objective with a teacher, and no signal"
            )
        if self.corpus is not None and (self.rollouts is None or self.rollouts.share == 0):
            raise ValueError("corpus: stands beside rollouts; add them, or leave it out")
        return self

    @model_validator(mode="after")
    def _teachers_agree(self) -> Self:
        if self.phases:
            return self
        several, remote = isinstance(self.teacher, dict), isinstance(self.signal, RemoteSignal)
        if several and not self.teacher:
            raise ValueError("teacher: no domain is named; give domain: model, or one model")
        if several and self.signal is not None:
            raise ValueError("signal: several teachers are read as they are needed; leave it out")
        if several and (self.hidden is not None or self.objective in ACROSS):
            raise ValueError("teacher: hidden, uld and aligned follow one teacher; name one")
        if remote and self.temperature != 1:
            raise ValueError("temperature: a remote teacher tells its tokens at 1; leave it at 1")
        if remote and self.processes > 1:
            raise ValueError("processes: a remote teacher is asked by one process; set it to 1")
        writes_along = self.rollouts is not None and self.rollouts.teacher_mix > 0
        if writes_along and (several or self.signal is not None):
            raise ValueError(
                "rollouts.teacher_mix: the teacher that writes along is one model in this process;"
                " set it to 0, or name one teacher and no signal"
            )
        return self

    @model_validator(mode="after")
    def _settings_are_read(self) -> Self:
        if not self.phases:
            refuse([*find_idle(self), *find_endless(self)])
        return self

    @model_validator(mode="after")
    def _server_has_room(self) -> Self:
        serve = self.rollouts.serve if self.rollouts is not None and not self.phases else None
        longest = serve.options.get("max-model-len") if serve is not None else None
        if isinstance(longest, int) and longest < self.max_length:
            raise ValueError(
                f"rollouts.serve.options: max-model-len {longest} is below max_length"
                f" {self.max_length}; take it out, and it is as long as that"
            )
        return self

    @model_validator(mode="after")
    def _shards_are_whole_nowhere(self) -> Self:
        if not self.sharded or self.phases:
            return self
        if self.processes == 1:
            raise ValueError("sharded: one process holds all of it; raise processes")
        parts = ("rollouts", "measure", "lora", "hidden")
        found = [name for name in parts if getattr(self, name) is not None]
        found += ["signal context"] if isinstance(self.signal, ContextSignal) else []
        if found:
            raise ValueError(
                f"sharded: {', '.join(found)} need the student whole in each process; leave one out"
            )
        return self


class TrainResult(Record):
    """What came out of a training."""

    steps: int
    train_loss: float
    """Mean over all steps, in nats per completion token."""
    rows: int
    skipped: dict[str, int]
    """Rows left out, by reason."""
    tokens: int
    """Completion tokens trained on."""
    best_step: int | None = None
    """The step whose student was kept, where the best one was asked for."""
    seconds: float
    """Of the process that finished it."""
    output: Path
    """The student's folder."""
