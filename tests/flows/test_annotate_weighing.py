"""Annotation by probabilities: a server's first tokens, and a model's own labels."""

from pathlib import Path

import pytest

from flows.stages.publish import hash_dataset
from flows.stages.soft_labels import QUARANTINE, SOFT_LABELS
from tests.flows.annotators import (
    FAN,
    REFUSED,
    TEXTS,
    AnnotatorServer,
    conduct_annotation,
    describe_annotation,
    weigh,
)
from tests.flows.small_run import rows_of, write_config, write_lines


def test_a_servers_probabilities_become_soft_labels(tmp_path: Path) -> None:
    with AnnotatorServer() as server:
        settings = describe_annotation(tmp_path, server.url)
        weigher = {"name": "weigher", "model": "panel", "method": "probabilities"}
        settings |= {
            "annotators": [weigher],
            "labels": {"joy": "", "grief": "", "anger": ""},
            "publish": {"licence": "cc0-1.0"},
        }
        texts = [{"text": text, "licence": "CC0-1.0", "author": "us"} for text in TEXTS]
        file = tmp_path / "texts.jsonl"
        write_lines(file, texts)
        run, _ = conduct_annotation(write_config(tmp_path / "faces.yaml", settings))
        asked = {call.asked.rpartition("\n")[2]: call for call in server.asked()}
    assert len(asked) == len(TEXTS)
    rows = rows_of(run.place(SOFT_LABELS), run.place(QUARANTINE))
    assert [row["reason"] for row in rows if "reason" in row] == ["no_votes"]
    for row in rows:
        if row["text"] == REFUSED:
            continue
        told = weigh(asked[row["text"]].asked)
        mass = told["joy"] + told["anger"]
        expected = {"joy": told["joy"] / mass, "grief": 0.0, "anger": told["anger"] / mass}
        assert row["label_probs"] == pytest.approx(expected)
        assert row["annotators"][0]["label_mass"] == pytest.approx(0.9 * mass)
        assert (row["n"], set(row["counts"].values())) == (1, {0})


def test_a_model_of_this_process_weighs_and_votes(tiny_model_dir: Path, tmp_path: Path) -> None:
    settings = describe_annotation(tmp_path, "http://127.0.0.1:9/v1")
    terms = {"licence": "apache-2.0", "outputs_may_train": "yes", "precision": "float32"}
    settings["models"] = {
        "panel": {"kind": "embedded", "model": str(tiny_model_dir), "form": "complete"} | terms
    }
    weigher = {"model": "panel", "method": "probabilities", "min_label_mass": 0}
    settings["annotators"] = [
        {"name": "fan", "persona": FAN} | weigher,
        {"name": "stranger"} | weigher,
        {"name": "votes", "model": "panel", "method": "votes", "votes": 2},
    ]
    settings["publish"] = {"licence": "cc0-1.0"}
    file = write_config(tmp_path / "faces.yaml", settings)
    run, _ = conduct_annotation(file)
    rows = rows_of(run.place(SOFT_LABELS), run.place(QUARANTINE))
    assert len(rows) == 3 * len(TEXTS)
    by_reader = {(row["text"], row["context"], row["pooled"]): row for row in rows}
    for text in TEXTS:
        fan, anybody = by_reader[text, FAN, False], by_reader[text, None, False]
        assert sum(fan["label_probs"].values()) == pytest.approx(1)
        assert 0 < fan["annotators"][0]["label_mass"] < 0.01
        assert fan["label_probs"] != anybody["label_probs"]
        pooled = by_reader[text, None, True]
        assert [share["id"] for share in pooled["annotators"]] == ["fan", "stranger", "votes"]
    (tmp_path / "runs" / "journal.sqlite").unlink()
    other = write_config(tmp_path / "faces.yaml", settings | {"runs_dir": str(tmp_path / "again")})
    again, _ = conduct_annotation(other)
    assert hash_dataset(again.place(SOFT_LABELS)) == hash_dataset(run.place(SOFT_LABELS))
