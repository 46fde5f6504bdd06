"""Prompts are kept by how often the student solves them, and every answer has one verdict."""

import re
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flows.facts import Facts
from flows.gather import gather_facts
from flows.report import render_report
from flows.store import RunDirectory
from flows.work import open_context
from generators.credit import Credit, dump_credit, load_credit
from generators.operator_sets import list_operators
from generators.records import Answer, Prompt, Verdict
from tests.flows.small_run import (
    conduct_plainly,
    describe_run,
    read_cycle,
    read_settings,
    rows_of,
)
from tests.flows.teacher import Teacher, teach
from tests.generators.loopback import Call

K = 6


class Measured(NamedTuple):
    run: RunDirectory
    facts: Facts
    calls: list[Call]


def measure(folder: Path, **difficulty: Any) -> Measured:
    """A run whose student is the weak teacher, asked by a name of its own."""
    with Teacher() as teacher:
        settings = describe_run(folder, teacher.url)
        student = settings["models"]["weak"] | {"revision": "student"}
        settings["models"]["student"] = student
        settings["difficulty"] = {"model": "student", "k": K, **difficulty}
        config = read_settings(folder / "small.yaml", settings)
        run, _ = conduct_plainly(config)
        calls = teacher.asked_since(0)
    with open_context(run.root, config) as context:
        return Measured(run, gather_facts(context), calls)


@pytest.fixture(scope="module")
def banded(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return measure(tmp_path_factory.mktemp("banded"))


def rate_by_hand(calls: list[Call]) -> dict[str, float]:
    """How often the student's answers to each sum, counted from what the server sent, are right."""
    answers: dict[str, list[bool]] = {}
    for call in calls:
        match = re.fullmatch(r"What is (\d+) \+ (\d+)\? +Answer with the number only\.", call.asked)
        if match and call.body["max_tokens"] == 96:
            choice = teach(call)["choices"][0]
            right = re.fullmatch(r"\s*(\d+)[. ]*", choice["message"]["content"])
            solved = right is not None and int(right[1]) == int(match[1]) + int(match[2])
            answers.setdefault(call.asked, []).append(solved)
    assert {len(given) for given in answers.values()} == {K}
    return {asked: sum(given) / K for asked, given in answers.items()}


def test_every_unique_answer_has_one_verdict(banded: Measured) -> None:
    unique = {
        v.subject_id
        for v in read_cycle(banded.run, "verdicts-dedup", Verdict)
        if v.decision == "accept"
    }
    judged = Counter(v.subject_id for v in read_cycle(banded.run, "verdicts-difficulty", Verdict))
    assert judged.keys() == unique
    assert set(judged.values()) == {1}


def test_rates_are_those_that_a_person_counts(banded: Measured) -> None:
    rates = rate_by_hand(banded.calls)
    rows = rows_of(banded.run.place("dataset/train.parquet"))
    sums = [row for row in rows if row["prompt"][-1]["content"] in rates]
    assert len(sums) >= 5
    for row in sums:
        assert row["student_pass_rate"] == rates[row["prompt"][-1]["content"]]


def test_only_prompts_in_the_band_are_published(banded: Measured) -> None:
    rows = rows_of(banded.run.place("dataset/train.parquet"))
    assert len(rows) >= 5
    assert all(0 < row["student_pass_rate"] < 1 for row in rows)
    rejected = rows_of(banded.run.place("dataset/rejected.parquet"))
    fallen = [row for row in rejected if row["stage"] == "difficulty"]
    assert {(row["reason"], row["score"]) for row in fallen} == {
        ("too_easy", 1.0),
        ("too_hard", 0.0),
    }
    answers = {a.id for a in read_cycle(banded.run, "answers-", Answer)}
    assert {row["id"] for row in fallen} <= answers


def test_the_report_shows_the_students_own_difficulty(banded: Measured) -> None:
    facts = banded.facts
    verdicts = read_cycle(banded.run, "verdicts-difficulty", Verdict)
    prompts = {a.id: a.prompt_id for a in read_cycle(banded.run, "answers-", Answer)}
    rates = {prompts[v.subject_id]: v.score for v in verdicts}
    assert sum(row.prompts for row in facts.student_difficulty) == len(rates)
    assert sum(row.histogram[0] for row in facts.student_difficulty) == Counter(rates.values())[0.0]
    assert "The student before its training" in render_report(facts)
    count = facts.count("difficulty")
    assert count is not None
    assert (count.total, count.quarantined) == (len(verdicts), 0)


def test_credit_is_counted_by_operator_and_domain(banded: Measured) -> None:
    facts = banded.facts
    assert [(c.operator, c.domain) for c in facts.credit] == sorted(
        (c.operator, c.domain) for c in facts.credit
    )
    for operator in {row.operator for row in facts.operators}:
        rounds = [row for row in facts.operators if row.operator == operator]
        earned = [row for row in facts.credit if row.operator == operator]
        assert sum(r.tried for r in rounds) == sum(c.tried for c in earned)
        assert sum(r.survived for r in rounds) == sum(c.survived for c in earned)
        published = sum(r.published for r in rounds)
        assert published <= sum(c.in_band or 0 for c in earned) <= sum(c.verified for c in earned)
    assert sum(c.in_band or 0 for c in facts.credit) >= 3
    assert "Credit, by domain" in render_report(facts)


def test_the_student_has_a_role(banded: Measured) -> None:
    roles = {model.id: model.role for model in banded.facts.models}
    assert roles["weak@student"] == "measures difficulty"


def test_without_a_band_the_rate_is_only_measured(tmp_path: Path) -> None:
    measured = measure(tmp_path, band=None)
    verdicts = read_cycle(measured.run, "verdicts-difficulty", Verdict)
    assert {(v.decision, v.reason) for v in verdicts} == {("accept", "measured")}
    rows = rows_of(measured.run.place("dataset/train.parquet"))
    assert {0.0, 1.0} <= {row["student_pass_rate"] for row in rows}


def test_the_next_run_is_left_the_credit_of_this_one(banded: Measured) -> None:
    credits = load_credit(banded.run.place("credit.json"))
    assert [(c.operator, c.domain, c.tried) for c in credits.values()] == [
        (c.operator, c.domain, c.tried) for c in banded.facts.credit
    ]


def test_the_next_run_chooses_by_credit(tmp_path: Path) -> None:
    """Of both domains all operators but one have failed two hundred times."""
    fail = partial(Credit, tried=200, survived=0, verified=0, in_band=None)
    favoured = {"writing": "concretise", "maths": "maths_harder"}
    failed = [
        fail(operator=operator, domain=domain)
        for domain, favourite in favoured.items()
        for operator in list_operators(domain)
        if operator != favourite
    ]
    credit = tmp_path / "credit.json"
    credit.write_text(dump_credit(failed), encoding="utf-8")
    with Teacher() as teacher:
        settings = describe_run(tmp_path, teacher.url)
        settings["evolve"].update(choice="thompson", credit=str(credit))
        run, _ = conduct_plainly(read_settings(tmp_path / "small.yaml", settings))
    children = [p for p in read_cycle(run, "prompts-round-", Prompt) if p.parent_id is not None]
    for domain, favourite in favoured.items():
        drawn = Counter(
            child.operator
            for child in children
            if child.domain == domain and child.operator != "procedural"  # which has no rival
        )
        assert drawn.total() >= 10
        assert drawn[favourite] >= drawn.total() - 1
