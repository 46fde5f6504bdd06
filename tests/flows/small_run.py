"""Small runs, real in every part: their seeds, their configuration, and how to read them."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from flows.conduct import PlainConductor
from flows.config import RunConfig, load_config
from flows.console import Console
from flows.pipeline import conduct
from flows.store import RunDirectory, name_folder
from generators.tables import read_records
from tests.json_lines import write_lines

ROOT = Path(__file__).parents[2]
LICENSED = {"licence": "CC0-1.0", "author": "tutelage authors"}
TOPICS = (
    "Describe a quiet harbour early in the morning.",
    "Write about a long walk through a small town.",
    "Tell of an evening at home when the lights went out.",
    "Describe the garden of an old house after rain.",
    "Write about a train that passes a village at night.",
    "Tell how a family spends the first day of summer.",
)
CODE = {"kind": "code", "entry_point": "double", "cases": [{"args": [2], "expected": 4}]}
OPTIONS = {"A": "spring", "B": "winter", "C": "noon"}


def list_seeds() -> list[dict[str, Any]]:
    """Sums, word problems, writing, a choice, code whose one case says nothing, and no check."""
    sums = [
        {
            "prompt": f"What is {a} + {a + 8}? Answer with the number only.",
            "check": {"kind": "exact", "answer": str(2 * a + 8)},
            "domain": "maths",
        }
        for a in range(11, 27)
    ]
    sums.append(sums[0] | {"prompt": sums[0]["prompt"].replace("? ", "?  ")})
    apples = {"procedural": {"task": "template:apples", "count": 6}, "domain": "maths"}
    writing = [{"prompt": text, "domain": "writing"} for text in TOPICS]
    choice = {
        "prompt": "Which of these is the coldest? A) spring B) winter C) noon The letter only.",
        "check": {"kind": "choice", "answer": "B", "options": OPTIONS},
        "domain": "reasoning",
    }
    code = {"prompt": "Write a function double(n).", "check": CODE, "domain": "code"}
    open_ended = {"prompt": "Advise a friend who wants to learn to swim.", "domain": "advice"}
    lines = [*sums, apples, *writing, choice, code, open_ended]
    return [line | LICENSED for line in lines]


def model(url: str, name: str, **settings: Any) -> dict[str, Any]:
    terms = {"licence": "apache-2.0", "outputs_may_train": "yes"}
    return {"kind": "openai", "base_url": url, "model": name, "concurrency": 4, **terms, **settings}


def describe_run(folder: Path, url: str) -> dict[str, Any]:
    """The settings of a small run, whose seeds are written into `folder`."""
    seeds = folder / "seeds.jsonl"
    write_lines(seeds, list_seeds())
    sampling = {"temperature": 0.7, "max_tokens": 200}
    return {
        "name": "small",
        "runs_dir": str(folder / "runs"),
        "shard_rows": 8,
        "seeds": {"paths": [str(seeds)]},
        "models": {"weak": model(url, "weak"), "strong": model(url, "strong")},
        "evolve": {
            "model": "strong",
            "rounds": 2,
            "constraints": [
                "length_constraints:number_words",
                "length_constraints:number_sentences",
                "change_case:english_lowercase",
                "punctuation:no_comma",
            ],
        },
        "answer": {
            "samplers": [
                {"name": "cheap", "model": "weak", "n": 2, "sampling": sampling},
                {"name": "dear", "model": "strong", "n": 3, "sampling": sampling},
            ]
        },
        "publish": {"licence": "cc0-1.0"},
    }


def add_training(settings: dict[str, Any], folder: Path, student: Path) -> dict[str, Any]:
    """The same run with a student that is taught and evaluated."""
    held_out, text, examples = (folder / f"{n}.jsonl" for n in ("held", "text", "examples"))
    apples = {"task": "template:apples", "count": 12}
    write_lines(held_out, [{"procedural": apples, "domain": "maths"} | LICENSED])
    write_lines(text, [{"text": topic, "domain": "writing"} | LICENSED for topic in TOPICS[:2]])
    shown = {"task": "template:apples", "prompt": "Ivo picks 2 apples. How many?"}
    write_lines(examples, [shown | {"completion": " 2"}])
    train = {"student": str(student), "batch_size": 4, "max_steps": 40, "save_steps": 5}
    evaluate = {
        "held_out": [str(held_out)],
        "prompts": 10,
        "k": 2,
        "k_prompts": 3,
        "max_tokens": 4,
        "text": str(text),
        "examples": str(examples),
    }
    return settings | {
        "train": train | {"learning_rate": 1e-3, "precision": "float32"},
        "evaluate": evaluate,
    }


def write_config(path: Path, settings: Mapping[str, Any]) -> Path:
    """Write settings as a configuration file; JSON is YAML."""
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path


def read_settings(path: Path, settings: Mapping[str, Any], **overrides: Any) -> RunConfig:
    """Write settings as a file and read them as a run does."""
    return load_config(write_config(path, settings), overrides)


def conduct_plainly(
    config: RunConfig, *, update: bool = False, new_cycle: bool = False
) -> tuple[RunDirectory, str]:
    """Conduct a run in this thread; return it with what it printed."""
    out = io.StringIO()
    console, conductor = Console(out=out, err=out), PlainConductor()
    run = conduct(config, console, conductor, update=update, new_cycle=new_cycle)
    return run, out.getvalue()


def rows_of(*paths: Path) -> list[dict[str, Any]]:
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def read_cycle(run: RunDirectory, prefix: str, kind: type, cycle: int = 1) -> list[Any]:
    """The records of one kind in all files of a run's cycle whose names begin so."""
    files = sorted(run.place(name_folder(cycle)).glob(f"{prefix}*.parquet"))
    return [record for file in files for record in read_records(file, kind)]


def start_command(*arguments: str, **variables: str) -> subprocess.Popen[str]:
    """Start `tutelage` as a person would, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *arguments],
        cwd=ROOT,
        env=os.environ | variables,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
