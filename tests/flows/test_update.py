"""A run gone through again with other settings: what the change does not touch costs nothing."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from flows.config import RunConfig
from flows.stages.publish import hash_dataset
from flows.store import VIEWER, RunDirectory
from flows.summary import summarise_run
from generators.records import Answer
from tests.flows.conftest import Finished
from tests.flows.small_run import (
    LICENSED,
    conduct_plainly,
    describe_run,
    list_seeds,
    read_cycle,
    read_settings,
    rows_of,
    write_lines,
)
from tests.flows.teacher import Teacher
from tests.generators.asking import error_body
from tests.generators.loopback import Call, Fault

TRAIN = "dataset/train.parquet"


def update(
    settings: dict[str, Any], folder: Path, teacher: Teacher
) -> tuple[RunDirectory, list[Call]]:
    """Update the copied run; return it with the requests that it took."""
    before = len(teacher.calls)
    run, _ = conduct_plainly(read_settings(folder / "small.yaml", settings), update=True)
    return run, teacher.asked_since(before)


def keys_of(run: RunDirectory) -> dict[str, str]:
    return {entry.path: entry.key for entry in run.manifest.files.values()}


def read_answers(run: RunDirectory, sampler: str) -> list[Answer]:
    return read_cycle(run, f"answers-{sampler}-", Answer)


def test_nothing_changed_is_nothing_to_do(
    finished: Finished, copied: dict[str, Any], tmp_path: Path, teacher: Teacher
) -> None:
    run, requests = update(copied, tmp_path, teacher)

    assert requests == []
    old, new = keys_of(finished.run), keys_of(run)
    assert {path for path in old if old[path] != new[path]} == {"config.yaml"}  # another runs_dir
    assert old.keys() == new.keys()
    assert run.manifest.cycles["1"].status == "finished"


def test_stricter_publishing_redoes_only_publishing(
    finished: Finished, copied: dict[str, Any], tmp_path: Path, teacher: Teacher
) -> None:
    copied["publish"] |= {"answers_per_prompt": 1, "licence": "cc-by-4.0"}
    run, requests = update(copied, tmp_path, teacher)

    assert requests == []
    old, new = keys_of(finished.run), keys_of(run)
    assert {path for path in old if old[path] != new[path]} == {
        *(f"dataset/{name}.parquet" for name in ("train", "quarantine", "rejected")),
        *("credit.json", "cycle-0001/verdicts-publish.parquet", "dataset/README.md", "flow.svg"),
        "report.html",
        "config.yaml",
    }
    rows = rows_of(run.place(TRAIN))
    assert Counter(row["prompt_id"] for row in rows).most_common(1)[0][1] == 1
    assert {row["licence"] for row in rows} == {"cc-by-4.0"}
    assert run.manifest.config["publish"]["answers_per_prompt"] == 1


def test_one_more_sample_costs_one_request_a_prompt(
    finished: Finished, copied: dict[str, Any], tmp_path: Path, teacher: Teacher
) -> None:
    copied["answer"]["samplers"][1]["n"] = 4
    run, requests = update(copied, tmp_path, teacher)

    open_prompts = {answer.prompt_id for answer in read_answers(finished.run, "dear")}
    fresh = [answer for answer in read_answers(run, "dear") if answer.sample_index == 3]
    assert len(requests) == len(open_prompts) == len(fresh) > 5
    assert {call.body["model"] for call in requests} == {"strong"}
    assert {answer.id for answer in read_answers(finished.run, "dear")} < {
        answer.id for answer in read_answers(run, "dear")
    }
    assert len(rows_of(run.place(TRAIN))) >= len(rows_of(finished.run.place(TRAIN)))


def test_one_more_seed_costs_only_its_own_line(
    finished: Finished, copied: dict[str, Any], tmp_path: Path, teacher: Teacher
) -> None:
    """A file of seeds that grew is noticed with --update, though no setting changed."""
    added = {
        "prompt": "What is 90 + 5? Answer with the number only.",
        "check": {"kind": "exact", "answer": "95"},
        "domain": "maths",
    }
    seeds = tmp_path / "seeds.jsonl"
    copied["seeds"]["paths"] = [str(seeds)]
    write_lines(seeds, list_seeds())
    assert update(copied, tmp_path, teacher)[1] == []
    write_lines(seeds, [*list_seeds(), added | LICENSED])
    run, requests = update(copied, tmp_path, teacher)

    assert len(requests) > 3
    assert [call.asked for call in requests if "90 + 5" not in call.asked] == []
    old, new = (rows_of(r.place(TRAIN)) for r in (finished.run, run))
    assert [row for row in new if "90 + 5" not in row["prompt"][0]["content"]] == old
    assert len(new) > len(old)


def test_stages_that_are_no_more_leave_nothing_behind(
    copied: dict[str, Any], tmp_path: Path, teacher: Teacher
) -> None:
    copied["evolve"]["rounds"] = 1
    copied["answer"]["samplers"].pop()
    run, requests = update(copied, tmp_path, teacher)

    assert requests == []
    stages = {entry.stage for entry in run.manifest.files.values()}
    left = {"seeds", "calibrate", "evolve-1", "check", "answer-cheap", "dedup", "publish"}
    assert stages == left | {"report", "config", "versions"}
    on_disk = {f.relative_to(run.root).as_posix() for f in run.root.rglob("*") if f.is_file()}
    assert on_disk == {*run.manifest.files, "manifest.json", ".lock", VIEWER}
    assert {row["teacher"] for row in rows_of(run.place(TRAIN))} == {"weak"}


def test_run_that_publishes_nothing_still_tells_so(
    finished: Finished, copied: dict[str, Any], tmp_path: Path, teacher: Teacher
) -> None:
    copied["publish"]["accept"] = ["judge"]
    run, requests = update(copied, tmp_path, teacher)

    assert requests == []
    summary = summarise_run(run)
    assert (summary.status, summary.rows) == ("finished", 0)
    fallen = rows_of(*(run.place(f"dataset/{n}.parquet") for n in ("quarantine", "rejected")))
    unlet = [row for row in fallen if row["reason"].startswith("verified_by_")]
    assert {row["id"] for row in finished.rows()} <= {row["id"] for row in unlet}
    assert {(row["stage"], row["decision"]) for row in unlet} == {("publish", "quarantine")}
    assert "<html" in run.place("report.html").read_text(encoding="utf-8")


def test_run_without_its_journal_gives_the_same_rows(
    finished: Finished, teacher: Teacher, tmp_path: Path
) -> None:
    """The dataset depends on configuration and teacher, not on where or in what shards it ran."""
    settings = describe_run(tmp_path, teacher.url) | {"name": "elsewhere", "shard_rows": 11}
    run, _ = conduct_plainly(read_settings(tmp_path / "small.yaml", settings))

    assert hash_dataset(run.place(TRAIN)) == hash_dataset(finished.run.place(TRAIN))


def refuse_some(call: Call) -> Fault | None:
    """A permanent error for the sums that begin with 13, and for rewriting the task on swimming."""
    if not call.body:
        return None
    if "What is 13 +" in call.asked and not call.asked.startswith("You edit"):
        return Fault(400, error_body("thirteen is not allowed"))
    swims = "learn to swim" in call.asked and call.asked.startswith("You edit")
    return Fault(400, error_body("no swimming")) if swims else None


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDirectory, RunConfig, Teacher]:
    folder = tmp_path_factory.mktemp("refused")
    with Teacher(refuse_some) as teacher:
        config = read_settings(folder / "small.yaml", describe_run(folder, teacher.url))
        run, _ = conduct_plainly(config)
    return run, config, teacher


def test_bad_requests_cost_exactly_their_rows(
    finished: Finished, refused: tuple[RunDirectory, RunConfig, Teacher]
) -> None:
    run = refused[0]
    failed = [
        (row["stage"], row["prompt"], row["evidence"])
        for row in rows_of(run.place("dataset/quarantine.parquet"))
        if row["reason"] == "http_400"
    ]
    sum_of_13 = "What is 13 + 21? Answer with the number only."
    swimming = "Advise a friend who wants to learn to swim."
    assert Counter(failed) == {
        ("answer", sum_of_13, "HTTP 400: thirteen is not allowed"): 2 + 3,
        ("evolve", swimming, "HTTP 400: no swimming"): 2,
    }


def test_bad_requests_harm_nobody_else(
    finished: Finished, refused: tuple[RunDirectory, RunConfig, Teacher]
) -> None:
    whole, partial = (rows_of(r.place(TRAIN)) for r in (finished.run, refused[0]))
    assert [row for row in whole if "13 + 21" not in json.dumps(row["prompt"])] == partial
    assert len(partial) < len(whole)


def test_bad_requests_are_remembered(refused: tuple[RunDirectory, RunConfig, Teacher]) -> None:
    """A permanent error is journalled like an answer: each was sent once."""
    sent = Counter(json.dumps(call.body) for call in refused[2].calls if call.body)
    assert sent.most_common(1)[0][1] == 1
