"""Whole trainings of a tiny student, one for each way of teaching."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from generators.embedded import load_model
from generators.errors import InputError
from trainers.settings import TrainSettings
from trainers.train import train_student

PLAIN: dict[str, Any] = {
    "learning_rate": 2e-3,
    "batch_size": 4,
    "accumulation": 2,
    "max_steps": 3,
    "max_length": 128,
    "save_steps": 2,
    "precision": "float32",
    "seed": 3,
}
WRITTEN = {"rollouts": {"max_new_tokens": 6}}
WAYS: dict[str, dict[str, Any]] = {
    "forward": {"objective": "forward", "temperature": 2.0},
    "reverse": {"objective": "reverse"},
    "jsd": {"objective": "jsd", "beta": 0.3},
    "skew_forward": {"objective": "skew_forward"},
    "skew_reverse": {"objective": "skew_reverse"},
    "mixing": {"objective": "forward", "mixing": {"kind": "linear", "alpha": 0.9, "steps": 2}},
    "packed": {"objective": "forward", "packing": True},
    "lora": {"objective": "forward", "lora": {"rank": 4}},
    "cached": {"objective": "forward", "signal": {"kind": "cached", "top_k": 20}},
    "sampled": {
        "objective": "forward",
        "signal": {"kind": "cached", "top_k": 20, "kept": "sampled"},
    },
    "student-forward": {"objective": "forward", **WRITTEN},
    "student-reverse": {"objective": "reverse", **WRITTEN},
    "half": {"objective": "reverse", "rollouts": {"max_new_tokens": 6, "share": 0.5}},
    "buffer": {
        "objective": "reverse",
        "rollouts": {"max_new_tokens": 6, "buffer": 16, "reuse": 0.5},
    },
    "importance": {"objective": "importance", "policy": {"clip": 0.2}, **WRITTEN},
    "reinforce": {"objective": "reinforce", **WRITTEN},
    "minillm": {
        "objective": "minillm",
        "policy": {"clip": 0.2, "length_normalised": True},
        "rollouts": {"max_new_tokens": 6, "teacher_mix": 0.2},
    },
}


def make_settings(way: dict[str, Any]) -> TrainSettings:
    return TrainSettings.model_validate_json(json.dumps(PLAIN | way))


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_way_of_teaching_moves_the_student(
    way: dict[str, Any],
    dataset: Path,
    tiny_model_dir: Path,
    other_tiny_model_dir: Path,
    tmp_path: Path,
) -> None:
    lines: list[dict[str, Any]] = []
    settings = make_settings(way)
    result = train_student(
        settings,
        dataset,
        str(tiny_model_dir),
        tmp_path,
        teacher=str(other_tiny_model_dir),
        on_log=lines.append,
    )
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert result.rows == 8
    rollouts = settings.rollouts
    assert all(("rollout_tokens" in line) is (rollouts is not None) for line in lines)
    if rollouts is not None and settings.writes_all and not rollouts.buffer:
        assert all(0 < line["tokens"] <= 8 * 6 for line in lines)
    before, after = (
        load_file(Path(folder) / "model.safetensors") for folder in (tiny_model_dir, result.output)
    )
    assert before.keys() == after.keys()
    assert any((after[name] != before[name]).any() for name in after)
    load_model(str(result.output), "float32")


@pytest.mark.parametrize("name", ["buffer", "minillm"])
def test_a_training_on_rollouts_goes_on_as_if_it_had_not_been_broken_off(
    name: str, dataset: Path, tiny_model_dir: Path, other_tiny_model_dir: Path, tmp_path: Path
) -> None:
    settings = make_settings(WAYS[name] | {"max_steps": 4})

    def teach(folder: str, on_log: Any) -> Path:
        return train_student(
            settings,
            dataset,
            str(tiny_model_dir),
            tmp_path / folder,
            teacher=str(other_tiny_model_dir),
            on_log=on_log,
        ).output

    def stop_at_3(line: dict[str, Any]) -> None:
        if line["step"] == 3:
            raise KeyboardInterrupt

    lines: list[dict[str, Any]] = []
    whole = teach("whole", lines.append)
    with pytest.raises(KeyboardInterrupt):
        teach("broken", stop_at_3)
    resumed: list[dict[str, Any]] = []
    mended = teach("broken", resumed.append)
    assert resumed == lines[2:]
    one, other = (load_file(folder / "model.safetensors") for folder in (whole, mended))
    assert all((one[name] == other[name]).all() for name in one)


def test_all_of_a_cached_teacher_teaches_what_the_teacher_does(
    dataset: Path, tiny_model_dir: Path, other_tiny_model_dir: Path, tmp_path: Path
) -> None:
    """The probabilities of all tokens, in half precision."""
    found: dict[str, list[float]] = {}
    for name, way in (
        ("online", {}),
        ("cached", {"signal": {"kind": "cached", "top_p": 1.0, "top_k": 49152}}),
    ):
        losses: list[float] = found.setdefault(name, [])
        train_student(
            make_settings({"objective": "forward", **way}),
            dataset,
            str(tiny_model_dir),
            tmp_path / name,
            teacher=str(other_tiny_model_dir),
            on_log=lambda line, losses=losses: losses.append(line["loss"]),
        )
    assert found["cached"] == pytest.approx(found["online"], rel=1e-2)


def test_prompts_are_enough_where_the_student_writes(
    rows: list[dict[str, Any]], tiny_model_dir: Path, other_tiny_model_dir: Path, tmp_path: Path
) -> None:
    prompts = [{"prompt": row["prompt"]} for row in rows]
    pq.write_table(pa.Table.from_pylist(prompts), tmp_path / "prompts.parquet")
    settings = make_settings({"objective": "reverse", **WRITTEN})
    teacher = str(other_tiny_model_dir)
    result = train_student(
        settings,
        tmp_path / "prompts.parquet",
        str(tiny_model_dir),
        tmp_path / "student",
        teacher=teacher,
    )
    assert result.rows == 8
    with pytest.raises(InputError, match="has no column completion"):
        train_student(
            make_settings({"objective": "reverse"}),
            tmp_path / "prompts.parquet",
            str(tiny_model_dir),
            tmp_path / "other",
            teacher=teacher,
        )


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ({"objective": "reinforce"}, "objective reinforce learns from rollouts"),
        ({"objective": "sft", **WRITTEN}, "nobody judges them"),
        (
            {"objective": "reverse", "rollouts": {"teacher_mix": 0.2}},
            "only minillm weighs mixed tokens",
        ),
        ({"objective": "reverse", "ce_weight": 0.5, **WRITTEN}, "what the student wrote itself"),
        (
            {"objective": "reverse", "signal": {"kind": "cached"}, **WRITTEN},
            "nothing is on disk of what the student will write",
        ),
        (
            {"objective": "importance", "rollouts": {"temperature": 0.7}},
            "known at temperature 1 and top_p 1 only",
        ),
        ({"objective": "sft", "ce_weight": 0.5}, "objective sft mixes nothing in"),
        (
            {"objective": "reinforce", "rollouts": {"buffer": 8}},
            "reinforce learns from fresh tokens only",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(way: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_settings(way)
