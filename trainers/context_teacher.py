"""The student as its own teacher: its weights, with worked examples before each prompt.

Context distillation (Snell et al. 2022; Askell et al. 2021): p is the student's own distribution
given the examples C and the prompt x, q the same without C, and q is taught to say unasked what p
says when it is shown how. p is taken by a copy of the weights that is refreshed every so many
steps, or never:

    fixed    the weights that training began with
    copy     every N steps: teacher = student
    ema      every N steps: teacher = decay · teacher + (1 - decay) · student

With no examples the teacher reads what the student reads, so the loss is 0 after every copy.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from generators.embedded import render_chat
from generators.errors import ConfigError, InputError
from generators.records import Message
from trainers.row_keys import PromptIds, ReadRow, strip_padding
from trainers.rows import TokenRow, collate
from trainers.signal_settings import Refresh
from trainers.targets import Targets
from trainers.teachers import LocalTeacher

WEIGHTS = "context_teacher.safetensors"
Shown = str | Sequence[Message]
"""A prompt with its examples: raw text, or the turns of a chat."""


class ShownPrompt(NamedTuple):
    """A prompt as a row has it, and as the teacher sees it."""

    messages: Sequence[Message]
    shown: Shown
    tools: Sequence[dict[str, Any]] = ()
    """Offered in both."""


class ContextTeacher:
    """A `trainers.teachers.TeacherSignal` made of the student itself.

    `on_step_end` is to be called after every step, and `save` with every checkpoint: the weights
    of the last refresh cannot be had from the student's.
    """

    def __init__(
        self,
        student: Any,
        vocabulary_size: int,
        contexts: Mapping[PromptIds, PromptIds],
        refresh: Refresh,
        *,
        autocast: torch.dtype | None = None,
    ) -> None:
        """`contexts` is what `map_contexts` gives. `student` is the model that is trained, whole in
        every process; `autocast` what its forward passes compute in, so that rounding is no
        difference either. Raises ConfigError where an average could not be kept: the steps of one
        are lost in bfloat16 weights."""
        if refresh.mode == "ema" and any(_is_coarse(each) for each in student.parameters()):
            raise ConfigError(
                "refresh.mode ema: the student's weights are 16 bits, in which an average stands"
                " still; load it in float32 (bfloat16 autocast is fine), or choose copy"
            )
        self.refresh = refresh
        self._student = student
        self._contexts = contexts
        self._autocast = autocast
        self._teacher = LocalTeacher(copy.deepcopy(student), vocabulary_size)

    def read(
        self, input_ids_BT: Tensor, attention_mask_BT: Tensor, positions_BT: Tensor
    ) -> Targets:
        """What the teacher says at the same tokens of the rows, which stand behind the examples.

        Raises InputError for a prompt without a context, and where a row with its examples is
        longer than the model reads.
        """
        rows = strip_padding(input_ids_BT, attention_mask_BT, positions_BT)
        shown = [self._show(row) for row in rows if row.positions]
        batch = collate([TokenRow(row.ids, 0) for row in shown], pad_id=0)
        asked_BT = torch.zeros_like(batch["input_ids"], dtype=torch.bool)
        for b, row in enumerate(shown):
            asked_BT[b, row.positions] = True
        device = input_ids_BT.device
        kind = torch.autocast(device.type, self._autocast) if self._autocast else nullcontext()
        with kind:
            return self._teacher.read(
                batch["input_ids"].to(device),
                batch["attention_mask"].to(device),
                asked_BT.to(device),
            )

    def on_step_end(self, step: int) -> bool:
        """Refresh the teacher if this step is due; returns whether it was."""
        every = self.refresh.every
        if every is None or step % every:
            return False
        self._follow(self.refresh.decay or 0.0)
        return True

    def save(self, folder: Path) -> None:
        """Write the teacher's weights into a checkpoint's folder; one process of several does."""
        from safetensors.torch import save_model

        save_model(self._teacher.model, str(folder / WEIGHTS))

    def restore(self, folder: Path) -> None:
        """Take the weights of a checkpoint. Raises InputError where it has none."""
        from safetensors.torch import load_model

        if not (folder / WEIGHTS).is_file():
            raise InputError(
                f"{folder / WEIGHTS}: is missing, so the teacher of this training is lost.\n"
                "Delete the checkpoint and train from the beginning."
            )
        load_model(self._teacher.model, folder / WEIGHTS)

    @torch.no_grad()
    def _follow(self, decay: float) -> None:
        followed = dict(self._student.named_parameters())
        for name, own in self._teacher.model.named_parameters():  # tied weights come once
            own.lerp_(followed[name].to(own.device), 1 - decay)
        buffers = dict(self._student.named_buffers())
        for name, own in self._teacher.model.named_buffers():
            own.copy_(buffers[name])

    def _show(self, row: ReadRow) -> ReadRow:
        """The row with its prompt's examples, and the same positions in it."""
        context = self._contexts.get(row.prompt)
        if context is None:
            raise InputError(
                f"a prompt of {len(row.prompt)} tokens has no context, so no teacher reads it.\n"
                "Give the contexts of all prompts that are trained on (map_contexts)."
            )
        moved = len(context) - len(row.prompt)
        ids = [*context, *row.ids[len(row.prompt) :]]
        window = self._teacher.model.config.max_position_embeddings
        if len(ids) > window:
            raise InputError(
                f"a row of {len(row.ids)} tokens is {len(ids)} with its examples, and the model"
                f" reads {window}.\nGive fewer examples, or lower max_length."
            )
        return ReadRow(ids, [position + moved for position in row.positions])


def map_contexts(prompts: Iterable[ShownPrompt], tokenizer: Any) -> dict[PromptIds, PromptIds]:
    """For each prompt's tokens, those of the prompt as the teacher sees it.

    A prompt's turns are written as `trainers.rows` writes them; with its examples it is a chat
    (`show_turns`), or raw text that the completion goes on from.
    """
    found: dict[PromptIds, PromptIds] = {}
    for messages, shown, tools in prompts:
        text = shown if isinstance(shown, str) else render_chat(tokenizer, shown, tools)
        own = render_chat(tokenizer, messages, tools)
        found[_encode(tokenizer, own)] = _encode(tokenizer, text)
    return found


def show_turns(messages: Sequence[Message], examples: Sequence[Message]) -> list[Message]:
    """Put the examples' turns in front of a prompt's, behind its system turn if it has one."""
    system = 1 if messages and messages[0].role == "system" else 0
    return [*messages[:system], *examples, *messages[system:]]


def _encode(tokenizer: Any, text: str) -> PromptIds:
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def _is_coarse(parameter: Tensor) -> bool:
    return parameter.is_floating_point() and torch.finfo(parameter.dtype).bits < 32
