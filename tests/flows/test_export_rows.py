"""The verb `export` on a dataset: what other programs read is the rows, all of them, with where
each is from; and what cannot be told in a form is left out by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict, load_dataset, load_from_disk

from flows.cli import main
from flows.export_parts import is_test
from flows.export_settings import ExportSettings
from flows.stages.publish import ROW_SCHEMA
from flows.store import TRAIN
from tests.flows.conftest import Finished
from tests.flows.published import TOOL, list_kinds, make_row, publish, say

ASKED = {"role": "user", "content": "What is 2 + 2?"}
TALK = say(("assistant", "4"), ("user", "And doubled?"), ("assistant", "8"))
ODD = "4\u2028</script>\u202e מ"
METADATA = {
    "id": "a",
    "root_id": "root-a",
    "prompt_id": "prompt-a",
    "round": 0,
    "operator": "seed",
    "domain": "maths",
    "verified_by": "reference",
    "teacher": "a-teacher@1",
    "author": "tutelage authors",
    "licence": "cc0-1.0",
    "source": "sums.jsonl:1",
}


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def list_files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def load_json(path: Path, cache: Path) -> Dataset:
    rows = load_dataset("json", data_files=str(path), split="train", cache_dir=str(cache))
    assert isinstance(rows, Dataset)
    return rows


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return publish(tmp_path / "run", list_kinds())


@pytest.fixture
def export(run: Path, tmp_path: Path) -> Callable[..., Path]:
    """Exports the run into a folder, and returns it."""

    def export_into_folder(*options: str) -> Path:
        folder = tmp_path / "out"
        assert main(["export", str(run), str(folder), *options]) == 0
        return folder

    return export_into_folder


def test_openai_has_messages_and_tools_and_nothing_else(export: Callable[..., Path]) -> None:
    folder = export("--form", "openai")
    assert read_lines(folder / "train.jsonl") == [
        {"messages": [ASKED, *say(("assistant", ODD))]},
        {"messages": say(("system", "Be brief."), ("user", "What is 2 + 2?"), ("assistant", "4"))},
        {"messages": [ASKED, *TALK]},
        {"messages": [ASKED, *say(("assistant", "4"))], "tools": [TOOL]},
    ]
    told = read_lines(folder / "train.provenance.jsonl")
    assert [row["id"] for row in told] == ["a", "b", "c", "d"]
    assert {name: told[0][name] for name in METADATA} == METADATA
    assert read_lines(folder / "left-out.jsonl") == [
        {"id": "e", "reason": "tool_turn"},
        {"id": "f", "reason": "empty_turn"},
    ]


def test_alpaca_has_single_questions(export: Callable[..., Path]) -> None:
    folder = export("--form", "alpaca")
    (row,) = read_lines(folder / "train.jsonl")
    assert {name: row["metadata"].pop(name) for name in METADATA} == METADATA
    assert row | {"metadata": None} == {
        "instruction": "What is 2 + 2?",
        "input": "",
        "output": ODD,
        "metadata": None,
    }
    assert read_lines(folder / "left-out.jsonl") == [
        {"id": "b", "reason": "system_turn"},
        {"id": "c", "reason": "several_turns"},
        {"id": "d", "reason": "offers_tools"},
        {"id": "e", "reason": "tool_turn"},
        {"id": "f", "reason": "empty_turn"},
    ]


def test_sharegpt_has_conversations(export: Callable[..., Path]) -> None:
    rows = read_lines(export("--form", "sharegpt") / "train.jsonl")
    assert [row["metadata"]["id"] for row in rows] == ["a", "b", "c", "d"]
    assert [[turn["from"] for turn in row["conversations"]] for row in rows] == [
        ["human", "gpt"],
        ["system", "human", "gpt"],
        ["human", "gpt", "human", "gpt"],
        ["human", "gpt"],
    ]
    assert rows[2]["conversations"][2] == {"from": "human", "value": "And doubled?"}
    assert [json.loads(row["tools"]) for row in rows if "tools" in row] == [[TOOL]]


@pytest.mark.parametrize(
    ("form", "columns"),
    [
        ("openai", {"messages", "tools"}),
        ("alpaca", {"instruction", "input", "output", "metadata"}),
        ("sharegpt", {"conversations", "tools", "metadata"}),
    ],
)
def test_datasets_loads_every_file_form(
    export: Callable[..., Path], tmp_path: Path, form: str, columns: set[str]
) -> None:
    folder = export("--form", form)
    rows = load_json(folder / "train.jsonl", tmp_path / "cache")
    assert set(rows.column_names) == columns
    assert len(rows) == len(read_lines(folder / "train.jsonl"))
    assert ODD in json.dumps(rows[0], ensure_ascii=False)
    told = load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert isinstance(told, Dataset)
    assert told[0] == rows[0]


def test_datasets_folder_has_every_column_and_row(finished: Finished, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert main(["export", str(finished.run.root), str(folder), "--form", "datasets"]) == 0
    loaded = load_from_disk(folder)
    assert isinstance(loaded, DatasetDict)
    assert list(loaded) == ["train"]
    assert loaded["train"].to_list() == finished.rows()
    assert not list(folder.glob(".*"))
    about = json.loads((folder / "export.json").read_text())
    assert about["rows"] == {"train": len(finished.rows())}
    assert about["config_digest"] == finished.config.digest
    assert not (folder / "left-out.jsonl").exists()


def test_trl_renders_what_was_exported(
    finished: Finished, tiny_model_dir: Path, tmp_path: Path
) -> None:
    """Both TRL's prompt and completion and its messages come out as the same conversation."""
    from transformers import AutoTokenizer
    from trl.data_utils import apply_chat_template, is_conversational

    run = str(finished.run.root)
    for form in ("datasets", "openai"):
        assert main(["export", run, str(tmp_path / form), "--form", form]) == 0
    loaded = load_from_disk(tmp_path / "datasets")
    assert isinstance(loaded, DatasetDict)
    pair = {name: loaded["train"][0][name] for name in ("prompt", "completion")}
    whole = load_json(tmp_path / "openai/train.jsonl", tmp_path / "cache")[0]
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    assert is_conversational(pair)
    assert is_conversational(whole)
    parts = apply_chat_template(pair, tokenizer)
    text = apply_chat_template(whole, tokenizer)["text"]
    assert parts["prompt"] + parts["completion"] == text
    assert finished.rows()[0]["completion"][0]["content"] in text


def test_a_family_stays_on_its_side_of_the_split(tmp_path: Path) -> None:
    rows = [make_row(f"{i:04}", root_id=f"family-{i % 300}") for i in range(2_500)]
    sides: list[dict[str, set[str]]] = []
    for name, published in (("whole", rows), ("first", rows[:700])):
        run = publish(tmp_path / name, published)
        folder = tmp_path / f"{name}-out"
        options = ["--form", "alpaca", "--split", "0.2", "--seed", "3"]
        assert main(["export", str(run), str(folder), *options]) == 0
        told = {s: read_lines(folder / f"{s}.jsonl") for s in ("train", "test")}
        assert sum(map(len, told.values())) == len(published)
        ids = sorted(row["metadata"]["id"] for rows in told.values() for row in rows)
        assert ids == [row["id"] for row in published]
        sides.append({s: {r["metadata"]["root_id"] for r in rows} for s, rows in told.items()})
    for side in sides:
        assert side["train"] | side["test"] == {f"family-{i}" for i in range(300)}
        assert side["train"] & side["test"] == set()
    assert sides[0] == sides[1]
    assert len(sides[0]["test"]) == 71


def test_another_seed_draws_other_families() -> None:
    both = [ExportSettings(form="openai", split=0.1, seed=seed) for seed in (0, 1)]
    drawn = [{i for i in range(1_000) if is_test(f"{i}", settings)} for settings in both]
    assert [len(each) for each in drawn] == [106, 104]
    assert len(drawn[0] & drawn[1]) == 9


def test_only_accepted_verification_goes_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ways = ("program", "person", "reference", "judge", "person")
    rows = [make_row(str(i), verified_by=way) for i, way in enumerate(ways)]
    run, folder = publish(tmp_path / "run", rows), tmp_path / "out"
    options = ["--form", "datasets", "--accept", "program", "reference"]
    assert main(["export", str(run), str(folder), *options]) == 0
    loaded = load_from_disk(folder)
    assert isinstance(loaded, DatasetDict)
    assert loaded["train"]["id"] == ["0", "2"]
    assert read_lines(folder / "left-out.jsonl") == [
        {"id": "1", "reason": "verified_by_person"},
        {"id": "3", "reason": "verified_by_judge"},
        {"id": "4", "reason": "verified_by_person"},
    ]
    assert capsys.readouterr().out == (
        f"{folder}: 2 train (datasets), from dataset/train.parquet of small\n"
        "Left out, see left-out.jsonl\n"
        "reason              rows\n"
        "verified_by_person     2\n"
        "verified_by_judge      1\n"
    )


@pytest.mark.parametrize("form", ["datasets", "openai", "alpaca", "sharegpt"])
@pytest.mark.parametrize("column", ["root_id", "teacher", "verified_by", "licence", "source", "id"])
def test_a_row_without_provenance_ends_the_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str, column: str
) -> None:
    rows = [make_row(f"row-{i}") for i in range(1_200)]
    rows[1_100][column] = "" if column == "teacher" else None
    run = publish(tmp_path / "run", rows)
    assert main(["export", str(run), str(tmp_path / "out"), "--form", form]) == 1
    row = "a row" if column == "id" else "row row-1100"
    assert capsys.readouterr().err.splitlines()[-2:] == [
        f"tutelage: {run / TRAIN}: {row} has no {column}.",
        "No row is exported that does not say who made it and by what right it is there."
        " Publish the dataset anew: tutelage run CONFIG --update",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_dataset_without_provenance_is_not_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = [field for field in ROW_SCHEMA if field.name not in ("teacher", "source")]
    run = publish(tmp_path / "run", list_kinds(), schema=pa.schema(fields))
    assert main(["export", str(run), str(tmp_path / "out"), "--form", "openai"]) == 1
    assert capsys.readouterr().err.splitlines()[0] == (
        f"tutelage: {run / TRAIN}: has no column teacher and no column source."
    )
