"""What no program can check is voted on by all samplers, and the votes stay with the rows."""

import copy
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from flows.gather import gather_facts
from flows.report import render_report
from flows.stages.publish import hash_dataset
from flows.store import RunDirectory
from flows.work import open_context
from generators.records import Answer, Prompt, Verdict
from tests.flows.small_run import (
    LICENSED,
    conduct_plainly,
    describe_run,
    read_cycle,
    read_settings,
    rows_of,
    write_lines,
)
from tests.flows.teacher import SUM, Teacher

VOTES = {"domains": ["maths"], "threshold": 0.6, "min_votes": 5}
SAMPLES = 5
"""Of both samplers together."""


@pytest.fixture(scope="module")
def voted(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDirectory, dict[str, Any], int]:
    """A finished run with votes, its settings, and how many requests it sent."""
    folder = tmp_path_factory.mktemp("voted")
    with Teacher() as teacher:
        settings = describe_run(folder, teacher.url) | {"consensus": VOTES}
        unkeyed = {"prompt": "What is 40 + 41? Answer with the number only.", "domain": "maths"}
        seeds = folder / "seeds.jsonl"
        lines = [json.loads(line) for line in seeds.read_text("utf-8").splitlines()]
        write_lines(seeds, [*lines, unkeyed | LICENSED])
        run, _ = conduct_plainly(read_settings(folder / "small.yaml", settings))
        asked = len(teacher.asked_since(0))
        _, printed = conduct_plainly(read_settings(folder / "small.yaml", settings), update=True)
        assert len(teacher.asked_since(0)) == asked
        assert " of " not in printed
    return run, settings, asked


def count_by_hand(run: RunDirectory) -> dict[str, tuple[Counter[str], int]]:
    """For each task that was voted on: the numbers given in whole answers, and all votes."""
    prompts = {p.id: p for p in read_cycle(run, "prompts-consensus", Prompt)}
    malformed = {
        v.subject_id
        for v in read_cycle(run, "verdicts-", Verdict)
        if v.stage == "structure" and v.decision != "accept"
    }
    counted: dict[str, tuple[Counter[str], int]] = {}
    for answer in read_cycle(run, "answers-", Answer):
        if answer.prompt_id in prompts:
            votes, n = counted.get(answer.prompt_id, (Counter(), 0))
            number = re.fullmatch(r"\s*(\d+)[. ]*", answer.completion)
            if number and answer.id not in malformed:
                votes[number[1]] += 1
            counted[answer.prompt_id] = (votes, n + 1)
    return counted


def test_every_sampler_votes_on_every_open_question(voted: Any) -> None:
    run, *_ = voted
    counted = count_by_hand(run)
    assert len(counted) >= 10
    assert {n for _, n in counted.values()} == {SAMPLES}


def test_the_votes_are_those_that_a_person_counts(voted: Any) -> None:
    run, *_ = voted
    counted = count_by_hand(run)
    sums = [p for p in read_cycle(run, "prompts-consensus", Prompt) if SUM.search(p.text)]
    assert len(sums) >= 5
    for prompt in sums:
        votes, n = counted[prompt.id]
        assert (dict(votes), n) == (prompt.check.votes, prompt.check.n)


def test_rows_carry_the_elected_answer_and_its_votes(voted: Any) -> None:
    run, *_ = voted
    rows = [
        r for r in rows_of(run.place("dataset/train.parquet")) if r["verified_by"] == "consensus"
    ]
    assert len(rows) >= 3
    for row in rows:
        check = json.loads(row["check"])
        share = max(check["votes"].values()) / check["n"]
        assert check["kind"] == "consensus"
        assert check["n"] == SAMPLES
        assert share >= VOTES["threshold"]
        assert row["confidence"] == round(share, 4)
        elected = max(check["votes"], key=lambda answer: check["votes"][answer])
        assert re.fullmatch(rf"\D*{elected}\D*", row["completion"][-1]["content"])
    operators = {row["operator"] for row in rows}
    assert operators <= {"maths_easier", "maths_harder", "seed"}
    assert operators & {"maths_easier", "maths_harder"}


def test_what_was_elected_is_right(voted: Any) -> None:
    """The loopback teacher is wrong in many ways and right in one, so a majority is right."""
    run, *_ = voted
    rows = rows_of(run.place("dataset/train.parquet"))
    sums = [
        (SUM.search(row["prompt"][-1]["content"]), row["completion"][-1]["content"])
        for row in rows
        if row["verified_by"] == "consensus"
    ]
    checked = [(int(m[1]) + int(m[2]), text) for m, text in sums if m]
    assert len(checked) >= 3
    assert all(re.fullmatch(rf"\D*{total}\D*", text) for total, text in checked)


def test_every_vote_has_one_verdict(voted: Any) -> None:
    run, *_ = voted
    let_on = {
        v.subject_id for v in read_cycle(run, "verdicts-", Verdict) if v.reason == "put_to_vote"
    }
    judged = Counter(v.subject_id for v in read_cycle(run, "verdicts-consensus", Verdict))
    assert judged.keys() == let_on
    assert set(judged.values()) == {1}
    aside = rows_of(*(run.place(f"dataset/{n}.parquet") for n in ("quarantine", "rejected")))
    decided = {v.subject_id: v for v in read_cycle(run, "verdicts-consensus", Verdict)}
    fallen = {id: v for id, v in decided.items() if v.decision != "accept"}
    shown = {r["id"]: (r["decision"], r["reason"]) for r in aside if r["stage"] == "consensus"}
    assert shown == {id: (v.decision, v.reason) for id, v in fallen.items()}
    assert {"outvoted", "no_consensus"} <= {v.reason for v in fallen.values()}


def test_a_seed_without_a_key_is_voted_on(voted: Any) -> None:
    run, *_ = voted
    (seed,) = [
        p
        for p in read_cycle(run, "prompts-consensus", Prompt)
        if "40 + 41" in p.text and p.round == 0
    ]
    assert seed.check.n == SAMPLES
    assert max(seed.check.votes, key=seed.check.votes.get) == "81"


def test_the_report_counts_the_votes(voted: Any) -> None:
    run, settings, _ = voted
    config = read_settings(run.root.parent.parent / "small.yaml", settings)
    with open_context(run.root, config) as context:
        facts = gather_facts(context)
    votes = facts.votes
    assert votes is not None
    shares = [max(c.values(), default=0) / n for c, n in count_by_hand(run).values()]
    assert votes.prompts == len(shares)
    assert votes.too_few == 0
    assert votes.elected == sum(share >= VOTES["threshold"] for share in shares)
    assert votes.trial is None
    page = render_report(facts)
    assert "No task with a known answer had enough samples to try such votes on." in page
    assert 'href="#votes"' in page


def test_votes_are_tried_where_the_answer_is_known(tmp_path: Path) -> None:
    with Teacher() as teacher:
        settings = describe_run(tmp_path, teacher.url)
        seeds = tmp_path / "seeds.jsonl"
        seeds.write_text(seeds.read_text("utf-8").replace('"kind": "exact"', '"kind": "math"'))
        settings["evolve"]["rounds"] = 1
        settings["answer"]["samplers"][0]["n"] = 5
        settings |= {"consensus": VOTES | {"threshold": 0.6}}
        config = read_settings(tmp_path / "small.yaml", settings)
        run, _ = conduct_plainly(config)
    with open_context(run.root, config) as context:
        facts = gather_facts(context)
    assert facts.votes is not None
    trial = facts.votes.trial
    assert trial is not None
    assert trial.sampler == "cheap"
    assert trial.prompts >= 16
    assert 3 <= trial.elected <= trial.prompts
    assert trial.right is not None
    assert trial.right.value >= 0.8
    assert f"elected an answer {trial.elected} times" in render_report(facts)


def test_the_same_run_again_gives_the_same_set(voted: Any, tmp_path: Path) -> None:
    run, settings, _ = voted
    changed = copy.deepcopy(settings) | {"runs_dir": str(tmp_path), "shard_rows": 5}
    with Teacher() as teacher:
        for name in ("weak", "strong"):
            changed["models"][name]["base_url"] = teacher.url
        again, _ = conduct_plainly(read_settings(tmp_path / "small.yaml", changed))
    train = "dataset/train.parquet"
    assert hash_dataset(again.place(train)) == hash_dataset(run.place(train))
