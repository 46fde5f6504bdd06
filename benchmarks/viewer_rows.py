"""A finished run of any size for `viewer.py`: made up, but of the form that a run leaves behind.

Each seed has children, each prompt answers of two samplers, and each answer its verdicts; the texts
are random words of a vocabulary that is used as unevenly as a language's.
"""

import json
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flows.config import load_config
from flows.stages.publish import ROW_SCHEMA, SET_ASIDE_SCHEMA
from flows.store import Cycle, Manifest, RunDirectory, create_run, describe_file
from generators.records import Answer, Prompt, Verdict, canonical_json
from generators.tables import arrow_schema

CONFIG = "flows/configs/demo.yaml"
SHARD = 10_000
DOMAINS = ("maths", "writing", "code", "reasoning", "advice")
OPERATORS = ("deepen", "add_constraints", "concretise", "breadth", "procedural")
TEACHERS = {"few-shot": "weak-model", "patient": "strong-model"}
FALLEN = {
    "quarantine": ("truncated", "no_answer", "hidden_characters", "refusal"),
    "reject": ("wrong", "surplus", "near_duplicate_prompt", "exact_duplicate_answer"),
}
SHARES = {"accept": 0.6, "quarantine": 0.15, "reject": 0.25}
Line = dict[str, Any]


class Words:
    """Texts of random words; the n-th word is used n times as rarely as the first."""

    def __init__(self, chance: random.Random, size: int = 20_000) -> None:
        letters = "etaoinshrdlucmfwypvbgkjqxz"
        self._chance = chance
        self._known = [
            "".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(size)
        ]
        self._weights = [*accumulate(1 / (rank + 1) for rank in range(size))]

    def write(self, low: int, high: int) -> str:
        count = self._chance.randint(low, high)
        return " ".join(self._chance.choices(self._known, cum_weights=self._weights, k=count))


def make_run(folder: Path, rows: int) -> RunDirectory:
    """A run directory whose dataset, quarantine and rejected rows are `rows` together."""
    config = load_config(CONFIG, {"runs_dir": str(folder), "name": "large"})
    begun = Cycle(status="finished", started=_now(), finished=_now())
    manifest = Manifest(
        name="large",
        config_digest=config.digest,
        config=config.model_dump(mode="json", by_alias=True),
        cycles={"1": begun},
    )
    run = create_run(folder / "large", manifest)
    chance = random.Random(0)
    tables: dict[str, list[Line]] = {decision: [] for decision in SHARES}
    lines = _make_lines(chance, Words(chance), rows)
    for shard in range(-(-rows // SHARD)):
        prompts, answers, verdicts = [], [], []
        for prompt, answer, own, row in islice(lines, SHARD):
            prompts += [prompt] if prompt else []
            answers.append(answer)
            verdicts += own
            tables[own[-1]["decision"]].append(row)
        number = f"{shard:03d}"
        _write(run, f"cycle-0001/prompts-round-0-{number}.parquet", "seeds", Prompt, prompts)
        _write(
            run, f"cycle-0001/answers-few-shot-{number}.parquet", "answer-few-shot", Answer, answers
        )
        for stage in ("answer-few-shot", "dedup", "publish"):
            name = f"cycle-0001/verdicts-{stage.removeprefix('answer-')}-{number}.parquet"
            _write(run, name, stage, Verdict, [v for v in verdicts if v["stage"] == stage])
    files = {"accept": "train", "quarantine": "quarantine", "reject": "rejected"}
    for decision, name in files.items():
        schema = ROW_SCHEMA if decision == "accept" else SET_ASIDE_SCHEMA
        _write_table(run, f"dataset/{name}.parquet", "publish", schema, tables[decision])
    return run


def _make_lines(
    chance: random.Random, words: Words, rows: int
) -> Iterator[tuple[Line | None, Line, list[Line], Line]]:
    """A prompt with its first answer, and so on: prompt, answer, verdicts, row of the dataset."""
    root = parent = prompt = {}
    for number in range(rows):
        fresh = number % 4 == 0
        if fresh:
            parent = {} if number % 16 == 0 else prompt
            prompt = _make_prompt(chance, words, f"{number:016x}", parent, root)
            root = prompt if not parent else root
        answer = _make_answer(chance, words, f"{number:016x}a", prompt, number % 4)
        verdicts = _judge(chance, answer)
        yield (prompt if fresh else None), answer, verdicts, _make_row(prompt, answer, verdicts[-1])


def _make_prompt(chance: random.Random, words: Words, id: str, parent: Line, root: Line) -> Line:
    return {
        "id": id,
        "root_id": root["id"] if parent else id,
        "parent_id": parent.get("id"),
        "round": parent["round"] + 1 if parent else 0,
        "operator": chance.choice(OPERATORS) if parent else "seed",
        "messages": canonical_json([{"role": "user", "content": words.write(15, 90)}]),
        "tools": "[]",
        "check": canonical_json({"kind": "exact", "answer": words.write(1, 1)}),
        "domain": parent["domain"] if parent else chance.choice(DOMAINS),
        "licence": "CC0-1.0",
        "source": "made up",
        "author": "nobody",
        "template_hash": None,
    }


def _make_answer(chance: random.Random, words: Words, id: str, prompt: Line, sample: int) -> Line:
    text = words.write(20, 160)
    sampler = chance.choice([*TEACHERS])
    return {
        "id": id,
        "prompt_id": prompt["id"],
        "sample_index": sample,
        "sampler": sampler,
        "model": TEACHERS[sampler],
        "messages": canonical_json([{"role": "assistant", "content": text}]),
        "reasoning": None,
        "tool_calls": "[]",
        "finish_reason": "stop",
        "usage": canonical_json({"prompt_tokens": 60, "completion_tokens": 120}),
        "params": "{}",
        "request_key": id,
        "logprobs": None,
    }


def _judge(chance: random.Random, answer: Line) -> list[Line]:
    """Verdicts up to the one by which it fell, or was published."""
    (decision,) = chance.choices([*SHARES], [*SHARES.values()])
    reason = "published" if decision == "accept" else chance.choice(FALLEN[decision])
    stage = "dedup" if "duplicate" in reason else "publish" if reason == "surplus" else None
    stage = stage or ("publish" if decision == "accept" else "answer-few-shot")
    verdicts = []
    for name in ("answer-few-shot", "dedup", "publish"):
        last = name == stage
        verdicts.append(
            {
                "subject_id": answer["id"],
                "stage": name,
                "detector": name,
                "version": "1",
                "decision": decision if last else "accept",
                "reason": reason if last else "right",
                "evidence": f"repeats {answer['prompt_id']}" if last and stage == "dedup" else None,
                "score": round(chance.random(), 3),
            }
        )
        if last:
            break
    return verdicts


def _make_row(prompt: Line, answer: Line, verdict: Line) -> Line:
    origin = {
        name: prompt[name]
        for name in ("root_id", "parent_id", "round", "operator", "domain", "author")
    }
    row = origin | {"id": answer["id"], "prompt_id": prompt["id"], "teacher": answer["model"]}
    asked, said = json.loads(prompt["messages"]), json.loads(answer["messages"])
    if verdict["decision"] == "accept":
        return row | {
            "prompt": asked,
            "completion": said,
            "verified_by": "reference",
            "confidence": verdict["score"],
            "weight": 1.0,
            "source": prompt["source"],
            "licence": prompt["licence"],
            "check": prompt["check"],
        }
    told = {name: value for name, value in verdict.items() if name != "subject_id"}
    return row | told | {"prompt": asked[0]["content"], "completion": said[0]["content"]}


def _write(run: RunDirectory, path: str, stage: str, kind: type, lines: Sequence[Line]) -> None:
    _write_table(run, path, stage, arrow_schema(kind), lines)


def _write_table(
    run: RunDirectory, path: str, stage: str, schema: pa.Schema, lines: Sequence[Line]
) -> None:
    place = run.place(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    columns = {name: [line.get(name) for line in lines] for name in schema.names}
    pq.write_table(pa.table(columns, schema=schema), place)
    run.commit([describe_file(run.root, path, stage=stage, key="made up")])


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
