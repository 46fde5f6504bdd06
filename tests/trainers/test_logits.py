from typing import Any

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM

from generators.errors import InputError
from trainers.logits import (
    Layout,
    compute_hidden,
    compute_logits,
    find_head_weight,
    find_predicting_positions,
    group_by_length,
)


def test_a_target_is_predicted_from_the_token_before_it() -> None:
    labels_BT = torch.tensor([[-100, -100, 7, 2], [-100, 9, -100, -100]])
    assert find_predicting_positions(labels_BT).tolist() == [
        [False, True, True, False],
        [True, False, False, False],
    ]


def test_chosen_logits_equal_the_full_ones_and_the_head_sees_no_more(tiny_model: Any) -> None:
    ids_BT = torch.randint(5, 4000, (2, 6), generator=torch.Generator().manual_seed(0))
    mask_BT = torch.ones_like(ids_BT)
    positions_BT = torch.zeros_like(ids_BT).bool()
    positions_BT[0, 2] = positions_BT[1, 0] = positions_BT[1, 5] = True
    seen: list[torch.Size] = []
    hook = tiny_model.lm_head.register_forward_hook(lambda _, args, out: seen.append(out.shape))
    chosen_NV = compute_logits(tiny_model, ids_BT, mask_BT, positions_BT)
    hook.remove()
    assert seen == [torch.Size([3, 49152])]
    full_BTV = tiny_model(input_ids=ids_BT, attention_mask=mask_BT).logits
    torch.testing.assert_close(chosen_NV, full_BTV[positions_BT])
    assert full_BTV.shape == (2, 6, 49152)  # the model is as it was before


def test_rows_of_unlike_lengths_keep_their_order_and_logits(tiny_model: Any) -> None:
    for lengths, seen in (([3, 12, 4, 11, 3], [4, 12]), ([12, 9, 11, 10, 9], [12])):
        check_grouped(tiny_model, lengths, seen)


def check_grouped(tiny_model: Any, lengths: list[int], seen: list[int]) -> None:
    ids_BT = torch.randint(5, 4000, (5, 12), generator=torch.Generator().manual_seed(1))
    mask_BT = torch.tensor([[1] * n + [0] * (12 - n) for n in lengths])
    positions_BT = mask_BT.bool() & (torch.arange(12) % 2 == 0)
    widths: list[int] = []
    hook = tiny_model.model.register_forward_hook(
        lambda _, args, out: widths.append(out.last_hidden_state.shape[1])
    )
    chosen_NV = compute_logits(tiny_model, ids_BT, mask_BT, positions_BT)
    hook.remove()
    assert widths == seen
    full_BTV = tiny_model(input_ids=ids_BT, attention_mask=mask_BT).logits
    torch.testing.assert_close(chosen_NV, full_BTV[positions_BT])


@pytest.mark.parametrize("layout", ["grouped", "packed"])
def test_padding_before_a_rows_tokens_is_refused(tiny_model: Any, layout: Layout) -> None:
    ids_BT, mask_BT = torch.tensor([[2, 7, 8], [7, 8, 9]]), torch.tensor([[0, 1, 1], [1, 1, 1]])
    for read in (compute_logits, compute_hidden):
        with pytest.raises(InputError) as caught:
            read(tiny_model, ids_BT, mask_BT, mask_BT.bool(), layout)
        assert str(caught.value) == (
            "attention_mask: a row's padding stands before its tokens; pad on the right, as "
            "trainers.rows.collate does."
        )


@pytest.mark.parametrize("cap", [None, 5.0, 30.0, 200.0])
def test_a_cap_is_noticed_though_untrained_logits_are_far_below_it(cap: float | None) -> None:
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        final_logit_softcapping=cap,
    )
    model = Gemma2ForCausalLM(config)
    with torch.no_grad():
        assert model(input_ids=torch.arange(40)[None]).logits.abs().max() < 1
    weight = find_head_weight(model)
    assert weight is (model.lm_head.weight if cap is None else None)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (4.0, 0.0), (1.0, 0.01)])
def test_what_follows_the_head_is_noticed(tiny_model: Any, scale: float, shift: float) -> None:
    tiny_model.lm_head.register_forward_hook(lambda _, args, out: out / scale + shift)
    plain = (scale, shift) == (1.0, 0.0)
    for model in (tiny_model, tiny_model.bfloat16()):
        assert find_head_weight(model) is (model.lm_head.weight if plain else None)


def test_grouping_by_length() -> None:
    assert group_by_length([10, 3, 4, 30, 15, 3]) == [[1, 5, 2], [0, 4], [3]]
    assert group_by_length([7, 7]) == [[0, 1]]
