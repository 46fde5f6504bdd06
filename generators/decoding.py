"""Batched, seeded decoding that reads every shared token only once.

`transformers.generate(num_return_sequences=n)` repeats the prompt n times before it is read, and
few-shot prompts repeat their examples in every row. Here the longest prefix common to the batch
is read once, the rest once per distinct prompt, and only then is the cache forked into samples.
Each row draws from a generator of its own, so a batch is reproducible from its rows' seeds.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from generators.clients import Sampling, Stopped

COMPACT_BELOW = 0.75
"""Finished rows leave the batch once fewer than this share of its rows is still running."""


class Decoded(NamedTuple):
    text: str
    tokens: int
    logprobs: tuple[float, ...]
    """Of the sampled tokens under the model itself, at temperature 1, in nats."""
    ended: bool
    """False when `max_tokens` cut the text off."""


class _Row:
    """One sample under way."""

    def __init__(self, index: int, seed: int) -> None:
        self.index = index
        self.random = random.Random(seed)
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.text: str | None = None


def decode_batch(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    sampling: Sampling,
    end_ids: frozenset[int],
    is_stopped: Callable[[], bool] = lambda: False,
) -> list[Decoded]:
    """Sample one completion for each row.

    `prompts` are token ids, non-empty, one per row; equal prompts are read once. `seeds` are the
    rows' own. Generation ends at any of `end_ids`, before any of `sampling.stop`, or after
    `sampling.max_tokens` tokens. Raises Stopped as soon as `is_stopped` says so.
    """
    rows = [_Row(index, seed) for index, seed in enumerate(seeds)]
    if is_stopped():
        raise Stopped("decoding was broken off")
    with torch.inference_mode():
        logits_BV, cache, mask_BT = read_prompts(model, prompts)
        running = list(rows)
        for step in range(sampling.max_tokens):
            if is_stopped():
                raise Stopped("decoding was broken off")
            tokens_B = _sample(logits_BV, running, sampling)
            for row in running:
                _close_if_ended(row, tokenizer, end_ids, sampling)
            alive = [i for i, row in enumerate(running) if row.text is None]
            if not alive or step + 1 == sampling.max_tokens:
                break
            if len(alive) < COMPACT_BELOW * len(running):
                keep_B = torch.tensor(alive)
                cache.batch_select_indices(keep_B)
                mask_BT, tokens_B = mask_BT[keep_B], tokens_B[keep_B]
                running = [running[i] for i in alive]
            mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(running), 1)], dim=1)
            logits_BV = _read(model, tokens_B[:, None], mask_BT, cache)
    return [_decoded(row, tokenizer) for row in rows]


def read_prompts(model: Any, prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Any, Tensor]:
    """Read prompts of unequal lengths, each distinct one once, their common prefix once in all.

    Returns the next token's logits [rows, vocabulary], the forked cache, and the attention mask
    [rows, tokens read], in which the padding between prefix and remainder is 0.
    """
    from transformers import DynamicCache

    distinct = sorted({tuple(prompt) for prompt in prompts})
    place = {prompt: i for i, prompt in enumerate(distinct)}
    prefix = _common_prefix(distinct)
    device = model.device
    cache = DynamicCache(config=model.config)
    if prefix:
        ids_1T = torch.tensor([distinct[0][:prefix]], device=device)
        model(input_ids=ids_1T, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache.batch_repeat_interleave(len(distinct))
    rests = [prompt[prefix:] for prompt in distinct]
    width = max(map(len, rests))
    ids_UT = torch.tensor([[0] * (width - len(r)) + list(r) for r in rests], device=device)
    mask_UT = torch.tensor(
        [[1] * prefix + [0] * (width - len(r)) + [1] * len(r) for r in rests], device=device
    )
    logits_UV = _read(model, ids_UT, mask_UT, cache)
    fork_B = torch.tensor([place[tuple(prompt)] for prompt in prompts], device=device)
    cache.batch_select_indices(fork_B)
    return logits_UV[fork_B], cache, mask_UT[fork_B]


def _read(model: Any, ids_BT: Tensor, mask_BT: Tensor, cache: Any) -> Tensor:
    positions_BT = (mask_BT.cumsum(dim=1) - 1).clamp(min=0)[:, -ids_BT.shape[1] :]
    return model(
        input_ids=ids_BT,
        attention_mask=mask_BT,
        position_ids=positions_BT,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]


def _common_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """The length of the longest common prefix that leaves every prompt a token to read."""
    first, last = prompts[0], prompts[-1]  # sorted, so these two differ the earliest
    limit = min(map(len, prompts)) - 1
    return next((i for i in range(limit) if first[i] != last[i]), limit)


def _sample(logits_BV: Tensor, rows: Sequence[_Row], sampling: Sampling) -> Tensor:
    """Append a token to each row that still runs; return all rows' tokens [rows]."""
    logprobs_BV = logits_BV.float().log_softmax(dim=-1)
    if sampling.temperature == 0:
        tokens_B = logprobs_BV.argmax(dim=-1)
    else:
        draws = [row.random.random() for row in rows]
        tokens_B = _draw(logprobs_BV / sampling.temperature, draws, sampling.top_p)
    chosen_B = logprobs_BV.gather(1, tokens_B[:, None])[:, 0]
    for row, token, logprob in zip(rows, tokens_B.tolist(), chosen_B.tolist(), strict=True):
        if row.text is None:
            row.ids.append(token)
            row.logprobs.append(logprob)
    return tokens_B


def _draw(scores_BV: Tensor, draws: Sequence[float], top_p: float) -> Tensor:
    """Inverse-transform sampling: one uniform number per row picks a token by the cumulated
    probabilities, which are summed in double precision."""
    probs_BV = scores_BV.softmax(dim=-1)
    order_BV = None
    if top_p < 1:
        probs_BV, order_BV = probs_BV.sort(dim=-1, descending=True)
        before_BV = probs_BV.cumsum(dim=-1) - probs_BV
        probs_BV = probs_BV.masked_fill(before_BV >= top_p, 0)
    cumulated_BV = probs_BV.cumsum(dim=-1, dtype=torch.float64)
    uniform_B = torch.tensor(draws, dtype=torch.float64, device=scores_BV.device)
    target_B1 = uniform_B[:, None] * cumulated_BV[:, -1:]
    picked_B1 = torch.searchsorted(cumulated_BV, target_B1, right=True)
    picked_B1 = picked_B1.clamp(max=scores_BV.shape[1] - 1)
    return (picked_B1 if order_BV is None else order_BV.gather(1, picked_B1))[:, 0]


def _close_if_ended(row: _Row, tokenizer: Any, end_ids: frozenset[int], sampling: Sampling) -> None:
    if row.text is not None:
        return
    if row.ids[-1] in end_ids:
        row.text = tokenizer.decode(row.ids[:-1])
    elif sampling.stop:
        text = tokenizer.decode(row.ids)
        cuts = [text.index(stop) for stop in sampling.stop if stop in text]
        if cuts:
            row.text = text[: min(cuts)]


def _decoded(row: _Row, tokenizer: Any) -> Decoded:
    ended = row.text is not None
    text = row.text if row.text is not None else tokenizer.decode(row.ids)
    return Decoded(text, len(row.ids), tuple(round(p, 5) for p in row.logprobs), ended)
