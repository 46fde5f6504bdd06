from pathlib import Path
from typing import Any

import pytest
import torch

from generators.embedded import load_model
from generators.errors import ConfigError, RunError
from trainers.settings import Student
from trainers.students import keep_layers, load_student, save_cut

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
    with pytest.raises(ConfigError, match="ascending numbers from 0 to 1"):
        keep_layers(tiny_model, layers)


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
