import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from generators.errors import ConfigError
from tests.tiny_model import make_tiny_model
from trainers.hidden_states import (
    Distance,
    HiddenStateMatcher,
    LayerPair,
    Projection,
    check_pairs,
    compute_with_layers,
    spread_pairs,
    state_distance,
)
from trainers.logits import compute_hidden, compute_logits

KINDS: tuple[Distance, ...] = ("mse", "cosine")


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def make_batch(lengths: list[int], width: int) -> tuple[Tensor, Tensor, Tensor]:
    ids_BT = torch.randint(
        5, 4000, (len(lengths), width), generator=torch.Generator().manual_seed(1)
    )
    mask_BT = torch.tensor([[1] * n + [0] * (width - n) for n in lengths])
    return ids_BT, mask_BT, mask_BT.bool() & (torch.arange(width) % 2 == 0)


@pytest.mark.parametrize("kind", KINDS)
def test_states_that_agree_are_at_no_distance(kind: Distance) -> None:
    states_ND = draw(4, 6)
    torch.testing.assert_close(
        state_distance(states_ND, states_ND, kind), torch.zeros(4, dtype=torch.float64)
    )
    assert (state_distance(states_ND, draw(4, 6, seed=1), kind) > 0.1).all()


def test_distances_by_hand() -> None:
    student_ND = torch.tensor([[3.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    teacher_ND = torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 4.0]])
    assert state_distance(student_ND, teacher_ND, "mse").tolist() == [4.0, 2.0, 1.0]
    assert state_distance(student_ND[:2], teacher_ND[:2], "cosine").tolist() == [0.0, 1.0]
    scaled = state_distance(1000 * student_ND, 1000 * teacher_ND, "mse")
    assert scaled.tolist() == [4.0, 2.0, 1.0]  # relative: of one order in every layer


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_goes_into_student_and_projection_only(kind: Distance) -> None:
    student_ND, teacher_NE = draw(4, 6).requires_grad_(), draw(4, 8, seed=1).requires_grad_()
    matcher = HiddenStateMatcher([LayerPair(1, 3)], 6, 8, kind=kind).double()
    matcher({1: student_ND}, {3: teacher_NE}).sum().backward()
    weight = matcher.projections[0].weight_TS
    assert teacher_NE.grad is None
    assert student_ND.grad is not None
    assert student_ND.grad.abs().min() > 0
    assert isinstance(weight, Tensor)
    assert weight.grad is not None
    assert weight.grad.abs().max() > 0
    assert torch.autograd.gradcheck(
        lambda states: state_distance(states, draw(4, 6, seed=1), kind), (student_ND,)
    )


def test_a_projection_is_there_where_it_is_needed_or_asked_for() -> None:
    states_ND = draw(5, 6).float()
    plain, learned = Projection(6, 6), Projection(6, 6, learned=True)
    assert torch.equal(plain(states_ND), states_ND)
    assert list(plain.parameters()) == []
    torch.testing.assert_close(learned(states_ND), states_ND)
    assert [weight.shape for weight in learned.parameters()] == [(6, 6)]
    wider = Projection(6, 9, seed=2)
    torch.testing.assert_close(wider(states_ND).norm(dim=-1), states_ND.norm(dim=-1))
    weight, again, other = (
        each.state_dict()["weight_TS"]
        for each in (wider, Projection(6, 9, seed=2), Projection(6, 9))
    )
    assert torch.equal(weight, again)
    assert not torch.equal(weight, other)


def test_a_learned_projection_recovers_a_linear_map() -> None:
    student_ND = draw(64, 4).float()
    teacher_NE = student_ND @ draw(4, 6, seed=3).float()
    matcher = HiddenStateMatcher([LayerPair(0, 0)], 4, 6)
    optimizer = torch.optim.Adam(matcher.parameters(), lr=0.1)
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss = matcher({0: student_ND}, {0: teacher_NE}).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 0.5
    assert losses[-1] < 1e-3


def test_pairs_are_averaged() -> None:
    student = {0: draw(3, 4), 1: draw(3, 4, seed=1)}
    teacher = {2: draw(3, 4, seed=2), 5: draw(3, 4, seed=3)}
    matcher = HiddenStateMatcher([LayerPair(0, 2), LayerPair(1, 5)], 4, 4)
    expected_N = (
        state_distance(student[0], teacher[2]) + state_distance(student[1], teacher[5])
    ) / 2
    torch.testing.assert_close(matcher(student, teacher), expected_N)


def test_layers_are_read_in_the_pass_that_the_head_reads(tiny_model: Any) -> None:
    inputs = make_batch([3, 12, 4, 11, 3], 12)
    passes: list[int] = []
    handle = tiny_model.model.register_forward_hook(lambda *_: passes.append(1))
    states = compute_with_layers(tiny_model, *inputs, [0, 1])
    handle.remove()
    assert not tiny_model.model.layers[0]._forward_hooks
    assert len(passes) == 2  # one for the short rows, one for the long
    ids_BT, mask_BT, positions_BT = inputs
    whole = tiny_model(input_ids=ids_BT, attention_mask=mask_BT, output_hidden_states=True)
    torch.testing.assert_close(states.layers[0], whole.hidden_states[1][positions_BT])
    torch.testing.assert_close(tiny_model.model.norm(states.layers[1]), states.read_NX)
    torch.testing.assert_close(states.read_NX, compute_hidden(tiny_model, *inputs))
    logits = compute_with_layers(tiny_model, *inputs, [0], read=compute_logits)
    torch.testing.assert_close(logits.read_NX, compute_logits(tiny_model, *inputs))


def test_a_wrapped_model_is_called_once(tiny_model: Any) -> None:
    inputs = make_batch([3, 12, 4], 12)
    wrapped = torch.nn.Module()
    wrapped.module = tiny_model
    calls: list[int] = []

    def forward(**given: Any) -> Any:
        calls.append(len(given["input_ids"]))
        return tiny_model(**given)

    wrapped.forward = forward
    states = compute_with_layers(wrapped, *inputs, [1])
    assert calls == [3]
    plain = compute_with_layers(tiny_model, *inputs, [1])
    torch.testing.assert_close(states.layers[1], plain.layers[1])


def test_padding_changes_nothing_and_the_student_learns(tiny_model: Any) -> None:
    teacher = make_tiny_model(seed=1).requires_grad_(False)
    pairs = [LayerPair(0, 1)]
    matcher = HiddenStateMatcher(pairs, 64, 64)
    gradients = []
    for width in (7, 12):
        ids_BT, mask_BT, positions_BT = make_batch([7, 5], 7)
        extra = (0, width - 7)
        inputs = (
            torch.nn.functional.pad(ids_BT, extra, value=99),
            torch.nn.functional.pad(mask_BT, extra),
            torch.nn.functional.pad(positions_BT, extra),
        )
        tiny_model.zero_grad()
        student = compute_with_layers(tiny_model, *inputs, [0]).layers
        loss = matcher(student, compute_with_layers(teacher, *inputs, [1]).layers).sum()
        loss.backward()
        gradients.append(tiny_model.model.layers[0].mlp.up_proj.weight.grad.clone())
    torch.testing.assert_close(gradients[0], gradients[1])
    assert gradients[0].abs().max() > 0
    assert tiny_model.model.layers[1].mlp.up_proj.weight.grad is None  # above the layer


def test_a_copy_is_at_no_distance(tiny_model: Any) -> None:
    inputs = make_batch([6, 6], 6)
    twin = copy.deepcopy(tiny_model)
    matcher = HiddenStateMatcher(spread_pairs(2, 2), 64, 64)
    loss_N = matcher(
        compute_with_layers(tiny_model, *inputs, [0, 1]).layers,
        compute_with_layers(twin, *inputs, [0, 1]).layers,
    )
    assert loss_N.tolist() == [0.0] * 6


def test_gradient_checkpointing_gives_the_same_gradients(tiny_model: Any) -> None:
    inputs = make_batch([6, 6], 6)
    gradients, runs = [], []
    tiny_model.train()
    tiny_model.model.layers[0].mlp.up_proj.register_forward_hook(lambda *_: runs.append(1))
    for checkpointing in (False, True):
        if checkpointing:
            tiny_model.activation_checkpointing_enable()
        tiny_model.zero_grad()
        compute_with_layers(tiny_model, *inputs, [0]).layers[0].square().sum().backward()
        gradients.append(tiny_model.model.layers[0].mlp.up_proj.weight.grad.clone())
    assert len(runs) == 1 + 2  # the second time the layer is computed again
    torch.testing.assert_close(gradients[0], gradients[1])


def test_pairs_spread_over_the_depth() -> None:
    assert [pair.teacher for pair in spread_pairs(6, 30)] == [4, 9, 14, 19, 24, 29]
    assert [pair.teacher for pair in spread_pairs(3, 4)] == [1, 2, 3]
    assert spread_pairs(2, 2) == [LayerPair(0, 0), LayerPair(1, 1)]


def test_pairs_that_no_model_has_are_refused(tiny_model: Any) -> None:
    check_pairs([LayerPair(0, 1)], 2, 2)
    with pytest.raises(ConfigError) as caught:
        check_pairs([LayerPair(0, 2)], 2, 2)
    assert str(caught.value) == "hidden states: the teacher has no layer 2; its layers are 0 to 1"
    with pytest.raises(ConfigError) as caught:
        check_pairs([LayerPair(-1, 0)], 2, 2)
    assert str(caught.value) == "hidden states: the student has no layer -1; its layers are 0 to 1"
    with pytest.raises(ConfigError) as caught:
        check_pairs([], 2, 2)
    assert str(caught.value) == (
        "hidden states: give at least one pair of layers, student and teacher"
    )
