"""The rows of a training on its own: which are left out, and which stop it."""

import re
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.stages.report import MODEL_CARD
from flows.stages.teach import read_figures
from generators.errors import HeldOutError, InputError, LicenceError
from tests.flows.small_run import LICENSED
from tests.flows.taught import TERMS, add_evaluation, describe_teaching, list_rows, write_rows
from tests.flows.test_teach import Watched, conduct_watched
from tests.json_lines import write_lines


def test_rows_of_other_verification_and_strange_checks_are_told(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    settings = describe_teaching(tmp_path, tiny_model_dir)
    rows = list_rows(tmp_path)
    rows[0]["verified_by"] = rows[1]["verified_by"] = "judge"
    rows[2]["check"] = "looks right"
    rows[3]["verified_by"] = rows[4]["licence"] = None
    settings["dataset"] = str(write_rows(tmp_path / "mixed" / "train.parquet", rows))
    write_rows(tmp_path / "mixed" / "quarantine.parquet", [{"id": "a", "reason": "b"}])
    settings["dataset"] = str(tmp_path / "mixed")
    run, _ = conduct_watched(tmp_path / "taught.yaml", settings, Watched())
    found = read_figures(run).rows
    assert (found.rows, found.unread_checks) == (9, 1)
    assert found.left_out == {"judge": 2, "not stated": 1}
    assert found.licences == {"cc0-1.0": 8, "not stated": 1}
    card = run.place(MODEL_CARD).read_text(encoding="utf-8")
    assert "Left out, as `train.accept` does not name it: judge (2) and not stated (1)." in card
    assert "The checks of 1 row cannot be read and judge nothing." in card
    kept = pq.read_table(run.place("dataset/train.parquet"), columns=["check"])["check"]
    assert kept.null_count == 1


def hold_out_a_row(settings: dict[str, Any], folder: Path) -> None:
    add = {"domain": "maths"} | LICENSED
    (row, *_) = list_rows(folder)
    check = {"kind": "exact", "answer": "4"}
    asked = [{"prompt": row["prompt"][0]["content"], "check": check, **add}]
    write_lines(folder / "held-out.jsonl", asked)
    held_out = {"held_out": [str(folder / "held-out.jsonl")], "prompts": 1, "k_prompts": 0}
    settings["evaluate"] = held_out | {"max_tokens": 2}


def hold_out_a_text(settings: dict[str, Any], folder: Path) -> None:
    text = {"text": "A river rarely runs straight for long.", "domain": "nature"} | LICENSED
    settings["dataset"] = str(folder / "texts.jsonl")
    write_lines(folder / "texts.jsonl", [text, text | {"text": "Swifts live in the air."}])
    settings |= {"evaluate": add_evaluation({}, folder)["evaluate"] | {"text": settings["dataset"]}}


def hold_out_a_corpus(settings: dict[str, Any], folder: Path) -> None:
    """Its second text is evaluated on, but for case and space."""
    texts = ["Swifts live in the air.", "A river rarely runs  straight."]
    text = {"domain": "nature"} | LICENSED
    write_lines(folder / "kept.jsonl", [text | {"text": texts[1].upper()}])
    (folder / "corpus").mkdir()
    write_rows(folder / "corpus" / "texts.parquet", [{"text": text} for text in texts])
    model = {"kind": "embedded", "model": settings["train"]["student"], **TERMS}
    phase = {"rollouts": {}, "corpus": {"texts": str(folder / "corpus")}}
    settings |= {"models": {"big": model}}
    settings["train"] |= {"objective": "reverse", "teacher": "big", "phases": [phase]}
    evaluate = add_evaluation({}, folder, prompts=1)["evaluate"]
    settings |= {"evaluate": evaluate | {"text": str(folder / "kept.jsonl")}}


def drop_columns(*names: str) -> Callable[[dict[str, Any], Path], None]:
    def change(settings: dict[str, Any], folder: Path) -> None:
        rows = [{n: v for n, v in row.items() if n not in names} for row in list_rows(folder)]
        settings["dataset"] = str(write_rows(folder / "less.parquet", rows))

    return change


def verify_by(*ways: str | None) -> Callable[[dict[str, Any], Path], None]:
    def change(settings: dict[str, Any], folder: Path) -> None:
        turns = cycle(ways)
        rows = [row | {"verified_by": next(turns)} for row in list_rows(folder)]
        settings["dataset"] = str(write_rows(folder / "judged.parquet", rows))

    return change


def forbid(settings: dict[str, Any], folder: Path) -> None:
    settings["models"] = {
        "shut": {"kind": "embedded", "model": "x", "licence": "closed", "outputs_may_train": "no"}
    }


REFUSED: dict[str, tuple[Callable[[dict[str, Any], Path], None], type[Exception], str]] = {
    "a prompt is held out": (
        hold_out_a_row,
        HeldOutError,
        '1 of 1 held-out prompts occur in training: ID ("State the final answer to the following '
        'arithmetic problem:…") is trained on as ID. Take them out of '
        "the seeds, or draw both sets anew with splits 'train' and 'heldout'.",
    ),
    "a text is held out": (
        hold_out_a_text,
        HeldOutError,
        "FOLDER/texts.jsonl: 2 of its texts are trained on, such as 'A river rarely runs straight "
        "for long.'.\nKeep other texts for evaluation.",
    ),
    "a text of a corpus is held out": (
        hold_out_a_corpus,
        HeldOutError,
        "FOLDER/kept.jsonl: 1 of its texts are trained on in FOLDER/corpus "
        "(train.phases.0.corpus), such as 'A RIVER RARELY RUNS  STRAIGHT.'.\nKeep other texts for "
        "evaluation.",
    ),
    "no completions": (
        drop_columns("completion"),
        InputError,
        "FOLDER/less.parquet: has no column completion.\nPrompts are enough only where the "
        "student writes everything: set rollouts.share to 1 in each phase, or give completions.",
    ),
    "neither prompts nor texts": (
        drop_columns("prompt", "completion"),
        InputError,
        "FOLDER/less.parquet: has neither a column prompt nor a column text (it has id, "
        "prompt_id, check, verified_by, teacher, licence).\nGive rows of prompt and completion, "
        "lists of {role, content}, or plain texts.",
    ),
    "nothing accepted": (
        verify_by("judge"),
        InputError,
        "FOLDER/judged.parquet: no row to train on.\nThey are verified by judge (12): name that in "
        "train.accept.",
    ),
    "nobody says how they were verified": (
        verify_by("judge", None, None),
        InputError,
        "FOLDER/judged.parquet: no row to train on.\nThey are verified by judge (4): name that in "
        "train.accept.\nThe `verified_by` of 8 rows is null: say there how they were verified, or "
        "take the column out.",
    ),
    "no dataset": (
        lambda settings, folder: settings.update(dataset=str(folder / "runs/demo/train.parquet")),
        InputError,
        "FOLDER/runs/demo/train.parquet: no such file, nor a folder with Parquet files.\nIf a run "
        "makes "
        "it, run that first: tutelage run CONFIG",
    ),
    "a teacher's terms": (
        forbid,
        LicenceError,
        "models.shut: its terms (closed) do not let its outputs train a model. Nothing was asked "
        "of it. Take another teacher.",
    ),
}


@pytest.mark.parametrize(("change", "error", "text"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_used_is_refused(
    change: Callable[[dict[str, Any], Path], None],
    error: type[Exception],
    text: str,
    tiny_model_dir: Path,
    tmp_path: Path,
) -> None:
    settings = describe_teaching(tmp_path, tiny_model_dir)
    change(settings, tmp_path)
    with pytest.raises(error) as raised:
        conduct_watched(tmp_path / "taught.yaml", settings, Watched())
    told = re.sub(r"\b[0-9a-f]{16}\b", "ID", str(raised.value))
    assert told == text.replace("FOLDER", str(tmp_path))
    assert not (tmp_path / "runs" / "taught" / "student").exists()


def test_prompts_alone_are_enough_where_the_student_writes(
    tiny_model_dir: Path, other_tiny_model_dir: Path, tmp_path: Path
) -> None:
    settings = describe_teaching(tmp_path, tiny_model_dir, other_tiny_model_dir)
    drop_columns("completion", "verified_by", "id", "teacher")(settings, tmp_path)
    settings["train"] |= {"objective": "reverse", "rollouts": {"max_new_tokens": 3}}
    run, _ = conduct_watched(tmp_path / "taught.yaml", settings, Watched())
    found = read_figures(run)
    assert (found.rows.kind, found.rows.rows, found.training.rows) == ("prompts", 12, 12)
    assert found.rows.teachers == {}
    assert "answered by: the rows do not tell" in run.place(MODEL_CARD).read_text("utf-8")
