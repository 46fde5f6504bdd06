"""Adapters beside a student's layers, on a model of fifty tokens."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from generators.errors import ConfigError
from trainers.adapters import add_adapters, merge_adapters
from trainers.settings import LoraSettings

IDS_BT = torch.tensor([[3, 9, 14, 2]])


def make_model(*, tied: bool = True) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        tie_word_embeddings=tied,
    )
    return LlamaForCausalLM(config)


def list_drawn(model: Any) -> dict[str, Tensor]:
    return {name: weight for name, weight in model.named_parameters() if "lora_A" in name}


def read(model: Any) -> Tensor:
    with torch.no_grad():
        return model(input_ids=IDS_BT).logits


def test_the_seed_draws_the_adapters_and_nothing_else() -> None:
    found = []
    for before, seed in ((1, 5), (2, 5), (1, 6)):
        model = make_model()
        torch.manual_seed(before)
        found.append(list_drawn(add_adapters(model, LoraSettings(rank=2), seed=seed)))
        assert torch.rand(1) == torch.rand(1, generator=torch.Generator().manual_seed(before))
    same, again, other = found
    assert len(same) == 14  # seven linear layers, twice
    assert all(torch.equal(same[name], again[name]) for name in same)
    assert not any(torch.equal(same[name], other[name]) for name in same)


def test_adapters_are_as_the_settings_say() -> None:
    settings = LoraSettings(rank=3, alpha=12, dropout=0.25, modules=("q_proj", "1.mlp.up_proj"))
    model = add_adapters(make_model(), settings)
    drawn = list_drawn(model)
    layers = {name.partition(".layers.")[2].partition(".lora_A")[0] for name in drawn}
    assert layers == {"0.self_attn.q_proj", "1.self_attn.q_proj", "1.mlp.up_proj"}
    assert {weight.shape[0] for weight in drawn.values()} == {3}
    layer = model.base_model.model.model.layers[1].mlp.up_proj
    assert layer.lora_dropout["default"].p == 0.25
    with torch.no_grad():
        layer.lora_B["default"].weight.fill_(0.1)
    added = 12 / 3 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    expected = layer.base_layer.weight + added
    merged = merge_adapters(model)
    torch.testing.assert_close(merged.model.layers[1].mlp.up_proj.weight, expected)


def test_a_head_that_is_the_embeddings_takes_no_adapter() -> None:
    with pytest.raises(ConfigError) as caught:
        add_adapters(make_model(), LoraSettings(modules=("q_proj", "lm_head")))
    assert str(caught.value) == (
        "lora.modules lm_head: its weight is that of the embeddings too, which an adapter beside "
        "one of them would change when it is merged; take it out"
    )


def test_a_head_of_its_own_is_published_as_it_was_trained() -> None:
    model = add_adapters(make_model(tied=False), LoraSettings(rank=2, modules=("lm_head",)))
    before = read(model)
    with torch.no_grad():
        model.base_model.model.lm_head.lora_B["default"].weight.normal_()
    trained = read(model)
    assert (trained - before).abs().max() > 1e-2
    torch.testing.assert_close(read(merge_adapters(model)), trained)


def test_layers_that_are_not_there_are_refused_and_those_that_are_named() -> None:
    known = "down_proj, gate_proj, k_proj, lm_head, o_proj, q_proj, up_proj, v_proj"
    for name in ("query", "proj", "input_layernorm", "embed_tokens"):
        with pytest.raises(ConfigError) as caught:
            add_adapters(make_model(), LoraSettings(modules=("q_proj", name)))
        assert str(caught.value) == (
            f"lora.modules {name}: the student has no such linear layer; choose of {known}"
        )
