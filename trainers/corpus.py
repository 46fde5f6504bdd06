"""Texts beside rollouts: MiniLLM's language-modelling loss (Gu et al. 2024, L_PT).

A student that learns from its own completions alone may forget what these never touch. So each
batch has some windows of a corpus beside it, and their cross-entropy is added to its loss. Which
windows they are depends on seed, step and batch alone: a training that goes on from a checkpoint
reads what it would have read.
"""

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from generators.clients import draw_seed
from trainers.added_losses import CorpusSettings
from trainers.rows import TokenRow, collate, find_parquet_files


class Corpus:
    """Windows of text, dealt out to the batches of each accumulation window."""

    def __init__(
        self,
        rows: Sequence[TokenRow],
        settings: CorpusSettings,
        *,
        batches: int,
        pad_id: int,
        seed: int,
        place: tuple[int, int] = (0, 1),
    ) -> None:
        """`rows` are of `trainers.text_rows`; a step has `batches` batches or, at an epoch's end,
        fewer. `place` is this process's number, and how many there are."""
        self.rows, self.weight, self.size = rows, settings.weight, settings.rows
        self.batches, self.pad_id, self.seed, self.place = batches, pad_id, seed, place
        self.tokens = 0
        """Targets of the window that is open, on all processes."""
        self._waiting: list[list[TokenRow]] = []
        self._order: tuple[int, list[int]] = (-1, [])

    def open_window(self, step: int, batches: int) -> None:
        """Choose what the batches of a step will have beside them."""
        process, processes = self.place
        first = step * self.batches * processes
        dealt = [self._choose(first + i) for i in range(batches * processes)]
        self.tokens = sum(len(row.input_ids) - row.prompt_length for rows in dealt for row in rows)
        self._waiting = dealt[process::processes]

    def take(self) -> dict[str, Tensor]:
        """The next batch's texts, as a batch of `trainers.rows.collate`."""
        return collate(self._waiting.pop(0), pad_id=self.pad_id)

    def _choose(self, number: int) -> list[TokenRow]:
        """All texts come once before any comes again, each time in another order."""
        chosen = []
        for place in range(number * self.size, (number + 1) * self.size):
            turn, i = divmod(place, len(self.rows))
            chosen.append(self.rows[self._shuffle(turn)[i]])
        return chosen

    def _shuffle(self, turn: int) -> list[int]:
        if self._order[0] != turn:
            order = list(range(len(self.rows)))
            random.Random(draw_seed("corpus", self.seed, turn)).shuffle(order)
            self._order = (turn, order)
        return self._order[1]


def hash_texts(path: Path) -> str:
    """SHA-256 of the files that `trainers.text_rows` reads there."""
    hashed = hashlib.sha256()
    folder = sorted(path.glob("*.jsonl")) if path.is_dir() else []
    for file in folder or find_parquet_files(path):
        hashed.update(file.read_bytes())
    return hashed.hexdigest()
