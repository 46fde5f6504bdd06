"""The search for a better method: what is counted, who wins, and that nothing is asked twice."""

import io
import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from flows.config import RunConfig
from flows.console import Console
from flows.method_search import Candidate, choose_best
from flows.optimise import MethodSearch, optimise_method
from generators.errors import ConfigError, EndpointError, LicenceError, RunError
from generators.method import INITIAL, dump_method, load_method
from generators.prompting import hash_template
from tests.flows.kills import run_until
from tests.flows.method_writer import (
    DIAGNOSES,
    FAIR,
    GOOD,
    HOLLOW,
    POOR,
    REFUSED,
    MethodWriter,
    describe_search,
)
from tests.flows.small_run import (
    LICENSED,
    conduct_plainly,
    describe_run,
    read_settings,
    rows_of,
    start_command,
    write_config,
)
from tests.flows.test_refusals import change, find_free_port, list_files

URL = "http://127.0.0.1:9/v1"
FOUND = ("method.jinja", "trials.jsonl", "trajectories.jsonl")
SEED = 11
"""Under it a fair method is found first, and the good one upon that."""


def search_in(folder: Path, server: MethodWriter, seed: int = SEED) -> tuple[MethodSearch, str]:
    """Search as a person does; what was found, and what was printed."""
    settings = describe_search(folder, server.url) | {"seed": seed}
    out = io.StringIO()
    config = read_settings(folder / "small.yaml", settings)
    return optimise_method(config, Console(out=out, err=io.StringIO())), out.getvalue()


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_better_method_wins_step_by_step(tmp_path: Path) -> None:
    with MethodWriter() as server:
        found, printed = search_in(tmp_path, server)
        development = set(server.rewrites(POOR))
        rewritten = {
            text: server.rewrites(text) for text in (load_method(INITIAL), FAIR, GOOD, POOR)
        }

    assert len(development) == found.development == 12
    assert REFUSED in development
    tried = [c for c in found.candidates if c.method is not None]
    for candidate in tried:
        assert candidate.method is not None
        texts = {task: rewritten[candidate.method][task] for task in development}
        failed = [t for t, text in texts.items() if text in (None, t) or str(text).endswith(HOLLOW)]
        assert candidate.failed == len(failed) == sum(candidate.failures.values())
        assert candidate.failure_rate == pytest.approx(len(failed) / 12)

    outcomes = [(c.step, c.candidate, c.method, c.failed, c.chosen) for c in tried]
    assert outcomes == [
        (0, 0, load_method(INITIAL), 8, True),
        (1, 1, FAIR, 3, True),
        (1, 3, FAIR, 3, False),
        (2, 3, GOOD, 1, True),
        (3, 2, POOR, 8, False),
        (3, 3, FAIR, 3, False),
    ]
    assert tried[0].failures == {"http_400": 1, "stagnant": 5, "unchanged": 2}
    assert (found.step, found.candidate, found.failure_rate) == (2, 3, pytest.approx(1 / 12))
    assert Path(found.method).read_text(encoding="utf-8") == dump_method(GOOD)
    assert found.template_hash == hash_template("chat", Path(found.method))
    assert printed.splitlines()[-2:] == [
        "failure rate 0.667 at first, 0.083 with the method of step 2, candidate 3",
        f"method: {found.method}",
    ]


def test_candidates_that_cannot_be_read_lose_with_a_reason(tmp_path: Path) -> None:
    with MethodWriter() as server:
        found, printed = search_in(tmp_path, server)
    lost = [c for c in found.candidates if c.method is None]
    assert [(c.step, c.candidate) for c in lost] == [(1, 2), (2, 1), (2, 2), (3, 1)]
    assert {c.failed for c in lost} == {None}
    assert {c.reason for c in lost if c.feedback is None} == {"scaffold"}
    assert {c.feedback for c in found.candidates} <= {None, DIAGNOSES[0], DIAGNOSES[2]}
    rows = [line.split() for line in printed.splitlines() if "not tried" in line]
    assert [(int(row[0]), int(row[1])) for row in rows] == [(c.step, c.candidate) for c in lost]
    assert [row[-1] for row in rows] == [c.reason for c in lost]


def test_what_was_seen_lies_beside_the_method(tmp_path: Path) -> None:
    with MethodWriter() as server:
        found, _ = search_in(tmp_path, server)
        asked = [call.asked for call in server.asked_since(0)]
    root = tmp_path / "runs" / "small-method"
    assert MethodSearch.model_validate_json((root / "summary.json").read_bytes()) == found
    trials = read_lines(root / "trials.jsonl")
    counts = Counter((t["step"], t["candidate"]) for t in trials if t["reason"] != "survived")
    assert counts == {(c.step, c.candidate): c.failed for c in found.candidates if c.failed}
    refused = next(trial for trial in trials if trial["reason"] == "http_400")
    assert (refused["text"], refused["answer"]) == (None, None)
    assert "not this one" in refused["evidence"]

    trajectories = read_lines(root / "trajectories.jsonl")
    assert Counter(t["step"] for t in trajectories) == {1: 4, 2: 4, 3: 4}
    assert {len(t["texts"]) for t in trajectories} == {3}
    development = {trial["prompt_id"] for trial in trials}
    assert not development & {t["prompt_id"] for t in trajectories}
    diagnosed = [text for text in asked if "You judge the method" in text]
    for trajectory in trajectories:
        shown = [text for text in diagnosed if f"The task: {trajectory['texts'][0]}\n" in text]
        assert len(shown) % 3 == 0
        assert shown
    candidates = {(c.step, c.candidate): c for c in found.candidates if c.method is not None}
    files = {file.stem: load_method(file) for file in (root / "candidates").iterdir()}
    assert files == {f"{step}-{n}": c.method for (step, n), c in candidates.items()}


@pytest.mark.parametrize(
    ("seed", "failed", "steps"),
    [pytest.param(9, 8, 2, id="nothing better twice"), pytest.param(0, 0, 1, id="nothing fails")],
)
def test_search_ends_early(seed: int, failed: int, steps: int, tmp_path: Path) -> None:
    with MethodWriter() as server:
        found, _ = search_in(tmp_path, server, seed)
    assert max(candidate.step for candidate in found.candidates) == steps
    assert found.failure_rate == pytest.approx(failed / 12)
    if steps == 2:
        assert Path(found.method).read_text(encoding="utf-8") == INITIAL.read_text(encoding="utf-8")


def made(failed: int | None, method: str = "method", number: int = 1) -> Candidate:
    return Candidate(step=1, candidate=number, method=method, feedback=None, failed=failed)


@pytest.mark.parametrize(
    ("failed", "chosen"),
    [
        ([5, 4, 3, 6], 2),
        ([5, 5, 6], 0),
        ([5, None, 5], 0),
        ([5, 3, 3], 1),
        ([0, 0, None], 0),
    ],
    ids=["fewest", "tie with the one in force", "unread", "first of equals", "none"],
)
def test_choice_among_methods(failed: list[int | None], chosen: int) -> None:
    candidates = [made(count, number=i) for i, count in enumerate(failed)]
    assert choose_best(candidates).candidate == chosen


def test_shorter_of_equal_methods_is_chosen() -> None:
    candidates = [made(5), made(2, "a longer one", 2), made(2, "short", 3)]
    assert choose_best(candidates).method == "short"


def test_found_method_is_an_operator_of_a_run(tmp_path: Path) -> None:
    with MethodWriter() as server:
        found, _ = search_in(tmp_path, server)
        settings = describe_search(tmp_path, server.url)
        plain = read_settings(tmp_path / "small.yaml", settings)
        settings["evolve"] |= {"method": found.method, "operators": ["method"], "rounds": 1}
        config = read_settings(tmp_path / "small.yaml", settings)
        run, _ = conduct_plainly(config)

        rows = rows_of(*run.root.glob("cycle-0001/prompts-round-1-*.parquet"))
        assert len(rows) > 20
        assert {row["operator"] for row in rows} == {"method"}
        assert {row["template_hash"] for row in rows} == {found.template_hash}
        published = [row for row in rows_of(run.place("dataset/train.parquet")) if row["round"]]
        assert published
        assert {row["operator"] for row in published} == {"method"}

        key = next(e.key for e in run.manifest.files.values() if e.stage == "evolve-1")
        Path(found.method).write_text(dump_method(FAIR), encoding="utf-8")
        conduct_plainly(config, update=True)
        other = {e.key for e in run.manifest.files.values() if e.stage == "evolve-1"}
        assert key not in other
        rows = rows_of(*run.root.glob("cycle-0001/prompts-round-1-*.parquet"))
        file = Path(found.method)
        assert {row["template_hash"] for row in rows} == {hash_template("chat", file)}
    assert plain.digest != config.digest


def test_settings_of_the_search_change_no_run(tmp_path: Path) -> None:
    with_it = read_settings(tmp_path / "a.yaml", describe_search(tmp_path, URL))
    settings = describe_search(tmp_path, URL)
    del settings["auto_evol"]
    assert read_settings(tmp_path / "b.yaml", settings).digest == with_it.digest


def test_killed_search_goes_on_and_finds_the_same(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    with MethodWriter() as server:
        search_in(whole, server)
        needed = len(server.asked_since(0))
    with MethodWriter(delay_s=0.02) as server:
        settings = describe_search(killed, server.url) | {"seed": SEED}
        path = write_config(killed / "small.yaml", settings)
        for calls in (needed // 3, 2 * needed // 3):
            ended = run_until(
                path, lambda n=calls: len(server.calls) >= n, verb="optimise", options=()
            )
            assert ended.was_killed
        command = start_command("optimise", str(path), "--json")
        out, err = command.communicate(timeout=120)
        assert (command.returncode, err) == (0, "")
        assert needed <= len(server.asked_since(0)) <= needed + 2 * 4 * 2
        before = len(server.asked_since(0))
        again, _ = search_in(killed, server)
        assert len(server.asked_since(0)) - before == 0
    assert json.loads(out) == again.model_dump(mode="json")
    for name in FOUND:
        files = [folder / "runs" / "small-method" / name for folder in (whole, killed)]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_interrupted_search_says_how_to_go_on(tmp_path: Path) -> None:
    with MethodWriter(delay_s=0.05) as server:
        path = write_config(tmp_path / "small.yaml", describe_search(tmp_path, server.url))
        command = start_command("optimise", str(path), "--json")
        server.wait_for_calls(6)
        command.send_signal(signal.SIGINT)
        out, err = command.communicate(timeout=60)
    told = "interrupted: what is committed stays; type the same command to go on"
    assert (command.returncode, err) == (130, f"tutelage: {told}\n")
    assert json.loads(out) == {"error": {"kind": "Interrupted", "message": told}}
    assert not (tmp_path / "runs" / "small-method" / "method.jinja").exists()


# What stops it before it begins


def test_licence_that_forbids_it_stops_before_the_first_request(tmp_path: Path) -> None:
    with MethodWriter() as server:
        settings = describe_search(tmp_path, server.url)
        settings = change(settings, "models.weak.outputs_may_train", "no")
        told = try_search(read_settings(tmp_path / "small.yaml", settings), LicenceError)
    assert told == (
        "models.weak: its terms (apache-2.0) do not let its outputs train a model. Nothing was "
        "asked of it. Take another teacher."
    )
    assert server.calls == []
    assert not (tmp_path / "runs").exists()


def test_server_that_is_not_there_leaves_nothing_behind(tmp_path: Path) -> None:
    port = find_free_port()
    settings = describe_search(tmp_path, f"http://127.0.0.1:{port}/v1")
    with pytest.raises(EndpointError) as caught:
        optimise_method(read_settings(tmp_path / "small.yaml", settings), Console(json=True))
    assert str(caught.value) == (
        f"http://127.0.0.1:{port}/v1: cannot be reached ([Errno 111] Connect call failed"
        f" ('127.0.0.1', {port})); start it, or check base_url"
    )
    assert not (tmp_path / "runs").exists() or list_files(tmp_path / "runs") == []


def try_search(config: RunConfig, error: type[Exception]) -> str:
    with pytest.raises(error) as caught:
        optimise_method(config, Console(json=True))
    return str(caught.value)


def test_search_without_its_section_says_what_to_write(tmp_path: Path) -> None:
    config = read_settings(tmp_path / "small.yaml", describe_run(tmp_path, URL))
    assert try_search(config, ConfigError) == (
        "small: there is no auto_evol section: write `auto_evol: {}` to take the defaults"
    )


def test_search_with_too_few_seeds_says_how_many(tmp_path: Path) -> None:
    settings = change(describe_search(tmp_path, URL), "auto_evol.dev", 30)
    config = read_settings(tmp_path / "small.yaml", settings)
    assert try_search(config, ConfigError) == (
        "small: auto_evol needs 30 + 4 seeds, and a method can rewrite 25 of those in "
        "seeds.paths: add some, or lower auto_evol.dev or auto_evol.minibatch"
    )
    settings["evolve"]["parents"] = {"writing": 3, "maths": 0}
    config = read_settings(tmp_path / "small.yaml", settings)
    assert try_search(config, ConfigError) == (
        "small: auto_evol needs 30 + 4 seeds, and a method can rewrite 6 of those in seeds.paths:"
        " add some, or lower auto_evol.dev or auto_evol.minibatch"
    )


def test_equal_seeds_are_one_seed(tmp_path: Path) -> None:
    settings = describe_search(tmp_path, URL)
    line = json.dumps({"prompt": "Describe rain.", "domain": "writing"} | LICENSED) + "\n"
    (tmp_path / "seeds.jsonl").write_text(line * 40, encoding="utf-8")
    config = read_settings(tmp_path / "small.yaml", settings)
    assert try_search(config, ConfigError) == (
        "small: auto_evol needs 12 + 4 seeds, and a method can rewrite 1 of those in seeds.paths:"
        " add some, or lower auto_evol.dev or auto_evol.minibatch"
    )


def test_search_replaces_nothing_of_others(tmp_path: Path) -> None:
    root = tmp_path / "runs" / "small-method"
    (root / "candidates").mkdir(parents=True)
    mine = root / "candidates" / "mine.jinja"
    mine.write_text("mine", encoding="utf-8")
    (root / "notes.txt").write_text("mine too", encoding="utf-8")
    config = read_settings(tmp_path / "small.yaml", describe_search(tmp_path, URL))
    assert try_search(config, RunError) == (
        f"{root}: this folder holds other things (notes.txt) than a search for a method. "
        "Move it away, or give the configuration another name."
    )
    assert mine.read_text(encoding="utf-8") == "mine"


def test_search_in_the_place_of_a_run_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "runs" / "small-method"
    root.mkdir(parents=True)
    (root / "manifest.json").write_text("{}", encoding="utf-8")
    config = read_settings(tmp_path / "small.yaml", describe_search(tmp_path, URL))
    assert try_search(config, RunError) == (
        f"{root}: a run lies here; rename it, or give this one another name."
    )
