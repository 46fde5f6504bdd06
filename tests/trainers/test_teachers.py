from typing import Any

import pytest
import torch
from tokenizers import AddedToken

from generators.errors import ConfigError
from trainers.teachers import (
    LocalTeacher,
    check_same_vocabulary,
    check_width,
    count_ids,
    load_teacher,
)


def copy_tokenizer(tokenizer: Any, folder: Any) -> Any:
    tokenizer.save_pretrained(folder)
    return type(tokenizer).from_pretrained(folder)


def test_a_permuted_vocabulary_is_refused_with_the_first_difference(
    tokenizer: Any, permuted_tokenizer: Any
) -> None:
    assert len(permuted_tokenizer) == len(tokenizer)  # sizes alone would not tell
    first, second = tokenizer.convert_ids_to_tokens([1000, 1001])
    with pytest.raises(ConfigError) as refusal:
        check_same_vocabulary(permuted_tokenizer, tokenizer)
    assert str(refusal.value) == (
        f"teacher and student do not share a vocabulary: id 1000 is {second!r} to the teacher and"
        f" {first!r} to the student.\n"
        "Token-level distillation compares them id by id: choose a teacher of the student's"
        " family, compare texts (objective: aligned), or train on the teacher's answers (objective:"
        " sft)."
    )


def test_a_token_that_one_side_lacks_is_named(tokenizer: Any, tmp_path: Any) -> None:
    larger = copy_tokenizer(tokenizer, tmp_path)
    larger.add_tokens(["<think>"])
    with pytest.raises(ConfigError) as caught:
        check_same_vocabulary(larger, tokenizer)
    assert str(caught.value) == (
        "teacher and student do not share a vocabulary: id 49152 is '<think>' to the teacher and "
        "no token to the student.\n"
        "Token-level distillation compares them id by id: choose a teacher of the student's "
        "family, compare texts (objective: aligned), or train on the teacher's answers (objective: "
        "sft)."
    )
    with pytest.raises(ConfigError) as caught:
        check_same_vocabulary(tokenizer, larger)
    assert str(caught.value) == (
        "teacher and student do not share a vocabulary: id 49152 is no token to the teacher and "
        "'<think>' to the student.\n"
        "Token-level distillation compares them id by id: choose a teacher of the student's "
        "family, compare texts (objective: aligned), or train on the teacher's answers (objective: "
        "sft)."
    )


def test_special_tokens_must_be_special_on_both_sides(tokenizer: Any, tmp_path: Any) -> None:
    plain, special = (copy_tokenizer(tokenizer, tmp_path / name) for name in ("a", "b"))
    plain.add_tokens([AddedToken("<call>", special=False, normalized=False)])
    special.add_tokens([AddedToken("<call>", special=True, normalized=False)], special_tokens=True)
    with pytest.raises(ConfigError) as caught:
        check_same_vocabulary(special, plain)
    assert str(caught.value) == (
        "teacher and student do not share a vocabulary: id 49152 is '<call>', a special token to "
        "the teacher and '<call>', no special to the student.\n"
        "Token-level distillation compares them id by id: choose a teacher of the student's "
        "family, compare texts (objective: aligned), or train on the teacher's answers (objective: "
        "sft)."
    )


def test_the_same_vocabulary_is_accepted(tokenizer: Any, tmp_path: Any) -> None:
    check_same_vocabulary(copy_tokenizer(tokenizer, tmp_path), tokenizer)
    assert count_ids(tokenizer) == 49152


def test_padded_embedding_rows_are_sliced_off(
    tiny_model: Any, tokenizer: Any, tmp_path: Any
) -> None:
    ids_BT = torch.tensor([[5, 6, 7]])
    mask_BT, positions_BT = torch.ones_like(ids_BT), torch.ones_like(ids_BT).bool()
    unpadded_NV = LocalTeacher(tiny_model, 49152).compute_logits(ids_BT, mask_BT, positions_BT)
    tiny_model.resize_token_embeddings(49152 + 128, mean_resizing=False)
    tiny_model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    teacher = load_teacher(str(tmp_path), tiny_model, tokenizer, precision="float32")
    padded_NV = teacher.compute_logits(ids_BT, mask_BT, positions_BT)
    assert teacher.model.lm_head.weight.shape[0] == 49152 + 128
    assert padded_NV.shape == (3, 49152)
    torch.testing.assert_close(padded_NV, unpadded_NV)


def test_a_head_narrower_than_the_tokenizer_is_refused(tiny_model: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        check_width(tiny_model, 49153, "teacher")
    assert str(caught.value) == (
        "the teacher has logits for 49,152 ids, its tokenizer knows 49,153.\n"
        "The model folder and its tokenizer do not belong together."
    )


def test_a_teacher_takes_no_gradient(tiny_model: Any) -> None:
    teacher = LocalTeacher(tiny_model, 49152)
    ids_BT = torch.tensor([[5, 6, 7]])
    logits_NV = teacher.compute_logits(ids_BT, torch.ones_like(ids_BT), ids_BT > 5)
    assert not logits_NV.requires_grad
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())
