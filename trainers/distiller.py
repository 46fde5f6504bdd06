"""One training step: a thin `transformers.Trainer` around an objective.

    loss = Σ_rows w_row · Σ_t loss_t  /  N

where N counts the target tokens of the whole accumulation window, on all processes: a window cut
into other batches gives the same gradients. Where the student writes its completions itself, they
are written when the window is fetched, so N is known before the first batch is read.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from transformers import Trainer

from trainers.logits import (
    Layout,
    compute_hidden,
    compute_logits,
    find_head_weight,
    find_predicting_positions,
)
from trainers.objectives import CrossEntropy, Objective, Reading
from trainers.processes import average_figures, is_first
from trainers.teachers import TeacherSignal

Batch = dict[str, Tensor]


class Prefixes(Protocol):
    """Where the tokens come from that a step learns from."""

    figures: dict[str, float]
    """What is worth a line in the log, of the last window."""

    def renew(self, batches: list[Batch], *, step: int) -> list[Batch]:
        """A window's batches, with completions of the student's own where it is their turn."""
        ...


@runtime_checkable
class Stateful(Protocol):
    """A part that a checkpoint must keep."""

    def save(self, folder: Path) -> None:
        """Write into a checkpoint's folder what the next step needs."""
        ...

    def restore(self, folder: Path) -> None:
        """Go on from a checkpoint."""
        ...


@runtime_checkable
class Follower(Protocol):
    """A teacher that changes as the student does."""

    def on_step_end(self, step: int) -> bool:
        """Told after each step, from 1 on; returns whether it changed."""
        ...


class Distiller(Trainer):
    """Trains `model` on batches of `trainers.rows.collate`."""

    def __init__(
        self,
        *,
        objective: Objective | None = None,
        teacher: TeacherSignal | None = None,
        prefixes: Prefixes | None = None,
        vocabulary_size: int,
        layout: Layout = "grouped",
        **trainer: Any,
    ) -> None:
        """`trainer` is handed on. Without an objective the loss is cross-entropy (SFT)."""
        super().__init__(**trainer)
        self.objective = objective or CrossEntropy()
        self.teacher = teacher
        self.prefixes = prefixes
        self.vocabulary_size = vocabulary_size
        self.layout: Layout = layout
        self.model_accepts_loss_kwargs = True  # `compute_loss` divides by the window's tokens
        self._window_tokens = 0
        # A sharded head is whole only inside the model's own forward pass.
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        self._fuses = not sharded and find_head_weight(self.model) is not None

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device
    ) -> tuple[list[Batch], Tensor | int | None]:
        """The window's batches, and how many targets they have on all processes."""
        batches, count = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self.prefixes is None or not batches:
            return batches, count
        batches = self.prefixes.renew(batches, step=self.state.global_step)
        return batches, self._get_num_items_in_batch(batches, device)

    def compute_loss(
        self,
        model: Any,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        reading = self.read(model, inputs)
        tokens = len(reading.labels_N) if num_items_in_batch is None else num_items_in_batch
        self._window_tokens = int(tokens)
        weights_N = inputs["weights"][reading.row_N]
        loss_N = self.objective.compute_losses(reading, weights_N, self.state.global_step)
        # every process divides by the tokens of all, and their gradients are averaged afterwards
        loss = (loss_N * weights_N).sum() / tokens * self.accelerator.num_processes
        return (loss, {"states": reading.states_NX}) if return_outputs else loss

    def read(self, model: Any, inputs: Batch) -> Reading:
        """What student and teacher make of a batch."""
        positions_BT = find_predicting_positions(inputs["labels"])
        place = (inputs["input_ids"], inputs["attention_mask"], positions_BT)
        head_VD = None
        if self._fuses:
            states_NX = compute_hidden(model, *place, self.layout)
            head_VD = self.accelerator.unwrap_model(model).get_output_embeddings().weight
        else:
            states_NX = compute_logits(model, *place, self.layout)
        drawn_BT = inputs.get("drawn")
        return Reading(
            states_NX=states_NX,
            head_VD=head_VD,
            labels_N=inputs["labels"][:, 1:][positions_BT[:, :-1]],
            row_N=positions_BT.nonzero()[:, 0],
            vocabulary_size=self.vocabulary_size,
            teacher=None if self.teacher is None else self.teacher.read(*place),
            drawn_N=None if drawn_BT is None else drawn_BT[:, 1:][positions_BT[:, :-1]],
        )

    def tell_step(self, step: int) -> None:
        """Tell the teacher that a step is over."""
        if isinstance(self.teacher, Follower):
            self.teacher.on_step_end(step)

    def save_parts(self, checkpoint: Path) -> None:
        """Keep with a checkpoint what teacher and prefixes need to go on from it."""
        parts = (self.teacher, self.prefixes) if is_first() else (self.prefixes,)
        for part in parts:
            if isinstance(part, Stateful):
                part.save(checkpoint)

    def restore_parts(self, checkpoint: Path) -> None:
        """Have teacher and prefixes go on from a checkpoint."""
        for part in (self.teacher, self.prefixes):
            if isinstance(part, Stateful):
                part.restore(checkpoint)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the target tokens of the step's window, and what is told of its prefixes."""
        if "loss" in logs:
            logs["tokens"] = self._window_tokens
            logs |= average_figures(self.prefixes.figures) if self.prefixes is not None else {}
        super().log(logs, start_time)
