import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from generators.embedded import load_model
from generators.errors import ConfigError, RunError
from tests.tiny_model import make_tiny_model
from trainers.fresh_models import Value, make_fresh, override_config
from trainers.settings import Student
from trainers.students import check_student, keep_layers, load_student, save_cut

IDS_BT = torch.tensor([[504, 3575, 282, 4649, 314]])


@torch.no_grad()
def read(model: Any) -> torch.Tensor:
    return model(input_ids=IDS_BT, use_cache=False).logits


def test_keeping_every_layer_changes_nothing(tiny_model: Any) -> None:
    before = read(tiny_model)
    keep_layers(tiny_model, [0, 1])
    torch.testing.assert_close(read(tiny_model), before)


def test_a_cut_student_reloads_and_its_cache_is_right(
    small_model_dir: Path, tmp_path: Path
) -> None:
    model, _ = load_student(Student(model=str(small_model_dir), layers=(0, 10, 29)))
    whole, _ = load_model(str(small_model_dir), "float32")
    assert model.dtype == torch.float32
    assert model.config.num_hidden_layers == len(model.model.layers) == 3
    for kept, original in zip(model.model.layers, (0, 10, 29), strict=True):
        expected = whole.model.layers[original].mlp.up_proj.weight
        assert torch.equal(kept.mlp.up_proj.weight, expected)
    cached = model.generate(IDS_BT, max_new_tokens=6, do_sample=False)
    plain = model.generate(IDS_BT, max_new_tokens=6, do_sample=False, use_cache=False)
    assert torch.equal(cached, plain)
    model.save_pretrained(tmp_path)
    reloaded, _ = load_model_without_tokenizer(tmp_path)
    torch.testing.assert_close(read(reloaded), read(model))


def load_model_without_tokenizer(folder: Path) -> tuple[Any, None]:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), None


@pytest.mark.parametrize(
    "layers", [[1, 0], [0, 0], [0, 2], [-1, 1]], ids=["descending", "twice", "absent", "negative"]
)
def test_layers_that_cannot_be_kept_are_refused(tiny_model: Any, layers: list[int]) -> None:
    with pytest.raises(ConfigError) as caught:
        keep_layers(tiny_model, layers)
    assert str(caught.value) == f"layers {layers}: give ascending numbers from 0 to 1, each once"


def test_a_cut_is_saved_as_a_model_that_loads(small_model_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cuts" / "three"
    student = Student(model=str(small_model_dir), layers=(0, 10, 29))
    parameters = save_cut(student, folder)
    model, tokenizer = load_model(str(folder), "float32")
    assert parameters == sum(parameter.numel() for parameter in model.parameters())
    assert len(model.model.layers) == 3
    whole = load_student(student)
    assert torch.equal(read(model), read(whole.model))
    assert tokenizer("Sow early.")["input_ids"] == whole.tokenizer("Sow early.")["input_ids"]
    assert [place.name for place in folder.parent.iterdir()] == ["three"]


def test_a_cut_never_replaces_anything(tiny_model_dir: Path) -> None:
    with pytest.raises(RunError) as caught:
        save_cut(Student(model=str(tiny_model_dir), layers=(0,)), tiny_model_dir)
    assert str(caught.value) == (
        f"{tiny_model_dir}: there is something already; give the name of a new folder"
    )


def test_a_fresh_student_is_drawn_by_its_seed_under_the_models_own_embeddings(
    tiny_model_dir: Path,
) -> None:
    source, _ = load_model(str(tiny_model_dir), "float32")
    shape: dict[str, Value] = {"num_hidden_layers": 3, "intermediate_size": 96}
    state = torch.get_rng_state()
    model, tokenizer = load_student(Student(model=str(tiny_model_dir), fresh=shape, seed=4))
    assert torch.equal(torch.get_rng_state(), state)
    assert [layer.mlp.up_proj.weight.shape for layer in model.model.layers] == [(96, 64)] * 3
    assert torch.equal(model.model.embed_tokens.weight, source.model.embed_tokens.weight)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert model.dtype == torch.float32
    assert not model.training
    assert model.generation_config.eos_token_id == source.generation_config.eos_token_id
    assert tokenizer("Sow early.")["input_ids"]
    again, _ = load_student(Student(model=str(tiny_model_dir), fresh=shape, seed=4))
    assert torch.equal(read(again), read(model))
    other, _ = load_student(Student(model=str(tiny_model_dir), fresh=shape, seed=5))
    assert not torch.equal(read(other), read(model))


def test_a_narrower_student_has_embeddings_of_its_own(tiny_model: Any) -> None:
    model = make_fresh(
        tiny_model, {"hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1}
    )
    assert model.model.embed_tokens.weight.shape == (49152, 32)
    assert model.config.head_dim == 16
    assert read(model).shape == (1, 5, 49152)
    assert model.model.embed_tokens.weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_a_fresh_student_may_leave_the_embeddings(tiny_model: Any) -> None:
    taken = make_fresh(tiny_model, {}, seed=3)
    left = make_fresh(tiny_model, {}, seed=3, reuse_embeddings=False)
    own = tiny_model.model.embed_tokens.weight
    assert torch.equal(taken.model.embed_tokens.weight, own)
    assert not torch.equal(left.model.embed_tokens.weight, own)
    assert not torch.equal(taken.model.layers[0].mlp.up_proj.weight, get_first_layer(tiny_model))
    assert torch.equal(get_first_layer(taken), get_first_layer(left))


def get_first_layer(model: Any) -> torch.Tensor:
    return model.model.layers[0].mlp.up_proj.weight


def test_a_head_of_its_own_is_taken_over_too() -> None:
    source = make_tiny_model()
    untied = make_fresh(source, {"tie_word_embeddings": False}, seed=1)
    assert untied.lm_head.weight is not untied.model.embed_tokens.weight
    assert torch.equal(untied.lm_head.weight, source.lm_head.weight)
    with torch.no_grad():
        untied.lm_head.weight.add_(1)
    tied = make_fresh(untied, {"tie_word_embeddings": True}, seed=1)
    assert torch.equal(tied.lm_head.weight, untied.model.embed_tokens.weight)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"hiden_size": 32},
            ("fresh.hiden_size: not a setting of a llama model (did you mean hidden_size?)"),
        ),
        (
            {"model_type": "gpt2"},
            ("fresh.model_type: not a setting of a llama model (did you mean problem_type?)"),
        ),
        ({"rope_parameters": 1}, "fresh.rope_parameters: not a setting of a llama model"),
        (
            {"hidden_size": 32.5},
            "fresh.hidden_size 32.5: must be of type int, as the model's own 64",
        ),
        (
            {"attention_bias": 1},
            ("fresh.attention_bias 1: must be of type bool, as the model's own False"),
        ),
        ({"num_hidden_layers": 0}, "fresh.num_hidden_layers 0: must be at least 1"),
        (
            {"hidden_size": 66},
            (
                "fresh: hidden_size 66 cannot be shared out among 4 attention heads; give "
                "hidden_size "
                "or num_attention_heads so that it divides"
            ),
        ),
        (
            {"num_key_value_heads": 3},
            (
                "fresh: 4 attention heads cannot share 3 key-value heads; give "
                "num_attention_heads or "
                "num_key_value_heads so that it divides"
            ),
        ),
        (
            {"hidden_size": 60},
            ("fresh: 15 dimensions a head (60 / 4): rotary positions need an even number"),
        ),
        (
            {"rms_norm_eps": "x"},
            ("fresh.rms_norm_eps 'x': must be of type float, as the model's own 1e-06"),
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_configurations_that_cannot_be_built_are_refused(
    tiny_model: Any, overrides: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as refusal:
        override_config(tiny_model.config, overrides)
    assert str(refusal.value) == message


def test_what_depends_on_a_changed_value_follows_it() -> None:
    from transformers import GPT2Config, Qwen2Config, Qwen3Config

    qwen = override_config(Qwen2Config(num_hidden_layers=4), {"num_hidden_layers": 2})
    assert qwen.layer_types == ["full_attention"] * 2
    assert override_config(qwen, {"num_attention_heads": 16}).num_key_value_heads == 16
    gpt = override_config(GPT2Config(), {"hidden_size": 96, "num_attention_heads": 3})
    assert (gpt.n_embd, gpt.n_head) == (96, 3)
    separate = Qwen3Config(
        hidden_size=1024, num_attention_heads=16, num_key_value_heads=8, head_dim=128
    )
    assert override_config(separate, {"hidden_size": 512}).head_dim == 128
    assert override_config(qwen, {"rms_norm_eps": 1}).rms_norm_eps == 1


def test_a_vocabulary_smaller_than_the_tokenizers_is_refused(tiny_model_dir: Path) -> None:
    student = Student(model=str(tiny_model_dir), fresh={"vocab_size": 1000})
    for refuse in (load_student, check_student):
        with pytest.raises(ConfigError) as caught:
            refuse(student)
        assert str(caught.value) == (
            "fresh.vocab_size 1000: the tokenizer, which stays, knows 49,152 ids; give at least as "
            "many, or leave it out"
        )


def test_a_student_is_checked_without_its_weights(tiny_model_dir: Path, tmp_path: Path) -> None:
    for file in tiny_model_dir.glob("*.json"):
        shutil.copy(file, tmp_path)
    model = str(tmp_path)
    check_student(Student(model=model, layers=(0, 1)))
    check_student(Student(model=model, fresh={"hidden_size": 32, "vocab_size": 50000}))
    for made, message in (
        ({"layers": (0, 2)}, "layers [0, 2]: give ascending numbers from 0 to 1, each once"),
        (
            {"fresh": {"num_key_value_heads": 3}},
            "fresh: 4 attention heads cannot share 3 key-value heads; give num_attention_heads or"
            " num_key_value_heads so that it divides",
        ),
        ({"fresh": {"layers": 1}}, "fresh.layers: not a setting of a llama model"),
    ):
        with pytest.raises(ConfigError) as caught:
            check_student(Student.model_validate({"model": model, **made}))
        assert str(caught.value) == message
    for elsewhere in (str(tmp_path / "none"), "my-org/my-model"):
        check_student(Student(model=elsewhere, layers=(90,)))


def test_a_fresh_student_is_saved_as_a_model_that_loads(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "fresh"
    student = Student(model=str(tiny_model_dir), fresh={"num_hidden_layers": 1})
    save_cut(student, folder)
    model, _ = load_model(str(folder), "float32")
    assert len(model.model.layers) == 1
    assert torch.equal(read(model), read(load_student(student).model))


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValidationError) as caught:
        Student(model="m", layers=(0,), fresh={})
    assert caught.value.errors()[0]["msg"] == (
        "Value error, layers and fresh: untrained weights have no layers to keep; give one of "
        "them, or fresh.num_hidden_layers"
    )
    for fields in ({"seed": 1}, {"reuse_embeddings": False}):
        with pytest.raises(ValidationError) as caught:
            Student.model_validate({"model": "m", **fields})
        assert caught.value.errors()[0]["msg"] == (
            "Value error, reuse_embeddings and seed say nothing of a model that is not fresh; give "
            "fresh too (it may be empty), or leave them out"
        )
    student = Student(model="m", fresh={"tie_word_embeddings": True, "rms_norm_eps": 1e-6})
    assert Student.model_validate(student.model_dump(mode="json")) == student
    plain = Student(model="m")
    assert Student.model_validate(plain.model_dump(mode="json")) == plain
