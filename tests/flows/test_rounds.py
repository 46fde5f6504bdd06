"""How many rounds pay: where the search ends, what it takes, and that nothing is asked twice."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main
from flows.config import RunConfig
from flows.console import Console
from flows.intervals import Interval
from flows.rounds import (
    RoundSearch,
    Trial,
    choose_rounds,
    find_gain,
    find_rounds,
    show_rounds,
    until_fall,
)
from flows.stages.evaluate import ArmResult
from flows.store import RunDirectory
from generators.errors import ConfigError, HeldOutError
from tests.flows.small_run import (
    LICENSED,
    add_training,
    conduct_plainly,
    describe_run,
    read_settings,
    rows_of,
    write_lines,
)
from tests.flows.teacher import Teacher
from trainers.evaluate import Estimate, PassScore


def describe_trials(folder: Path, url: str, student: Path) -> dict[str, Any]:
    """The small run with a student, and other held-out prompts for the stop rule."""
    settings = add_training(describe_run(folder, url), folder, student)
    cakes = {"procedural": {"task": "template:bakery", "count": 8}, "domain": "maths"}
    write_lines(folder / "kept.jsonl", [cakes | LICENSED])
    settings["train"] |= {"max_steps": 5}
    rule = {"held_out": [str(folder / "kept.jsonl")], "prompts": 6, "max_tokens": 4}
    return settings | {"stop_rule": rule}


def search(config: RunConfig) -> tuple[RoundSearch, str]:
    out = io.StringIO()
    console = Console(out=out, err=io.StringIO())
    return find_rounds(config, console), out.getvalue()


def list_trials(*scores: float) -> Iterator[Trial]:
    for i, score in enumerate(scores):
        value = Interval(value=score, low=0, high=1)
        yield Trial(rounds=i + 1, rows=10, score=value, gain=None, run=f"runs/{i + 1}")


@pytest.mark.parametrize(
    ("scores", "tolerance", "tried"),
    [
        pytest.param((0.3, 0.5, 0.4, 0.9), 0.0, 3, id="a fall ends it"),
        pytest.param((0.3, 0.3, 0.4), 0.0, 3, id="no gain is no fall"),
        pytest.param((0.5, 0.45, 0.3, 0.9), 0.1, 3, id="small falls are borne"),
        pytest.param((0.5, 0.4), 0.0, 2, id="at the last round"),
        pytest.param((0.5,), 0.0, 1, id="one round"),
    ],
)
def test_no_round_is_begun_after_a_fall(
    scores: tuple[float, ...], tolerance: float, tried: int
) -> None:
    trials = list_trials(*scores)

    assert [trial.rounds for trial in until_fall(trials, tolerance)] == [*range(1, tried + 1)]
    assert len(list(trials)) == len(scores) - tried


@pytest.mark.parametrize(
    ("scores", "rounds", "fell", "ended"),
    [
        pytest.param((0.3, 0.5, 0.4, 0.9), 2, True, "the score fell then", id="a fall"),
        pytest.param((0.3, 0.5, 0.6), 3, False, "all of evolve.rounds were tried", id="the last"),
        pytest.param(
            (0.5, 0.5), 1, False, "all of evolve.rounds were tried", id="fewest of equals"
        ),
    ],
)
def test_best_rounds_are_taken(
    scores: tuple[float, ...], rounds: int, fell: bool, ended: str
) -> None:
    found = choose_rounds(list_trials(*scores), 0.0, Path("small-rounds.json"))
    out = io.StringIO()
    show_rounds(found, Console(out=out))

    assert (found.rounds, found.fell, len(found.trials)) == (
        rounds,
        fell,
        3 if fell else len(scores),
    )
    assert f"best after {rounds}; {ended}. Set evolve.rounds: {rounds}\n" in out.getvalue()


def list_bodies(teacher: Teacher) -> list[str]:
    """What was asked, the look at the server before each run left out."""
    bodies = [call.body for call in teacher.calls if call.path != "/v1/models"]
    return [json.dumps(body, sort_keys=True) for body in bodies]


def score(**correct: int) -> PassScore:
    return PassScore(
        prompts=len(correct),
        samples=1,
        correct=correct,
        pass_at={1: Estimate(0.5, 0, 1)},
        reasons={},
        truncated=0,
        mean_tokens=1,
    )


def test_gain_is_counted_prompt_by_prompt() -> None:
    gain = find_gain(score(a=0, b=1, c=0, d=1), score(d=1, c=1, b=1, a=0))

    assert (gain.value, gain.low, gain.high) == (0.25, 0.0, 0.75)


def test_trials_ask_nothing_twice_and_the_run_nothing_more(
    tmp_path: Path, tiny_model_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Teacher() as teacher:
        settings = describe_trials(tmp_path, teacher.url, tiny_model_dir)
        file = tmp_path / "small.yaml"
        found, printed = search(read_settings(file, settings))
        asked = list_bodies(teacher)
        assert main(["rounds", str(file), "--json"]) == 0
        again = RoundSearch.model_validate_json(capfd.readouterr().out)
        best = settings["evolve"] | {"rounds": found.rounds}
        run, _ = conduct_plainly(read_settings(file, settings | {"evolve": best}))
        assert list_bodies(teacher) == asked

    assert len(set(asked)) == len(asked) > 100
    assert again == found
    assert found == RoundSearch.model_validate_json(Path(found.summary).read_bytes())
    assert [trial.rounds for trial in found.trials] == [1, 2]
    for trial in found.trials:
        trial_run = RunDirectory(Path(trial.run))
        assert trial_run.root.name == f"small-rounds-{trial.rounds}"
        assert trial.rows == len(rows_of(trial_run.place("dataset/train.parquet")))
        result = ArmResult.model_validate_json(
            trial_run.place("evaluation/after.json").read_bytes()
        )
        assert (result.pass_1.prompts, trial.score) == (6, Interval.of(result.pass_1.pass_at[1]))
        assert result.by_task.keys() == {"template:bakery"}
    assert found.trials[0].gain is None
    assert found.trials[1].gain is not None
    assert found.trials[1].gain.value == pytest.approx(
        found.trials[1].score.value - found.trials[0].score.value
    )
    best_trial = next(trial for trial in found.trials if trial.rounds == found.rounds)
    assert best_trial.score.value == max(trial.score.value for trial in found.trials)
    assert rows_of(run.place("dataset/train.parquet")) == rows_of(
        RunDirectory(Path(best_trial.run)).place("dataset/train.parquet")
    )
    assert f"Set evolve.rounds: {found.rounds}\n" in printed


def test_prompts_of_the_evaluation_are_refused(tmp_path: Path, tiny_model_dir: Path) -> None:
    settings = describe_trials(tmp_path, "http://127.0.0.1:9/v1", tiny_model_dir)
    copied = tmp_path / "copied.jsonl"
    copied.write_text((tmp_path / "held.jsonl").read_text())
    settings["stop_rule"]["held_out"] = [str(copied)]
    config = read_settings(tmp_path / "small.yaml", settings)

    with pytest.raises(HeldOutError) as raised:
        search(config)

    assert re.sub(r"\b[0-9a-f]{16}\b", "ID", str(raised.value)) == (
        "small: 6 of 6 prompts in stop_rule.held_out are in evaluate.held_out as well: ID"
        ' ("Jasmin picks 3 apples. Then Jasmin picks 2 more. How many a…"). A score that chose the'
        " rounds proves nothing about them; keep other prompts for the stop rule."
    )
    assert not config.root.with_name("small-rounds-1").exists()


def test_one_round_is_wanted(tmp_path: Path, tiny_model_dir: Path) -> None:
    settings = describe_trials(tmp_path, "http://127.0.0.1:9/v1", tiny_model_dir)
    settings["evolve"]["rounds"] = 0

    with pytest.raises(ConfigError) as raised:
        read_settings(tmp_path / "small.yaml", settings)

    assert str(raised.value).partition(": ")[2] == (
        "evolve.rounds: the stop rule tries one round at least; raise it"
    )


def test_section_is_wanted(tmp_path: Path, tiny_model_dir: Path) -> None:
    settings = describe_trials(tmp_path, "http://127.0.0.1:9/v1", tiny_model_dir)
    del settings["stop_rule"]

    with pytest.raises(ConfigError) as raised:
        search(read_settings(tmp_path / "small.yaml", settings))

    assert str(raised.value) == (
        "small: there is no stop_rule section: name prompts in stop_rule.held_out"
    )


@pytest.mark.parametrize(
    ("left_out", "named", "complaint"),
    [
        pytest.param(
            "train",
            "kept",
            "stop_rule: a student is trained after each round of evolution: add the sections "
            "evolve and train",
            id="no student",
        ),
        pytest.param(
            None,
            "held",
            "stop_rule.held_out.0: FOLDER/held.jsonl is also in evaluate.held_out; keep other "
            "prompts for the stop rule",
            id="the evaluation's file",
        ),
        pytest.param(
            None,
            "gone",
            "stop_rule.held_out.0: FOLDER/gone.jsonl: no such file (looked for it from CWD)",
            id="no file",
        ),
    ],
)
def test_settings_that_cannot_be(
    tmp_path: Path, tiny_model_dir: Path, left_out: str | None, named: str, complaint: str
) -> None:
    settings = describe_trials(tmp_path, "http://127.0.0.1:9/v1", tiny_model_dir)
    settings["stop_rule"]["held_out"] = [str(tmp_path / f"{named}.jsonl")]
    if left_out is not None:
        del settings[left_out]

    with pytest.raises(ConfigError) as raised:
        read_settings(tmp_path / "small.yaml", settings)

    *others, told = [line.partition(": ")[2] for line in str(raised.value).splitlines()]
    untaught = ["evaluate: there is no student to evaluate: add a train section"]
    assert others == (untaught if left_out == "train" else [])
    assert told == complaint.replace("FOLDER", str(tmp_path)).replace("CWD", str(Path.cwd()))
