"""Distillation between vocabularies that differ: two losses, neither of them a token-level KL.

`universal_logit_distance` (ULD, Boizard et al. 2024) takes the i-th target of the student with the
i-th of the teacher, as many as both have, and compares the two distributions by their sorted
probabilities:

    L_i = Σ_r |q_(r) - p_(r)|       the shorter vocabulary filled up with zeros

It is 0 for distributions of one shape, whatever tokens they are about, so it needs cross-entropy
beside it, as in the paper.

`chunk_divergence` (after ALM, Minixhofer et al. 2025) compares how likely both think the same bytes
to be. A text is cut where both tokenizations have a boundary (`trainers.byte_alignment`), and with
p and q the products of teacher's and student's token probabilities over a chunk,

    L_c = τ · KL( Bernoulli(p^(1/τ)) ‖ Bernoulli(q^(1/τ)) )

With one tokenizer, chunks are tokens. At large τ this is a·ln(a/b) - a + b, where a = -ln p and
b = -ln q, so that unlikely chunks teach as well as likely ones; the paper takes τ = 100. (The
factor τ, not the paper's, keeps the value from vanishing.) A chunk's probability depends a little
on where a tokenizer may go on; that bias is left in.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from generators.errors import ConfigError, InputError
from trainers.byte_alignment import Alignment, Span, align_completion
from trainers.rows import TokenRow, UnusableRow, encode_row

CERTAIN = 1e-6
"""The least surprisal of a chunk, in nats: below, probabilities are 1 in single precision."""


class AlignedRow(NamedTuple):
    """One prompt and answer as student and as teacher read them; each has its own chat template.
    The targets of the two rows are the ids of the alignment."""

    student: TokenRow
    teacher: TokenRow
    alignment: Alignment


class AlignedRows(NamedTuple):
    rows: list[AlignedRow]
    skipped: dict[str, int]
    """How many rows were left out, by reason."""
    checks: Sequence[str | None] = ()
    """Each row's check as JSON, if it has one."""


class ChunkIndex(NamedTuple):
    """Which chunk of a batch each target belongs to; targets are in row-major order."""

    student_N: Tensor
    teacher_M: Tensor
    row_C: Tensor
    """The row of each chunk."""


class TargetPairs(NamedTuple):
    """The P pairs of targets at equal places of their answers, as places among a batch's N and M
    targets."""

    student_P: Tensor
    teacher_P: Tensor
    row_P: Tensor
    """The row of each pair."""


def universal_logit_distance(
    student_logits_PV: Tensor, teacher_logits_PW: Tensor, *, temperature: float = 1.0
) -> Tensor:
    """ULD of each pair of distributions: [P, V] and [P, W] to [P], from 0 to 2. The teacher's
    logits take no gradient, and may lie on another device."""
    _check_temperature(temperature)
    q_PV = functional.softmax(student_logits_PV / temperature, dim=-1)
    p_PW = functional.softmax(teacher_logits_PW.detach().to(q_PV) / temperature, dim=-1)
    q_PV, p_PW = (each.sort(dim=-1, descending=True).values for each in (q_PV, p_PW))
    width = max(q_PV.shape[-1], p_PW.shape[-1])
    q_PX, p_PX = (functional.pad(each, (0, width - each.shape[-1])) for each in (q_PV, p_PW))
    return (q_PX - p_PX).abs().sum(dim=-1)


def chunk_divergence(
    student_log_probs_C: Tensor, teacher_log_probs_C: Tensor, *, temperature: float = 100.0
) -> Tensor:
    """τ·KL between the two Bernoulli variables of each chunk: [C] and [C] to [C], in nats, never
    below 0 and 0 where both give the chunk one probability. `temperature` is τ. The teacher's
    takes no gradient."""
    _check_temperature(temperature)
    dtype = torch.promote_types(student_log_probs_C.dtype, torch.float32)
    log_q_C, log_p_C = (
        each.to(dtype).clamp_max(-CERTAIN) / temperature
        for each in (student_log_probs_C, teacher_log_probs_C.detach())
    )
    p_C = log_p_C.exp()
    happens_C = p_C * (log_p_C - log_q_C)
    fails_C = -torch.expm1(log_p_C) * (_log_complement(log_p_C) - _log_complement(log_q_C))
    return temperature * (happens_C + fails_C)


def sum_chunks(log_probs_N: Tensor, chunk_N: Tensor, count: int) -> Tensor:
    """The log-probability [C] of each of `count` chunks, from those of its tokens."""
    return log_probs_N.new_zeros(count).index_add(0, chunk_N.to(log_probs_N.device), log_probs_N)


def index_chunks(alignments: Sequence[Alignment]) -> ChunkIndex:
    """Number the chunks of a batch's rows, and say which each target belongs to."""
    student: list[int] = []
    teacher: list[int] = []
    rows: list[int] = []
    for row, alignment in enumerate(alignments):
        student += _number(alignment.student_spans, len(rows))
        teacher += _number(alignment.teacher_spans, len(rows))
        rows += [row] * len(alignment.student_spans)
    return ChunkIndex(*(torch.tensor(each, dtype=torch.long) for each in (student, teacher, rows)))


def pair_targets(alignments: Sequence[Alignment]) -> TargetPairs:
    """The i-th target of each row's student with the i-th of its teacher, as many as both have."""
    student: list[int] = []
    teacher: list[int] = []
    rows: list[int] = []
    n = m = 0
    for row, alignment in enumerate(alignments):
        shared = min(len(alignment.student_ids), len(alignment.teacher_ids))
        student += range(n, n + shared)
        teacher += range(m, m + shared)
        rows += [row] * shared
        n, m = n + len(alignment.student_ids), m + len(alignment.teacher_ids)
    return TargetPairs(*(torch.tensor(each, dtype=torch.long) for each in (student, teacher, rows)))


def align_rows(
    rows: Iterable[Mapping[str, Any]],
    student_tokenizer: Any,
    teacher_tokenizer: Any,
    *,
    max_length: int,
) -> AlignedRows:
    """Align the rows of a dataset; those that cannot be are left out and counted by reason.

    Raises ConfigError where a tokenizer has no chat template, no end token or no offsets, and
    InputError where no row is left.
    """
    for role, tokenizer in (("student", student_tokenizer), ("teacher", teacher_tokenizer)):
        if not tokenizer.chat_template:
            raise ConfigError(
                f"the {role}'s tokenizer has no chat template, so prompts cannot be written out.\n"
                "Choose an instruction-tuned model, or save a template with its tokenizer."
            )
    aligned: list[AlignedRow] = []
    checks: list[str | None] = []
    skipped: Counter[str] = Counter()
    for row in rows:
        try:
            aligned.append(
                align_row(row, student_tokenizer, teacher_tokenizer, max_length=max_length)
            )
            checks.append(row.get("check"))
        except UnusableRow as unusable:
            skipped[str(unusable)] += 1
    if not aligned:
        reasons = ", ".join(f"{n} {reason}" for reason, n in skipped.items()) or "there are none"
        raise InputError(f"no row to align ({reasons}); give rows with a prompt and an answer")
    return AlignedRows(aligned, dict(skipped), checks)


def align_row(
    row: Mapping[str, Any],
    student_tokenizer: Any,
    teacher_tokenizer: Any,
    *,
    max_length: int,
) -> AlignedRow:
    """One row for both models: the prompt in each one's chat template, the answer's text, the end.

    Neither side may be longer than `max_length` tokens. Raises UnusableRow with the reasons of
    `trainers.rows.load_rows`, or `completion_is_not_plain_text` for tool calls and reasoning, whose
    form is each template's own.
    """
    student = encode_row(row, student_tokenizer, max_length=max_length)
    teacher = encode_row(row, teacher_tokenizer, max_length=max_length)
    answer = row["completion"][0]
    if answer.get("tool_calls") or answer.get("reasoning_content"):
        raise UnusableRow("completion_is_not_plain_text")
    alignment = align_completion(student_tokenizer, teacher_tokenizer, answer["content"])
    student = _replace_targets(student, alignment.student_ids)
    teacher = _replace_targets(teacher, alignment.teacher_ids)
    if max(len(student.input_ids), len(teacher.input_ids)) > max_length:
        raise UnusableRow("longer_than_window")
    return AlignedRow(student, teacher, alignment)


def _replace_targets(row: TokenRow, targets: list[int]) -> TokenRow:
    """What a template writes around an answer is its own; the models are compared on the text."""
    return row._replace(input_ids=row.input_ids[: row.prompt_length] + targets)


def _number(spans: Sequence[Span], first: int) -> list[int]:
    return [chunk for chunk, (start, stop) in enumerate(spans, first) for _ in range(start, stop)]


def _log_complement(log_x: Tensor) -> Tensor:
    """ln(1 - x) for ln x < 0."""
    return torch.log(-torch.expm1(log_x))


def _check_temperature(temperature: float) -> None:
    if not 0 < temperature < float("inf"):
        raise ConfigError(f"temperature {temperature}: must be above 0 and finite")
