"""Prompts are kept by how often the student solves them, and every answer has one verdict."""

import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flows.facts import Facts
from flows.gather import gather_facts
from flows.report import render_report
from flows.store import RunDirectory
from flows.work import open_context
from generators.credit import load_credit
from generators.records import Answer, Prompt, Verdict
from generators.tables import read_records
from tests.flows.small_run import conduct_plainly, describe_run, read_settings, rows_of
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
    with open_context(run.root, config, cycle=1) as context:
        return Measured(run, gather_facts(context), calls)


@pytest.fixture(scope="module")
def banded(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return measure(tmp_path_factory.mktemp("banded"))


def read(run: RunDirectory, prefix: str, kind: type) -> list[Any]:
    files = sorted(run.place("cycle-0001").glob(f"{prefix}*.parquet"))
    return [record for file in files for record in read_records(file, kind)]


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
        v.subject_id for v in read(banded.run, "verdicts-dedup", Verdict) if v.decision == "accept"
    }
    judged = Counter(v.subject_id for v in read(banded.run, "verdicts-difficulty", Verdict))
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
    answers = {a.id for a in read(banded.run, "answers-", Answer)}
    assert {row["id"] for row in fallen} <= answers


def test_the_report_shows_the_students_own_difficulty(banded: Measured) -> None:
    facts = banded.facts
    verdicts = read(banded.run, "verdicts-difficulty", Verdict)
    prompts = {a.id: a.prompt_id for a in read(banded.run, "answers-", Answer)}
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
    verdicts = read(measured.run, "verdicts-difficulty", Verdict)
    assert {(v.decision, v.reason) for v in verdicts} == {("accept", "measured")}
    rows = rows_of(measured.run.place("dataset/train.parquet"))
    assert {0.0, 1.0} <= {row["student_pass_rate"] for row in rows}


def test_the_next_run_chooses_by_the_credit_of_this_one(banded: Measured, tmp_path: Path) -> None:
    file = banded.run.place("credit.json")
    credits = load_credit(file)
    assert [(c.operator, c.domain, c.tried) for c in credits.values()] == [
        (c.operator, c.domain, c.tried) for c in banded.facts.credit
    ]
    operators = {}
    with Teacher() as teacher:
        for choice in ("uniform", "thompson"):
            settings: dict[str, Any] = describe_run(tmp_path, teacher.url) | {"name": choice}
            credit = str(file) if choice == "thompson" else None
            settings["evolve"].update(rounds=1, choice=choice, credit=credit)
            run, _ = conduct_plainly(read_settings(tmp_path / f"{choice}.yaml", settings))
            children = read(run, "prompts-round-1", Prompt)
            operators[choice] = {child.parent_id: child.operator for child in children}
    assert operators["uniform"] != operators["thompson"]
    drawn = Counter(operators["thompson"].values())
    assert sum(drawn.values()) >= 15
