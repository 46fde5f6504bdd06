import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from generators.embedded import LoadedModel
from generators.errors import ConfigError
from trainers.evaluate import pass_at_k
from trainers.measuring import Measurer, Subject, part_rows
from trainers.metrics import read_metrics
from trainers.rows import TokenRow, TokenRows
from trainers.settings import MeasureSettings, TrainResult, TrainSettings
from trainers.teachers import count_ids
from trainers.train import train_student

PLAIN: dict[str, Any] = {
    "learning_rate": 2e-3,
    "batch_size": 4,
    "max_steps": 4,
    "max_length": 128,
    "save_steps": 2,
    "precision": "float32",
    "measure": {"rows": 2, "every": 2, "max_new_tokens": 4},
}


@pytest.fixture
def checked(rows: list[dict[str, Any]], tmp_path: Path) -> Path:
    """Rows that name the length of their prompt as a check."""
    path = tmp_path / "checked.parquet"
    named = [row | {"check": json.dumps({"n": i})} for i, row in enumerate(rows)]
    pq.write_table(pa.Table.from_pylist(named), path)
    return path


def teach(
    way: dict[str, Any], dataset: Path, student: Path, output: Path, **options: Any
) -> tuple[TrainResult, list[dict[str, Any]]]:
    settings = TrainSettings.model_validate_json(json.dumps(PLAIN | way))
    metrics = output.with_suffix(".jsonl")
    result = train_student(settings, dataset, str(student), output, metrics=metrics, **options)
    return result, [line for line in read_metrics(metrics) if "evaluation" in line]


def test_a_student_is_measured_at_the_start_now_and_then_and_at_the_end(
    checked: Path, tiny_model_dir: Path, other_tiny_model_dir: Path, tmp_path: Path
) -> None:
    asked: list[tuple[str, str]] = []

    def verify(check: str, completion: str) -> bool:
        asked.append((check, completion))
        return json.loads(check)["n"] % 2 == 0

    result, looks = teach(
        {"objective": "forward"},
        checked,
        tiny_model_dir,
        tmp_path / "student",
        teacher=str(other_tiny_model_dir),
        verify=verify,
    )
    assert result.rows == 6
    assert [look["step"] for look in looks] == [0, 2, 4]
    first, _, last = (look["evaluation"] for look in looks)
    assert last["forward_kl"] < first["forward_kl"]
    assert last["reverse_kl_own"] > 0
    assert {"nll", "reverse_kl", "agreement", "ece", "teacher_nll", "length"} <= first.keys()
    assert 0 < first["length"] <= 4
    kept = {check for check, _ in asked}
    share = sum(json.loads(check)["n"] % 2 == 0 for check in kept) / 2
    assert len(kept) == 2
    assert [look["evaluation"]["pass@1"][0] for look in looks] == [share] * 3


def test_pass_at_1_is_greedy_and_pass_at_k_of_so_many_draws(
    tiny_model: Any, tokenizer: Any, tmp_path: Path
) -> None:
    """Over the prompts, each judged once by its greedy answer; nobody needs a teacher for it."""
    prompts = [[504, 1, 77], [600, 42]]
    rows = [TokenRow([*prompt, 9, 9], len(prompt)) for prompt in (*prompts, prompts[0], [7, 8, 9])]
    checks = ["first", "second", "first", None]
    asked: list[tuple[str, str]] = []

    def verify(check: str, completion: str) -> bool:
        asked.append((check, completion))
        return len(asked) in (2, 3, 6)

    measurer = Measurer(
        MeasureSettings(rows=4, k=2, max_new_tokens=4),
        Subject(LoadedModel(tiny_model, tokenizer), None, count_ids(tokenizer), 64, 0),
        TokenRows(rows, {}, checks),
        tmp_path,
        lambda line: None,
        verify,
    )
    found = measurer.measure()
    greedy = [
        tiny_model.generate(torch.tensor([ids]), max_new_tokens=4, do_sample=False)[0, len(ids) :]
        for ids in prompts
    ]
    told = [tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in greedy]
    assert asked[:2] == [("first", told[0]), ("second", told[1])]
    assert Counter(check for check, _ in asked[2:]) == {"first": 4, "second": 2}
    assert len({completion for check, completion in asked[2:] if check == "first"}) == 4
    assert found["pass@1"][0] == 1 / 2
    # of the first one's four draws the first is right (call 3), of the second's two the last
    assert found["pass@2"][0] == pytest.approx((pass_at_k(4, 1, 2) + pass_at_k(2, 1, 2)) / 2)
    assert found["pass@2"][1] <= found["pass@2"][0] <= found["pass@2"][2]
    assert found["distinct_1"] <= found["distinct_2"] <= found["distinct_3"] <= 1
    assert {"length", "repetition", "ended", "nll"} <= found.keys()
    assert "teacher_nll" not in found


def test_the_best_student_is_kept_and_a_training_that_no_longer_helps_ends(
    dataset: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    """A learning rate that ruins the student: the best is the one before the first step."""
    measure = PLAIN["measure"] | {"every": 1, "keep_best": True, "patience": 2}
    result, looks = teach(
        {"learning_rate": 5.0, "max_steps": 9, "measure": measure},
        dataset,
        tiny_model_dir,
        tmp_path / "student",
    )
    losses = [look["evaluation"]["nll"] for look in looks]
    assert min(losses) == losses[0]
    assert (result.steps, result.best_step) == (2, 0)
    assert [look["step"] for look in looks] == [0, 1, 2]
    before, after = (
        load_file(Path(folder) / "model.safetensors") for folder in (tiny_model_dir, result.output)
    )
    assert all((before[name] == after[name]).all() for name in before)
    assert sorted(p.name for p in result.output.parent.iterdir()) == ["model", "training.json"]


def test_looks_are_told_once_though_a_training_was_broken_off(
    dataset: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    def stop_at_3(line: dict[str, Any]) -> None:
        if line["step"] == 3:
            raise KeyboardInterrupt

    measure = {"measure": PLAIN["measure"] | {"every": 1}}
    _, looks = teach(measure, dataset, tiny_model_dir, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        teach(measure, dataset, tiny_model_dir, tmp_path / "broken", on_log=stop_at_3)
    _, mended = teach(measure, dataset, tiny_model_dir, tmp_path / "broken")
    assert mended == looks
    assert [look["step"] for look in looks] == [0, 1, 2, 3, 4]


def test_a_metric_that_cannot_be_had_is_refused(
    dataset: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    measure = PLAIN["measure"] | {"metric": "reverse_kl", "keep_best": True}
    with pytest.raises(ConfigError) as caught:
        teach({"measure": measure}, dataset, tiny_model_dir, tmp_path / "student")
    assert str(caught.value) == "measure.metric reverse_kl: cannot be had here; choose one of nll"


def test_all_rows_of_a_prompt_are_kept_together() -> None:
    rows = [TokenRow([p, 9, i], 2) for i, p in enumerate([1, 2, 1, 3, 2, 1])]
    parted = part_rows(TokenRows(rows, {"empty_prompt": 1}, list("abcdef")), 2)
    assert len(parted.kept.rows) >= 2
    prompts = [{row.input_ids[0] for row in part.rows} for part in parted]
    assert prompts[0] & prompts[1] == set()
    assert {*parted.train.checks, *parted.kept.checks} == {*"abcdef"}
    with pytest.raises(ConfigError) as caught:
        part_rows(TokenRows(rows, {}), 6)
    assert str(caught.value) == (
        "measure.rows 6: the dataset has 6 rows in all.\nPublish more rows, or measure on fewer."
    )


def test_windows_of_plain_text_are_kept_one_by_one() -> None:
    """They have no prompt in common, though all begin alike; equal ones go the same way."""
    texts = [TokenRow([1, i, i + 1], 1) for i in range(40)]
    parted = part_rows(TokenRows([*texts, texts[0]], {}), 4)
    assert len(parted.kept.rows) in (4, 5)
    kept, train = (
        {tuple(row.input_ids) for row in part.rows} for part in (parted.kept, parted.train)
    )
    assert kept & train == set()
    assert len(kept | train) == 40
