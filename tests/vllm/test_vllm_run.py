"""A whole run on a managed server that is killed in the middle of it, and then its engine is."""

import json
import re
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from flows.config import RunConfig
from generators.embedded import BUNDLED
from generators.vllm_client import VllmSettings, identify_vllm
from generators.vllm_server import ServeSettings
from tests.flows.small_run import LICENSED, conduct_plainly, read_settings, rows_of, write_lines
from tests.vllm.conftest import SERVE, find_engine, find_guards, find_server

SUMS, SAMPLES = 40, 4
KILLS_AT = (40, 100)
OPTIONS = {"A": "the sun", "B": "a candle", "C": "a torch"}


def describe_run(folder: Path) -> dict[str, Any]:
    sums = [
        {
            "prompt": f"What is {a} + {b}? Answer with the number only.",
            "check": {"kind": "exact", "answer": str(a + b)},
            "domain": "maths",
        }
        for a in range(1, 9)
        for b in range(1, 6)
    ]
    choice = {
        "prompt": "Which is the brightest? A) the sun B) a candle C) a torch. Explain it.",
        "check": {"kind": "choice", "answer": "A", "options": OPTIONS},
        "domain": "reasoning",
    }
    write_lines(folder / "seeds.jsonl", [line | LICENSED for line in [*sums, choice]])
    terms = {"licence": "apache-2.0", "outputs_may_train": "yes"}
    model = {"kind": "vllm", "model": BUNDLED, "serve": SERVE, "concurrency": 8, **terms}
    sampler = {"name": "own", "model": "own", "n": SAMPLES, "structured": True}
    return {
        "name": "served",
        "runs_dir": str(folder / "runs"),
        "shard_rows": 12,
        "seeds": {"paths": [str(folder / "seeds.jsonl")]},
        "models": {"own": model},
        "answer": {"samplers": [sampler | {"sampling": {"max_tokens": 24}}]},
        "publish": {"licence": "cc0-1.0"},
    }


def count_outcomes(config: RunConfig) -> int:
    try:
        with sqlite3.connect(f"file:{config.journal_place}?mode=ro", uri=True) as journal:
            return journal.execute("SELECT count(*) FROM outcomes").fetchone()[0]
    except sqlite3.OperationalError:  # not there yet
        return 0


def kill_in_the_middle(config: RunConfig, over: threading.Event, killed: list[int]) -> None:
    """Kill the server, and its engine the next time, when it has answered some requests and is at
    others."""
    while not over.is_set() and len(killed) < len(KILLS_AT):
        if (count := count_outcomes(config)) >= KILLS_AT[len(killed)]:
            server = find_server()
            victim = find_engine(server) if killed else server
            victim.kill()
            killed.append(count)
        time.sleep(0.02)


def test_run_survives_the_kill_of_its_server(tmp_path: Path) -> None:
    config = read_settings(tmp_path / "served.yaml", describe_run(tmp_path))
    over, killed = threading.Event(), []
    killer = threading.Thread(target=kill_in_the_middle, args=(config, over, killed))
    killer.start()
    try:
        run, _ = conduct_plainly(config)
    finally:
        over.set()
        killer.join()

    expected = (SUMS + 1) * SAMPLES
    assert KILLS_AT[0] <= killed[0] < KILLS_AT[1] <= killed[1] < expected - 20
    answers = rows_of(*sorted(run.place("cycle-0001").glob("answers-own-*.parquet")))
    drawn = Counter((row["prompt_id"], row["sample_index"]) for row in answers)
    assert set(drawn.values()) == {1}
    assert len(drawn) == expected == count_outcomes(config)
    verdicts = rows_of(*sorted(run.place("cycle-0001").glob("verdicts-own-*.parquet")))
    assert [v for v in verdicts if v["detector"] == "client"] == []
    said = [json.loads(row["messages"])[0]["content"] for row in answers]
    assert len([text for text in said if text in OPTIONS]) == SAMPLES
    (model,) = {row["model"] for row in answers}
    assert model == identify_vllm(VllmSettings(model=BUNDLED, serve=ServeSettings(**SERVE)))

    log = Path(config.runs_dir) / f"{BUNDLED}.vllm.log"
    lines = log.read_text(encoding="utf-8").splitlines()
    notes = [line for line in lines if line.startswith("tutelage: ")]
    assert notes[0] == "tutelage: the server ended with exit code 137; start 2"
    assert re.fullmatch(r"tutelage: the server ended with exit code \d+; start 3", notes[1])
    assert len(notes) == 2
    assert find_guards() == []

    _, printed = conduct_plainly(config)
    assert "this run is finished; nothing is left to do." in printed
    assert log.read_text(encoding="utf-8").splitlines() == lines
