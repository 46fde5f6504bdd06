"""Rollouts are repeatable, scored as they were drawn, and end as texts end."""

import json
import random
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from torch import Tensor

from generators.decoding import Mixture
from tests.tiny_model import make_tiny_model
from trainers.logits import compute_logits, find_predicting_positions
from trainers.losses import cross_entropy
from trainers.rollouts import (
    ReplayBuffer,
    Rollout,
    choose_student_prefixes,
    sample_rollouts,
    seed_rollouts,
)
from trainers.rows import TokenRow, collate

PROMPTS = [[1, 300, 400], [1, 300, 500, 600, 700], [1, 300, 400], [9]]
SEEDS = [11, 12, 13, 14]
EOS = 2


@pytest.fixture
def ending_model(tiny_model: Any) -> Any:
    """Surer of itself, and about every sixth of its tokens is the end token."""
    with torch.no_grad():
        tiny_model.get_input_embeddings().weight.mul_(10)
    bias_V = torch.zeros(49152)
    bias_V[EOS] = 10.5
    tiny_model.lm_head.register_forward_hook(lambda _, __, logits: logits + bias_V)
    return tiny_model


def sample(model: Any, tokenizer: Any, **options: Any) -> list[Rollout]:
    settings: dict[str, Any] = {"max_new_tokens": 6, "max_length": 64, **options}
    return sample_rollouts(model, tokenizer, PROMPTS, SEEDS, **settings)


def score(model: Any, rollouts: list[Rollout]) -> list[float]:
    """The completions' log-probabilities by a fresh pass over padded rows."""
    model.eval()
    batch = collate([rollout.row for rollout in rollouts], pad_id=EOS)
    positions_BT = find_predicting_positions(batch["labels"])
    with torch.no_grad():
        logits_NV = compute_logits(model, batch["input_ids"], batch["attention_mask"], positions_BT)
    return (-cross_entropy(logits_NV, batch["labels"][:, 1:][positions_BT[:, :-1]])).tolist()


def flatten_log_probs(rollouts: list[Rollout]) -> Tensor:
    """Of all completions' tokens [N], in row-major order."""
    return torch.tensor([p for rollout in rollouts for p in rollout.behaviour_log_probs])


def compute_loss(model: Any, rollouts: list[Rollout]) -> Tensor:
    batch = collate([r.row for r in rollouts], pad_id=EOS)
    return model(**{key: batch[key] for key in ("input_ids", "attention_mask", "labels")}).loss


def test_equal_seeds_write_equal_rollouts(tiny_model: Any, tokenizer: Any) -> None:
    first, again = sample(tiny_model, tokenizer), sample(tiny_model, tokenizer)
    assert first == again
    assert first[0].row.input_ids != first[2].row.input_ids  # one prompt, two seeds
    assert [r.row.input_ids[: r.row.prompt_length] for r in first] == PROMPTS


def test_log_probs_equal_a_fresh_pass_at_temperature_1(ending_model: Any, tokenizer: Any) -> None:
    for options in ({}, {"temperature": 0.5, "top_p": 0.9}):
        rollouts = sample(ending_model, tokenizer, **options)
        fresh = score(ending_model, rollouts)
        assert flatten_log_probs(rollouts).tolist() == pytest.approx(fresh, abs=1e-4)


def test_the_end_token_belongs_to_the_completion_and_is_learnt(
    ending_model: Any, tokenizer: Any
) -> None:
    """It is the padding token too."""
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == EOS
    rollouts = [r for r in sample(ending_model, tokenizer, max_new_tokens=40) if r.ended]
    assert len({len(r.row.input_ids) for r in rollouts}) > 1
    for rollout in rollouts:
        completion = rollout.row.input_ids[rollout.row.prompt_length :]
        assert completion[-1] == EOS
        assert EOS not in completion[:-1]
        assert len(rollout.log_probs) == len(completion)
    batch = collate([r.row for r in rollouts], pad_id=EOS)
    assert (batch["labels"] == EOS).sum(dim=1).tolist() == [1] * len(rollouts)
    before = fmean(score(ending_model, [r])[-1] for r in rollouts)
    optimiser = torch.optim.Adam(ending_model.parameters(), lr=1e-2)
    for _ in range(12):
        optimiser.zero_grad()
        compute_loss(ending_model, rollouts).backward()
        optimiser.step()
    after = fmean(score(ending_model, [r])[-1] for r in rollouts)
    assert after > before + 1


def test_a_row_without_room_is_cut_and_has_not_ended(tiny_model: Any, tokenizer: Any) -> None:
    rollouts = sample(tiny_model, tokenizer, max_length=7)
    assert [len(r.row.input_ids) for r in rollouts] == [7, 7, 7, 7]
    assert [len(r.log_probs) for r in rollouts] == [4, 2, 4, 6]
    assert not any(r.ended for r in rollouts)
    whole = sample(tiny_model, tokenizer)
    assert [r.row.input_ids for r in rollouts] == [r.row.input_ids[:7] for r in whole]
    with pytest.raises(ValueError) as caught:
        sample(tiny_model, tokenizer, max_length=5)
    assert str(caught.value) == (
        "prompt 1 has 5 tokens, which leave no room for a completion within max_length 5.\n"
        "Raise max_length, or leave longer prompts out."
    )


def test_weights_go_with_their_rows(tiny_model: Any, tokenizer: Any) -> None:
    weighted = sample(tiny_model, tokenizer, max_new_tokens=1, weights=[0.5, 1.0, 2.0, 0.0])
    assert [r.row.weight for r in weighted] == [0.5, 1.0, 2.0, 0.0]
    assert [r.row.weight for r in sample(tiny_model, tokenizer, max_new_tokens=1)] == [1.0] * 4


def test_no_prompts_no_rollouts(tiny_model: Any, tokenizer: Any) -> None:
    assert sample_rollouts(tiny_model, tokenizer, [], [], max_new_tokens=4, max_length=9) == []


def test_a_teacher_in_the_draw_is_scored_as_well(ending_model: Any, tokenizer: Any) -> None:
    teacher = make_tiny_model(seed=1)
    rollouts = sample(ending_model, tokenizer, mixture=Mixture(teacher, 0.2))
    own = [p for r in rollouts for p in r.log_probs]
    others = [p for r in rollouts for p in r.teacher_log_probs]
    assert own == pytest.approx(score(ending_model, rollouts), abs=1e-4)
    assert others == pytest.approx(score(teacher, rollouts), abs=1e-4)
    mixed = (0.8 * torch.tensor(own).exp() + 0.2 * torch.tensor(others).exp()).log()
    torch.testing.assert_close(flatten_log_probs(rollouts), mixed, atol=1e-4, rtol=0)
    assert sample(ending_model, tokenizer) != rollouts


# In the middle of a training step


def test_the_model_is_left_as_it_was(tiny_model: Any, tokenizer: Any) -> None:
    """Checkpointing takes the cache away from a model in training mode."""
    expected = sample(tiny_model.eval(), tokenizer)
    tiny_model.activation_checkpointing_enable()
    tiny_model.config.use_cache = False
    tiny_model.train()
    frozen = tiny_model.model.layers[0].eval()
    teacher = make_tiny_model(seed=1).train()
    assert sample(tiny_model, tokenizer) == expected
    sample(tiny_model, tokenizer, mixture=Mixture(teacher, 0.5), max_new_tokens=1)
    assert [part for part in tiny_model.modules() if not part.training] == list(frozen.modules())
    assert all(part.training for part in teacher.modules())


def test_a_step_under_autocast_still_has_its_gradients(tiny_model: Any, tokenizer: Any) -> None:
    """The casts that autocast makes while sampling, without gradient, must not reach the step."""
    with torch.autocast("cpu", torch.bfloat16):
        rollouts = sample(tiny_model, tokenizer, precision="bfloat16")
        loss = compute_loss(tiny_model, rollouts)
    loss.backward()
    gradients = [p.grad for p in tiny_model.parameters()]
    assert len(gradients) > 10
    assert all(g is not None and g.abs().max() > 0 for g in gradients)


def test_autocast_casts_the_weights_once_and_not_at_each_token(
    tiny_model: Any, tokenizer: Any
) -> None:
    modes: list[tuple[bool, bool]] = []
    tiny_model.register_forward_pre_hook(
        lambda *_: modes.append((torch.is_inference_mode_enabled(), torch.is_grad_enabled()))
    )
    sample(tiny_model, tokenizer, precision="bfloat16", max_new_tokens=1)
    assert set(modes) == {(False, False)}  # in inference mode autocast keeps no casts
    modes.clear()
    sample(tiny_model, tokenizer, max_new_tokens=1)
    assert set(modes) == {(True, False)}


def test_precision_is_that_asked_for_whatever_surrounds_it(tiny_model: Any, tokenizer: Any) -> None:
    plain = sample(tiny_model, tokenizer)
    with torch.autocast("cpu", torch.bfloat16):
        assert sample(tiny_model, tokenizer) == plain
        half = sample(tiny_model, tokenizer, precision="bfloat16", max_new_tokens=1)
    assert half == sample(tiny_model, tokenizer, precision="bfloat16", max_new_tokens=1)
    rounded, exact = (flatten_log_probs(each)[0].item() for each in (half, plain))
    assert rounded != exact
    assert rounded == pytest.approx(exact, abs=0.1)


# Where prefixes come from


def test_the_share_decides_how_many_rows_the_student_begins() -> None:
    rows = range(2000)
    assert not any(choose_student_prefixes(0.0, 1, 5, rows))
    assert all(choose_student_prefixes(1.0, 1, 5, rows))
    some, more = (choose_student_prefixes(share, 1, 5, rows) for share in (0.3, 0.6))
    assert sum(some) / 2000 == pytest.approx(0.3, abs=0.03)
    assert all(later for earlier, later in zip(some, more, strict=True) if earlier)


def test_a_resumed_step_chooses_and_seeds_its_rows_as_before() -> None:
    whole = choose_student_prefixes(0.5, 1, 5, range(64))
    batches = [choose_student_prefixes(0.5, 1, 5, range(i, i + 16)) for i in range(0, 64, 16)]
    assert [chosen for batch in batches for chosen in batch] == whole
    for seed, step in ((1, 6), (2, 5)):
        assert choose_student_prefixes(0.5, seed, step, range(64)) != whole
    assert seed_rollouts(1, 5, [3]) == seed_rollouts(1, 5, range(8))[3:4]
    seeds = {s for step in range(8) for s in seed_rollouts(1, step, range(8))}
    assert len(seeds) == 64


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError) as caught:
        choose_student_prefixes(share, 1, 1, range(2))
    assert str(caught.value) == f"student share {share}: must be from 0 (the dataset's) to 1"


# Replay


def make_rollouts(*numbers: int) -> list[Rollout]:
    return [
        Rollout(TokenRow([1, n, 2], 1, n / 3), (-n / 7, -0.1), n % 2 == 0, (-1 / 3, -0.2))
        for n in numbers
    ]


def test_a_buffer_keeps_the_last_and_draws_the_young() -> None:
    buffer = ReplayBuffer(capacity=4, max_age=2)
    buffer.add(make_rollouts(1, 2), step=1)
    buffer.add(make_rollouts(3, 4), step=3)
    buffer.add(make_rollouts(5), step=4)
    assert len(buffer) == 4  # the first has made room
    drawn = buffer.draw(9, random.Random(0), step=5)
    assert sorted(r.row.input_ids[1] for r in drawn) == [3, 4, 5]
    assert buffer.draw(9, random.Random(0), step=6) == make_rollouts(5)
    assert buffer.draw(9, random.Random(0), step=7) == []
    ageless = ReplayBuffer(capacity=4)
    ageless.add(make_rollouts(1, 2, 3), step=0)
    two = ageless.draw(2, random.Random(0), step=10**6)
    assert len({r.row.input_ids[1] for r in two}) == 2
    chosen = {ageless.draw(1, random.Random(i), step=1)[0].row.input_ids[1] for i in range(30)}
    assert chosen == {1, 2, 3}


@pytest.mark.parametrize("stored", ["json", "torch"])
def test_a_restored_buffer_goes_on_as_the_first_would(stored: str, tmp_path: Path) -> None:
    buffer = ReplayBuffer(capacity=3, max_age=5)
    buffer.add(make_rollouts(1, 2, 3), step=2)
    file = tmp_path / "replay"
    if stored == "json":
        file.write_text(json.dumps(buffer.state_dict()))
        state = json.loads(file.read_text())
    else:
        torch.save(buffer.state_dict(), file)
        state = torch.load(file, weights_only=True)
    restored = ReplayBuffer(capacity=3, max_age=5)
    restored.add(make_rollouts(9), step=1)
    restored.load_state_dict(state)
    for each in (buffer, restored):
        each.add(make_rollouts(4), step=6)
    first, second = (each.draw(3, random.Random(1), step=7) for each in (buffer, restored))
    assert first == second
    assert sorted(r.row.input_ids[1] for r in first) == [2, 3, 4]
    late, late_again = (each.draw(3, random.Random(1), step=8) for each in (buffer, restored))
    assert late == late_again == make_rollouts(4)


def test_a_buffer_without_room_is_refused() -> None:
    with pytest.raises(ValueError) as caught:
        ReplayBuffer(0)
    assert str(caught.value) == "replay capacity 0: must be at least 1"
