"""Completions over three tokens, few enough to list them all, under softmax tables.

Token 0 ends a completion; the third token ends it anyhow. That makes 15 completions and 7 prefixes,
each with a distribution of its own, so any expectation is a sum and any gradient is exact.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

LENGTH, VOCABULARY = 3, 3


class Completions(NamedTuple):
    """All completions [Y, C], padded with 0; `prefix_YC` numbers what each token follows."""

    token_YC: Tensor
    prefix_YC: Tensor
    mask_YC: Tensor


def list_completions() -> Completions:
    prefixes: list[tuple[int, ...]] = [
        p for n in range(LENGTH) for p in itertools.product((1, 2), repeat=n)
    ]
    number = {prefix: i for i, prefix in enumerate(prefixes)}
    ended = [(*p, 0) for p in prefixes]
    full = [(*p, t) for p in prefixes if len(p) == LENGTH - 1 for t in (1, 2)]
    texts = ended + full
    return Completions(
        _pad(texts, 0),
        _pad([[number[text[:t]] for t in range(len(text))] for text in texts], 0),
        _pad([[True] * len(text) for text in texts], False),
    )


def _pad(rows: Sequence[Sequence[int]], filler: int) -> Tensor:
    return torch.tensor([[*row, *[filler] * (LENGTH - len(row))] for row in rows])


ALL = list_completions()
PREFIXES = int(ALL.prefix_YC.max()) + 1


def draw_table(seed: int) -> Tensor:
    """Logits of each prefix's distribution [prefixes, vocabulary]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(PREFIXES, VOCABULARY, generator=generator, dtype=torch.float64) * 1.5


def read_log_probs(table: Tensor) -> Tensor:
    """ln of each token's probability in each completion [Y, C]; nan outside the mask, where
    nothing may look."""
    log_probs_YC = table.log_softmax(-1)[ALL.prefix_YC, ALL.token_YC]
    return torch.where(ALL.mask_YC, log_probs_YC, torch.nan)


def read_probs(table: Tensor) -> Tensor:
    """The probability of each completion [Y], with gradient."""
    return torch.where(ALL.mask_YC, read_log_probs(table), 0).sum(1).exp()


def mix_tables(first: Tensor, second: Tensor, weight: float) -> Tensor:
    """The table of weight·first + (1-weight)·second, token by token."""
    return (weight * first.softmax(-1) + (1 - weight) * second.softmax(-1)).log()


def find_gradient(value: Tensor, table: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(value, table)
    return gradient


def find_exact_gradient(table: Tensor, teacher: Tensor, discount: float = 1.0) -> Tensor:
    """Of Σ_y q(y)·Σ_t discount^t·(ln q - ln p), with q itself differentiated as well."""
    student = table.clone().requires_grad_(True)
    steps_C = discount ** torch.arange(LENGTH, dtype=torch.float64)
    differences_YC = read_log_probs(student) - read_log_probs(teacher)
    totals_Y = torch.where(ALL.mask_YC, differences_YC * steps_C, 0).sum(1)
    return find_gradient((read_probs(student) * totals_Y).sum(), student)


def find_one_step_gradient(table: Tensor, teacher: Tensor) -> Tensor:
    """Of the tokens' own divergences; that prefixes are drawn from q is not differentiated."""
    student = table.clone().requires_grad_(True)
    log_q, log_p = student.log_softmax(-1), teacher.log_softmax(-1)
    kl_P = (log_q.exp() * (log_q - log_p)).sum(-1)
    kl_YC = torch.where(ALL.mask_YC, kl_P[ALL.prefix_YC], 0)
    return find_gradient((read_probs(table) * kl_YC.sum(1)).sum(), student)
