from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from trainers.prefixes import StudentPrefixes, split_batch
from trainers.rollouts import sample_rollouts, seed_rollouts
from trainers.rows import TokenRow, collate, encode_row
from trainers.settings import RolloutSettings


@pytest.fixture
def batches(rows: list[dict[str, Any]], tokenizer: Any) -> list[dict[str, Tensor]]:
    encoded = [encode_row(row, tokenizer, max_length=128) for row in rows]
    encoded[1] = encoded[1]._replace(weight=0.25)
    return [collate(encoded[:3], pad_id=2), collate(encoded[3:6], pad_id=2)]


def make_prefixes(model: Any, tokenizer: Any, **settings: Any) -> StudentPrefixes:
    return StudentPrefixes(
        model,
        tokenizer,
        RolloutSettings.model_validate({"max_new_tokens": 5} | settings),
        pad_id=2,
        max_length=128,
        seed=7,
        precision="float32",
    )


def list_rows(batches: list[dict[str, Tensor]]) -> list[TokenRow]:
    return [row for batch in batches for row in split_batch(batch)]


def test_a_batch_gives_back_its_rows(batches: list[dict[str, Tensor]]) -> None:
    again = [collate(split_batch(batch), pad_id=2) for batch in batches]
    for batch, copy in zip(batches, again, strict=True):
        assert all((batch[name] == copy[name]).all() for name in batch)


def test_without_a_share_all_rows_are_the_datas(
    batches: list[dict[str, Tensor]], tiny_model: Any, tokenizer: Any
) -> None:
    renewed = make_prefixes(tiny_model, tokenizer, share=0.0).renew(batches, step=3)
    assert list_rows(renewed) == list_rows(batches)
    assert not any(batch["drawn"].any() for batch in renewed)


def test_the_student_writes_behind_the_same_prompts(
    batches: list[dict[str, Tensor]], tiny_model: Any, tokenizer: Any
) -> None:
    prefixes = make_prefixes(tiny_model, tokenizer)
    renewed = prefixes.renew(batches, step=3)
    for old, new in zip(list_rows(batches), list_rows(renewed), strict=True):
        prompt = old.input_ids[: old.prompt_length]
        assert new.input_ids[: new.prompt_length] == prompt
        assert 0 < len(new.input_ids) - len(prompt) <= 5
        assert new.weight == old.weight
    for batch in renewed:
        assert ((batch["drawn"] < 0) == (batch["labels"] != -100)).all()
    assert prefixes.figures["rollout_tokens"] <= 5
    again = make_prefixes(tiny_model, tokenizer).renew(batches, step=3)
    other = make_prefixes(tiny_model, tokenizer).renew(batches, step=4)
    assert list_rows(again) == list_rows(renewed)
    assert list_rows(other) != list_rows(renewed)


def test_a_share_of_the_rows_is_the_students(
    batches: list[dict[str, Tensor]], tiny_model: Any, tokenizer: Any
) -> None:
    prefixes = make_prefixes(tiny_model, tokenizer, share=0.5)
    own = [
        old != new
        for step in range(6)
        for old, new in zip(
            list_rows(batches), list_rows(prefixes.renew(batches, step=step)), strict=True
        )
    ]
    assert 9 <= sum(own) <= 27


def test_a_row_without_a_completion_is_always_written(
    batches: list[dict[str, Tensor]], tiny_model: Any, tokenizer: Any
) -> None:
    bare = [
        TokenRow(row.input_ids[: row.prompt_length], row.prompt_length)
        for row in split_batch(batches[0])
    ]
    prefixes = make_prefixes(tiny_model, tokenizer, share=0.0)
    renewed = prefixes.renew([collate(bare, pad_id=2)], step=0)
    assert all(len(row.input_ids) > row.prompt_length for row in list_rows(renewed))


@pytest.mark.parametrize("how", [{"temperature": 0.05}, {"top_p": 0.001}, {"max_new_tokens": 2}])
def test_the_student_writes_as_the_settings_say(
    how: dict[str, Any], batches: list[dict[str, Tensor]], tiny_model: Any, tokenizer: Any
) -> None:
    rows = list_rows(batches)
    options: dict[str, Any] = {"max_new_tokens": 5} | how
    expected = sample_rollouts(
        tiny_model,
        tokenizer,
        [row.input_ids[: row.prompt_length] for row in rows],
        seed_rollouts(7, 3, range(len(rows))),
        weights=[row.weight for row in rows],
        max_length=128,
        **options,
    )
    renewed = make_prefixes(tiny_model, tokenizer, **how).renew(batches, step=3)
    assert list_rows(renewed) == [one.row for one in expected]
    plain = make_prefixes(tiny_model, tokenizer).renew(batches, step=3)
    assert list_rows(plain) != list_rows(renewed)


def test_old_completions_are_as_young_as_the_settings_say_and_are_not_told_as_written(
    batches: list[dict[str, Tensor]], tiny_model: Any, tokenizer: Any
) -> None:
    row = split_batch(batches[0])[0]
    one = [collate([row], pad_id=2)]
    prefixes = make_prefixes(tiny_model, tokenizer, buffer=4, reuse=0.9, max_age=2)
    written = list_rows(prefixes.renew(one, step=0))
    assert prefixes.figures.keys() == {"rollout_tokens", "rollouts_ended"}
    assert list_rows(prefixes.renew(one, step=2)) == written  # from the buffer
    assert prefixes.figures == {}
    fresh = list_rows(prefixes.renew(one, step=3))
    assert fresh != written
    assert fresh == list_rows(make_prefixes(tiny_model, tokenizer).renew(one, step=3))
    assert prefixes.figures.keys() == {"rollout_tokens", "rollouts_ended"}


def test_the_buffer_goes_with_a_checkpoint(
    batches: list[dict[str, Tensor]], tiny_model: Any, tokenizer: Any, tmp_path: Path
) -> None:
    options = {"buffer": 20, "reuse": 0.5}
    first = make_prefixes(tiny_model, tokenizer, **options)
    first.renew(batches, step=0)
    first.save(tmp_path)
    second = make_prefixes(tiny_model, tokenizer, **options)
    second.restore(tmp_path)
    torch.manual_seed(5)
    assert list_rows(second.renew(batches, step=1)) == list_rows(first.renew(batches, step=1))
    fresh = make_prefixes(tiny_model, tokenizer, **options).renew(batches, step=1)
    assert list_rows(fresh) != list_rows(first.renew(batches, step=1))
