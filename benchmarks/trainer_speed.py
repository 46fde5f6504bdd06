"""Speed and memory of training steps beside TRL's trainers: same models, rows and precision."""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from paired import describe_machine, write_result
from trainer_speed_arms import Found, Job

from generators.clients import Sampling
from generators.decoding import decode_batch
from generators.embedded import BUNDLED, find_end_ids, load_model, render_chat
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
ANSWER_TOKENS = 128


def make_messages(count: int) -> list[str]:
    """Prompts: one half short tasks of the seeds, one half questions about longer texts."""
    chance = random.Random(0)
    short = [p for name in SEEDS for p in load_seeds(f"seeds/{name}.jsonl")]
    short = [p.messages[-1].content for p in short]
    texts = load_texts("seeds/heldout/text.jsonl")
    prompts = []
    for i in range(count):
        if i % 2:
            passage = "\n\n".join(chance.sample(texts, chance.randint(1, 5)))
            prompts.append(f"{chance.choice(TASKS)}\n\n{passage}")
        else:
            prompts.append(chance.choice(short))
    return prompts


def make_rows(count: int) -> list[dict[str, Any]]:
    """Rows as they are published, answered by the teacher."""
    prompts = [[Message(role="user", content=text)] for text in make_messages(count)]
    model, tokenizer = load_model(BUNDLED)
    encoded = [tokenizer(render_chat(tokenizer, p), add_special_tokens=False)["input_ids"] for p in prompts]
    sampling = Sampling(temperature=0.7, top_p=0.95, max_tokens=ANSWER_TOKENS)
    answers = decode_batch(
        model, tokenizer, encoded, list(range(count)), sampling, find_end_ids(model, tokenizer)
    )
    L = [(len(e), a.tokens) for e, a in zip(encoded, answers)]
    print(L, sum(a + b for a, b in L) / len(L), sum(b for a, b in L) / len(L))
    return [
        {
            "prompt": [{"role": "user", "content": prompt[0].content}],
            "completion": [{"role": "assistant", "content": answer.text.strip() or "Yes."}],
        }
        for prompt, answer in zip(prompts, answers, strict=True)
    ]


def run_arm(job: Job) -> Found:
    arms = Path(__file__).with_name("trainer_speed_arms.py")
    command = [sys.executable, str(arms), json.dumps(job._asdict())]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        print(ended.stderr[-3000:])
    return Found(**json.loads(ended.stdout.splitlines()[-1]))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    if not (folder / "student").exists():
        print(save_cut(Student(model=BUNDLED, layers=LAYERS), folder / "student"))
        pq.write_table(pa.Table.from_pylist(make_rows(64)), folder / "rows.parquet")
    precision, batch, acc, steps = sys.argv[2], *map(int, sys.argv[3:6])
    for arm in sys.argv[6:]:
        f = run_arm(Job(arm, str(folder), precision, batch, acc, steps))
        print(f"{arm:18s} wall {f.wall_s/steps:.2f} cpu {f.cpu_s/steps:.2f} tok/cpu-s {f.tokens/f.cpu_s:.0f} tgt/cpu-s {f.targets/f.cpu_s:.0f} tokens {f.tokens/steps:.0f} targets {f.targets/steps:.0f} peak {f.peak_mib:.0f} grown {f.grown_mib:.0f} loss {f.loss:.5f}", flush=True)
