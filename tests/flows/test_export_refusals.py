"""What `export` refuses, in its words; and the push to a hub, which a person must ask for."""

import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.cli import main
from flows.store import TRAIN, RunDirectory, Version, describe_file
from tests.flows.hub import Hub, open_hub
from tests.flows.published import PUBLISHED, list_kinds, make_row, publish
from tests.flows.small_run import ROOT


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return publish(tmp_path / "run", list_kinds())


def refuse(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """The exit code, and the last thing said, of an export that fails."""
    code = main(["export", *map(str, arguments)])
    return code, capsys.readouterr().err.rpartition("tutelage: ")[2].rstrip("\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(
            ["--split", "0.1"],
            "--split goes with --form datasets, openai, alpaca or sharegpt, not with gguf",
            id="rows' option",
        ),
        pytest.param(
            ["--form", "openai", "--type", "f32"],
            "--type goes with --form gguf, not with openai",
            id="student's option",
        ),
        pytest.param(
            ["--form", "openai", "--accept", "programm"],
            "--accept programm: no kind of verification (did you mean program?); there are program,"
            " constraint, reference, consensus, judge, person, none",
            id="unknown verification",
        ),
        pytest.param(
            ["--form", "openai", "--split", "1"],
            'Invalid value "1.0" for --split. Must be < 1. See `tutelage export --help`.',
            id="whole split",
        ),
        pytest.param(
            ["--form", "datasets", "--private"],
            "--private goes with --push-to-hub NAME",
            id="nothing to be private",
        ),
        pytest.param(
            ["--form", "openai", "--push-to-hub", "sums"],
            "--push-to-hub goes with --form datasets, not with openai: the hub's rows keep where"
            " they are from in columns of their own",
            id="hub without columns",
        ),
        pytest.param(
            ["--form", "datasets", "--push-to-hub", "me/my sums"],
            "--push-to-hub me/my sums: Repo id must use alphanumeric chars, '-', '_' or '.'. The"
            " name cannot start or end with '-' or '.' and the maximum length is 96: 'me/my sums'",
            id="no name for a dataset",
        ),
    ],
)
def test_options_that_do_not_go_together(
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    assert refuse(capsys, run, tmp_path / "out", *options) == (2, message)
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_left_alone(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken, empty = tmp_path / "taken", tmp_path / "empty"
    for folder in (taken, empty):
        folder.mkdir()
    (taken / "mine").touch()
    told = f"{taken}: there is something already; give the name of a new folder"
    assert refuse(capsys, run, taken, "--form", "alpaca") == (1, told)
    told = (
        f"{tmp_path}/rows.jsonl: this is the name of a file, and rows go into a folder, with their"
        f" card beside them; name one: {tmp_path}/rows"
    )
    assert refuse(capsys, run, tmp_path / "rows.jsonl", "--form", "openai") == (2, told)
    assert [path.name for path in taken.iterdir()] == ["mine"]
    assert main(["export", str(run), str(empty), "--form", "alpaca"]) == 0
    assert (empty / "train.jsonl").exists()


def test_a_folder_that_is_no_run_and_a_run_without_rows(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = (tmp_path / "out", "--form", "openai")
    told = (
        f"{tmp_path}: not a run directory (no manifest.json). Start one with: tutelage run CONFIG"
    )
    assert refuse(capsys, tmp_path, *to) == (1, told)
    RunDirectory(run).update(files={})
    told = (
        f"{run}: has published no dataset (no dataset/train.parquet). Finish it first: tutelage run"
        " CONFIG"
    )
    assert refuse(capsys, run, *to) == (1, told)


def test_no_row_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    talks = [make_row("a", ("system", "Be brief."), ("user", "2 + 2?")), make_row("b", answer="")]
    end = " Take another --form, or --accept more kinds of verification"
    for name, rows, why in (
        ("talks", talks, "1 system_turn and 1 empty_turn"),
        ("empty", [], "it has none"),
    ):
        run = publish(tmp_path / name, rows)
        told = f"{run / TRAIN}: no row is left to export as alpaca ({why}).{end}"
        assert refuse(capsys, run, tmp_path / "out", "--form", "alpaca") == (1, told)
    run = publish(tmp_path / "sums", [make_row("a")])
    told = f"{run / TRAIN}: no row is left to export as datasets (1 verified_by_reference).{end}"
    options = ["--form", "datasets", "--accept", "person"]
    assert refuse(capsys, run, tmp_path / "out", *options) == (1, told)
    assert not (tmp_path / "out").exists()


def test_a_split_needs_rows_on_both_sides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = publish(tmp_path / "run", [make_row(str(i), root_id="one") for i in range(3)])
    told = (
        "--split 0.5: of 3 rows none falls into test, for a family stays together; take another"
        " share or another --seed"
    )
    options = ["--form", "openai", "--split", "0.5"]
    assert refuse(capsys, run, tmp_path / "out", *options) == (2, told)


def test_rows_without_a_card_are_not_exported(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = run / "dataset/README.md"
    told = (
        f"{card}: the dataset's card is missing or was edited, and no rows are exported without"
        " one. Write it anew: tutelage report RUN"
    )
    for spoil in (lambda: card.write_text("# small\n"), card.unlink):
        spoil()
        assert refuse(capsys, run, tmp_path / "out", "--form", "openai") == (1, told)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_version_is_chosen_by_its_number(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = publish(tmp_path / "first", list_kinds()[:1])
    (run / "versions").mkdir()
    (first / "dataset").rename(run / "versions/0001")
    old = Version(number=1, cycle=1, created=PUBLISHED, rows=1, hash="", why="cycle 1")
    files = RunDirectory(run).manifest.files
    kept = describe_file(run, "versions/0001/train.parquet", stage="versions", key="k")
    RunDirectory(run).update(
        versions=(old, old.model_copy(update={"number": 2})),
        current=2,
        files=files | {kept.path: kept},
    )
    for options, version, rows in (([], 2, 4), (["--version", "1"], 1, 1)):
        folder = tmp_path / f"out-{version}"
        assert main(["export", str(run), str(folder), "--form", "openai", *options]) == 0
        about = json.loads((folder / "export.json").read_text())
        assert (about["version"], about["rows"]) == (version, {"train": rows})
    told = "small: there is no version 3 (versions: 1, 2)"
    options = ["--form", "openai", "--version", "3"]
    assert refuse(capsys, run, tmp_path / "out", *options) == (1, told)


def push(run: Path, folder: Path, *options: str, **variables: str) -> subprocess.CompletedProcess:
    """Export in a process of its own, whose hub is what HF_ENDPOINT says."""
    command = [sys.executable, "-m", "flows.cli", "export", str(run), str(folder)]
    return subprocess.run(
        [*command, "--form", "datasets", "--push-to-hub", *options],
        env={**os.environ, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def read_pushed(hub: Hub, name: str, split: str) -> list[dict[str, Any]]:
    content = hub.files[name][f"data/{split}-00000-of-00001.parquet"]
    return pq.read_table(io.BytesIO(content)).to_pylist()


def test_a_push_takes_rows_and_card(tmp_path: Path) -> None:
    rows = [make_row(str(i)) for i in range(40)]
    run = publish(tmp_path / "run", rows)
    with open_hub() as hub:
        options = ["me/sums", "--private", "--split", "0.2"]
        done = push(run, tmp_path / "out", *options, HF_ENDPOINT=hub.url, HF_TOKEN="hf_mine")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"pushed to {hub.url}/datasets/me/sums"
    assert hub.private == {"me/sums": True}
    assert hub.tokens == {"Bearer hf_mine"}
    train, test = (read_pushed(hub, "me/sums", split) for split in ("train", "test"))
    assert sorted(int(row["id"]) for row in [*train, *test]) == list(range(40))
    assert train[0]["completion"] == rows[0]["completion"]
    card = hub.files["me/sums"]["README.md"].decode()
    assert "license: cc0-1.0" in card
    assert "path: data/test-*" in card
    assert 'rows = load_dataset("me/sums", split="train")' in card
    about = json.loads((tmp_path / "out/export.json").read_text())
    assert about["pushed_to"] == f"{hub.url}/datasets/me/sums"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that this process takes for the real one, for what comes before the rows are sent."""
    from huggingface_hub import constants

    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with open_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        yield hub


def test_a_hub_that_refuses(
    hub: Hub, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.refuses = (403, "You don't have the rights to create a dataset under this namespace")
    options = ["--form", "datasets", "--push-to-hub", "them/sums"]
    assert refuse(capsys, run, tmp_path / "out", *options) == (
        1,
        f"{hub.url}: refuses them/sums: 403 Forbidden: You don't have the rights to create a"
        " dataset under this namespace. Nothing was exported; the same command tries again.",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_what_everybody_can_see_does_not_become_private(
    hub: Hub, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.private["me/sums"], hub.files["me/sums"] = False, {}
    options = ["--form", "datasets", "--push-to-hub", "me/sums", "--private"]
    assert refuse(capsys, run, tmp_path / "out", *options) == (
        1,
        f"{hub.url}/datasets/me/sums: is there already, and everybody can see it; make it private"
        " there, or give another name. Nothing was exported; the same command tries again.",
    )
    assert hub.files == {"me/sums": {}}


def test_a_hub_that_is_not_there(
    hub: Hub,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from huggingface_hub import constants

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", url)
        options = ["--form", "datasets", "--push-to-hub", "me/sums"]
        assert refuse(capsys, run, tmp_path / "out", *options) == (
            1,
            f"{url}: cannot be reached: [Errno 111] Connection refused. Nothing was exported; the"
            " same command tries again.",
        )
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_without_a_token_or_a_network_nothing_is_written(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from huggingface_hub import constants

    options = ["--form", "datasets", "--push-to-hub", "me/sums"]
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    told = (
        "--push-to-hub me/sums: there is no token of yours at hand; log in with: hf auth login"
        " (or set HF_TOKEN)"
    )
    assert refuse(capsys, run, tmp_path / "out", *options) == (2, told)
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    assert refuse(capsys, run, tmp_path / "out", *options) == (
        1,
        "https://huggingface.co: cannot be reached: Cannot reach"
        " https://huggingface.co/api/repos/create: offline mode is enabled. To disable it,"
        " please unset the `HF_HUB_OFFLINE` environment variable. Nothing was exported; the same"
        " command tries again.",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
