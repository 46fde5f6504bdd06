"""The student as its own teacher, on a model of a few letters and on the real template."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from generators.embedded import render_chat
from generators.errors import ConfigError, InputError
from generators.records import Message
from tests.trainers.bigram_teacher import make_batch
from trainers.context_teacher import (
    ContextTeacher,
    Refresh,
    ShownPrompt,
    map_contexts,
    show_turns,
)
from trainers.logits import compute_logits
from trainers.losses import divergence
from trainers.rows import TokenRow, encode_row
from trainers.targets import HeadStates

VOCABULARY = 50
ROWS = [TokenRow([3, 4, 5, 6, 7], 2), TokenRow([8, 9, 10, 11, 12, 13, 14], 3)]
PROMPTS = [tuple(row.input_ids[: row.prompt_length]) for row in ROWS]
NO_EXAMPLES = {prompt: prompt for prompt in PROMPTS}
EXAMPLES = {PROMPTS[0]: (20, 21, 22, *PROMPTS[0]), PROMPTS[1]: (3, 30, *PROMPTS[1])}


@pytest.fixture
def student() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY + 14,  # padded, as Qwen's
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=24,
        tie_word_embeddings=True,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config)


def read_logits(teacher: ContextTeacher, rows: list[TokenRow] = ROWS) -> Tensor:
    states = teacher.read(*make_batch(rows))
    assert isinstance(states, HeadStates)
    return states.hidden_ND @ states.weight_VD.T


def think(model: Any, rows: list[TokenRow] = ROWS) -> Tensor:
    with torch.no_grad():
        return compute_logits(model, *make_batch(rows))[:, :VOCABULARY]


def step(student: LlamaForCausalLM, seed: int) -> None:
    """Move every weight."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in student.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=generator)


def measure_loss(teacher: ContextTeacher, student: Any) -> float:
    return float(divergence(think(student), read_logits(teacher), "reverse").abs().max())


def test_without_examples_the_loss_is_zero_after_every_refresh(student: LlamaForCausalLM) -> None:
    teacher = ContextTeacher(student, VOCABULARY, NO_EXAMPLES, Refresh(every=3))
    assert measure_loss(teacher, student) < 1e-6
    for number in range(1, 10):
        step(student, number)
        assert measure_loss(teacher, student) > 1e-3
        refreshed = teacher.on_step_end(number)
        assert refreshed == (number in (3, 6, 9))
        assert (measure_loss(teacher, student) < 1e-6) == refreshed


def test_with_examples_the_teacher_says_something_else(student: LlamaForCausalLM) -> None:
    teacher = ContextTeacher(student, VOCABULARY, EXAMPLES, Refresh(every=3))
    assert measure_loss(teacher, student) > 1e-3


def test_targets_belong_to_the_same_tokens(student: LlamaForCausalLM) -> None:
    teacher = ContextTeacher(student, VOCABULARY, EXAMPLES, Refresh(mode="fixed"))
    with_examples = [
        TokenRow([*EXAMPLES[prompt], *row.input_ids[row.prompt_length :]], len(EXAMPLES[prompt]))
        for prompt, row in zip(PROMPTS, ROWS, strict=True)
    ]
    expected = think(student, with_examples)
    assert expected.shape == (7, VOCABULARY)
    torch.testing.assert_close(read_logits(teacher), expected)


def test_other_completions_of_a_prompt_have_its_examples(student: LlamaForCausalLM) -> None:
    teacher = ContextTeacher(student, VOCABULARY, EXAMPLES, Refresh(mode="fixed"))
    sampled = TokenRow([*PROMPTS[1], 40, 41], 3)
    expected = think(student, [TokenRow([*EXAMPLES[PROMPTS[1]], 40, 41], 5)])
    torch.testing.assert_close(read_logits(teacher, [sampled]), expected)


def test_a_fixed_teacher_stays_as_it_was(student: LlamaForCausalLM) -> None:
    teacher = ContextTeacher(student, VOCABULARY, NO_EXAMPLES, Refresh(mode="fixed"))
    before = think(student)
    for number in range(1, 4):
        step(student, number)
        assert teacher.on_step_end(number) is False
    torch.testing.assert_close(read_logits(teacher), before)


def test_an_average_keeps_its_share_of_every_weight(student: LlamaForCausalLM) -> None:
    refresh = Refresh(mode="ema", every=2, decay=0.75)
    teacher = ContextTeacher(student, VOCABULARY, NO_EXAMPLES, refresh)
    expected = copy.deepcopy(student)
    for number in range(1, 5):
        step(student, number)
        assert teacher.on_step_end(number) == (number in (2, 4))
        if number in (2, 4):
            with torch.no_grad():
                for own, new in zip(expected.parameters(), student.parameters(), strict=True):
                    own.copy_(0.75 * own + 0.25 * new)
    torch.testing.assert_close(read_logits(teacher), think(expected))
    assert measure_loss(teacher, student) > 1e-3


def test_the_teacher_shares_no_weight_and_takes_no_gradient(student: LlamaForCausalLM) -> None:
    teacher = ContextTeacher(student, VOCABULARY, NO_EXAMPLES, Refresh(every=1))
    own = dict(teacher._teacher.model.named_parameters())
    assert not any(weight.requires_grad for weight in own.values())
    assert all(weight.requires_grad for weight in student.parameters())
    assert all(own[name].data_ptr() != each.data_ptr() for name, each in student.named_parameters())
    assert not read_logits(teacher).requires_grad


def test_a_checkpoint_brings_back_the_last_refresh(
    student: LlamaForCausalLM, tmp_path: Path
) -> None:
    teacher = ContextTeacher(student, VOCABULARY, EXAMPLES, Refresh(every=2))
    step(student, 1)
    teacher.on_step_end(2)
    step(student, 2)
    teacher.save(tmp_path)
    resumed = ContextTeacher(student, VOCABULARY, EXAMPLES, Refresh(every=2))
    assert not torch.equal(read_logits(resumed), read_logits(teacher))
    resumed.restore(tmp_path)
    assert torch.equal(read_logits(resumed), read_logits(teacher))
    with pytest.raises(InputError) as caught:
        resumed.restore(tmp_path / "absent")
    assert str(caught.value) == (
        f"{tmp_path}/absent/context_teacher.safetensors: is missing, so the teacher of this "
        "training is lost.\n"
        "Delete the checkpoint and train from the beginning."
    )


def test_the_teacher_rounds_as_the_student_does(student: LlamaForCausalLM) -> None:
    kind = torch.bfloat16
    rounding = ContextTeacher(student, VOCABULARY, NO_EXAMPLES, Refresh(every=1), autocast=kind)
    exact = ContextTeacher(student, VOCABULARY, NO_EXAMPLES, Refresh(every=1))
    with torch.autocast("cpu", torch.bfloat16):
        own, rounded, plain = think(student), read_logits(rounding), read_logits(exact)
    torch.testing.assert_close(rounded, own, atol=2e-2, rtol=0)
    torch.testing.assert_close(plain, own, atol=2e-2, rtol=0)
    torch.testing.assert_close(read_logits(exact), think(student), atol=1e-5, rtol=0)
    assert (read_logits(rounding) - think(student)).abs().max() > 1e-3


def test_an_average_of_short_weights_is_refused(student: LlamaForCausalLM) -> None:
    student.bfloat16()
    with pytest.raises(ConfigError) as caught:
        ContextTeacher(student, VOCABULARY, {}, Refresh(mode="ema", every=1, decay=0.9))
    assert str(caught.value) == (
        "refresh.mode ema: the student's weights are 16 bits, in which an average stands still; "
        "load it in float32 (bfloat16 autocast is fine), or choose copy"
    )
    ContextTeacher(student, VOCABULARY, {}, Refresh(every=1))


def test_a_prompt_without_a_context_is_refused(student: LlamaForCausalLM) -> None:
    teacher = ContextTeacher(student, VOCABULARY, EXAMPLES, Refresh(every=1))
    with pytest.raises(InputError) as caught:
        teacher.read(*make_batch([TokenRow([9, 9, 9], 2)]))
    assert str(caught.value) == (
        "a prompt of 2 tokens has no context, so no teacher reads it.\n"
        "Give the contexts of all prompts that are trained on (map_contexts)."
    )


def test_examples_that_leave_no_room_are_refused(student: LlamaForCausalLM) -> None:
    contexts = {PROMPTS[0]: (*range(20), *PROMPTS[0])}
    teacher = ContextTeacher(student, VOCABULARY, contexts, Refresh(every=1))
    with pytest.raises(InputError) as caught:
        teacher.read(*make_batch(ROWS[:1]))
    assert str(caught.value) == (
        "a row of 5 tokens is 25 with its examples, and the model reads 24.\n"
        "Give fewer examples, or lower max_length."
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"mode": "fixed", "every": 3},
            "Value error, every: copy and ema need it, a number of steps; fixed takes none",
        ),
        (
            {"mode": "copy"},
            ("Value error, every: copy and ema need it, a number of steps; fixed takes none"),
        ),
        (
            {"mode": "ema", "every": 3},
            ("Value error, decay: ema needs it, from 0 to below 1; only ema takes one"),
        ),
        (
            {"mode": "copy", "every": 3, "decay": 0.5},
            "Value error, decay: ema needs it, from 0 to below 1; only ema takes one",
        ),
    ],
)
def test_settings_that_do_not_belong_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Refresh.model_validate(given)
    assert caught.value.errors()[0]["msg"] == message


def talk(*turns: str) -> list[Message]:
    roles = ("user", "assistant")
    return [
        Message.model_validate({"role": roles[i % 2], "content": turn})
        for i, turn in enumerate(turns)
    ]


def test_examples_are_earlier_turns_behind_the_system_turn(tokenizer: Any) -> None:
    prompt, examples = talk("What is 2 + 3?"), talk("What is 1 + 1?", "2")
    own_system = [Message(role="system", content="Be brief."), *prompt]
    contexts = map_contexts(
        [ShownPrompt(each, show_turns(each, examples)) for each in (prompt, own_system)], tokenizer
    )
    row = {"prompt": [{"role": "user", "content": "What is 2 + 3?"}]}
    row["completion"] = [{"role": "assistant", "content": "5"}]
    encoded = encode_row(row, tokenizer, max_length=512)
    default, briefed = (tokenizer.decode(context) for context in contexts.values())
    assert tuple(encoded.input_ids[: encoded.prompt_length]) == next(iter(contexts))
    assert default == render_chat(tokenizer, [*examples, *prompt])
    assert default.startswith("<|im_start|>system\nYou are")
    assert default.count("<|im_start|>system") == 1
    assert briefed.startswith(
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat is 1 + 1?<|im_end|>"
    )
    assert briefed.endswith("user\nWhat is 2 + 3?<|im_end|>\n<|im_start|>assistant\n")


def test_no_examples_leave_the_prompt_and_raw_text_stands_for_it(tokenizer: Any) -> None:
    prompt = talk("What is 2 + 3?")
    ((own, shown),) = map_contexts([ShownPrompt(prompt, show_turns(prompt, []))], tokenizer).items()
    assert shown == own
    (text,) = map_contexts([ShownPrompt(prompt, "1 + 1 = 2\n2 + 3 =")], tokenizer).values()
    assert tokenizer.decode(text) == "1 + 1 = 2\n2 + 3 ="
