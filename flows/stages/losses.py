"""Stage `losses`: the student, as it is before its training, reads every wanted answer, with its
prompt and without. What it says is a record a row; `flows.stages.selection` decides by it.
"""

from typing import Any, NamedTuple

from filters.selection import SelectSettings
from flows.stages.consensus import read_decided
from flows.stages.difficulty import DIFFICULTY, read_wanted
from flows.stages.family import answer_stages, evolve_stages, read_family, read_stage
from flows.stages.screen import SCREEN
from flows.store import FileEntry
from flows.work import Context, Job, Tick, shard_jobs
from generators.embedded import EmbeddedClient
from generators.errors import ConfigError
from generators.records import Message, Record

LOSSES = "losses"
VERSION = "1"


class RowLoss(Record):
    """How surprised the student is by one answer, in nats a token."""

    answer_id: str
    tokens: int
    loss: float
    loss_alone: float
    """Without the prompt."""


class LossesStage:
    """One record for each wanted answer that fits the student's window."""

    name = LOSSES

    def __init__(self, settings: SelectSettings) -> None:
        self.settings = settings

    def plan(self, context: Context) -> list[Job]:
        return plan_reading(context, self.name, self.settings, VERSION)

    def work(self, context: Context, job: Job, tick: Tick) -> list[FileEntry]:
        losses = measure_losses(context, self.settings, job, tick)
        return [context.write_records(job, job.outputs[0], RowLoss, losses)]


def plan_reading(context: Context, name: str, settings: SelectSettings, version: str) -> list[Job]:
    """Jobs in which the student reads all wanted answers; `NAME-*.parquet` comes of them."""
    assert settings.model is not None
    size = context.config.shard_rows
    decisive = [context.model_settings(settings.model), version, size]
    before = [*evolve_stages(context), *answer_stages(context), "dedup", SCREEN, DIFFICULTY]
    key = context.key(name, decisive, before)
    rows = len(read_wanted(context))
    return shard_jobs(name, [f"{context.folder}/{name}-{{}}.parquet"], rows, size, key)


def measure_losses(
    context: Context, settings: SelectSettings, job: Job, tick: Tick
) -> list[RowLoss]:
    """Have the student read a job's answers. Raises ConfigError where it has no chat template."""
    from trainers.answer_losses import measure_answer_losses

    student = encode_answers(context, settings, job)
    tick(job.rows - len(student.rows))
    measured = measure_answer_losses(student.model, student.tokenizer, student.rows, tick)
    return [
        RowLoss(answer_id=id, tokens=m.tokens, loss=m.loss, loss_alone=m.loss_alone)
        for id, m in zip(student.ids, measured, strict=True)
    ]


class Reading(NamedTuple):
    """The student, and the answers that fit its window, as token rows."""

    model: Any
    tokenizer: Any
    ids: list[str]
    rows: list[Any]
    """One `trainers.rows.TokenRow` for each id."""


def encode_answers(context: Context, settings: SelectSettings, job: Job) -> Reading:
    """A job's answers as the student reads them. Raises ConfigError without a chat template."""
    from trainers.rows import UnusableRow, encode_row

    assert settings.model is not None
    client = context.resources.client(settings.model)
    assert isinstance(client, EmbeddedClient)
    model, tokenizer = client.loaded
    if not tokenizer.chat_template:
        raise ConfigError(f"select.model: {client.id} has no chat template to read answers by")
    prompts = read_family(context).prompts | read_decided(context)
    size = context.config.shard_rows
    rows, ids = [], []
    for answer in read_wanted(context)[job.shard * size : (job.shard + 1) * size]:
        prompt = prompts[answer.prompt_id]
        turns = {
            "prompt": [_plain(m) for m in prompt.messages],
            "completion": [_plain(m) for m in answer.messages],
            "tools": list(prompt.tools),
        }
        try:
            window = model.config.max_position_embeddings
            rows.append(encode_row(turns, tokenizer, max_length=window))
            ids.append(answer.id)
        except UnusableRow:
            continue
    return Reading(model, tokenizer, ids, rows)


def read_losses(context: Context) -> dict[str, RowLoss]:
    """What the student said of each answer that it read, by the answer's id."""
    return {loss.answer_id: loss for loss in read_stage(context, LOSSES, "losses-", RowLoss)}


def find_ifd(loss: RowLoss | None) -> float | None:
    """Instruction-following difficulty: the loss with the prompt over the loss without."""
    return loss.loss / loss.loss_alone if loss and loss.loss_alone > 0 else None


def _plain(message: Message) -> dict[str, Any]:
    return message.model_dump(mode="json", exclude_defaults=True)
