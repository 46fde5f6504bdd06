from collections.abc import Callable
from itertools import product
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from generators.errors import ConfigError
from trainers.fused import fused_cross_entropy, fused_distillation, fused_divergence
from trainers.losses import Divergence, cross_entropy, divergence
from trainers.sparse import draw_tokens, keep_top, sparse_divergence
from trainers.targets import HeadStates, Targets, TopTokens

KINDS: tuple[Divergence, ...] = get_args(Divergence)
FORMS = ("logits", "hidden states", "top tokens", "sampled tokens")
CASES = [case for case in product(FORMS, KINDS) if case != ("sampled tokens", "reverse")]
TOKENS, VOCABULARY, PADDED = 13, 31, 36
LABELS = torch.arange(TOKENS) * 2
CHUNK = 4

Pair = tuple[Tensor, Tensor]


def make_student(dtype: torch.dtype = torch.float64, rows: int = VOCABULARY) -> Pair:
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(TOKENS, 7, generator=generator, dtype=torch.float64)
    head = torch.randn(rows, 7, generator=generator, dtype=torch.float64)
    return hidden.to(dtype).requires_grad_(True), head.to(dtype).requires_grad_(True)


def make_teacher(form: str, dtype: torch.dtype = torch.float64, **temperature: float) -> Targets:
    generator = torch.Generator().manual_seed(2)
    states = HeadStates(
        torch.randn(TOKENS, 5, generator=generator, dtype=torch.float64).to(dtype),
        torch.randn(VOCABULARY, 5, generator=generator, dtype=torch.float64).to(dtype),
    )
    logits = states.hidden_ND @ states.weight_VD.T
    match form:
        case "hidden states":
            return states
        case "top tokens":
            return keep_top(logits, top_p=0.9, top_k=6, **temperature)
        case "sampled tokens":
            return draw_tokens(logits, draws=8, generator=generator, **temperature)
    return logits


def compute_dense(student: Pair, teacher: Targets, kind: Divergence, **options: Any) -> Tensor:
    """Through logits over the whole vocabulary, which a teacher without padding ends."""
    hidden, head = student
    logits = hidden @ head[:VOCABULARY].T
    if isinstance(teacher, TopTokens):
        return sparse_divergence(logits, teacher, kind, **options)
    if isinstance(teacher, HeadStates):
        teacher = teacher.hidden_ND @ teacher.weight_VD.T
    return divergence(logits, teacher, kind, **options)


def gradients_of(loss: Tensor, student: Pair) -> Pair:
    hidden, head = torch.autograd.grad(loss, student)
    return hidden, head


def assert_same(fused: Tensor, dense: Tensor, student: Pair, upstream: Tensor) -> None:
    """Values and gradients agree to 1e-10 in float64, to 1e-5 of the largest in float32."""
    assert fused.dtype == dense.dtype
    found = fused, *gradients_of((fused * upstream).sum(), student)
    expected = dense, *gradients_of((dense * upstream).sum(), student)
    exact = fused.dtype == torch.float64
    for ours, theirs in zip(found, expected, strict=True):
        atol = 1e-10 if exact else 1e-5 * float(theirs.detach().abs().max())
        torch.testing.assert_close(ours, theirs, rtol=0 if exact else 1e-5, atol=atol)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(("form", "kind"), CASES)
def test_fused_is_the_dense_form(form: str, kind: Divergence, dtype: torch.dtype) -> None:
    student, teacher = make_student(dtype), make_teacher(form, dtype, temperature=1.5)
    fused = fused_divergence(*student, teacher, kind, temperature=1.5, chunk_tokens=CHUNK)
    dense = compute_dense(student, teacher, kind, temperature=1.5)
    assert dense.detach().abs().min() > 1e-3
    assert_same(fused, dense, student, torch.ones(TOKENS, dtype=dtype) / TOKENS)


@pytest.mark.parametrize("options", [{"beta": 0.1}, {"beta": 0.9}])
def test_beta_and_tail_reach_the_loss(options: dict[str, Any]) -> None:
    student, teacher = make_student(), make_teacher("logits")
    fused = fused_divergence(*student, teacher, "jsd", **options)
    torch.testing.assert_close(fused, compute_dense(student, teacher, "jsd", **options))
    top = keep_top(make_teacher("logits"), top_k=3)  # pyright: ignore[reportArgumentType]
    renormalised = fused_divergence(*student, top, "jsd", tail="renormalised", **options)
    logits = student[0] @ student[1].T
    torch.testing.assert_close(
        renormalised, sparse_divergence(logits, top, "jsd", tail="renormalised", **options)
    )


@pytest.mark.parametrize("chunk_tokens", [1, 5, 13, 400])
@pytest.mark.parametrize("block_logits", [1, 70, 2**19])
def test_the_size_of_chunks_and_blocks_is_of_no_account(
    chunk_tokens: int, block_logits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainers.fused.BLOCK_LOGITS", block_logits)
    student, teacher = make_student(), make_teacher("hidden states")
    fused = fused_distillation(
        *student, teacher, LABELS, "jsd", ce_weight=0.3, chunk_tokens=chunk_tokens
    )
    dense = 0.7 * compute_dense(student, teacher, "jsd") + 0.3 * cross_entropy(
        student[0] @ student[1].T, LABELS
    )
    assert_same(fused, dense, student, torch.ones(TOKENS, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_cross_entropy_is_the_dense_form_and_may_ignore_labels(dtype: torch.dtype) -> None:
    student, labels = make_student(dtype, PADDED), LABELS.clone()
    labels[3], labels[4] = -100, PADDED - 1
    fused = fused_cross_entropy(*student, labels, chunk_tokens=CHUNK)
    dense = cross_entropy(student[0] @ student[1].T, labels)
    assert_same(fused, dense, student, torch.ones(TOKENS, dtype=dtype))
    assert fused[3] == 0


@pytest.mark.parametrize("ce_weight", [0.0, 0.25, 1.0])
def test_distillation_mixes_both_and_includes_t_squared(ce_weight: float) -> None:
    student, teacher = make_student(), make_teacher("logits")
    fused = fused_distillation(
        *student, teacher, LABELS, "reverse", ce_weight=ce_weight, temperature=3.0
    )
    dense = ce_weight * cross_entropy(student[0] @ student[1].T, LABELS)
    dense = dense + (1 - ce_weight) * 9 * compute_dense(
        student, teacher, "reverse", temperature=3.0
    )
    assert_same(fused, dense, student, torch.ones(TOKENS, dtype=torch.float64))


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Notes with what upstream the chunks are gone through."""
    from trainers import fused

    seen: list[Tensor] = []
    walk = fused._walk

    def note(hidden: Tensor, weight: Tensor, plan: Any, upstream: Tensor) -> Any:
        seen.append(upstream)
        return walk(hidden, weight, plan, upstream)

    monkeypatch.setattr(fused, "_walk", note)
    return seen


def test_proportional_weights_need_no_second_pass(walks: list[Tensor]) -> None:
    student, teacher = make_student(), make_teacher("logits")
    weights = torch.linspace(0, 2, TOKENS, dtype=torch.float64)
    fused = fused_divergence(*student, teacher, "jsd", weights_N=weights, chunk_tokens=CHUNK)
    dense = compute_dense(student, teacher, "jsd")
    assert_same(fused, dense, student, weights / 7)
    assert len(walks) == 1


@pytest.mark.parametrize(
    "make_weights", [lambda: None, lambda: torch.zeros(TOKENS)], ids=["ones", "zeros"]
)
def test_other_upstreams_are_followed_by_a_second_pass(
    walks: list[Tensor], make_weights: Callable[[], Tensor | None]
) -> None:
    student, teacher = make_student(), make_teacher("hidden states")
    fused = fused_divergence(
        *student, teacher, "skew_reverse", weights_N=make_weights(), chunk_tokens=CHUNK
    )
    dense = compute_dense(student, teacher, "skew_reverse")
    assert_same(fused, dense, student, torch.linspace(-1, 2, TOKENS, dtype=torch.float64))
    assert len(walks) == 2


def test_going_back_twice_gives_the_same_twice(walks: list[Tensor]) -> None:
    student, teacher = make_student(), make_teacher("logits")
    loss = fused_divergence(*student, teacher, "forward").mean()
    first = torch.autograd.grad(loss, student, retain_graph=True)
    second = torch.autograd.grad(loss, student)
    torch.testing.assert_close(first, second, rtol=0, atol=1e-12)
    assert len(walks) == 2


def test_gradients_are_the_slopes_of_the_values() -> None:
    student, teacher = make_student(), make_teacher("top tokens")
    assert torch.autograd.gradcheck(
        lambda hidden, head: fused_distillation(
            hidden, head, teacher, LABELS, "reverse", ce_weight=0.5, chunk_tokens=5
        ),
        student,
        fast_mode=True,
    )


@pytest.mark.parametrize("form", ["logits", "hidden states", "top tokens"])
def test_padded_rows_of_the_head_take_no_part(form: str) -> None:
    student, teacher = make_student(rows=PADDED), make_teacher(form)
    fused = fused_divergence(
        *student, teacher, "reverse", vocabulary_size=VOCABULARY, chunk_tokens=CHUNK
    )
    dense = compute_dense(student, teacher, "reverse")
    assert_same(fused, dense, student, torch.ones(TOKENS, dtype=torch.float64))
    _, of_head = gradients_of(
        fused_divergence(*student, teacher, "reverse", vocabulary_size=VOCABULARY).sum(), student
    )
    assert of_head[VOCABULARY:].abs().max() == 0
    assert of_head[:VOCABULARY].abs().min() > 0


def test_padded_rows_count_in_the_cross_entropy_of_a_mix() -> None:
    student, teacher = make_student(rows=PADDED), make_teacher("hidden states")
    fused = fused_distillation(
        *student, teacher, LABELS, "forward", ce_weight=0.5, temperature=2.0, chunk_tokens=CHUNK
    )
    dense = 0.5 * cross_entropy(student[0] @ student[1].T, LABELS) + 2 * compute_dense(
        student, teacher, "forward", temperature=2.0
    )
    assert_same(fused, dense, student, torch.ones(TOKENS, dtype=torch.float64))


@pytest.mark.parametrize("frozen", [0, 1], ids=["hidden", "head"])
def test_what_is_frozen_has_no_gradient(frozen: int) -> None:
    student, teacher = make_student(), make_teacher("logits")
    student[frozen].requires_grad_(False)
    fused_divergence(*student, teacher, "forward").sum().backward()
    assert student[frozen].grad is None
    learning = student[1 - frozen]
    (expected,) = torch.autograd.grad(compute_dense(student, teacher, "forward").sum(), learning)
    torch.testing.assert_close(learning.grad, expected)


def test_values_alone_come_without_gradients() -> None:
    student, teacher = make_student(), make_teacher("hidden states")
    learning = fused_divergence(*student, teacher, "jsd", chunk_tokens=CHUNK)
    with WatchedShapes() as watched, torch.no_grad():
        alone = fused_divergence(*student, teacher, "jsd", chunk_tokens=CHUNK)
    assert torch.equal(alone, learning)
    assert not alone.requires_grad
    assert (VOCABULARY, 7) not in watched.made


class WatchedShapes(TorchDispatchMode):
    """Notes the shapes of all tensors that operations make in memory of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.made: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            given = [*args, *(kwargs or {}).values()]
            places = {each.data_ptr() for each in given if isinstance(each, Tensor)}
            if result.data_ptr() not in places:
                self.made.add(tuple(result.shape))
        return result


@pytest.mark.parametrize("form", ["hidden states", "top tokens"])
def test_no_tensor_is_as_large_as_all_tokens_by_the_vocabulary(form: str) -> None:
    student, teacher = make_student(), make_teacher(form)
    with WatchedShapes() as watched:
        fused_distillation(
            *student, teacher, LABELS, "jsd", ce_weight=0.5, chunk_tokens=CHUNK
        ).sum().backward()
    assert (CHUNK, VOCABULARY) in watched.made
    largest = max(torch.Size(shape).numel() for shape in watched.made)
    assert largest == max(CHUNK * VOCABULARY, VOCABULARY * 7) < TOKENS * VOCABULARY


def test_autocast_makes_products_in_bfloat16_and_the_rest_in_float32() -> None:
    student, teacher = make_student(torch.float32), make_teacher("hidden states", torch.float32)
    assert isinstance(teacher, HeadStates)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fused = fused_divergence(*student, teacher, "forward", chunk_tokens=CHUNK)
        logits = student[0] @ student[1].T
        teacher_logits = teacher.hidden_ND @ teacher.weight_VD.T
    assert logits.dtype == torch.bfloat16
    dense = divergence(logits.float(), teacher_logits.float(), "forward")
    assert fused.dtype == torch.float32
    torch.testing.assert_close(fused, dense, rtol=1e-5, atol=1e-5)
    found, expected = gradients_of(fused.sum(), student), gradients_of(dense.sum(), student)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() < 0.01 * theirs.norm()


def test_bfloat16_weights_get_bfloat16_gradients_and_float32_values() -> None:
    student, teacher = make_student(torch.bfloat16), make_teacher("hidden states", torch.float32)
    fused = fused_divergence(*student, teacher, "reverse", chunk_tokens=CHUNK)
    assert fused.dtype == torch.float32
    exact = make_student(torch.bfloat16)[0].float(), make_student(torch.bfloat16)[1].float()
    dense = compute_dense(exact, teacher, "reverse")
    torch.testing.assert_close(fused, dense, rtol=0.05, atol=0.05)
    for ours, theirs in zip(
        gradients_of(fused.sum(), student), gradients_of(dense.sum(), exact), strict=True
    ):
        assert ours.dtype == torch.bfloat16
        assert (ours.float() - theirs).norm() < 0.02 * theirs.norm()


def test_no_tokens_are_no_loss() -> None:
    hidden, head = make_student()
    empty = hidden[:0]
    value = fused_divergence(empty, head, HeadStates(empty.detach(), head.detach()), "forward")
    value.sum().backward()
    assert value.shape == (0,)
    assert head.grad is not None
    assert head.grad.abs().max() == 0


def test_inputs_that_do_not_fit_are_refused() -> None:
    student, teacher = make_student(), make_teacher("logits")
    assert isinstance(teacher, Tensor)
    with pytest.raises(ConfigError) as caught:
        fused_divergence(*student, teacher, "forward", vocabulary_size=PADDED)
    assert str(caught.value) == (
        "a vocabulary of 36 ids, but the teacher has logits for 31 and the student for 31: cut the "
        "teacher to the ids that the tokenizer knows"
    )
    with pytest.raises(ConfigError) as caught:
        fused_divergence(student[0], student[1][:20], teacher, "forward")
    assert str(caught.value) == (
        "a vocabulary of 31 ids, but the teacher has logits for 31 and the student for 20: cut the "
        "teacher to the ids that the tokenizer knows"
    )
    with pytest.raises(ValueError) as caught:
        fused_divergence(*student, teacher[:5], "forward")
    assert str(caught.value) == "hidden states, targets and weights differ in tokens: [5, 13]"
    with pytest.raises(ConfigError) as caught:
        fused_distillation(*student, teacher, LABELS, "forward", ce_weight=1.5)
    assert str(caught.value) == "ce_weight 1.5: must be between 0 and 1"
    with pytest.raises(ConfigError) as caught:
        fused_divergence(*student, teacher, "foward")  # pyright: ignore[reportArgumentType]
    assert str(caught.value) == (
        "divergence 'foward': not a kind (did you mean forward?); choose one of forward, reverse, "
        "jsd, skew_forward, skew_reverse"
    )
    with pytest.raises(ConfigError) as caught:
        fused_divergence(*student, make_teacher("sampled tokens"), "reverse")
    assert str(caught.value) == (
        "reverse is infinite against sampled tokens without a tail: the student gives mass to "
        "tokens of which the teacher says nothing.\n"
        "Either keep the top tokens with tail: bucket, or choose forward, jsd, or a skew kind with "
        "alpha above 0."
    )
