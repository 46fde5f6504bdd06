"""Speed and memory of training steps beside TRL's: same models, rows and precision, in one run.

The teacher is the bundled model, the student six of its thirty layers. Off-policy, `objective:
forward` stands against TRL's GKDTrainer (lmbda 0, beta 0); on-policy, `objective: reverse` with
rollouts of 64 tokens against TRL's DistillationTrainer (beta 1); SFT against SFTTrainer beside
them. A cached teacher stands against one that is read in every step. Each arm
(`trainer_speed_arms.py`) runs in a fresh process; arms take turns, in an order that turns too.

    python benchmarks/trainer_speed.py [--rounds 3] [--steps 2] [--batch 4]
                                       [--precisions float32 bfloat16]

The rows are half short tasks from `seeds/`, half questions about paragraphs of
`seeds/heldout/text.jsonl`, answered by the teacher. Their lengths differ, as published rows' do,
so TRL's batches are padded; a second set of batches has rows of like length, which leaves padding
out of account.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from paired import describe_machine, write_result
from trainer_speed_arms import NEVER_SAID, NEW_TOKENS, TOP_K, Found, Job, Written

from generators.clients import Sampling
from generators.decoding import decode_batch
from generators.embedded import BUNDLED, Precision, find_end_ids, load_model, render_chat
from generators.records import Message
from generators.seeds import load_seeds, load_texts
from trainers.settings import Student
from trainers.students import save_cut

LAYERS = (0, 5, 10, 15, 20, 29)
SEEDS = ("writing", "explaining", "maths", "reasoning", "code")
TASKS = (
    "Sum up the following text in one sentence.",
    "What is the following text about? Name its three main points.",
    "Write a headline for the following text, and say why it fits.",
)
ROWS, HELD_ROWS, ANSWER_TOKENS = 40, 12, 128
TIMED_RATE = 1e-5
"""So low that the student, and with it what it writes, stays nearly the same while it is timed."""
TEACH_STEPS, TEACH_RATE = 24, 1e-4


class Contest(NamedTuple):
    ours: str
    theirs: str
    wanted: float | None
    """The ratio of tokens per second that is asked for."""


OFF_POLICY = Contest("tutelage forward", "TRL GKD", 1.5)
ON_POLICY = Contest("tutelage reverse", "TRL Distillation", 1.3)
SFT = Contest("tutelage sft", "TRL SFT", None)
RECOMPUTING = ("TRL GKD, recomputing", "TRL Distillation, recomputing")
CACHED, ONLINE = "tutelage forward, cached", OFF_POLICY.ours


class Case(NamedTuple):
    title: str
    rows: str
    precision: Precision
    contests: tuple[Contest, ...]
    once: tuple[str, ...] = ()
    """Arms that are run in the first round only, for information."""


CASES = (
    Case(
        "float32",
        "rows.parquet",
        "float32",
        (OFF_POLICY, ON_POLICY),
        (SFT.ours, SFT.theirs, *RECOMPUTING),
    ),
    Case("float32, rows of like length", "alike.parquet", "float32", (OFF_POLICY, ON_POLICY)),
    Case("bfloat16", "rows.parquet", "bfloat16", (OFF_POLICY, ON_POLICY)),
)


def make_prompts(count: int) -> list[list[Message]]:
    """In turn short tasks, and questions about one to five paragraphs."""
    chance = random.Random(0)
    short = [prompt.messages for name in SEEDS for prompt in load_seeds(f"seeds/{name}.jsonl")]
    texts = load_texts("seeds/heldout/text.jsonl")
    chance.shuffle(short)
    prompts = []
    for i in range(count):
        passage = "\n\n".join(chance.sample(texts, chance.randint(1, 5)))
        long = Message(role="user", content=f"{chance.choice(TASKS)}\n\n{passage}")
        prompts.append([long] if i % 2 else list(short[i // 2]))
    return prompts


class Row(NamedTuple):
    record: dict[str, Any]
    """As it is published."""
    tokens: int
    """Of its prompt, and of its completion."""


def make_rows(count: int) -> list[Row]:
    """Prompts with the teacher's answers."""
    prompts = make_prompts(count)
    model, tokenizer = load_model(BUNDLED)
    encoded = [
        tokenizer(render_chat(tokenizer, prompt), add_special_tokens=False)["input_ids"]
        for prompt in prompts
    ]
    sampling = Sampling(temperature=0.7, max_tokens=ANSWER_TOKENS)
    ends = find_end_ids(model, tokenizer)
    answers = decode_batch(model, tokenizer, encoded, list(range(count)), sampling, ends)
    return [
        Row(
            {
                "prompt": [{"role": turn.role, "content": turn.content} for turn in prompt],
                "completion": [{"role": "assistant", "content": answer.text.strip() or "-"}],
            },
            len(ids) + answer.tokens,
        )
        for prompt, ids, answer in zip(prompts, encoded, answers, strict=True)
    ]


def prepare(folder: Path, batch: int, steps: int) -> tuple[int, float]:
    """Put student and rows into the folder; return the student's parameters, and the share of
    padding in the batches of unlike rows."""
    parameters = save_cut(Student(model=BUNDLED, layers=LAYERS), folder / "student")
    rows = make_rows(ROWS + HELD_ROWS)
    train, held = rows[:ROWS], rows[ROWS:]
    by_length = sorted(train, key=lambda row: row.tokens)
    batches = [by_length[i : i + batch] for i in range(0, ROWS - batch + 1, batch)]
    spread = [batches[i * (len(batches) - 1) // steps] for i in range(steps + 1)]
    alike = [row for each in spread for row in each]
    for name, part in (("rows", train), ("alike", alike), ("held", held)):
        table = pa.Table.from_pylist([row.record for row in part])
        pq.write_table(table, folder / f"{name}.parquet")
    timed = [train[i : i + batch] for i in range(batch, batch * (steps + 1), batch)]
    padded = sum(max(row.tokens for row in each) * batch for each in timed)
    return parameters, 1 - sum(row.tokens for each in timed for row in each) / padded


def run_apart(job: Job) -> dict[str, Any]:
    """A job in a fresh process."""
    script = Path(__file__).with_name("trainer_speed_arms.py")
    command = [sys.executable, str(script), json.dumps(job._asdict())]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{job.arm}:\n{ended.stderr}")
    return json.loads(ended.stdout.splitlines()[-1])


def take_turns(
    folder: Path, cases: Sequence[Case], batch: int, steps: int, rounds: int
) -> list[dict[str, list[Found]]]:
    """What each arm took, by case and round."""
    found: list[dict[str, list[Found]]] = [{} for _ in cases]
    for round in range(rounds):
        for case, taken in zip(cases, found, strict=True):
            names = [name for contest in case.contests for name in contest[:2]]
            names += [CACHED] if case is CASES[0] else []
            turn = round % len(names)
            names = [*names[turn:], *names[:turn], *(() if round else case.once)]
            for name in names:
                job = Job(name, str(folder), case.rows, case.precision, batch, steps, TIMED_RATE)
                taken.setdefault(name, []).append(Found(**run_apart(job)))
    return found


def check_agreement(taken: Mapping[str, Sequence[Found]], precision: Precision) -> float:
    """Off-policy both must do the same, or the comparison says nothing: the first step's losses,
    of which the greatest relative difference is returned."""
    apart = 0.0
    for ours, theirs, _ in (OFF_POLICY, SFT):
        if theirs in taken:
            one, other = taken[ours][0], taken[theirs][0]
            apart = max(apart, abs(one.first_loss / other.first_loss - 1))
            assert (one.tokens, one.targets) == (other.tokens, other.targets)
    assert apart < (1e-4 if precision == "float32" else 2e-2), apart
    return apart


def median(taken: Sequence[Found], figure: str) -> float:
    return statistics.median(getattr(each, figure) for each in taken)


def rate(taken: Found, figure: str) -> float:
    """Tokens, or targets, per second."""
    return getattr(taken, figure) / taken.wall_s


def compare(ours: Sequence[Found], theirs: Sequence[Found], figure: str) -> float:
    """How many times as many tokens, or targets, a second; the median of the rounds' ratios."""
    pairs = zip(ours, theirs, strict=True)
    return statistics.median(rate(a, figure) / rate(b, figure) for a, b in pairs)


def tell_arms(taken: Mapping[str, Sequence[Found]], steps: int) -> list[str]:
    lines = [
        "| trainer | s/step | CPU s/step | tokens/step | completions' | tokens/s"
        " | completion tokens/s | peak MiB | above start |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, own in taken.items():
        rates = [statistics.median(rate(each, of) for each in own) for of in ("tokens", "targets")]
        lines.append(
            f"| {name} | {median(own, 'wall_s') / steps:.2f} | {median(own, 'cpu_s') / steps:.2f}"
            f" | {median(own, 'tokens') / steps:.0f} | {median(own, 'targets') / steps:.0f}"
            f" | {rates[0]:.0f} | {rates[1]:.0f}"
            f" | {median(own, 'peak_mib'):.0f} | {median(own, 'grown_mib'):.0f} |"
        )
    return lines


def tell_contests(taken: Mapping[str, Sequence[Found]]) -> list[str]:
    lines = [
        "| tutelage over TRL | tokens/s | completion tokens/s | asked | peak memory"
        " | memory above start |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, theirs, wanted in (OFF_POLICY, ON_POLICY, SFT):
        if theirs not in taken:
            continue
        own, peer = taken[name], taken[theirs]
        own = own[: len(peer)]
        memory = [median(own, of) / median(peer, of) for of in ("peak_mib", "grown_mib")]
        lines.append(
            f"| {name} : {theirs} | {compare(own, peer, 'tokens'):.2f}"
            f" | {compare(own, peer, 'targets'):.2f} | {wanted or '-'}"
            f" | {memory[0]:.2f} | {memory[1]:.2f} |"
        )
    return lines


def tell_case(case: Case, taken: Mapping[str, Sequence[Found]], steps: int) -> list[str]:
    apart = check_agreement(taken, case.precision)
    return [
        *("", f"## {case.title}", ""),
        *tell_contests(taken),
        "",
        *tell_arms(taken, steps),
        "",
        f"Where the rows are the data's, the first step's losses agree to {apart:.0e}.",
    ]


def tell_cached(
    folder: Path, batch: int, written: Written, timed: Mapping[str, Sequence[Found]], steps: int
) -> list[str]:
    """Teach as many steps from either teacher; what comes out, beside what it costs."""
    lines = [
        *("", "## Cached teacher, float32", ""),
        f"Top {TOP_K} tokens of each distribution and the rest's mass:"
        f" {written.bytes / written.tokens:.0f} bytes per token, against 98,304 of all logits in"
        f" bfloat16. Writing it for {written.tokens:,} tokens took {written.seconds:.1f} s, models"
        " loaded. KL is the mean forward KL on held-out rows in nats per token, before and after"
        f" {TEACH_STEPS + 1} steps at a learning rate of {TEACH_RATE:g}.",
        "",
        "| teacher | s/step | ratio | peak MiB | above start | KL before | KL after |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name in (ONLINE, CACHED):
        job = Job(
            name, str(folder), "rows.parquet", "float32", batch, TEACH_STEPS, TEACH_RATE, True
        )
        taught, own = Found(**run_apart(job)), timed[name]
        lines.append(
            f"| {'cached' if name == CACHED else 'online'} | {median(own, 'wall_s') / steps:.2f}"
            f" | {compare(own, timed[ONLINE], 'tokens'):.2f}"
            f" | {median(own, 'peak_mib'):.0f} | {median(own, 'grown_mib'):.0f}"
            f" | {taught.kl_before:.3f} | {taught.kl_after:.3f} |"
        )
    return lines


def introduce(batch: int, steps: int, rounds: int, parameters: int, padding: float) -> list[str]:
    return [
        "# Training steps beside TRL's",
        "",
        f"{BUNDLED} teaches {parameters / 1e6:.1f}M parameters (layers"
        f" {', '.join(map(str, LAYERS))} of it); steps of {batch} rows, {steps} of them timed after"
        f" one that is not; medians of {rounds} rounds, of ratios those of the rounds' own. Every"
        " arm ran in a process of its own.",
        f"Measured on {describe_machine('torch', 'transformers', 'accelerate', 'trl')}.",
        "",
        "Tokens are those of prompts and completions that `compute_loss` was given, without"
        f" padding; of the batches of the data's rows, padded to the longest, {padding:.0%} would"
        " be padding. Peak memory is the largest resident set of the process from its start on"
        " (libraries, weights, optimizer's state and all), above start what that is above the"
        " resident set when the training began. Neither side recomputes activations, but for the"
        " arms that are named so (TRL's default).",
        "",
        f"On-policy, both sample {NEW_TOKENS} tokens a row at temperature 1 from a student whose"
        f" end token is set to {NEVER_SAID}, which it hardly ever says, so completions are equally"
        " long.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    options = parser.parse_args()
    batch, steps, rounds = options.batch, options.steps, options.rounds
    if batch * (steps + 1) > ROWS:
        parser.error(f"{steps} + 1 steps of {batch} rows: there are {ROWS}")
    cases = [case for case in CASES if case.precision in options.precisions]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = introduce(batch, steps, rounds, *prepare(folder, batch, steps))
        first = Job(CACHED, name, "rows.parquet", "float32", batch, 0, TIMED_RATE)
        written = Written(**run_apart(first))
        found = take_turns(folder, cases, batch, steps, rounds)
        for case, taken in zip(cases, found, strict=True):
            lines += tell_case(case, taken, steps)
            if CACHED in taken:
                lines += tell_cached(folder, batch, written, taken, steps)
    write_result("trainer-speed", lines)


if __name__ == "__main__":
    main()
