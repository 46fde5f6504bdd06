"""Losses from hidden states and a head, without logits over the whole vocabulary for all tokens.

The head of a small model makes the largest tensor of a training step, [tokens, vocabulary], and a
divergence written with autograd keeps several of them. Here a chunk of tokens at a time goes
through the head into one buffer that all chunks share, the teacher's logits likewise; the gradient
in closed form (`trainers.gradients`, `trainers.sparse`) takes the place of the logits and is
carried on at once to the hidden states and the head. What remains for the backward pass is a
scale, as long as the loss is proportional to Σ weights·values; where it is not, the chunks are
gone through again with the right weights.

Matrix products are in the precision that autocast asks for, or the tensors', everything else in
float32 at least.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from generators.errors import ConfigError
from trainers.gradients import Slope, differentiate, differentiate_cross_entropy
from trainers.losses import Divergence, check_parameters
from trainers.sparse import Tail, check_tokens, differentiate_sparse
from trainers.targets import HeadStates, Targets, TopTokens, count_targets

CHUNK_TOKENS = 256
"""Tokens that go through the head at once: enough for products at full speed."""
BLOCK_LOGITS = 2**19
"""Logits that a processor works on at once, of a chunk: few enough for its cache."""


def fused_divergence(
    hidden_ND: Tensor,
    head_weight_VD: Tensor,
    teacher: Targets,
    kind: Divergence,
    *,
    beta: float = 0.5,
    alpha: float = 0.1,
    temperature: float = 1.0,
    tail: Tail = "bucket",
    weights_N: Tensor | None = None,
    vocabulary_size: int | None = None,
    chunk_tokens: int = CHUNK_TOKENS,
) -> Tensor:
    """`losses.divergence` [N] of `hidden_ND @ head_weight_VD.T` from the teacher; T² not included.

    Rows of the head from `vocabulary_size` on (by default the teacher's) take no part. `weights_N`
    are what the values will be multiplied by, up to a constant; they do not change the values.
    Raises ConfigError as `losses.divergence` and `sparse.sparse_divergence` do.
    """
    options = {"beta": beta, "alpha": alpha, "temperature": temperature}
    rows = len(head_weight_VD)
    term = _make_divergence_term(teacher, kind, tail, options, rows, vocabulary_size)
    return _run(hidden_ND, head_weight_VD, [term], weights_N, chunk_tokens)


def fused_cross_entropy(
    hidden_ND: Tensor,
    head_weight_VD: Tensor,
    labels_N: Tensor,
    *,
    weights_N: Tensor | None = None,
    chunk_tokens: int = CHUNK_TOKENS,
) -> Tensor:
    """`losses.cross_entropy` [N] of `hidden_ND @ head_weight_VD.T`, over all rows of the head."""
    term = _CrossEntropyTerm(labels_N, len(head_weight_VD))
    return _run(hidden_ND, head_weight_VD, [term], weights_N, chunk_tokens)


def fused_distillation(
    hidden_ND: Tensor,
    head_weight_VD: Tensor,
    teacher: Targets,
    labels_N: Tensor,
    kind: Divergence,
    *,
    ce_weight: float,
    beta: float = 0.5,
    alpha: float = 0.1,
    temperature: float = 1.0,
    tail: Tail = "bucket",
    weights_N: Tensor | None = None,
    vocabulary_size: int | None = None,
    chunk_tokens: int = CHUNK_TOKENS,
) -> Tensor:
    """c·CE + (1-c)·T²·D [N] with c = `ce_weight`, at one pass through the student's head.

    A part whose weight is 0 is not computed.
    """
    if not 0 <= ce_weight <= 1:
        raise ConfigError(f"ce_weight {ce_weight}: must be between 0 and 1")
    options = {"beta": beta, "alpha": alpha, "temperature": temperature}
    rows = len(head_weight_VD)
    scale = (1 - ce_weight) * temperature**2
    terms = (
        _CrossEntropyTerm(labels_N, rows, ce_weight),
        _make_divergence_term(teacher, kind, tail, options, rows, vocabulary_size, scale),
    )
    counted = [term for term in terms if term.scale > 0]
    return _run(hidden_ND, head_weight_VD, counted, weights_N, chunk_tokens)


Reader = Callable[[slice], Tensor | TopTokens]
"""Gives what a chunk of tokens is compared with."""


class _DivergenceTerm(NamedTuple):
    teacher: Targets
    kind: Divergence
    tail: Tail
    options: dict[str, float]
    width: int
    """Rows of the student's head that it is over."""
    product_dtype: torch.dtype
    scale: float

    def count_tokens(self) -> int:
        return count_targets(self.teacher)

    def open(self, chunk_tokens: int, dtype: torch.dtype) -> Reader:
        teacher = self.teacher
        if isinstance(teacher, TopTokens):
            return partial(_take, teacher)
        if isinstance(teacher, Tensor):
            return lambda chunk: teacher[chunk, : self.width].to(dtype)
        hidden_ND = teacher.hidden_ND.to(self.product_dtype)
        weight_VD = teacher.weight_VD[: self.width].to(self.product_dtype)
        logits_CV = hidden_ND.new_empty((chunk_tokens, self.width), dtype=dtype)

        def read(chunk: slice) -> Tensor:
            logits_NV = logits_CV[: chunk.stop - chunk.start]
            _multiply(hidden_ND[chunk], weight_VD.T, out=logits_NV)
            return logits_NV

        return read

    def differentiate(self, logits_NV: Tensor, teacher: Tensor | TopTokens) -> Slope:
        if isinstance(teacher, TopTokens):
            return differentiate_sparse(
                logits_NV, teacher, self.kind, tail=self.tail, **self.options
            )
        return differentiate(logits_NV, teacher, self.kind, **self.options)


class _CrossEntropyTerm(NamedTuple):
    labels_N: Tensor
    width: int
    scale: float = 1.0

    def count_tokens(self) -> int:
        return len(self.labels_N)

    def open(self, chunk_tokens: int, dtype: torch.dtype) -> Reader:
        return partial(_take, self.labels_N)

    def differentiate(self, logits_NV: Tensor, labels_N: Any) -> Slope:
        return differentiate_cross_entropy(logits_NV, labels_N)


_Terms = Sequence[_DivergenceTerm | _CrossEntropyTerm]


class _Plan(NamedTuple):
    """What is computed of a student's hidden states and head, and how."""

    terms: _Terms
    """The first is the widest."""
    weights_N: Tensor
    product_dtype: torch.dtype
    dtype: torch.dtype
    """That of everything but products."""
    chunk_tokens: int
    wants_hidden: bool
    wants_head: bool


def _make_divergence_term(
    teacher: Targets,
    kind: Divergence,
    tail: Tail,
    options: dict[str, float],
    head_rows: int,
    vocabulary_size: int | None,
    scale: float = 1.0,
) -> _DivergenceTerm:
    check_parameters(kind, **options)
    known, product_dtype = head_rows, torch.float32
    if isinstance(teacher, TopTokens):
        check_tokens(
            teacher, kind, tail=tail, alpha=options["alpha"], temperature=options["temperature"]
        )
    elif isinstance(teacher, HeadStates):
        known, product_dtype = len(teacher.weight_VD), _find_product_dtype(*teacher)
    else:
        known = teacher.shape[-1]
    width = known if vocabulary_size is None else vocabulary_size
    if width > min(known, head_rows):
        raise ConfigError(
            f"a vocabulary of {width:,} ids, but the teacher has logits for {known:,} and the"
            f" student for {head_rows:,}: cut the teacher to the ids that the tokenizer knows"
        )
    return _DivergenceTerm(teacher, kind, tail, options, width, product_dtype, scale)


def _run(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    terms: _Terms,
    weights_N: Tensor | None,
    chunk_tokens: int,
) -> Tensor:
    tokens, product_dtype = len(hidden_ND), _find_product_dtype(hidden_ND, weight_VD)
    dtype = torch.promote_types(product_dtype, torch.float32)
    if weights_N is None:
        weights_N = hidden_ND.new_ones(tokens, dtype=dtype)
    counts = {tokens, len(weights_N), *(term.count_tokens() for term in terms)}
    if len(counts) > 1:
        raise ValueError(f"hidden states, targets and weights differ in tokens: {sorted(counts)}")
    plan = _Plan(
        terms,
        weights_N.detach().to(dtype),
        product_dtype,
        dtype,
        chunk_tokens=min(chunk_tokens, max(1, tokens)),
        wants_hidden=torch.is_grad_enabled() and hidden_ND.requires_grad,
        wants_head=torch.is_grad_enabled() and weight_VD.requires_grad,
    )
    return _FusedLoss.apply(hidden_ND, weight_VD, plan)


class _FusedLoss(torch.autograd.Function):
    """Goes forward with the gradients of Σ weights·values, so that going back is a scale."""

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, plan: _Plan) -> Tensor:
        ctx.save_for_backward(hidden_ND, weight_VD)
        ctx.plan = plan
        values_N, ctx.gradients = _walk(hidden_ND, weight_VD, plan, plan.weights_N)
        return values_N

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, upstream_N: Tensor
    ) -> tuple[Tensor | None, ...]:
        hidden_ND, weight_VD = ctx.saved_tensors
        factor = _find_factor(upstream_N, ctx.plan.weights_N)
        gradients, ctx.gradients = ctx.gradients, None  # scaled in place, so they serve once
        if gradients is None or factor is None:
            gradients = None  # gone before they are made anew
            _, gradients = _walk(hidden_ND, weight_VD, ctx.plan, upstream_N)
        elif factor != 1:
            for gradient in gradients:
                if gradient is not None:
                    gradient.mul_(factor)
        of_hidden_ND, of_weight_VD = gradients
        return (
            None if of_hidden_ND is None else of_hidden_ND.to(hidden_ND.dtype),
            None if of_weight_VD is None else of_weight_VD.to(weight_VD.dtype),
            None,
        )


def _find_factor(upstream_N: Tensor, weights_N: Tensor) -> float | None:
    """c where upstream = c·weights, to rounding."""
    if not len(weights_N):
        return None
    heaviest = weights_N.abs().argmax()
    factor = upstream_N[heaviest] / weights_N[heaviest]
    rounding = 8 * torch.finfo(upstream_N.dtype).eps
    if torch.allclose(upstream_N, factor * weights_N, rtol=rounding, atol=0):
        return factor.item()
    return None


def _walk(
    hidden_ND: Tensor, weight_VD: Tensor, plan: _Plan, upstream_N: Tensor
) -> tuple[Tensor, list[Tensor | None]]:
    """The values [N], and the gradients of Σ upstream·values for hidden states and head."""
    tokens, width, dtype = len(hidden_ND), plan.terms[0].width, plan.dtype
    values_N = hidden_ND.new_empty(tokens, dtype=dtype)
    of_hidden_ND = torch.empty_like(hidden_ND, dtype=dtype) if plan.wants_hidden else None
    of_weight_VD = torch.zeros_like(weight_VD, dtype=dtype) if plan.wants_head else None
    logits_CW = hidden_ND.new_empty((plan.chunk_tokens, width), dtype=dtype)
    with torch.autocast(hidden_ND.device.type, enabled=False):
        readers = [term.open(plan.chunk_tokens, dtype) for term in plan.terms]
        hidden_ND = hidden_ND.to(plan.product_dtype)
        weight_WD = weight_VD[:width].to(plan.product_dtype)
        for start in range(0, tokens, plan.chunk_tokens):
            chunk = slice(start, min(start + plan.chunk_tokens, tokens))
            logits_NW = logits_CW[: chunk.stop - start]
            _multiply(hidden_ND[chunk], weight_WD.T, out=logits_NW)
            targets = [read(chunk) for read in readers]
            values_N[chunk] = _put_gradient(logits_NW, targets, plan.terms, upstream_N[chunk])
            slope_NW = logits_NW.to(plan.product_dtype)
            if of_hidden_ND is not None:
                _multiply(slope_NW, weight_WD, out=of_hidden_ND[chunk])
            if of_weight_VD is not None:
                _add_product(slope_NW.T, hidden_ND[chunk], out=of_weight_VD[:width])
    return values_N, [of_hidden_ND, of_weight_VD]


def _put_gradient(
    logits_NW: Tensor, targets: Sequence[Tensor | TopTokens], terms: _Terms, upstream_N: Tensor
) -> Tensor:
    """The values of a chunk, whose logits give place to the gradient of Σ upstream·values."""
    values_N = torch.empty_like(upstream_N)
    tokens, width = logits_NW.shape
    step = max(1, BLOCK_LOGITS // width) if logits_NW.device.type == "cpu" else tokens
    for start in range(0, tokens, step):
        block = slice(start, start + step)
        slope = _mix(logits_NW[block], [_take(each, block) for each in targets], terms)
        values_N[block] = slope.value_N
        torch.mul(slope.gradient_NV, upstream_N[block].unsqueeze(-1), out=logits_NW[block])
    return values_N


def _mix(logits_NW: Tensor, targets: Sequence[Tensor | TopTokens], terms: _Terms) -> Slope:
    """Σ scale·term, and its gradient."""
    first, *others = (
        term.differentiate(logits_NW[:, : term.width], each)
        for term, each in zip(terms, targets, strict=True)
    )
    value_N, gradient_NW = first
    if terms[0].scale != 1:
        value_N, gradient_NW = value_N * terms[0].scale, gradient_NW.mul_(terms[0].scale)
    for term, slope in zip(terms[1:], others, strict=True):
        value_N = value_N + term.scale * slope.value_N
        gradient_NW[:, : term.width].add_(slope.gradient_NV, alpha=term.scale)
    return Slope(value_N, gradient_NW)


def _take(targets: Tensor | TopTokens, rows: slice) -> Tensor | TopTokens:
    if isinstance(targets, Tensor):
        return targets[rows]
    ids_NK, log_probs_NK = targets.ids_NK[rows], targets.log_probs_NK[rows]
    return targets._replace(ids_NK=ids_NK, log_probs_NK=log_probs_NK)


def _find_product_dtype(hidden_ND: Tensor, weight_VD: Tensor) -> torch.dtype:
    dtype = torch.promote_types(hidden_ND.dtype, weight_VD.dtype)
    device = hidden_ND.device.type
    if torch.is_autocast_enabled(device) and dtype != torch.float64:
        return torch.get_autocast_dtype(device)
    return dtype


def _multiply(left: Tensor, right: Tensor, *, out: Tensor) -> None:
    if out.dtype == left.dtype:
        torch.mm(left, right, out=out)
    else:
        out.copy_(left @ right)


def _add_product(left: Tensor, right: Tensor, *, out: Tensor) -> None:
    if out.dtype == left.dtype:
        out.addmm_(left, right)
    else:
        out.add_(left @ right)
