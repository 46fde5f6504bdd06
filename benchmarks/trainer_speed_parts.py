"""Where the time of our on-policy step goes.

The models' passes, the heads' products at completion tokens and the optimizer's update are
arithmetic that this objective cannot do without; what is left is what the trainer adds.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from trainers.distiller import Distiller
from trainers.fused import CHUNK_TOKENS

NEEDED = (
    "writing: passes of the student",
    "student forward",
    "teacher forward",
    "loss: products with both heads",
    "backward",
    "optimizer",
)
ADDED = ("writing: the rest", "loss: the rest", "the rest")


class Parts(TrainerCallback):
    """Takes the seconds of a trainer's parts, from the end of its first step on."""

    def __init__(self, trainer: Distiller) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._began = 0.0
        self._trainer, self._teacher = trainer, trainer.teacher.model  # pyright: ignore
        watch(trainer.model, self._name_pass, self._seconds)
        watch(self._teacher, lambda: "teacher forward", self._seconds)
        for owner, name, part in (
            (trainer.prefixes, "renew", "writing"),
            (trainer.accelerator, "backward", "backward"),
            (trainer.objective, "compute_losses", "loss"),
        ):
            setattr(owner, name, self._time(getattr(owner, name), part))

    def _name_pass(self) -> str:
        writing = torch.is_inference_mode_enabled()
        return "writing: passes of the student" if writing else "student forward"

    def _time(self, act: Callable[..., Any], part: str) -> Callable[..., Any]:
        @wraps(act)
        def timed(*given: Any, **options: Any) -> Any:
            with clock(self._seconds, part):
                return act(*given, **options)

        return timed

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._seconds["optimizer"] -= time.perf_counter()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._seconds["optimizer"] += time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 1:
            self._seconds.clear()
            self._began = time.perf_counter()
        self._seconds["whole"] = time.perf_counter() - self._began

    def tell(self, targets: int) -> dict[str, float]:
        """Seconds of each part, of steps with so many targets in all."""
        found = dict(self._seconds)
        writing, loss, whole = (found.pop(name) for name in ("writing", "loss", "whole"))
        heads = [m.get_output_embeddings().weight for m in (self._trainer.model, self._teacher)]
        products = time_products(*heads, targets, half=bool(self._trainer.args.bf16))
        found["the rest"] = (
            whole
            - writing
            - loss
            - sum(found[part] for part in NEEDED if part in found and "writing" not in part)
        )
        found["writing: the rest"] = writing - found["writing: passes of the student"]
        found["loss: products with both heads"] = products
        found["loss: the rest"] = loss - products
        return {part: found[part] for part in (*NEEDED, *ADDED)}


def watch(model: nn.Module, name: Callable[[], str], seconds: dict[str, float]) -> None:
    """Add up the seconds of a model's calls, under the name that each has."""

    def begin(*_: Any) -> None:
        seconds[name()] -= time.perf_counter()

    def end(*_: Any) -> None:
        seconds[name()] += time.perf_counter()

    model.register_forward_pre_hook(begin)
    model.register_forward_hook(end)


@contextmanager
def clock(seconds: dict[str, float], part: str) -> Any:
    began = time.perf_counter()
    yield
    seconds[part] += time.perf_counter() - began


@torch.no_grad()
def time_products(student_VD: Tensor, teacher_VD: Tensor, tokens: int, *, half: bool) -> float:
    """Seconds of the products alone: both heads' logits, and the gradients of the student's
    hidden states and head."""
    dtype = torch.bfloat16 if half else torch.float32
    student_VD, teacher_VD = student_VD.to(dtype), teacher_VD.to(dtype)
    gradient_VD = torch.zeros_like(student_VD)
    chunks = [min(CHUNK_TOKENS, tokens - start) for start in range(0, tokens, CHUNK_TOKENS)]
    began = 0.0
    for _ in range(2):  # the first time, memory is taken
        began = time.perf_counter()
        for count in chunks:
            hidden_ND = torch.randn(count, student_VD.shape[1], dtype=dtype)
            logits_NV = hidden_ND @ student_VD.T
            torch.randn(count, teacher_VD.shape[1], dtype=dtype) @ teacher_VD.T
            logits_NV @ student_VD
            gradient_VD.addmm_(logits_NV.T, hidden_ND)
    return time.perf_counter() - began
