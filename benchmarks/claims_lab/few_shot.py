"""Claim f: taught by itself behind worked examples, a model answers better without them.

The bundled model is asked arithmetic in a chat (zero-shot), and behind examples of the same task
(few-shot). Then it is its own teacher: at prefixes that it writes itself it follows its own
distribution behind the examples (`trainers.context_teacher`). It sees prompts alone; nobody tells
it an answer, and nothing is verified before the end. How the examples are put decides what there
is to be learned, so each way is tried.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import get_args

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from claims_lab.evidence import ClaimResult, Contrast, Figures, is_less, is_more, tabulate
from claims_lab.lab import open_world
from claims_lab.pictures import draw_arms

from filters.verify import verify
from generators.embedded import BUNDLED, LoadedModel, load_model, render_chat
from generators.records import ProceduralCheck, Prompt
from generators.seeds import load_examples, load_seeds
from trainers.contexts import put_examples
from trainers.rollouts import sample_rollouts
from trainers.settings import RolloutSettings, TrainSettings
from trainers.signal_settings import ContextSignal, Put, Refresh
from trainers.train import train_student

SEEDS = Path(__file__).parents[2] / "seeds"
EXAMPLES = SEEDS / "examples" / "arithmetic.jsonl"
PUTS: tuple[Put, ...] = get_args(Put)
NEW_TOKENS, BATCH = 24, 24
EVERY = 2
"""Of the held-out prompts, one in so many is asked."""
TEACHING = TrainSettings(
    objective="forward",
    rollouts=RolloutSettings(max_new_tokens=12),
    learning_rate=2e-5,
    warmup=0.1,
    batch_size=12,
    max_steps=24,
    max_length=160,
    save_steps=1_000_000,
)
REFRESH = Refresh(mode="copy", every=8)


def run(seeds: Sequence[int]) -> ClaimResult:
    with using_all_cores():
        before = measure(load_model(BUNDLED, "auto"))
        shown = {put: measure(load_model(BUNDLED, "auto"), put) for put in PUTS}
"""
"""
