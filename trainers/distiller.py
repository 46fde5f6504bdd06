"""One training step: a thin `transformers.Trainer` around an objective.

    loss = Σ_rows w_row · Σ_t loss_t  /  N

where N counts the target tokens of the whole accumulation window, on all processes: a window cut
into other batches gives the same gradients. Where the student writes its completions itself, they
are written when the window is fetched, so N is known before the first batch is read.

What is added to an objective has the same form: the distance of hidden states is one more part of
loss_t, and a corpus has a sum, and an N, of its own.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from transformers import Trainer

from trainers.corpus import Corpus
from trainers.cross_teacher import CrossTeacher
from trainers.hidden_matching import HiddenMatching
from trainers.hidden_states import compute_with_layers
from trainers.logits import (
    Layout,
    compute_hidden,
    compute_logits,
    find_head_weight,
    find_predicting_positions,
)
from trainers.minillm import add_corpus_loss
from trainers.objectives import CrossEntropy, Objective, Reading, compute_cross_entropy
from trainers.processes import average_figures, is_first
from trainers.teachers import LocalTeacher, TeacherSignal

Batch = dict[str, Tensor]
Place = tuple[Tensor, Tensor, Tensor]
"""Token ids, attention mask and asked positions of a batch [B, T]."""


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
        teacher: TeacherSignal | CrossTeacher | None = None,
        prefixes: Prefixes | None = None,
        hidden: HiddenMatching | None = None,
        corpus: Corpus | None = None,
        vocabulary_size: int,
        layout: Layout = "grouped",
        **trainer: Any,
    ) -> None:
        """`trainer` is handed on. Without an objective the loss is cross-entropy (SFT)."""
        super().__init__(**trainer)
        self.objective = objective or CrossEntropy()
        self.teacher = teacher
        self.prefixes = prefixes
        self.hidden = hidden
        self.corpus = corpus
        self.vocabulary_size = vocabulary_size
        self.layout: Layout = layout
        self.model_accepts_loss_kwargs = True  # `compute_loss` divides by the window's tokens
        self._window_tokens = 0
        self._figures: dict[str, Tensor] = {}
        # A sharded head is whole only inside the model's own forward pass.
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        self._fuses = not sharded and find_head_weight(self.model) is not None

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The optimizer, which moves the projections of hidden states too, at the same rate."""
        is_new = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if is_new and self.hidden is not None and (weights := self.hidden.parameters):
            decay = self.args.weight_decay
            optimizer.add_param_group({"params": weights, "weight_decay": decay})
            hidden = self.hidden  # the Trainer clears the gradients of its model alone
            optimizer.register_step_post_hook(lambda *_: hidden.matcher.zero_grad())
        return optimizer

    def _clip_grad_norm(self, model: Any) -> Any:
        """Clip the gradients of all that is trained by their common norm, and return that norm.
        `transformers` looks at its model's alone."""
        if self.hidden is None or not self.hidden.parameters:
            return super()._clip_grad_norm(model)
        trained = [*model.parameters(), *self.hidden.parameters]
        return self.accelerator.clip_grad_norm_(trained, self.args.max_grad_norm)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device
    ) -> tuple[list[Batch], Tensor | int | None]:
        """The window's batches, and how many targets they have on all processes."""
        batches, count = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._figures = {}
        if self.corpus is not None:
            self.corpus.open_window(self.state.global_step, len(batches))
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
        if self.hidden is not None and reading.distance_N is not None:
            loss_N = loss_N + self.hidden.weight * reading.distance_N
            self._add_figure("hidden", reading.distance_N.sum() / tokens)
        loss = (loss_N * weights_N).sum() / tokens
        if self.corpus is not None:
            loss = self._add_corpus(model, loss, self.corpus)
        # every process divides by the tokens of all, and their gradients are averaged afterwards
        loss = loss * self.accelerator.num_processes
        return (loss, {"states": reading.states_NX}) if return_outputs else loss

    def read(self, model: Any, inputs: Batch) -> Reading:
        """What student and teacher make of a batch."""
        place = find_place(inputs)
        layers = self.hidden.student_layers if self.hidden is not None else []
        reading, states = self._read_student(model, inputs, place, layers)
        if self.hidden is not None:
            assert isinstance(self.teacher, LocalTeacher)  # no other has layers
            said, followed = self.teacher.read_with_layers(*place, self.hidden.teacher_layers)
            distance_N = self.hidden.measure(states, followed)
            return reading._replace(teacher=said, distance_N=distance_N)
        if isinstance(self.teacher, CrossTeacher):
            return reading._replace(across=self.teacher.read(*place))
        if self.teacher is not None:
            return reading._replace(teacher=self.teacher.read(*place))
        return reading

    def _read_student(
        self, model: Any, inputs: Batch, place: Place, layers: Sequence[int] = ()
    ) -> tuple[Reading, dict[int, Tensor]]:
        """What the student makes of a batch, and what these layers of it say."""
        states_NX, states = compute_with_layers(
            model,
            *place,
            layers,
            read=compute_hidden if self._fuses else compute_logits,
            layout=self.layout,
        )
        head_VD = None
        if self._fuses:
            head_VD = self.accelerator.unwrap_model(model).get_output_embeddings().weight
        positions_BT, drawn_BT = place[2], inputs.get("drawn")
        reading = Reading(
            states_NX=states_NX,
            head_VD=head_VD,
            labels_N=inputs["labels"][:, 1:][positions_BT[:, :-1]],
            row_N=positions_BT.nonzero()[:, 0],
            vocabulary_size=self.vocabulary_size,
            drawn_N=None if drawn_BT is None else drawn_BT[:, 1:][positions_BT[:, :-1]],
        )
        return reading, states

    def _add_corpus(self, model: Any, loss: Tensor, corpus: Corpus) -> Tensor:
        """The loss with the cross-entropy of the texts that stand beside this batch."""
        texts = {name: each.to(loss.device) for name, each in corpus.take().items()}
        reading, _ = self._read_student(model, texts, find_place(texts))
        loss_M = compute_cross_entropy(reading)
        self._add_figure("corpus_nll", loss_M.sum() / corpus.tokens)
        return add_corpus_loss(loss, loss_M, weight=corpus.weight, corpus_tokens=corpus.tokens)

    def _add_figure(self, name: str, value: Tensor) -> None:
        """Sum up what this process has of a figure, over the batches of a window."""
        value = value.detach() * self.accelerator.num_processes
        self._figures[name] = self._figures[name] + value if name in self._figures else value

    def gather_weights(self) -> dict[str, Any] | None:
        """All weights of a sharded student, in the first process; None where each has them all."""
        if not self.is_fsdp_enabled:
            return None
        weights: dict[str, Any] = dict(self.accelerator.get_state_dict(self.model))
        for name in self.accelerator.unwrap_model(self.model).all_tied_weights_keys:
            weights.pop(name, None)  # gathered twice, they no longer look like one
        return weights

    def tell_step(self, step: int) -> None:
        """Tell the teacher that a step is over."""
        if isinstance(self.teacher, Follower):
            self.teacher.on_step_end(step)

    def save_parts(self, checkpoint: Path) -> None:
        """Keep with a checkpoint what the parts need to go on from it."""
        parts = (self.teacher, self.prefixes, self.hidden) if is_first() else (self.prefixes,)
        for part in parts:
            if isinstance(part, Stateful):
                part.save(checkpoint)

    def restore_parts(self, checkpoint: Path) -> None:
        """Have the parts go on from a checkpoint."""
        for part in (self.teacher, self.prefixes, self.hidden):
            if isinstance(part, Stateful):
                part.restore(checkpoint)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the target tokens of the step's window, and what is told of its parts."""
        if "loss" in logs:
            logs["tokens"] = self._window_tokens
            logs |= average_figures(self.prefixes.figures) if self.prefixes is not None else {}
            if self._figures:  # of all processes, or of none
                logs |= average_figures({name: v.item() for name, v in self._figures.items()})
        super().log(logs, start_time)


def find_place(inputs: Batch) -> Place:
    """Where a batch's targets are predicted."""
    positions_BT = find_predicting_positions(inputs["labels"])
    return inputs["input_ids"], inputs["attention_mask"], positions_BT
