"""How a student stands to its teacher while it is trained, and what its own samples are like.

On given rows: KL both ways, top-1 agreement, and how far confidence can be trusted: the expected
calibration error of the first choice (Guo et al. 2017),

    ECE = Σ_b |B_b|/N · |accuracy(B_b) - confidence(B_b)|       over bins b of equal width

On the student's samples: how likely the teacher finds them. That figure alone rewards a student
that repeats itself, for nothing is more likely than what stood there before; so it is never given
without length, distinct n-grams (Li et al. 2016), repetition within a sample (Welleck et al. 2020)
and the share of samples that came to an end.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from generators.errors import ConfigError
from generators.records import Record
from trainers.logits import batch_by_length, compute_logits, find_predicting_positions
from trainers.losses import cross_entropy, divergence
from trainers.rows import TokenRow, collate

BATCH_TARGETS = 512
"""Targets whose logits are held at once, unless one row has more."""
SLICE = 64
"""Targets whose distributions are compared at once."""
REPEATED = 4
"""The length of the n-grams that repetition is counted by."""


class StudentScore(Record):
    """A student beside its teacher, at the targets of given rows."""

    tokens: int
    nll: float
    """Mean negative log-likelihood of the targets, in nats per token."""
    forward_kl: float
    """Mean KL(teacher ‖ student), in nats per token."""
    reverse_kl: float
    """Mean KL(student ‖ teacher), in nats per token."""
    agreement: float
    """The share of targets at which both have the same first choice."""
    ece: float
    """Expected calibration error of the student's first choice."""


class SampleScore(Record):
    """What a student writes, and what its teacher thinks of it."""

    samples: int
    teacher_nll: float | None
    """Mean over all tokens, in nats; low for good text and for repetition alike. None where no
    sample has a token, or there is no teacher."""
    mean_length: float
    """Tokens per sample, the end token included."""
    distinct: dict[int, float]
    """Distinct n-grams over all n-grams of all samples, by n; 0 where no sample has any."""
    repetition: float
    """The share of a sample's 4-grams that stood in it before; mean over the samples with any."""
    eos_rate: float
    """The share of samples that came to an end of their own."""


def measure_student(
    student: Any, teacher: Any, rows: Sequence[TokenRow], *, vocabulary_size: int, bins: int = 15
) -> StudentScore:
    """Read rows with both models, which share a vocabulary of so many ids.

    Every target counts alike, whatever its row's weight. Raises ConfigError where there is none.
    """
    totals = torch.zeros(4, dtype=torch.float64)
    confidences, hits = [], []
    with _evaluating(student, teacher):
        for batch in _batch_rows(rows):
            student_NV, labels_N = _read(student, batch, vocabulary_size)
            teacher_NV, _ = _read(teacher, batch, vocabulary_size)
            for start in range(0, len(labels_N), SLICE):
                part = slice(start, start + SLICE)
                q_NV, labels = student_NV[part].float(), labels_N[part]
                p_NV = teacher_NV[part].float().to(q_NV.device)
                confidence_N, choice_N = q_NV.softmax(dim=-1).max(dim=-1)
                totals += torch.stack(
                    [
                        cross_entropy(q_NV, labels).sum(),
                        divergence(q_NV, p_NV, "forward").sum(),
                        divergence(q_NV, p_NV, "reverse").sum(),
                        (choice_N == p_NV.argmax(dim=-1)).sum(),
                    ]
                ).to(totals)
                confidences.append(confidence_N.cpu())
                hits.append((choice_N == labels).cpu())
    if not confidences:
        raise ConfigError("no rows to measure the student on: give at least one with a completion")
    tokens = sum(map(len, confidences))
    nll, forward, reverse, agreement = (totals / tokens).tolist()
    return StudentScore(
        tokens=tokens,
        nll=nll,
        forward_kl=forward,
        reverse_kl=reverse,
        agreement=agreement,
        ece=compute_ece(torch.cat(confidences), torch.cat(hits), bins=bins),
    )


def measure_samples(
    samples: Sequence[TokenRow], ended: Sequence[bool], teacher: Any, *, vocabulary_size: int
) -> SampleScore:
    """Score what a student wrote: rows of prompt and completion, and whether each came to an end,
    in which case its last token is the end token and no part of its n-grams. Without a teacher
    (None) nobody says how likely it is.

    Raises ConfigError where there are no samples, or not one word on each.
    """
    if not samples or len(samples) != len(ended):
        raise ConfigError(
            f"{len(samples)} samples and {len(ended)} words on whether they ended:"
            " give one for each, and at least one sample"
        )
    texts = [
        row.input_ids[row.prompt_length : len(row.input_ids) - end]
        for row, end in zip(samples, ended, strict=True)
    ]
    return SampleScore(
        samples=len(samples),
        teacher_nll=None if teacher is None else _find_nll(teacher, samples, vocabulary_size),
        mean_length=fmean(len(row.input_ids) - row.prompt_length for row in samples),
        distinct={n: compute_distinct(texts, n) for n in (1, 2, 3)},
        repetition=compute_repetition(texts),
        eos_rate=sum(ended) / len(ended),
    )


def _find_nll(model: Any, rows: Sequence[TokenRow], vocabulary_size: int) -> float | None:
    nll, tokens = 0.0, 0
    with _evaluating(model):
        for batch in _batch_rows(rows):
            logits_NV, labels_N = _read(model, batch, vocabulary_size)
            tokens += len(labels_N)
            for start in range(0, len(labels_N), SLICE):
                part = slice(start, start + SLICE)
                nll += cross_entropy(logits_NV[part].float(), labels_N[part]).sum().item()
    return nll / tokens if tokens else None


def compute_ece(confidence_N: Tensor, correct_N: Tensor, *, bins: int = 15) -> float:
    """Expected calibration error of N choices: how sure each was, and whether it was right. Bins
    of equal width take in their upper end; empty ones count nothing."""
    confidence_N = confidence_N.double()
    bin_N = (confidence_N * bins).ceil().long().sub(1).clamp(0, bins - 1)
    gap_N = correct_N.double() - confidence_N
    gaps_B = torch.zeros(bins, dtype=torch.float64).index_add(0, bin_N, gap_N)
    return gaps_B.abs().sum().item() / len(confidence_N)


def compute_distinct(texts: Sequence[Sequence[int]], n: int) -> float:
    """Distinct n-grams of all texts together over their number; 0 where there are none."""
    grams = [gram for text in texts for gram in _list_grams(text, n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def compute_repetition(texts: Sequence[Sequence[int]], n: int = REPEATED) -> float:
    """Mean over the texts of n tokens or more of 1 - distinct n-grams / n-grams, each on its own;
    0 where there are none."""
    shares = [compute_distinct([text], n) for text in texts if len(text) >= n]
    return 1 - sum(shares) / len(shares) if shares else 0.0


def _list_grams(text: Sequence[int], n: int) -> list[tuple[int, ...]]:
    return [tuple(text[i : i + n]) for i in range(len(text) - n + 1)]


def _batch_rows(rows: Sequence[TokenRow]) -> Iterator[list[TokenRow]]:
    """Rows of like length and few targets; those without any are left out."""
    rows = [row for row in rows if _count_targets(row)]
    for places in batch_by_length([len(row.input_ids) for row in rows]):
        batch: list[TokenRow] = []
        targets = 0
        for row in (rows[i] for i in places):
            if batch and targets + _count_targets(row) > BATCH_TARGETS:
                yield batch
                batch, targets = [], 0
            batch.append(row)
            targets += _count_targets(row)
        yield batch


def _count_targets(row: TokenRow) -> int:
    """A first token is predicted from nothing, so it is no target."""
    return len(row.input_ids) - max(row.prompt_length, 1)


@torch.no_grad()
def _read(model: Any, rows: Sequence[TokenRow], vocabulary_size: int) -> tuple[Tensor, Tensor]:
    """Logits [N, V] at the N targets of these rows, and the targets."""
    inputs = {name: each.to(model.device) for name, each in collate(rows, pad_id=0).items()}
    positions_BT = find_predicting_positions(inputs["labels"])
    logits_NV = compute_logits(model, inputs["input_ids"], inputs["attention_mask"], positions_BT)
    labels_N = inputs["labels"][:, 1:][positions_BT[:, :-1]]
    return logits_NV[:, :vocabulary_size], labels_N


@contextmanager
def _evaluating(*models: Any) -> Iterator[None]:
    """Without dropout; afterwards the models are as they were."""
    training = [model.training for model in models]
    for model in models:
        model.eval()
    try:
        yield
    finally:
        for model, was in zip(models, training, strict=True):
            model.train(was)
