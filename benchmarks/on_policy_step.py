"""What an on-policy step takes beside the passes that it cannot do without.

The bare passes are a loop of plain torch over the same batches, with nothing but: the student
writing token by token with its keys and values kept, the teacher reading what was written, the
student reading it forward and backward, both with logits at the answers' positions alone, and
AdamW. The trainer's step (`objective: reverse` with rollouts, as in `trainer_speed.py`) does the
same arithmetic; what it takes above it is its own. Rows are of like length, so that neither side
gains by leaving padding out. The two take turns, each in a fresh process.

    python benchmarks/on_policy_step.py [--rounds 3] [--steps 4] [--batch 4]   # some ten minutes
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from paired import describe_machine, write_result
from torch import Tensor
from trainer_speed import ON_POLICY, TIMED_RATE, prepare, run_apart
from trainer_speed_arms import MAX_LENGTH, NEW_TOKENS, Found, Job, open_student

from generators.embedded import BUNDLED, load_model
from trainers.rows import TokenRow, collate, load_rows

ROWS = "alike.parquet"


class Passes(NamedTuple):
    """Seconds of the bare passes over all timed steps."""

    writing: float = 0.0
    teacher: float = 0.0
    student: float = 0.0
    """Forward and backward."""
    optimizer: float = 0.0

    @property
    def whole(self) -> float:
        return sum(self)


class Clock:
    """Seconds between two calls."""

    def __init__(self) -> None:
        self.last = time.perf_counter()

    def __call__(self) -> float:
        before, self.last = self.last, time.perf_counter()
        return self.last - before


@torch.inference_mode()
def write_answers(model: Any, prompts: Sequence[list[int]], pad_id: int) -> list[list[int]]:
    """NEW_TOKENS tokens behind each prompt, drawn at temperature 1."""
    longest = max(map(len, prompts))
    padded = [[pad_id] * (longest - len(ids)) + ids for ids in prompts]
    mask_BT = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts])
    ids_BT, cache, drawn = torch.tensor(padded), None, []
    places_BT = (mask_BT.cumsum(1) - 1).clamp(min=0)
    for _ in range(NEW_TOKENS):
        out = model(
            ids_BT,
            attention_mask=mask_BT,
            position_ids=places_BT,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache = out.past_key_values
        ids_BT = torch.multinomial(out.logits[:, -1].float().softmax(-1), 1)
        drawn.append(ids_BT)
        mask_BT = torch.cat([mask_BT, torch.ones_like(ids_BT)], 1)
        places_BT = places_BT[:, -1:] + 1
    return torch.cat(drawn, 1).tolist()


def read_answers(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """Logits [N, V] that predict the answers' tokens."""
    hidden_BTD = model.model(batch["input_ids"], batch["attention_mask"]).last_hidden_state
    return model.lm_head(hidden_BTD[:, :-1][batch["labels"][:, 1:] != -100]).float()


def time_passes(job: Job) -> Passes:
    """The bare passes over the job's batches; those of the first are not counted."""
    model, tokenizer = open_student(job, never_ends=True)
    teacher = load_model(BUNDLED, job.precision).model
    rows = load_rows(Path(job.folder, job.rows), tokenizer, max_length=MAX_LENGTH).rows
    optimizer = torch.optim.AdamW(model.parameters(), lr=job.learning_rate, fused=True)
    taken = Passes()
    for step in range(job.steps + 1):
        prompts = [
            row.input_ids[: row.prompt_length]
            for row in rows[step * job.batch : (step + 1) * job.batch]
        ]
        clock = Clock()
        answers = write_answers(model.eval(), prompts, tokenizer.pad_token_id)
        writing = clock()
        written = [TokenRow(p + a, len(p)) for p, a in zip(prompts, answers, strict=True)]
        batch = collate(written, pad_id=tokenizer.pad_token_id)
        with torch.inference_mode():
            log_p_NV = read_answers(teacher, batch).log_softmax(-1)
        reading = clock()
        log_q_NV = read_answers(model.train(), batch).log_softmax(-1)
        (log_q_NV.exp() * (log_q_NV - log_p_NV.clone())).sum(-1).mean().backward()
        learning = clock()
        optimizer.step()
        optimizer.zero_grad()
        if step:
            added = Passes(writing, reading, learning, clock())
            taken = Passes(*(a + b for a, b in zip(taken, added, strict=True)))
    return taken


def run_bare(job: Job) -> Passes:
    """The bare passes in a fresh process."""
    command = [sys.executable, __file__, "--job", json.dumps(job._asdict())]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"bare passes:\n{ended.stderr}")
    return Passes(**json.loads(ended.stdout.splitlines()[-1]))


def tell(bare: Sequence[Passes], ours: Sequence[Found], steps: int, batch: int) -> list[str]:
    above = median(o.wall_s / b.whole for o, b in zip(ours, bare, strict=True)) - 1
    parts = {
        f"student writes {NEW_TOKENS} tokens a row": "writing",
        "teacher reads": "teacher",
        "student reads, forward and backward": "student",
        "AdamW": "optimizer",
    }
    names = [
        ("bare passes", "whole"),
        *((f"of them: {told}", name) for told, name in parts.items()),
    ]
    return [
        "# An on-policy step beside its bare passes",
        "",
        f"The models of [trainer-speed](trainer-speed.md), float32, rows of like length; steps of "
        f"{batch} rows, {steps} of them timed after one that is not; medians of {len(ours)} "
        "rounds, of the ratio those of the rounds' own. Each ran in a process of its own.",
        f"Measured on {describe_machine('torch', 'transformers')}.",
        "",
        "| | s/step |",
        "|---|--:|",
        *(f"| {told} | {median(getattr(b, n) for b in bare) / steps:.2f} |" for told, n in names),
        f"| tutelage reverse, whole step | {median(o.wall_s for o in ours) / steps:.2f} |",
        "",
        f"The trainer's step takes {abs(above):.0%} {'more' if above > 0 else 'less'} than its "
        "bare passes.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        print(json.dumps(time_passes(Job(**json.loads(options.job)))._asdict()))
        return
    batch, steps = options.batch, options.steps
    bare, ours = [], []
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), batch, steps)
        job = Job(ON_POLICY.ours, folder, ROWS, "float32", batch, steps, TIMED_RATE)
        for _ in range(options.rounds):
            bare.append(run_bare(job))
            ours.append(Found(**run_apart(job)))
    write_result("on-policy-step", tell(bare, ours, steps, batch))


if __name__ == "__main__":
    main()
