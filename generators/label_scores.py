"""The probabilities that a model gives to texts after a prompt, read off and not sampled.

A label's probability is that of its token sequence, p(y|x) = Π_t p(y_t | x, y_<t), exact up to
rounding. The prompts are read as `generators.decoding` reads them: what they share only once. Then
each text is put behind a copy of their cache.
"""

import copy
from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from generators.clients import Stopped
from generators.decoding import read_prompts
from generators.errors import ConfigError


def score_texts(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    texts: Sequence[str],
    is_stopped: Callable[[], bool] = lambda: False,
) -> list[dict[str, float]]:
    """The log-probability of each text after each prompt, in nats.

    `prompts` are token ids, none empty; equal ones are read once. Raises Stopped as soon as
    `is_stopped` says so, and ConfigError where one text is the beginning of another.
    """
    encoded = encode_texts(tokenizer, texts)
    if not prompts:
        return []
    with torch.inference_mode():
        logits_BV, cache, mask_BT = read_prompts(model, prompts)
        first_BV = logits_BV.float().log_softmax(dim=-1)
        columns: list[list[float]] = []
        for ids in encoded:
            if is_stopped():
                raise Stopped("scoring was broken off")
            logprobs_B = first_BV[:, ids[0]]
            if len(ids) > 1:
                logprobs_B = logprobs_B + _score_rest(model, ids, mask_BT, copy.deepcopy(cache))
            columns.append(logprobs_B.tolist())
    return [
        {text: round(column[row], 6) for text, column in zip(texts, columns, strict=True)}
        for row in range(len(prompts))
    ]


def encode_texts(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """The texts' token ids. Raises ConfigError where one begins with all of another: whoever has
    written the shorter may be about to write the longer, so their probabilities would overlap."""
    encoded = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    for one, other in permutations(range(len(texts)), 2):
        if encoded[other][: len(encoded[one])] == encoded[one]:
            raise ConfigError(
                f"labels: to the model {texts[one].strip()!r} is the beginning of "
                f"{texts[other].strip()!r}, so their probabilities cannot be told apart: rename "
                "one, or choose method votes"
            )
    return encoded


def _score_rest(model: Any, ids: Sequence[int], mask_BT: Tensor, cache: Any) -> Tensor:
    """The log-probability of a text's tokens after its first one, summed [rows]."""
    rows = mask_BT.shape[0]
    read_BT = torch.tensor([ids[:-1]] * rows, device=mask_BT.device)
    mask_BT = torch.cat([mask_BT, mask_BT.new_ones(read_BT.shape)], dim=1)
    positions_BT = (mask_BT.cumsum(dim=1) - 1)[:, -read_BT.shape[1] :]
    logits_BTV = model(
        input_ids=read_BT,
        attention_mask=mask_BT,
        position_ids=positions_BT,
        past_key_values=cache,
        use_cache=True,
    ).logits
    targets_BT1 = torch.tensor([ids[1:]] * rows, device=mask_BT.device)[..., None]
    return logits_BTV.float().log_softmax(dim=-1).gather(2, targets_BT1)[..., 0].sum(dim=1)
