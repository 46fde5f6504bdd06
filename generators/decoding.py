"""Batched, seeded decoding that reads every shared token only once.

`transformers.generate(num_return_sequences=n)` repeats the prompt n times before it is read, and
few-shot prompts repeat their examples in every row. Here the longest prefix common to the batch
is read once, the rest once per distinct prompt, and only then is the cache forked into samples.
Each row draws from a generator of its own, so a batch is reproducible from its rows' seeds.

A second model of the same vocabulary may have a say in every token (`Mixture`): both read the same
rows, each with a cache of its own.
"""

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from generators.clients import Sampling, Stopped
from generators.errors import ConfigError

COMPACT_BELOW = 0.75
"""Finished rows leave the batch once fewer than this share of its rows is still running."""


class Mixture(NamedTuple):
    """A second model in the draw: tokens come from weight·p + (1 - weight)·q, q the first's.

    Both distributions are taken at temperature 1, over the ids that both have logits for;
    `Sampling.temperature` and `top_p` then act on the mixture.
    """

    model: Any
    weight: float


class Decoded(NamedTuple):
    text: str
    tokens: int
    logprobs: tuple[float, ...]
    """Of the sampled tokens under the model itself, at temperature 1, in nats; five decimals."""
    ended: bool
    """False when `max_tokens` cut the text off."""
    ids: tuple[int, ...]
    """The sampled tokens, the end token included where one ended the text."""
    exact_logprobs: tuple[float, ...]
    """`logprobs`, not rounded."""
    second_logprobs: tuple[float, ...]
    """The same under the mixture's second model; empty without one."""
    mixture_logprobs: tuple[float, ...]
    """The same under the mixture; empty without one."""


class _Row:
    """One sample under way."""

    def __init__(self, index: int, seed: int) -> None:
        self.index = index
        self.random = random.Random(seed)
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.second_logprobs: list[float] = []
        self.mixture_logprobs: list[float] = []
        self.text: str | None = None


class _Reader:
    """What one model has read of the running rows."""

    def __init__(
        self, model: Any, prompts: Sequence[Sequence[int]], vocabulary: int | None
    ) -> None:
        self.model = model
        self.vocabulary = vocabulary
        logits_BV, self.cache, self.mask_BT = read_prompts(model, prompts)
        self.logits_BV = logits_BV[:, :vocabulary]

    def keep(self, rows_B: Tensor) -> None:
        self.cache.batch_select_indices(rows_B)
        self.mask_BT = self.mask_BT[rows_B]

    def read(self, tokens_B: Tensor) -> None:
        ones_B1 = self.mask_BT.new_ones(len(tokens_B), 1)
        self.mask_BT = torch.cat([self.mask_BT, ones_B1], dim=1)
        logits_BV = _read(self.model, tokens_B[:, None], self.mask_BT, self.cache)
        self.logits_BV = logits_BV[:, : self.vocabulary]


def decode_batch(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    sampling: Sampling,
    end_ids: frozenset[int],
    is_stopped: Callable[[], bool] = lambda: False,
    *,
    mixture: Mixture | None = None,
    vocabulary: int | None = None,
) -> list[Decoded]:
    """Sample one completion for each row.

    `prompts` are token ids, non-empty, one per row; equal prompts are read once. `seeds` are the
    rows' own. Generation ends at any of `end_ids`, before any of `sampling.stop`, or after
    `sampling.max_tokens` tokens. Given a `vocabulary`, ids from it on (which pad a head to a round
    number) are neither drawn nor counted in. Raises Stopped as soon as `is_stopped` says so, and
    ConfigError for a mixture whose weight is no share.
    """
    models = [model]
    if mixture is not None:
        _check_weight(mixture.weight)
        models.append(mixture.model)
    rows = [_Row(index, seed) for index, seed in enumerate(seeds)]
    if is_stopped():
        raise Stopped("decoding was broken off")
    with _without_gradient(model.device):
        readers = [_Reader(each, prompts, vocabulary) for each in models]
        running = list(rows)
        for step in range(sampling.max_tokens):
            if is_stopped():
                raise Stopped("decoding was broken off")
            tokens_B = _choose(readers, running, sampling, mixture)
            for row in running:
                _close_if_ended(row, tokenizer, end_ids, sampling)
            alive = [i for i, row in enumerate(running) if row.text is None]
            if not alive or step + 1 == sampling.max_tokens:
                break
            if len(alive) < COMPACT_BELOW * len(running):
                keep_B = torch.tensor(alive)
                for reader in readers:
                    reader.keep(keep_B)
                tokens_B = tokens_B[keep_B]
                running = [running[i] for i in alive]
            for reader in readers:
                reader.read(tokens_B)
    return [_decoded(row, tokenizer) for row in rows]


def _without_gradient(device: torch.device) -> AbstractContextManager[object]:
    """Inference mode; but autocast keeps no casts of the weights there, and would make them anew at
    each token."""
    return torch.no_grad() if torch.is_autocast_enabled(device.type) else torch.inference_mode()


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


def _choose(
    readers: Sequence[_Reader], rows: Sequence[_Row], sampling: Sampling, mixture: Mixture | None
) -> Tensor:
    """Sample from the one model, or from the mixture of both."""
    if mixture is None:
        return _sample(readers[0].logits_BV, rows, sampling)
    own_BV, second_BV = (reader.logits_BV for reader in readers)
    return _sample_mixed(own_BV, second_BV, mixture.weight, rows, sampling)


def _sample(logits_BV: Tensor, rows: Sequence[_Row], sampling: Sampling) -> Tensor:
    """Append a token to each row that still runs; return all rows' tokens [rows]."""
    logprobs_BV = logits_BV.float().log_softmax(dim=-1)
    tokens_B = _pick(logprobs_BV, rows, sampling)
    for row, token, logprob in zip(
        rows, tokens_B.tolist(), _gather(logprobs_BV, tokens_B), strict=True
    ):
        if row.text is None:
            row.ids.append(token)
            row.logprobs.append(logprob)
    return tokens_B


def _sample_mixed(
    own_BV: Tensor, second_BV: Tensor, weight: float, rows: Sequence[_Row], sampling: Sampling
) -> Tensor:
    """Like `_sample`, from the mixture of two models; each row keeps what all three thought."""
    width = min(own_BV.shape[1], second_BV.shape[1])  # heads may be padded to other sizes
    own_BV, second_BV = (
        logits_BV[:, :width].float().log_softmax(dim=-1) for logits_BV in (own_BV, second_BV)
    )
    shares = torch.tensor([weight, 1 - weight]).log().tolist()
    mixed_BV = torch.logaddexp(second_BV + shares[0], own_BV + shares[1])
    tokens_B = _pick(mixed_BV, rows, sampling)
    scores = (_gather(each_BV, tokens_B) for each_BV in (own_BV, second_BV, mixed_BV))
    for row, token, own, second, mixed in zip(rows, tokens_B.tolist(), *scores, strict=True):
        if row.text is None:
            row.ids.append(token)
            row.logprobs.append(own)
            row.second_logprobs.append(second)
            row.mixture_logprobs.append(mixed)
    return tokens_B


def _pick(logprobs_BV: Tensor, rows: Sequence[_Row], sampling: Sampling) -> Tensor:
    if sampling.temperature == 0:
        return logprobs_BV.argmax(dim=-1)
    draws = [row.random.random() for row in rows]
    return _draw(logprobs_BV / sampling.temperature, draws, sampling.top_p)


def _gather(logprobs_BV: Tensor, tokens_B: Tensor) -> list[float]:
    return logprobs_BV.gather(1, tokens_B[:, None])[:, 0].tolist()


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
    return Decoded(
        text=text,
        tokens=len(row.ids),
        logprobs=tuple(round(p, 5) for p in row.logprobs),
        ended=ended,
        ids=tuple(row.ids),
        exact_logprobs=tuple(row.logprobs),
        second_logprobs=tuple(row.second_logprobs),
        mixture_logprobs=tuple(row.mixture_logprobs),
    )


def _check_weight(weight: float) -> None:
    if not 0 <= weight <= 1:
        raise ConfigError(f"mixture weight {weight}: must be from 0 (the model alone) to 1")
