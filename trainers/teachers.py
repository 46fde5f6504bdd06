"""Where the teacher's distribution comes from, and who may teach whom token by token.

A `TeacherSignal` says what the teacher thinks of the tokens the student is trained on. Token-level
distillation compares probabilities id by id, so it is refused unless teacher and student map the
same ids to the same strings; equal sizes prove nothing. Models often carry more embedding rows
than their tokenizer has tokens (Qwen's 152,064 for 151,669): that padding is sliced off.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from generators.embedded import Precision, load_model
from generators.errors import ConfigError
from trainers.hidden_states import compute_with_layers
from trainers.logits import compute_hidden, compute_logits, find_head_weight
from trainers.targets import HeadStates, Targets


class TeacherSignal(Protocol):
    """What a teacher thinks of the tokens a student is trained on."""

    def read(
        self, input_ids_BT: Tensor, attention_mask_BT: Tensor, positions_BT: Tensor
    ) -> Targets:
        """What it says of the next token at the N positions that are True, in row-major order and
        without gradient, of the ids that the tokenizer knows. Rows are padded on the right."""
        ...


class LayeredTargets(NamedTuple):
    """What one reading of a teacher gives."""

    targets: Targets
    layers: dict[int, Tensor]
    """The output [N, D] of each layer asked for."""


class LocalTeacher:
    """A teacher whose weights are in this process."""

    def __init__(self, model: Any, vocabulary_size: int) -> None:
        self.model = model.eval().requires_grad_(False)
        self.vocabulary_size = vocabulary_size
        self._head_VD = find_head_weight(model)

    @torch.no_grad()
    def read(
        self, input_ids_BT: Tensor, attention_mask_BT: Tensor, positions_BT: Tensor
    ) -> Targets:
        """Hidden states and head; logits where something follows the head."""
        if self._head_VD is None:
            return self.compute_logits(input_ids_BT, attention_mask_BT, positions_BT)
        hidden_ND = compute_hidden(self.model, input_ids_BT, attention_mask_BT, positions_BT)
        return HeadStates(hidden_ND, self._head_VD[: self.vocabulary_size])

    @torch.no_grad()
    def read_with_layers(
        self,
        input_ids_BT: Tensor,
        attention_mask_BT: Tensor,
        positions_BT: Tensor,
        layers: Sequence[int],
    ) -> LayeredTargets:
        """What `read` gives, and these layers' outputs there, from the same forward pass."""
        head_VD = self._head_VD
        read_NX, states = compute_with_layers(
            self.model,
            input_ids_BT,
            attention_mask_BT,
            positions_BT,
            layers,
            read=compute_logits if head_VD is None else compute_hidden,
        )
        if head_VD is None:
            return LayeredTargets(read_NX[:, : self.vocabulary_size], states)
        return LayeredTargets(HeadStates(read_NX, head_VD[: self.vocabulary_size]), states)

    @torch.no_grad()
    def compute_logits(
        self, input_ids_BT: Tensor, attention_mask_BT: Tensor, positions_BT: Tensor
    ) -> Tensor:
        """Logits [N, V] at the N positions that are True."""
        logits_NV = compute_logits(self.model, input_ids_BT, attention_mask_BT, positions_BT)
        return logits_NV[:, : self.vocabulary_size]


def load_teacher(
    name: str, student: Any, student_tokenizer: Any, *, precision: Precision = "auto"
) -> LocalTeacher:
    """Load a teacher for this student. Raises ConfigError if their vocabularies differ."""
    model, tokenizer = load_model(name, precision)
    check_same_vocabulary(tokenizer, student_tokenizer)
    size = count_ids(student_tokenizer)
    for role, each in (("teacher", model), ("student", student)):
        check_width(each, size, role)
    return LocalTeacher(model.to(student.device), size)


def check_same_vocabulary(teacher_tokenizer: Any, student_tokenizer: Any) -> None:
    """Raise ConfigError, naming the first difference, unless both map ids to strings alike."""
    teacher, student = _map_ids(teacher_tokenizer), _map_ids(student_tokenizer)
    for id in sorted(teacher.keys() | student.keys()):
        if teacher.get(id) != student.get(id):
            _refuse(id, _describe(teacher.get(id)), _describe(student.get(id)))
    teacher_special, student_special = (
        _list_special(teacher_tokenizer),
        _list_special(student_tokenizer),
    )
    for id in sorted(teacher_special ^ student_special):
        states = {True: f"{teacher[id]!r}, a special token", False: f"{teacher[id]!r}, no special"}
        _refuse(id, states[id in teacher_special], states[id in student_special])


def share_vocabulary(teacher_tokenizer: Any, student_tokenizer: Any) -> bool:
    """Whether both map ids to strings alike."""
    try:
        check_same_vocabulary(teacher_tokenizer, student_tokenizer)
    except ConfigError:
        return False
    return True


def check_width(model: Any, vocabulary_size: int, role: str) -> None:
    """Raise ConfigError if the model's head has fewer rows than the tokenizer has ids."""
    rows = model.get_output_embeddings().weight.shape[0]
    if rows < vocabulary_size:
        raise ConfigError(
            f"the {role} has logits for {rows:,} ids, its tokenizer knows {vocabulary_size:,}.\n"
            "The model folder and its tokenizer do not belong together."
        )


def count_ids(tokenizer: Any) -> int:
    """One more than the highest id the tokenizer knows."""
    return max(_map_ids(tokenizer)) + 1


def _map_ids(tokenizer: Any) -> dict[int, str]:
    return {id: token for token, id in tokenizer.get_vocab().items()}


def _list_special(tokenizer: Any) -> set[int]:
    return {id for id, token in tokenizer.added_tokens_decoder.items() if token.special}


def _describe(token: str | None) -> str:
    return "no token" if token is None else repr(token)


def _refuse(id: int, teacher: str, student: str) -> None:
    raise ConfigError(
        f"teacher and student do not share a vocabulary: id {id} is {teacher} to the teacher"
        f" and {student} to the student.\n"
        "Token-level distillation compares them id by id: choose a teacher of the student's"
        " family, compare texts (objective: aligned), or train on the teacher's answers"
        " (objective: sft)."
    )
