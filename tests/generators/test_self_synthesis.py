"""Where a user's turn begins, what a draw asks for, and what becomes of it."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from generators.clients import Sampling, draw_seed
from generators.embedded import load_tokenizer
from generators.errors import ModelError
from generators.records import digest
from generators.self_synthesis import (
    SynthesisSettings,
    UserTurn,
    derive_user_turn,
    describe_asker,
    draft_turns,
    find_synthesis_problems,
    make_prompt,
    state_user_turn,
)

OWN = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
LLAMA = (
    "{{ '<|begin_of_text|>' }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}"
    "<|end_header_id|>\n\n{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
)
MISTRAL = (
    "<s>{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}"
    "{% endif %}{% for m in messages if m['role'] == 'user' %}[INST] "
    "{% if system is defined %}{{ system }}\n\n{% endif %}{{ m['content'] }}[/INST]{% endfor %}"
)
GEMMA = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}<bos><start_of_turn>user\n{{ messages[0]['content'] }}<end_of_turn>\n"
)


def entry(**settings: Any) -> SynthesisSettings:
    settings = {"model": "smol", "count": 4, "domain": "advice", "licence": "CC0-1.0"} | settings
    return SynthesisSettings(**settings)


@pytest.mark.parametrize(
    ("system", "opening"),
    [
        pytest.param(
            None, f"<|im_start|>system\n{OWN}<|im_end|>\n<|im_start|>user\n", id="the model's own"
        ),
        pytest.param(
            "Talk of cooking.",
            "<|im_start|>system\nTalk of cooking.<|im_end|>\n<|im_start|>user\n",
            id="ours",
        ),
    ],
)
def test_real_template_tells_how_a_turn_begins(
    small_model_dir: Path, tiny_model_dir: Path, system: str | None, opening: str
) -> None:
    for folder in (small_model_dir, tiny_model_dir):
        tokenizer = load_tokenizer(str(folder))
        assert derive_user_turn(tokenizer, "smol", system) == UserTurn(opening, "<|im_end|>")


@pytest.mark.parametrize(
    ("template", "opening", "end"),
    [
        pytest.param(
            LLAMA,
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\n",
            "<|eot_id|>",
            id="Llama",
        ),
        pytest.param(
            MISTRAL, "<s>[INST] Be kind.\n\n", "[/INST]", id="system within the user's turn"
        ),
        pytest.param("{{ messages[-1]['content'] }}", "", None, id="nothing ends a turn"),
    ],
)
def test_other_templates(
    small_model_dir: Path, template: str, opening: str, end: str | None
) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(small_model_dir)
    tokenizer.chat_template = template
    assert derive_user_turn(tokenizer, "other", "Be kind.") == UserTurn(opening, end)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        pytest.param(
            None,
            "base: has no chat template, so nothing tells how a user's turn begins; "
            "state it as user_turn, or take an aligned model",
            id="none",
        ),
        pytest.param(
            GEMMA,
            "base: its chat template refuses the turns: System role not supported; "
            "leave out system and personas",
            id="no system turn",
        ),
        pytest.param(
            "Hello",
            "base: its chat template drops the user's turn; state user_turn",
            id="no user turn",
        ),
    ],
)
def test_template_that_cannot_tell(
    small_model_dir: Path, template: str | None, message: str
) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(small_model_dir)
    tokenizer.chat_template = template
    with pytest.raises(ModelError) as caught:
        derive_user_turn(tokenizer, "base", "Be kind.")
    assert str(caught.value) == message


def test_tokenizer_of_no_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError) as caught:
        load_tokenizer(str(tmp_path))
    first, remedy = str(caught.value).splitlines()
    assert first.startswith(f"{tmp_path}: not a model that transformers can load: ")
    assert remedy == (
        "Give the folder of a saved model, a Hugging Face id, or 'smollm2-135m-instruct'."
    )


def test_stated_turn_takes_the_system_turn() -> None:
    stated = "<system>{system}</system><user>"
    assert state_user_turn(stated, "Be kind.").opening == "<system>Be kind.</system><user>"
    assert state_user_turn("<user>", None) == UserTurn("<user>", None)


def test_each_draw_takes_the_next_persona() -> None:
    settings = entry(system="Talk of food.", personas=("a nurse", "a cook on a ship."))
    assert [describe_asker(settings, i) for i in (0, 1, 2)] == [
        "Talk of food. You are talking to a nurse.",
        "Talk of food. You are talking to a cook on a ship.",
        "Talk of food. You are talking to a nurse.",
    ]
    assert describe_asker(entry(personas=("a nurse",)), 5) == "You are talking to a nurse."
    assert describe_asker(entry(), 0) is None


def test_draws_are_raw_completions_with_seeds_of_their_own() -> None:
    settings = entry(personas=("a nurse", "a cook"), sampling={"max_tokens": 9, "stop": ["\n\n"]})

    def open_turn(system: str | None) -> UserTurn:
        return UserTurn(f"<{system}>", "</user>")

    requests = draft_turns(settings, range(1, 3), open_turn, run_seed=7, cycle=1)
    assert [request.text for request in requests] == [
        "<You are talking to a cook.>",
        "<You are talking to a nurse.>",
    ]
    assert [request.seed for request in requests] == [
        draw_seed(7, 1, "synthesise", "smol", i) for i in (1, 2)
    ]
    sampling = Sampling(temperature=1.0, top_p=0.95, max_tokens=9, stop=("\n\n", "</user>"))
    assert [request.sampling for request in requests] == [sampling] * 2
    assert all(request.messages == () for request in requests)


def test_only_the_users_turn_is_kept() -> None:
    first, second = (
        make_prompt(entry(), "What is a fjord?", "<user>", model="smol@1", occurrence=i)
        for i in (0, 1)
    )
    assert [(m.role, m.content) for m in first.messages] == [("user", "What is a fjord?")]
    assert (first.operator, first.round, first.parent_id) == ("magpie", 0, None)
    assert (first.source, first.author, first.licence) == ("magpie:smol@1", "smol@1", "CC0-1.0")
    assert (first.domain, first.check) == ("advice", None)
    assert first.template_hash == digest("<user>")
    assert first.id == first.root_id != second.id


def test_a_few_draws_are_as_lavish_as_all() -> None:
    assert (entry().most_draws, entry(draws=5).most_draws) == (8, 5)
    assert (entry().limit(2).count, entry().limit(2).most_draws) == (2, 4)
    assert (entry(draws=5).limit(3).count, entry(draws=5).limit(3).most_draws) == (3, 5)
    assert entry(draws=5).limit(99) == entry(draws=5)


def test_sound_settings_have_no_problems() -> None:
    stated = {"model": "far", "user_turn": "{system}<user>", "system": "Be kind."}
    sound = [entry(), entry(**stated), entry(name="more", **stated), entry(name="x", count=8)]
    assert list(find_synthesis_problems(sound, ["far"])) == []
