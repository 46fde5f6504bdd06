"""The equality judge is measured before it is trusted, and not asked where it cannot tell."""

import io
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from filters.agreement import Agreement
from flows import verbs
from flows.config import RunConfig
from flows.console import Console
from flows.stage_lists import list_stages
from flows.stages.calibrate import CALIBRATE
from flows.store import RunDirectory
from generators.calibration import load_pairs
from generators.records import Verdict
from tests.flows.conftest import Finished, finish
from tests.flows.kills import run_until
from tests.flows.small_run import (
    LICENSED,
    ROOT,
    conduct_plainly,
    describe_run,
    read_cycle,
    read_settings,
    write_config,
    write_lines,
)
from tests.flows.teacher import LABELS, Teacher, read_pair
from tests.flows.test_kill import CONCURRENCY
from tests.generators.asking import error_body
from tests.generators.loopback import Call, Fault

SHIPPED = ROOT / "seeds/calibration/equality.jsonl"
AGREEMENT = "cycle-0001/agreement-equality.json"
JSON = {"content-type": "application/json"}
ONCE = Counter(dict.fromkeys(LABELS, 1))
"""Each labelled pair is asked about once."""
PLACES = ("a harbour", "a bakery", "a library", "a station", "a garden", "a kitchen")
TIMES = ("at dawn", "at noon", "on a Sunday", "in the rain", "after closing time")


def describe_judged_run(folder: Path, url: str, **evolve: Any) -> dict[str, Any]:
    """One round of rewriting thirty tasks, and one sampler's answers."""
    settings = describe_run(folder, url)
    tasks = [f"Describe {place} {time}." for place in PLACES for time in TIMES]
    seeds = [{"prompt": task, "domain": "writing"} | LICENSED for task in tasks]
    write_lines(folder / "seeds.jsonl", seeds)
    settings["evolve"] |= {"rounds": 1, "operators": ["add_constraints"], **evolve}
    settings["answer"]["samplers"].pop()
    return settings


def compared(calls: list[Call]) -> Counter[tuple[str, str]]:
    """The pairs of tasks that were asked about, and how often."""
    pairs = [read_pair(call.asked) for call in calls if call.body]
    return Counter(pair for pair in pairs if pair is not None)


def read_agreement(run: RunDirectory) -> Agreement:
    return Agreement.model_validate_json(run.place(AGREEMENT).read_bytes())


def count_reasons(run: RunDirectory) -> Counter[str]:
    return Counter(verdict.reason for verdict in read_cycle(run, "verdicts-evolve-1-", Verdict))


def call_all_equal(call: Call) -> Fault | None:
    """Every pair of tasks is equal to this judge."""
    if not call.body or read_pair(call.asked) is None:
        return None
    choice = {"message": {"role": "assistant", "content": "equal"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    return Fault(body=json.dumps({"choices": [choice], "usage": usage}), headers=JSON)


def refuse_pairs(call: Call) -> Fault | None:
    """No pair of tasks is compared at all."""
    is_pair = bool(call.body) and read_pair(call.asked) is not None
    return Fault(400, error_body("no comparisons")) if is_pair else None


def refuse_new_pairs(call: Call) -> Fault | None:
    """Only the labelled pairs are compared."""
    is_new = bool(call.body) and read_pair(call.asked) not in {None, *ONCE}
    return Fault(400, error_body("no comparisons")) if is_new else None


@pytest.fixture(scope="module")
def judged(teacher: Teacher, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A whole run whose judge knows every label."""
    folder = tmp_path_factory.mktemp("judged")
    return finish(describe_judged_run(folder, teacher.url), folder, teacher)


def test_judge_that_can_tell_is_asked(judged: Finished) -> None:
    asked = compared(judged.requests)
    assert asked >= ONCE
    assert len(asked - ONCE) > 10
    agreement = read_agreement(judged.run)
    assert (agreement.pairs, agreement.agreed, agreement.answered) == (188, 188, 188)
    assert (agreement.balanced_accuracy, agreement.kappa, agreement.trusted) == (1.0, 1.0, True)
    assert judged.run.manifest.files[AGREEMENT].stage == CALIBRATE
    for page in ("report.html", "dataset/README.md"):
        told = judged.run.place(page).read_text(encoding="utf-8").replace("\u202f", " ")
        assert "The equality judge (strong) agreed with 188 hand-labelled pairs in 100 %" in told
        assert "more than 20 points above chance (50 %), so it was asked." in told


def test_judge_that_calls_all_equal_is_not_asked(tmp_path: Path) -> None:
    with Teacher(call_all_equal) as teacher:
        settings = describe_judged_run(tmp_path, teacher.url)
        run, _ = conduct_plainly(read_settings(tmp_path / "small.yaml", settings))
        assert compared(teacher.calls) == ONCE
    agreement = read_agreement(run)
    assert agreement.confusion.equal_as_equal == agreement.confusion.different_as_equal == 94
    assert (agreement.balanced_accuracy, agreement.kappa, agreement.trusted) == (0.5, 0.0, False)
    reasons = count_reasons(run)
    assert reasons["survived"] > 15
    assert reasons["no_gain"] == 0
    for page in ("report.html", "dataset/README.md"):
        told = run.place(page).read_text(encoding="utf-8").replace("\u202f", " ")
        assert "The equality judge (strong) agreed with 188 hand-labelled pairs in 50 %" in told
        assert (
            "not more than 20 points above chance (50 %), so it was not asked and the textual rules"
            " decided alone." in told
        )


def test_judge_that_gives_no_answer_is_not_asked(tmp_path: Path) -> None:
    """Refused requests are judgements that could not be read, and no crash."""
    with Teacher(refuse_pairs) as teacher:
        settings = describe_judged_run(tmp_path, teacher.url)
        run, _ = conduct_plainly(read_settings(tmp_path / "small.yaml", settings))
        assert compared(teacher.calls) == ONCE
    agreement = read_agreement(run)
    assert (agreement.answered, agreement.agreed, agreement.trusted) == (0, 0, False)
    assert count_reasons(run)["survived"] > 15
    told = run.place("report.html").read_text(encoding="utf-8")
    assert "188 answers that could not be read counted as wrong." in told


def test_children_that_a_trusted_judge_says_nothing_of_are_told(tmp_path: Path) -> None:
    with Teacher(refuse_new_pairs) as teacher:
        settings = describe_judged_run(tmp_path, teacher.url)
        run, _ = conduct_plainly(read_settings(tmp_path / "small.yaml", settings))
        asked = len(compared(teacher.calls) - ONCE)
    reasons = count_reasons(run)
    stayed = reasons["survived_unjudged"]
    assert asked >= stayed > 10  # what a model then apologises for goes
    assert "survived" not in reasons
    told = run.place("report.html").read_text(encoding="utf-8")
    assert f"so it was asked. {stayed} evolved prompts stayed without its judgement" in told


@pytest.mark.parametrize(
    "evolve",
    [
        pytest.param({"equality_judge": False}, id="switched off"),
        pytest.param({"operators": ["constraint", "procedural"]}, id="nothing is rewritten"),
    ],
)
def test_no_judge_is_not_measured(teacher: Teacher, tmp_path: Path, evolve: dict[str, Any]) -> None:
    settings = describe_judged_run(tmp_path, teacher.url, **evolve)
    config = read_settings(tmp_path / "small.yaml", settings)
    before = len(teacher.calls)
    run, _ = conduct_plainly(config)
    assert compared(teacher.calls[before:]) == Counter()
    assert CALIBRATE not in {stage.name for stage in list_stages(config)}
    assert not run.place(AGREEMENT).exists()
    assert "equality judge" not in run.place("report.html").read_text(encoding="utf-8")


def test_kill_in_the_middle_asks_only_what_is_left(judged: Finished, tmp_path: Path) -> None:
    with Teacher(delay_s=0.02) as teacher:
        settings = describe_judged_run(tmp_path, teacher.url)
        file = write_config(tmp_path / "small.yaml", settings)
        ended = run_until(file, lambda: sum(compared(teacher.calls).values()) >= 40)
        before = compared(teacher.calls)
        run, _ = conduct_plainly(read_settings(file, settings))
        repeated = sum(compared(teacher.calls).values()) - sum(compared(judged.requests).values())
    assert ended.was_killed
    assert 40 <= sum(before.values()) < 188
    assert 0 <= repeated <= CONCURRENCY
    assert read_agreement(run) == read_agreement(judged.run)
    files = [r.manifest.files["dataset/train.parquet"] for r in (run, judged.run)]
    assert files[0].sha256 == files[1].sha256


@pytest.fixture
def copied(judged: Finished, tmp_path: Path) -> dict[str, Any]:
    """The settings of a finished run of one's own, with labelled pairs of its own."""
    shutil.copytree(judged.settings["runs_dir"], tmp_path / "runs")
    own = shutil.copy(SHIPPED, tmp_path / "pairs.jsonl")
    evolve = judged.settings["evolve"] | {"calibration": str(own)}
    return judged.settings | {"runs_dir": str(tmp_path / "runs"), "evolve": evolve}


def update(settings: dict[str, Any], folder: Path) -> RunDirectory:
    run, _ = conduct_plainly(read_settings(folder / "small.yaml", settings), update=True)
    return run


def evolved(run: RunDirectory) -> dict[str, str]:
    """The keys of what was measured and evolved."""
    stages = (CALIBRATE, "evolve-1")
    return {e.path: e.key for e in run.manifest.files.values() if e.stage in stages}


def test_pairs_may_lie_elsewhere(judged: Finished, copied: dict[str, Any], tmp_path: Path) -> None:
    assert evolved(update(copied, tmp_path)) == evolved(judged.run)


def test_other_pairs_redo_evolution(
    judged: Finished, copied: dict[str, Any], tmp_path: Path, teacher: Teacher
) -> None:
    """One pair less is measured anew, and what follows from it; the journal answers it all."""
    lines = SHIPPED.read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "pairs.jsonl").write_text("".join(lines[1:]), encoding="utf-8")
    before = len(teacher.calls)
    run = update(copied, tmp_path)
    assert teacher.asked_since(before) == []
    old, new = evolved(judged.run), evolved(run)
    assert old.keys() == new.keys()
    assert [path for path in old if old[path] == new[path]] == []
    assert read_agreement(run).pairs == 187
    assert count_reasons(run) == count_reasons(judged.run)


def test_other_labels_may_take_the_judge_away(
    judged: Finished, copied: dict[str, Any], tmp_path: Path
) -> None:
    swapped = {"equal": "different", "different": "equal"}
    lines = [json.loads(line) for line in SHIPPED.read_text(encoding="utf-8").splitlines()]
    lines = [line | {"label": swapped[line["label"]]} for line in lines]
    write_lines(tmp_path / "pairs.jsonl", lines)
    run = update(copied, tmp_path)
    assert read_agreement(run).kappa == -1.0
    assert count_reasons(judged.run)["no_gain"] > count_reasons(run)["no_gain"] == 0


def test_preview_asks_the_judge_without_measuring_it(teacher: Teacher, tmp_path: Path) -> None:
    settings = describe_judged_run(tmp_path, teacher.url)
    config: RunConfig = read_settings(tmp_path / "small.yaml", settings)
    before, out = len(teacher.calls), io.StringIO()
    verbs.preview(config, 12, Console(out=out, err=out))
    asked = compared(teacher.calls[before:])
    assert len(asked) > 0
    assert asked.keys().isdisjoint((p.first, p.second) for p in load_pairs(SHIPPED))
