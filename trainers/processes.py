"""Several processes that train one student: what only the first does, and what all wait for.

Each reads its own part of a step's rows and they average their gradients, which `transformers`
sees to. Files belong to the first one alone. Nothing here does anything where there is one process.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import distributed

T = TypeVar("T")
U = TypeVar("U")
PATIENCE = timedelta(days=1)
"""How long one waits for another; those whose neighbour has died are ended by who started them."""


def join_processes(meeting_place: Path | None = None) -> int:
    """Meet the other processes that the environment tells of (`RANK`, `WORLD_SIZE`), and return
    how many there are. They meet by a file, or as torchrun has arranged."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1 and not distributed.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
            init_method=f"file://{meeting_place}" if meeting_place else "env://",
            rank=int(os.environ["RANK"]),
            world_size=world,
            timeout=PATIENCE,
        )
    return world


def is_first() -> bool:
    """Whether this process writes the files."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def wait_for_all() -> None:
    """Go on when every process has come here."""
    if distributed.is_initialized():
        distributed.barrier()


@contextmanager
def first_before_others() -> Iterator[None]:
    """The first process does what is inside, and then the others, who find it done."""
    if not is_first():
        wait_for_all()
    yield
    if is_first():
        wait_for_all()


def hear_first(value: Any) -> Any:
    """What the first process has as `value`."""
    if not distributed.is_initialized():
        return value
    heard = [value]
    distributed.broadcast_object_list(heard, src=0)
    return heard[0]


def ask_first(question: T, answer: Callable[[list[T]], list[U]]) -> U:
    """What the first process answers this one, when it has heard the questions of all."""
    if not distributed.is_initialized():
        return answer([question])[0]
    questions: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(questions, question)
    answers = hear_first(answer(questions) if is_first() else None)
    return answers[distributed.get_rank()]


def average_figures(figures: Mapping[str, float]) -> dict[str, float]:
    """Each figure's mean over the processes that have it."""
    if not distributed.is_initialized():
        return dict(figures)
    told: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(told, dict(figures))
    names = dict.fromkeys(name for each in told for name in each)
    having = {name: [each[name] for each in told if name in each] for name in names}
    return {name: sum(values) / len(values) for name, values in having.items()}
