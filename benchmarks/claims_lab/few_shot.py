"""Claim f: taught by itself behind worked examples, a model answers better without them.

The bundled model is asked arithmetic in a chat (zero-shot), and behind examples of the same task
(few-shot) that are put as raw text. Then it is its own teacher: at prefixes that it writes itself
it follows its own distribution behind the examples (`trainers.context_teacher`). It sees prompts
alone; nobody tells it an answer, and nothing is verified before the end.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from claims_lab.evidence import ClaimResult, Figures, draw_table, is_more, tabulate, tell
from claims_lab.lab import open_world
from claims_lab.pictures import draw_arms

from filters.verify import verify
from generators.embedded import BUNDLED, load_model, render_chat
from generators.records import Prompt
from generators.seeds import load_examples, load_seeds
from trainers.contexts import find_task, put_examples
from trainers.evaluate import wilson_interval
from trainers.rollouts import sample_rollouts
from trainers.settings import RolloutSettings, TrainSettings
from trainers.signal_settings import ContextSignal, Put
from trainers.train import train_student

SEEDS = Path(__file__).parents[2] / "seeds"
EXAMPLES = SEEDS / "examples" / "arithmetic.jsonl"
EVERY = 3
"""Of the held-out prompts one in so many is asked."""
NEW_TOKENS, BATCH = 24, 20
PUT: Put = "raw"
"""How the teacher's examples are put."""
TEACHING = TrainSettings(
    objective="forward",
    signal=ContextSignal(kind="context", examples=str(EXAMPLES), put=PUT),
    rollouts=RolloutSettings(max_new_tokens=12),
    learning_rate=3e-5,
    warmup=0.1,
    batch_size=10,
    max_steps=12,
    max_length=160,
    save_steps=1_000_000,
)
BEFORE, AFTER, SHOWN = "zero-shot before", "zero-shot after", "few-shot before"


class Examined(NamedTuple):
    """How a model answers the held-out prompts, greedily."""

    right: list[bool]
    tokens: float
    """Of an answer, on average."""
    ended: float
    """The share of answers that came to an end."""


def run(seeds: Sequence[int]) -> ClaimResult:
    with _using_all_cores():
        before = examine(BUNDLED)
        shown = examine(BUNDLED, PUT)
        after = [examine(str(teach_itself(seed))) for seed in seeds]
    arms = {BEFORE: [before] * len(seeds), AFTER: after, SHOWN: [shown] * len(seeds)}
    figures: Figures = {
        "right": {arm: [fmean(one.right) for one in ones] for arm, ones in arms.items()},
        "tokens of an answer": {arm: [one.tokens for one in ones] for arm, ones in arms.items()},
        "ended": {arm: [one.ended for one in ones] for arm, ones in arms.items()},
    }
    right = figures["right"]
    return ClaimResult(
        "Few-shot self-distillation moves zero-shot towards few-shot",
        f"{BUNDLED}, {TEACHING.max_steps} steps of {TEACHING.batch_size} prompts of"
        f" seeds/arithmetic.jsonl, {TEACHING.objective} KL on its own answers; the teacher's"
        f" weights stay as they were, its examples are put as {PUT} text. Answers are greedy, to"
        f" {len(before.right)} held-out prompts. Seeds draw batches and answers; the model before"
        " is the same for all.",
        [tabulate_before({"none": before, PUT: shown}), tabulate(figures)],
        [is_more(f"right: {AFTER} - before", right[AFTER], right[BEFORE])],
        draw_arms(
            "claim-f-few-shot.svg",
            "A model taught by itself behind worked examples",
            figures,
            columns=3,
        ),
        tell_gap(right),
    )


def tabulate_before(examined: Mapping[str, Examined]) -> list[str]:
    """What examples do; intervals are over the prompts."""
    rows = {}
    for name, one in examined.items():
        right = wilson_interval(sum(one.right), len(one.right))
        rows[name] = (tell(right), f"{one.tokens:.1f}", f"{one.ended:.2f}")
    return draw_table("examples, before", ["right", "tokens of an answer", "ended"], rows)


def tell_gap(right: Mapping[str, Sequence[float]]) -> str:
    before, after, shown = (fmean(right[arm]) for arm in (BEFORE, AFTER, SHOWN))
    return (
        f"Of the distance between zero-shot ({before:.3f}) and few-shot ({shown:.3f}) the student"
        f" has gone {(after - before) / (shown - before):.0%}."
    )


def teach_itself(seed: int) -> Path:
    """The model after a training under itself."""
    folder = open_world().folder / "few-shot"
    rows = [
        {
            "prompt": [
                turn.model_dump(mode="json", exclude_defaults=True) for turn in one.messages
            ],
            "check": _write_check(one),
        }
        for one in load_seeds(SEEDS / "arithmetic.jsonl", split="train")
    ]
    folder.mkdir(parents=True, exist_ok=True)
    prompts = folder / f"prompts-{seed}.parquet"
    pq.write_table(pa.Table.from_pylist(rows), prompts)
    settings = TEACHING.model_copy(update={"seed": seed})
    return train_student(settings, prompts, BUNDLED, folder / f"student-{seed}").output


def examine(model: str, put: Put | None = None) -> Examined:
    """Ask the held-out prompts, behind examples where it is said how these are put."""
    loaded, tokenizer = load_model(model, "auto")
    asked = load_seeds(SEEDS / "heldout" / "arithmetic.jsonl", split="heldout")[::EVERY]
    right, tokens, ended = [], 0, 0
    for start in range(0, len(asked), BATCH):
        batch = asked[start : start + BATCH]
        texts = [write_prompt(prompt, put, tokenizer) for prompt in batch]
        rollouts = sample_rollouts(
            loaded,
            tokenizer,
            [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts],
            list(range(len(batch))),
            max_new_tokens=NEW_TOKENS,
            max_length=loaded.config.max_position_embeddings,
            temperature=0.0,
            precision="auto",
        )
        for prompt, one in zip(batch, rollouts, strict=True):
            assert prompt.check is not None
            ids = one.row.input_ids[one.row.prompt_length :]
            said = tokenizer.decode(ids, skip_special_tokens=True).strip()
            right.append(verify(prompt.check, said).decision == "accept")
            tokens, ended = tokens + len(ids), ended + one.ended
    return Examined(right, tokens / len(asked), ended / len(asked))


def write_prompt(prompt: Prompt, put: Put | None, tokenizer: object) -> str:
    """A prompt as the model reads it."""
    if put is None:
        return render_chat(tokenizer, prompt.messages)
    task = find_task({"check": _write_check(prompt)})
    examples = [one for one in load_examples(EXAMPLES) if one.task == task]
    shown = put_examples(prompt.messages, examples, put, tokenizer)
    return shown if isinstance(shown, str) else render_chat(tokenizer, shown)


def _write_check(prompt: Prompt) -> str:
    assert prompt.check is not None
    return prompt.check.model_dump_json()


@contextmanager
def _using_all_cores() -> Iterator[None]:
    """This model is large enough for them, and the lab's is not."""
    before = torch.get_num_threads()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
