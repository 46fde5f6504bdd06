"""Whose tokens a step learns from: the data's, the student's own, or some of each.

GKD's λ (Agarwal et al. 2024) is the share of rows whose completion the student writes, from the
weights that it has at that step. All rows of an accumulation window are written together, before
its first batch is read, so that the window's tokens are known and generation is batched well.
"""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from generators.clients import draw_seed
from generators.decoding import Mixture
from generators.embedded import Precision
from trainers.rollouts import (
    ReplayBuffer,
    Rollout,
    choose_student_prefixes,
    sample_rollouts,
    seed_rollouts,
)
from trainers.rows import TokenRow, collate
from trainers.served_student import ServedStudent
from trainers.settings import RolloutSettings

BUFFER = "rollouts.json"


class StudentPrefixes:
    """Renews windows of batches with completions of the student's own."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        settings: RolloutSettings,
        *,
        pad_id: int,
        max_length: int,
        seed: int,
        precision: Precision,
        teacher: Any = None,
        place: tuple[int, int] = (0, 1),
        served: ServedStudent | None = None,
    ) -> None:
        """`teacher` is the model that writes along where `teacher_mix` says so. `place` is this
        process's number, and how many there are. `served` writes in the place of the model here."""
        self.model, self.tokenizer, self.settings = model, tokenizer, settings
        self.pad_id, self.max_length, self.seed = pad_id, max_length, seed
        self.precision: Precision = precision
        self.place = place
        self.served = served
        self.mixture = Mixture(teacher, settings.teacher_mix) if settings.teacher_mix else None
        self.buffer = ReplayBuffer(settings.buffer, settings.max_age) if settings.buffer else None
        self.figures: dict[str, float] = {}
        """Of what was written for the last window: `rollout_tokens` on average, the share that
        ended (`rollouts_ended`), and those of a server."""

    def renew(self, batches: list[dict[str, Tensor]], *, step: int) -> list[dict[str, Tensor]]:
        """The batches with other completions where it is the student's turn; `drawn` [B, T] has
        the log-probabilities under which their tokens were drawn, 0 elsewhere."""
        rows = [row for batch in batches for row in split_batch(batch)]
        numbers = number_rows([len(batch["input_ids"]) for batch in batches], self.place)
        own = choose_student_prefixes(self.settings.share, self.seed, step, numbers)
        # A row without a completion has nothing else to learn from.
        chosen = [i for i, row in enumerate(rows) if own[i] or row.prompt_length == len(row[0])]
        written = dict(zip(chosen, self._write(rows, chosen, numbers, step), strict=True))
        device = batches[0]["input_ids"].device
        renewed, start = [], 0
        for batch in batches:
            end = start + len(batch["input_ids"])
            pairs = [(rows[i], written.get(i)) for i in range(start, end)]
            renewed.append({k: v.to(device) for k, v in self._collate(pairs).items()})
            start = end
        return renewed

    def _write(
        self, rows: Sequence[TokenRow], chosen: Sequence[int], numbers: Sequence[int], step: int
    ) -> list[Rollout]:
        old = self._draw_old(len(chosen), step)
        fresh = chosen[: len(chosen) - len(old)]
        prompts = [rows[i].input_ids[: rows[i].prompt_length] for i in fresh]
        seeds = seed_rollouts(self.seed, step, [numbers[i] for i in fresh])
        rollouts = self._sample(prompts, seeds, [rows[i].weight for i in fresh], step)
        self.figures = dict(self.served.figures) if self.served is not None else {}
        if rollouts:
            lengths = [len(one.log_probs) for one in rollouts]
            self.figures |= {
                "rollout_tokens": sum(lengths) / len(lengths),
                "rollouts_ended": sum(one.ended for one in rollouts) / len(rollouts),
            }
        if self.buffer is not None:
            self.buffer.add(rollouts, step)
        return [*rollouts, *old]

    def _sample(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[int],
        weights: Sequence[float],
        step: int,
    ) -> list[Rollout]:
        if self.served is not None:
            return self.served.sample(prompts, seeds, weights=weights, step=step)
        return sample_rollouts(
            self.model,
            self.tokenizer,
            prompts,
            seeds,
            max_new_tokens=self.settings.max_new_tokens,
            max_length=self.max_length,
            temperature=self.settings.temperature,
            top_p=self.settings.top_p,
            mixture=self.mixture,
            weights=weights,
            precision=self.precision,
        )

    def _draw_old(self, count: int, step: int) -> list[Rollout]:
        if self.buffer is None:
            return []
        rng = random.Random(draw_seed("replay", self.seed, step, self.place[0]))
        return self.buffer.draw(round(self.settings.reuse * count), rng, step=step)

    def _collate(self, pairs: Sequence[tuple[TokenRow, Rollout | None]]) -> dict[str, Tensor]:
        rows = [row if rollout is None else rollout.row for row, rollout in pairs]
        batch = collate(rows, pad_id=self.pad_id)
        drawn_BT = torch.zeros(batch["input_ids"].shape)
        for b, (_, rollout) in enumerate(pairs):
            if rollout is not None:
                start, drawn = rollout.row.prompt_length, rollout.behaviour_log_probs
                drawn_BT[b, start : start + len(drawn)] = torch.tensor(drawn)
        return batch | {"drawn": drawn_BT}

    def close(self) -> None:
        """Stop a server that writes."""
        if self.served is not None:
            self.served.close()

    def save(self, folder: Path) -> None:
        """Keep beside a checkpoint what the next step needs."""
        if self.buffer is not None:
            text = json.dumps(self.buffer.state_dict())
            (folder / f"{self.place[0]}-{BUFFER}").write_text(text)

    def restore(self, folder: Path) -> None:
        """Go on from a checkpoint."""
        if self.buffer is not None:
            text = (folder / f"{self.place[0]}-{BUFFER}").read_text()
            self.buffer.load_state_dict(json.loads(text))


def number_rows(sizes: Sequence[int], place: tuple[int, int]) -> list[int]:
    """The numbers of a process's rows within the window of all processes, which are dealt batch by
    batch in turn: those that the rows have where one process reads them in larger batches."""
    process, processes = place
    numbers, start = [], 0
    for size in sizes:
        own = start + process * size
        numbers += range(own, own + size)
        start += processes * size
    return numbers


def split_batch(batch: dict[str, Tensor]) -> list[TokenRow]:
    """The rows of a batch of `trainers.rows.collate`."""
    rows = []
    for ids_T, mask_T, labels_T, weight in zip(
        batch["input_ids"],
        batch["attention_mask"],
        batch["labels"],
        batch["weights"].tolist(),
        strict=True,
    ):
        length = int(mask_T.sum())
        targets = int((labels_T != -100).sum())
        rows.append(TokenRow(ids_T[:length].tolist(), length - targets, weight))
    return rows
