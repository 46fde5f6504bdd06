"""Completions that the student itself writes, to be trained on as rows.

On-policy distillation (GKD, Agarwal et al. 2024) trains the student at prefixes of its own. A
share λ of the rows takes its prefix from the student and the rest from the dataset, and which
divergence is minimised there is another matter (`trainers.losses`). MiniLLM draws from a mixture
of teacher and student; importance-weighted losses and the replay buffer reuse samples of an
earlier student. All of them need what the sampler thought of its tokens, so it is kept.

Every draw comes from (seed, step, row), so a resumed training writes the same completions.
"""

import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from generators.clients import Sampling, draw_seed
from generators.decoding import Decoded, Mixture, decode_batch
from generators.embedded import Precision, find_end_ids
from generators.errors import ConfigError
from trainers.precision import find_precision
from trainers.rows import TokenRow
from trainers.teachers import count_ids


class Rollout(NamedTuple):
    """One sampled completion. Log-probabilities are in nats, one per token of the completion, at
    temperature 1 (whatever it was drawn at), as the models gave them: not rounded."""

    row: TokenRow
    """Ends with the end token where one ended the completion."""
    log_probs: tuple[float, ...]
    """Under the student as it then was, and in the precision of whoever drew the tokens."""
    ended: bool
    """False when the completion was cut off."""
    teacher_log_probs: tuple[float, ...] = ()
    """Under the mixture's teacher; empty where the student wrote alone."""
    mixture_log_probs: tuple[float, ...] = ()
    """Under the mixture; empty where the student wrote alone."""

    @property
    def behaviour_log_probs(self) -> tuple[float, ...]:
        """Under what drew the tokens: the mixture, or the student alone."""
        return self.mixture_log_probs or self.log_probs


def sample_rollouts(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    *,
    max_new_tokens: int,
    max_length: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    mixture: Mixture | None = None,
    weights: Sequence[float] | None = None,
    precision: Precision = "float32",
) -> list[Rollout]:
    """One completion behind each prompt, all in one batch; equal prompts are read once.

    `max_length` bounds prompt and completion together. `weights` are the rows' own (1 where left
    out). `bfloat16` decodes under autocast whatever surrounds the call, `float32` without, and
    `auto` looks at the machine. Only at temperature 1 and `top_p` 1 are the log-probabilities
    those of the draw itself, which the unbiased sampled losses need. Raises ConfigError for a
    prompt that leaves no room.
    """
    if not prompts:
        return []
    rooms = [max_length - len(prompt) for prompt in prompts]
    check_rooms(rooms, max_length)
    sampling = Sampling(
        temperature=temperature, top_p=top_p, max_tokens=min(max_new_tokens, max(rooms))
    )
    models = [model] if mixture is None else [model, mixture.model]
    with reading(models, precision):
        decoded = decode_batch(
            model,
            tokenizer,
            prompts,
            seeds,
            sampling,
            find_end_ids(model, tokenizer),
            mixture=mixture,
            vocabulary=count_ids(tokenizer),
        )
    return [
        _to_rollout(prompt, one, room, weight)
        for prompt, one, room, weight in zip(
            prompts, decoded, rooms, weights or [1.0] * len(prompts), strict=True
        )
    ]


def choose_student_prefixes(share: float, seed: int, step: int, rows: Iterable[int]) -> list[bool]:
    """Which rows of a step take the student's own completion in place of the dataset's: each with
    probability `share` (GKD's λ), so none at 0 and all at 1.

    `rows` number the rows within the step, over all its batches and processes. A row chosen at
    one share is chosen at every larger one. Raises ConfigError for a share that is none.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"student share {share}: must be from 0 (the dataset's) to 1")
    draws = (random.Random(draw_seed("prefix", seed, step, row)).random() for row in rows)
    return [draw < share for draw in draws]


def seed_rollouts(seed: int, step: int, rows: Iterable[int]) -> list[int]:
    """The seeds of a step's rows, numbered as for `choose_student_prefixes`."""
    return [draw_seed("rollout", seed, step, row) for row in rows]


class ReplayBuffer:
    """The last rollouts, each with the step it was made at."""

    def __init__(self, capacity: int, max_age: int | None = None) -> None:
        """`max_age`: rollouts made more steps ago than this are never drawn."""
        if capacity < 1:
            raise ConfigError(f"replay capacity {capacity}: must be at least 1")
        self.max_age = max_age
        self._kept: deque[tuple[int, Rollout]] = deque(maxlen=capacity)

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, rollouts: Iterable[Rollout], step: int) -> None:
        """The oldest make room."""
        self._kept.extend((step, rollout) for rollout in rollouts)

    def draw(self, count: int, rng: random.Random, *, step: int) -> list[Rollout]:
        """Different rollouts that are young enough at `step`; fewer where fewer are there."""
        young = [
            rollout
            for made, rollout in self._kept
            if self.max_age is None or step - made <= self.max_age
        ]
        return rng.sample(young, min(count, len(young)))

    def state_dict(self) -> dict[str, Any]:
        """Plain lists and numbers: exact in JSON, and loadable by torch without pickles."""
        return {
            "kept": [
                {
                    "step": step,
                    **rollout._asdict(),
                    "row": rollout.row._asdict(),
                    **{name: list(getattr(rollout, name)) for name in _LOG_PROBS},
                }
                for step, rollout in self._kept
            ]
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the place of a buffer whose `state_dict` this is."""
        self._kept.clear()
        for entry in state["kept"]:
            fields = {key: value for key, value in entry.items() if key != "step"}
            fields["row"] = TokenRow(**fields["row"])
            fields |= {name: tuple(fields[name]) for name in _LOG_PROBS}
            self._kept.append((entry["step"], Rollout(**fields)))


_LOG_PROBS = ("log_probs", "teacher_log_probs", "mixture_log_probs")


@contextmanager
def reading(models: Sequence[Any], precision: Precision) -> Iterator[None]:
    """Evaluation mode and the precision asked for; afterwards all is as it was.

    Autocast keeps its casts of the weights until the outermost block ends. Those made here carry
    no gradient, so a training step around this call has no use for them.
    """
    training = [part for model in models for part in model.modules() if part.training]
    half = find_precision(precision) == "bfloat16"
    for model in models:
        model.eval()
    try:
        with torch.autocast(models[0].device.type, torch.bfloat16, enabled=half):
            yield
    finally:
        torch.clear_autocast_cache()
        for part in training:
            part.training = True


def _to_rollout(prompt: Sequence[int], one: Decoded, room: int, weight: float) -> Rollout:
    row = TokenRow([*prompt, *one.ids[:room]], len(prompt), weight)
    return Rollout(
        row=row,
        log_probs=one.exact_logprobs[:room],
        ended=one.ended and len(one.ids) <= room,
        teacher_log_probs=one.second_logprobs[:room],
        mixture_log_probs=one.mixture_logprobs[:room],
    )


def check_rooms(rooms: Sequence[int], max_length: int) -> None:
    """Raise ConfigError for a prompt that leaves no room."""
    if min(rooms) < 1:
        place = rooms.index(min(rooms))
        raise ConfigError(
            f"prompt {place} has {max_length - rooms[place]} tokens, which leave no room for a"
            f" completion within max_length {max_length}.\n"
            "Raise max_length, or leave longer prompts out."
        )
