"""What a divergence costs a training step: memory and time, fused and written with autograd.

Both go from the student's last hidden states and head to the gradients of both:

- `naive`: logits over the whole vocabulary for all tokens, `losses.divergence`, backward;
- `fused`: `trainers.fused`, which has the logits of one chunk of tokens at a time.

The teacher comes in two forms. Of `hidden states`, naive makes the teacher's logits first, as it
must, and they count; of `logits`, they are there beforehand and count for nobody.

    python benchmarks/loss_memory.py [--rounds 5] [--tokens 2048] [--vocabulary 49152]

Extra memory is taken in a fresh process for each way. It goes once with few tokens and a small
vocabulary, so that libraries and threads are there, and makes the inputs. Then the kernel's
high-water mark of resident memory is set back to what is resident (`/proc/self/clear_refs`, Linux
only), and the way is gone. What the mark has risen by is told: all that was there at once,
temporaries and gradients. Seconds are taken in one process, in which the two take turns.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from paired import describe_machine, take_turns, write_result
from torch import Tensor

from trainers.fused import CHUNK_TOKENS, fused_divergence
from trainers.losses import Divergence, divergence
from trainers.targets import HeadStates

KINDS: tuple[Divergence, ...] = ("forward", "reverse", "jsd")
FORMS = ("hidden states", "logits")
WIDTH = 576
"""Of the hidden states, as in SmolLM2-135M."""


class Inputs(NamedTuple):
    hidden_ND: Tensor
    weight_VD: Tensor
    teacher: HeadStates | Tensor


def make_inputs(tokens: int, vocabulary: int, form: str) -> Inputs:
    """A student and a teacher that agree in much, with logits that spread as a model's do."""
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.randn, generator=generator)
    spread = 3 * WIDTH**-0.5
    hidden_ND, weight_VD = draw(tokens, WIDTH), draw(vocabulary, WIDTH).mul_(spread)
    teacher = HeadStates(
        draw(tokens, WIDTH).lerp_(hidden_ND, 0.7),
        draw(vocabulary, WIDTH).mul_(spread).lerp_(weight_VD, 0.7),
    )
    if form == "logits":
        teacher = teacher.hidden_ND @ teacher.weight_VD.T
    return Inputs(hidden_ND.requires_grad_(True), weight_VD.requires_grad_(True), teacher)


def learn_naively(inputs: Inputs, kind: Divergence) -> Tensor:
    """Values [N]; the gradients are left in the inputs."""
    logits_NV = inputs.hidden_ND @ inputs.weight_VD.T
    teacher = inputs.teacher
    if isinstance(teacher, HeadStates):
        teacher = teacher.hidden_ND @ teacher.weight_VD.T
    return step(inputs, divergence(logits_NV, teacher, kind))


def learn_fused(inputs: Inputs, kind: Divergence) -> Tensor:
    """The same."""
    return step(inputs, fused_divergence(*inputs, kind))


WAYS: dict[str, Callable[[Inputs, Divergence], Tensor]] = {
    "naive": learn_naively,
    "fused": learn_fused,
}


def step(inputs: Inputs, value_N: Tensor) -> Tensor:
    inputs.hidden_ND.grad = inputs.weight_VD.grad = None
    value_N.mean().backward()
    return value_N.detach()


def measure_extra(way: str, kind: Divergence, form: str, tokens: int, vocabulary: int) -> float:
    """MiB that the high-water mark rises by, in this process."""
    WAYS[way](make_inputs(8, 64, form), kind)
    inputs = make_inputs(tokens, vocabulary, form)
    Path("/proc/self/clear_refs").write_text("5")  # the mark falls to what is resident
    before = read_high_water()
    WAYS[way](inputs, kind)
    return read_high_water() - before


def read_high_water() -> float:
    """MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def measure_apart(*arguments: object) -> float:
    """`measure_extra` in a fresh process."""
    command = [sys.executable, __file__, "--measure", json.dumps(arguments)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def compare(kind: Divergence, form: str, rounds: int, tokens: int, vocabulary: int) -> str:
    """A row of the table."""
    naive, fused = (measure_apart(way, kind, form, tokens, vocabulary) for way in WAYS)
    inputs = make_inputs(tokens, vocabulary, form)
    check_agreement(inputs, kind)
    rivals = {name: partial(way, inputs, kind) for name, way in WAYS.items()}
    timings = take_turns(rivals, rounds)
    return (
        f"| {kind} | {form} | {naive:,.0f} | {fused:,.0f} | 1/{naive / fused:.1f} |"
        f" {timings['naive'].median_s:.2f} | {timings['fused'].median_s:.2f} |"
        f" {timings['fused'].ratio:.2f} |"
    )


def check_agreement(inputs: Inputs, kind: Divergence) -> None:
    """Both must do the same, or the comparison says nothing."""
    found = []
    for way in WAYS.values():
        value_N = way(inputs, kind)
        found.append((value_N, inputs.hidden_ND.grad, inputs.weight_VD.grad))
    for naive, fused in zip(*found, strict=True):
        scale = float(naive.abs().max())
        torch.testing.assert_close(fused, naive, rtol=1e-4, atol=1e-5 * scale)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=2_048)
    parser.add_argument("--vocabulary", type=int, default=49_152)
    parser.add_argument("--measure", type=json.loads, help="used by the script itself")
    options = parser.parse_args()
    if options.measure:
        print(measure_extra(*options.measure))
        return
    sizes = options.tokens, options.vocabulary
    lines = [
        "# Memory and time of a divergence",
        "",
        "From hidden states and head to the gradients of both, in float32:"
        f" {options.tokens:,} tokens, hidden states of {WIDTH}, {options.vocabulary:,} ids; fused"
        f" goes by {CHUNK_TOKENS} tokens. Both give the same gradients.",
        "",
        "- Extra memory is what the resident set's high-water mark rises by over that of the"
        " inputs, each way in a fresh process. The gradients are in it, the head's"
        f" {options.vocabulary * WIDTH * 4 / 2**20:,.0f} MiB among them.",
        "- Of a teacher given by its hidden states and head, naive makes the logits for all tokens"
        " and fused by chunks; they count for both. Logits that are given count for neither.",
        f"- Seconds are medians of {options.rounds} rounds in which the two take turns; the speed"
        " is the median of the rounds' ratios.",
        "",
        f"Measured on {describe_machine('torch')}.",
        "",
        "| kind | teacher | naive, MiB | fused, MiB | share | naive, s | fused, s | speed |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for form in FORMS:
        lines += [compare(kind, form, options.rounds, *sizes) for kind in KINDS]
    write_result("loss-memory", lines)


if __name__ == "__main__":
    main()
