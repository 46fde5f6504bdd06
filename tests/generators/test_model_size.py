"""Parameters counted from the files of real models, and what cannot be counted."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from generators.embedded import BUNDLED
from generators.errors import ModelError
from generators.model_size import count_parameters
from tests.tiny_model import make_tiny_model

REMEDY = "Give a folder that save_pretrained wrote, or state the exchange rate as a number."


def count_layers(model: LlamaForCausalLM) -> int:
    """What torch counts, without the embedding table and the head."""
    tables = {id(model.model.embed_tokens.weight), id(model.lm_head.weight)}
    return sum(p.numel() for p in model.parameters() if id(p) not in tables)


def test_bundled_model_is_counted_without_its_embeddings() -> None:
    """134,515,008 parameters, of which 49,152 x 576 are the table that is also the head."""
    assert count_parameters(BUNDLED) == 134_515_008 - 49_152 * 576 == 106_203_456


def test_tied_model_counts_as_torch_does(tiny_model_dir: Path) -> None:
    expected = count_layers(make_tiny_model())
    assert count_parameters(str(tiny_model_dir)) == expected == 2 * 37_056 - 128 + 64


@pytest.mark.parametrize("shard", ["1GB", "100KB"], ids=["one file", "shards"])
def test_untied_head_is_left_out_too(tmp_path: Path, shard: str) -> None:
    config = LlamaConfig(
        vocab_size=1000, hidden_size=32, intermediate_size=48, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.save_pretrained(tmp_path / "model", max_shard_size=shard)
    assert len(list((tmp_path / "model").glob("*.safetensors"))) > 1 or shard == "1GB"
    assert count_parameters(str(tmp_path / "model")) == count_layers(model)


def write_model(folder: Path, tensors: dict[str, Any], **config: Any) -> None:
    """A folder with a config and a file that has the header of these tensors and no data."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"vocab_size": 50} | config))
    header = json.dumps(tensors).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)


def tensor(*shape: int, dtype: str = "F32", end: int = 0) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [0, end]}


TABLE = {"model.embed_tokens.weight": tensor(50, 8)}
LAYER = {"model.layers.0.mlp.up_proj.weight": tensor(8, 16)}


def test_tables_of_any_known_name_are_left_out(tmp_path: Path) -> None:
    tensors = {
        "transformer.wte.weight": tensor(50, 8),
        "transformer.wpe.weight": tensor(20, 8),
        "embed_out.weight": tensor(50, 8),
    }
    write_model(tmp_path / "model", tensors | LAYER)
    assert count_parameters(str(tmp_path / "model")) == 8 * 16


def cut_off(folder: Path) -> None:
    write_model(folder, TABLE | {"model.layers.0.w": tensor(8, 8, end=256)})


def write_nothing(folder: Path) -> None:
    folder.mkdir()
    (folder / "config.json").write_text("{}")


def write_a_list(folder: Path) -> None:
    write_model(folder, TABLE | LAYER)
    (folder / "config.json").write_text("[50]")


def write_half_a_header(folder: Path) -> None:
    write_model(folder, TABLE)
    (folder / "model.safetensors").write_bytes(b"\x10\x00")


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (write_nothing, "its folder has no model.safetensors"),
        (cut_off, "model.safetensors is cut off"),
        (
            write_half_a_header,
            "model.safetensors cannot be read (unpack requires a buffer of 8 bytes)",
        ),
        (
            lambda folder: write_model(folder, LAYER),
            "no embedding table of 50 tokens is among its weights",
        ),
        (
            lambda folder: write_model(folder, TABLE | {"a.qweight": tensor(8, 8, dtype="I32")}),
            "its weights are quantised (a.qweight: I32)",
        ),
        (
            lambda folder: write_model(folder, TABLE | LAYER, num_local_experts=8),
            "it is a mixture of experts (num_local_experts: 8)",
        ),
        (write_a_list, "config.json holds no JSON object"),
    ],
    ids=["no weights", "cut off", "no header", "no table", "quantised", "experts", "no object"],
)
def test_what_cannot_be_counted_is_told(
    tmp_path: Path, write: Callable[[Path], None], reason: str
) -> None:
    folder = tmp_path / "model"
    write(folder)
    with pytest.raises(ModelError) as caught:
        count_parameters(str(folder))
    assert str(caught.value) == f"{folder}: its parameters cannot be counted: {reason}.\n{REMEDY}"


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"moe_num_experts": 16}, "moe_num_experts: 16"),
        ({"moe_num_experts": [64, 32]}, "moe_num_experts: [64, 32]"),
        ({"n_routed_experts": 64}, "n_routed_experts: 64"),
        ({"ffn_config": {"moe_num_experts": 16}}, "ffn_config.moe_num_experts: 16"),
        (
            {"text_config": {"num_local_experts": 16, "num_experts_per_tok": 1}},
            "text_config.num_local_experts: 16",
        ),
    ],
    ids=["prefixed", "two numbers", "routed", "of a part", "of the text's part"],
)
def test_mixture_of_experts_is_known_wherever_its_config_tells_it(
    tmp_path: Path, config: dict[str, Any], told: str
) -> None:
    write_model(tmp_path / "model", TABLE | LAYER, **config)
    with pytest.raises(ModelError) as caught:
        count_parameters(str(tmp_path / "model"))
    assert str(caught.value) == (
        f"{tmp_path}/model: its parameters cannot be counted: it is a mixture of experts"
        f" ({told}).\n{REMEDY}"
    )


def test_dense_model_of_a_family_with_experts_is_counted(tmp_path: Path) -> None:
    dense = {"num_experts": None, "num_local_experts": 1, "num_experts_per_tok": 8}
    write_model(tmp_path / "model", TABLE | LAYER, **dense, text_config={"n_routed_experts": 0})
    assert count_parameters(str(tmp_path / "model")) == 8 * 16


def test_model_that_was_never_downloaded_is_told() -> None:
    with pytest.raises(ModelError) as caught:
        count_parameters("nobody-here/no-such-model")
    assert str(caught.value) == (
        "nobody-here/no-such-model: its parameters cannot be counted: it has not been downloaded"
        f" to this machine.\n{REMEDY}"
    )
