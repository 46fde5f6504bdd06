"""Beside the student of selected rows one is taught on as many tokens of rows drawn at random."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from flows.config import RunConfig
from flows.console import Console
from flows.facts import Facts
from flows.gather import gather_facts
from flows.intervals import Interval
from flows.release import release
from flows.report import render_report
from flows.rounds import describe_trial
from flows.stage_settings import StopRuleSettings
from flows.stages.evaluate import ArmResult
from flows.stages.random_rows import Drawn, draw_rows
from flows.store import RunDirectory
from flows.verbs import evaluate
from flows.wording import tell_selection
from flows.work import open_context
from generators.embedded import load_tokenizer
from generators.errors import ConfigError
from generators.records import Answer, Verdict, digest
from tests.flows.small_run import (
    add_training,
    conduct_plainly,
    describe_run,
    read_cycle,
    read_settings,
    rows_of,
)
from tests.flows.teacher import Teacher

ROWS = [{"id": f"{i:03}", "prompt_id": f"p{i // 2}"} for i in range(100)]
TOKENS = {row["id"]: 1 + i % 9 for i, row in enumerate(ROWS)}
SELECTED = [row["id"] for row in ROWS[::4]]
GOAL = sum(TOKENS[id] for id in SELECTED)


def draw(seed: int = 0, answers_per_prompt: int = 2, **tokens: int) -> Drawn:
    given = TOKENS | tokens
    return draw_rows(ROWS, given, SELECTED, seed=seed, answers_per_prompt=answers_per_prompt)


def test_as_many_tokens_are_drawn_as_were_selected() -> None:
    for seed in range(50):
        drawn = draw(seed)
        assert (drawn.looked_at, drawn.selected_rows, drawn.selected_tokens) == (100, 25, GOAL)
        assert drawn.tokens == sum(TOKENS[id] for id in drawn.rows)
        assert abs(drawn.tokens - GOAL) <= 9 / 2
        assert drawn.shared == len({*drawn.rows} & {*SELECTED})


def test_each_row_is_as_likely_as_any_other() -> None:
    """Over 400 seeds a row is drawn as often as its share of the tokens lets expect."""
    counts = Counter(id for seed in range(400) for id in draw(seed).rows)
    expected = 400 * GOAL / sum(TOKENS.values())
    assert len(counts) == 100
    assert all(abs(count - expected) < 5 * expected**0.5 for count in counts.values())


def test_the_same_seed_draws_the_same_rows_in_whatever_order() -> None:
    first = draw(7)
    again = draw_rows(ROWS[::-1], TOKENS, SELECTED[::-1], seed=7, answers_per_prompt=2)
    assert again == first != draw(8)


def test_no_prompt_has_more_rows_than_may_be_published() -> None:
    prompts = {row["id"]: row["prompt_id"] for row in ROWS}
    most = Counter(prompts[id] for id in draw(1, answers_per_prompt=1).rows)
    assert max(most.values()) == 1
    assert max(Counter(prompts[id] for id in draw(1).rows).values()) == 2


def test_rows_that_cannot_be_taught_on_are_neither_drawn_nor_counted() -> None:
    fitting = {id: n for id, n in TOKENS.items() if id not in ("000", "001")}
    for seed in range(20):
        drawn = draw_rows(ROWS, fitting, SELECTED, seed=seed, answers_per_prompt=2)
        assert not {"000", "001"} & {*drawn.rows}
        assert (drawn.looked_at, drawn.selected_rows) == (98, 24)
        assert drawn.selected_tokens == GOAL - TOKENS["000"]


@pytest.fixture(scope="module")
def settings(
    teacher: Teacher, tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("beside")
    settings = add_training(describe_run(folder, teacher.url), folder, tiny_model_dir)
    del settings["evaluate"]["examples"]
    settings["train"] |= {"max_steps": None, "epochs": 0.5}
    return settings | {"select": {"words": [1, 12], "beside_random": True}}


@pytest.fixture(scope="module")
def beside(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("config")
    return conduct_plainly(read_settings(folder / "small.yaml", settings))[0]


@pytest.fixture(scope="module")
def facts(beside: RunDirectory) -> Facts:
    config = RunConfig.model_validate(beside.manifest.config)
    with open_context(beside.root, config) as context:
        return gather_facts(context)


def read_drawn(run: RunDirectory) -> Drawn:
    return Drawn.model_validate_json(run.place("cycle-0001/drawn-random.json").read_bytes())


def test_rows_are_drawn_from_what_selection_looked_at(
    beside: RunDirectory, tiny_model_dir: Path
) -> None:
    drawn, tokenizer = read_drawn(beside), load_tokenizer(str(tiny_model_dir))
    looked_at = {v.subject_id for v in read_cycle(beside, "verdicts-select", Verdict)}
    published = rows_of(beside.place("dataset/train.parquet"))
    assert {*drawn.rows} <= looked_at
    assert drawn.looked_at == len(looked_at)
    assert drawn.selected_rows == len(published)
    answers = [row["completion"][-1]["content"] for row in published]
    tokens = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in answers]
    assert drawn.selected_tokens == sum(tokens) + len(tokens)  # each ends with a token of its own
    assert abs(drawn.tokens - drawn.selected_tokens) < 100
    assert not {*drawn.rows} <= {row["id"] for row in published}


def test_both_students_take_as_many_steps_and_differ(beside: RunDirectory) -> None:
    students = [beside.place(name) for name in ("student", "student-random")]
    first, second = (json.loads((s / "result.json").read_bytes()) for s in students)
    assert first["steps"] == second["steps"] > 3
    assert second["rows"] == len(read_drawn(beside).rows)
    weights = [(s / "model.safetensors").read_bytes() for s in students]
    assert weights[0] != weights[1]
    lines = beside.place("metrics-random.jsonl").read_text().splitlines()
    assert sum("loss" in json.loads(line) for line in lines) == second["steps"]


def test_the_report_compares_the_two_prompt_by_prompt(beside: RunDirectory, facts: Facts) -> None:
    assert facts.evaluation is not None
    random = facts.evaluation.random
    assert random is not None
    after, other = (
        ArmResult.model_validate_json(beside.place(f"evaluation/{arm}.json").read_bytes())
        for arm in ("after", "random")
    )
    assert after.pass_1.correct.keys() == other.pass_1.correct.keys()
    assert other.model.startswith("student-random@")
    gain = (sum(after.pass_1.correct.values()) - sum(other.pass_1.correct.values())) / 10
    assert random.gain.value == pytest.approx(gain)
    drawn = read_drawn(beside)
    assert (random.rows, random.tokens) == (len(drawn.rows), drawn.tokens)
    names = [arm.name for arm in facts.evaluation.every_arm]
    assert names == ["before, zero-shot", "after, zero-shot", "after random rows, zero-shot"]
    page = render_report(facts)
    assert "points of selection" in page
    assert "after random rows, zero-shot" in page
    assert f"{drawn.tokens:,} completion tokens, drawn at random" in page


@pytest.mark.parametrize(
    ("bounds", "told"),
    [
        (
            (0.1, 0.02, 0.2),
            "95\u202f% +2.0 to +20.0): selection helped beyond chance.",
        ),
        ((-0.1, -0.2, -0.02), "selection did harm beyond chance."),
        ((0.1, -0.02, 0.2), "so it is not shown that selection did anything."),
    ],
)
def test_no_more_is_said_than_the_interval_allows(
    bounds: tuple[float, float, float], told: str, facts: Facts
) -> None:
    assert facts.evaluation is not None
    assert facts.evaluation.random is not None
    gain = Interval(**dict(zip(("value", "low", "high"), bounds, strict=True)))
    changed = facts.evaluation.random.model_copy(update={"gain": gain})
    assert tell_selection(changed).endswith(told)


def test_another_bound_draws_anew_and_nothing_else_does(
    beside: RunDirectory, settings: dict[str, Any], tmp_path: Path
) -> None:
    def read_keys() -> dict[str, str]:
        return {entry.stage: entry.key for entry in beside.manifest.files.values()}

    before = read_keys()
    conduct_plainly(read_settings(tmp_path / "small.yaml", settings), update=True)
    assert read_keys() == before
    alone = settings | {"select": settings["select"] | {"beside_random": False}}
    conduct_plainly(read_settings(tmp_path / "small.yaml", alone), update=True)
    gone, told = {"train-random", "evaluate-random"}, {"report", "config", "versions"}
    kept = {stage: key for stage, key in before.items() if stage not in gone | told}
    assert {stage: key for stage, key in read_keys().items() if stage not in told} == kept
    assert not beside.place("student-random/config.json").exists()
    assert "points of selection" not in beside.place("report.html").read_text()
    conduct_plainly(read_settings(tmp_path / "small.yaml", settings), update=True)
    # The time that a training took is part of what it leaves, so it is evaluated once more.
    anew = ("report", "evaluate-random", "versions")
    assert read_keys() | {stage: before[stage] for stage in anew} == before


def test_a_release_teaches_neither_student(
    beside: RunDirectory, settings: dict[str, Any], tmp_path: Path
) -> None:
    students = [beside.place(f"{name}/config.json") for name in ("student", "student-random")]
    times = [place.stat().st_mtime_ns for place in students]
    rows = rows_of(beside.place("dataset/quarantine.parquet"))
    ids = {answer.id for answer in read_cycle(beside, "answers-", Answer)}
    row = min(row["id"] for row in rows if row["id"] in ids)
    release(beside.root, [row], "read it", Console(json=True))
    assert [place.stat().st_mtime_ns for place in students] == times


def test_the_verb_evaluates_both(
    settings: dict[str, Any], beside: RunDirectory, tmp_path: Path
) -> None:
    results = evaluate(read_settings(tmp_path / "small.yaml", settings), Console(json=True))
    assert [result.arm for result in results] == ["before", "after", "random"]


def test_trials_of_rounds_teach_no_second_student(settings: dict[str, Any], tmp_path: Path) -> None:
    config = read_settings(tmp_path / "small.yaml", settings)
    rule = StopRuleSettings(held_out=tuple(settings["evaluate"]["held_out"]), prompts=5)
    trial = describe_trial(config, rule, 1)
    assert trial.select is not None
    assert (trial.select.words, trial.select.beside_random) == ((1, 12), False)


@pytest.mark.parametrize("missing", ["train", "evaluate"])
def test_two_students_need_a_training_and_an_evaluation(
    missing: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    without = {name: value for name, value in settings.items() if name != missing}
    with pytest.raises(ConfigError) as caught:
        read_settings(tmp_path / "small.yaml", without)
    untaught = ["evaluate: there is no student to evaluate: add a train section"]
    assert [line.partition(": ")[2] for line in str(caught.value).splitlines()] == [
        *(untaught if missing == "train" else []),
        "select.beside_random: two students are compared: add the sections train and evaluate, or"
        " take it out",
    ]


def test_the_drawing_depends_on_the_runs_seed() -> None:
    order = sorted(TOKENS, key=lambda id: digest("beside random", 3, id))
    drawn = draw_rows(ROWS, TOKENS, SELECTED, seed=3, answers_per_prompt=2)
    assert {*drawn.rows} == {*order[: len(drawn.rows)]}
