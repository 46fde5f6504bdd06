"""A teacher behind a URL: what it thinks of exactly these token ids.

The student's own tokens are sent as ids, so nothing is encoded twice and no answer is sampled:
the server tells the log-probability of each token after those before it, and the likeliest tokens
there. Only vLLM does so (`prompt_logprobs`); other OpenAI-compatible servers tell log-probabilities
of what they themselves write, and are refused. The masses are those at temperature 1.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from threading import Thread
from typing import Any, NamedTuple, Protocol, Self, TypeVar

import torch
from torch import Tensor

from generators.clients import Failure
from generators.errors import ConfigError, EndpointError
from generators.vllm_scores import TokenScores
from trainers.row_keys import ReadRow, strip_padding
from trainers.targets import TopTokens

T = TypeVar("T")
REMEDIES = {
    "no_prompt_logprobs": "Name a vLLM server, or train with the teacher's weights or a cache.",
    "context_length": "Start the server with a larger --max-model-len, or lower max_length.",
    "http_400": "Start the server with --max-logprobs as large as top, or lower top.",
}
"""What to do about a failure, by its reason."""
SAMPLE = "A hedgehog's über-café: 3.14 ≈ 22/7\n\n\tdef ж(水): return [None] * 1024"
"""A text that hardly two vocabularies write out alike."""


class TokenScorer(Protocol):
    """What is asked of a client: `generators.vllm_client` has two of this kind."""

    id: str
    concurrency: int

    async def score_tokens(
        self, text: str | Sequence[int], *, top: int
    ) -> TokenScores | Failure: ...

    async def close(self) -> None: ...


class _Place(NamedTuple):
    """What the server tells of one position."""

    ids: Sequence[int]
    log_probs: Sequence[float]
    own: float
    """The log-probability of the token that follows in the row."""


class RemoteTeacher:
    """A `trainers.teachers.TeacherSignal` over a vLLM server of the student's vocabulary.

    The client runs on an event loop in a thread of its own, so a teacher may be read from
    anywhere; `close` ends both. All rows of a batch are asked at once, as many as the client's
    `concurrency` lets.
    """

    def __init__(
        self, client: Any, vocabulary_size: int, *, top: int = 20, own: bool = False
    ) -> None:
        """`top` is how many of the likeliest tokens are asked for; with `own` the token that
        follows in the row is told too, where it is not among them. Raises ConfigError where the
        client cannot score token ids."""
        if not hasattr(client, "score_tokens"):
            raise ConfigError(
                f"{client.id}: this server cannot score given token ids, only what it writes.\n"
                f"{REMEDIES['no_prompt_logprobs']}"
            )
        self.client: TokenScorer = client
        self.vocabulary_size = vocabulary_size
        self.top, self.own = top, own
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="remote-teacher", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the client's connections, and end the thread."""
        if self._loop.is_closed():
            return
        self._run(self.client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def read(
        self, input_ids_BT: Tensor, attention_mask_BT: Tensor, positions_BT: Tensor
    ) -> TopTokens:
        """The `top` likeliest tokens at the N positions that are True, row-major.

        Raises EndpointError where the server does not tell, and ValueError for a position that no
        token follows.
        """
        rows = strip_padding(input_ids_BT, attention_mask_BT, positions_BT)
        places = self._ask(rows, self.top)
        if self.own:
            followers = [row.ids[t + 1] for row in rows for t in row.positions]
            places = [_add_own(each, id) for each, id in zip(places, followers, strict=True)]
        width = max((len(place.ids) for place in places), default=1)
        ids_NK = torch.tensor([[*p.ids, *[0] * (width - len(p.ids))] for p in places])
        log_probs_NK = torch.tensor(
            [[*p.log_probs, *[-torch.inf] * (width - len(p.ids))] for p in places]
        )
        known_NK = ids_NK < self.vocabulary_size  # models have more rows than tokenizers have ids
        log_probs_NK = log_probs_NK.masked_fill(~known_NK, -torch.inf)
        device = input_ids_BT.device
        return TopTokens((ids_NK * known_NK).to(device), log_probs_NK.to(device))

    def check_tokenizer(self, tokenizer: Any) -> None:
        """Raise ConfigError where the server writes a text out in other ids than the tokenizer,
        whatever it puts before it."""
        ids = tokenizer(SAMPLE, add_special_tokens=False)["input_ids"]
        scores = self._run(self.client.score_tokens(SAMPLE, top=1))
        if isinstance(scores, Failure):
            raise EndpointError(f"{self.client.id}: {scores.message}.\n{_find_remedy(scores)}")
        if list(scores.token_ids)[-len(ids) :] != ids:
            raise ConfigError(
                f"teacher {self.client.id} and student do not share a vocabulary: the server writes"
                " a text out in other ids.\nToken-level distillation compares them id by id:"
                " choose a teacher of the student's family, or train on its answers (objective:"
                " sft)."
            )

    def score(
        self, input_ids_BT: Tensor, attention_mask_BT: Tensor, positions_BT: Tensor
    ) -> Tensor:
        """ln p [N] of the row's own token after each position that is True, row-major, however
        unlikely it is. Raises as `read` does."""
        places = self._ask(strip_padding(input_ids_BT, attention_mask_BT, positions_BT), 1)
        return torch.tensor([place.own for place in places], device=input_ids_BT.device)

    def _ask(self, rows: Sequence[ReadRow], top: int) -> list[_Place]:
        """Every position's tokens, row after row."""
        asked = [row for row in rows if row.positions]
        if any(row.positions[-1] + 1 >= len(row.ids) for row in asked):
            raise ValueError("a server tells nothing of the place after a row's last token")
        scores = self._run(self._score_rows([row.ids for row in asked], top))
        return [
            _Place(scored.top_ids[t], scored.top_logprobs[t], scored.logprobs[t])
            for row, scored in zip(asked, scores, strict=True)
            for t in row.positions
        ]

    async def _score_rows(self, rows: Sequence[Sequence[int]], top: int) -> list[TokenScores]:
        slots = asyncio.Semaphore(self.client.concurrency)

        async def score(ids: Sequence[int]) -> TokenScores:
            async with slots:
                return self._check(ids, await self.client.score_tokens(ids, top=top))

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(score(ids)) for ids in rows]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in tasks]

    def _check(self, ids: Sequence[int], scores: TokenScores | Failure) -> TokenScores:
        if isinstance(scores, Failure):
            raise EndpointError(f"{self.client.id}: {scores.message}.\n{_find_remedy(scores)}")
        if list(scores.token_ids) != list(ids):
            raise EndpointError(
                f"{self.client.id}: the server read other tokens than were sent to it.\n"
                f"{REMEDIES['no_prompt_logprobs']}"
            )
        return scores

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


def _add_own(place: _Place, id: int) -> _Place:
    if id in place.ids:
        return place
    return place._replace(ids=[*place.ids, id], log_probs=[*place.log_probs, place.own])


def _find_remedy(failure: Failure) -> str:
    return REMEDIES.get(failure.reason, "Go on from the last checkpoint when it is well.")


def ask_at_once(lengths: Sequence[int]) -> list[list[int]]:
    """The `plan` of `write_signal` for a server, which batches by itself and sees no padding."""
    return [list(range(len(lengths)))]
