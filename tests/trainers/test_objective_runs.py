"""Whole trainings of a tiny student, one for each way of teaching."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from generators.embedded import load_model
from generators.errors import ConfigError, InputError, RunError
from tests.trainers.two_tokenizers import make_byte_level
from trainers.settings import ACROSS, TrainSettings
from trainers.teachers import count_ids
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
    "hidden": {"objective": "forward", "hidden": {"pairs": [[0, 1], [1, 1]], "weight": 0.5}},
    "hidden-lora": {
        "objective": "reverse",
        "hidden": {"kind": "cosine"},
        "lora": {"rank": 4},
        "rollouts": {"max_new_tokens": 6},
    },
    "projected": {"objective": "forward", "hidden": {"learned": True}},
    "corpus": {
        "objective": "minillm",
        "corpus": {"texts": "texts.jsonl", "weight": 0.5, "rows": 2, "window": 24},
        **WRITTEN,
    },
    "uld": {"objective": "uld", "ce_weight": 0.5},
    "aligned": {"objective": "aligned"},
    "aligned-lora": {"objective": "aligned", "ce_weight": 0.2, "lora": {"rank": 4}},
}
FIGURES = {"hidden": "hidden", "corpus": "corpus_nll"}
"""What is logged of what is added to an objective."""


def write_texts(folder: Path, texts: list[str]) -> None:
    told = {"domain": "tests", "licence": "CC0-1.0", "author": "tests"}
    lines = [json.dumps({"text": text, **told}) + "\n" for text in texts]
    (folder / "texts.jsonl").write_text("".join(lines))


def make_settings(way: dict[str, Any]) -> TrainSettings:
    return TrainSettings.model_validate_json(json.dumps(PLAIN | way))


@pytest.fixture
def foreign_dir(tmp_path: Path) -> Path:
    """A teacher with a tokenizer of its own."""
    tokenizer = make_byte_level()
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=count_ids(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    folder = tmp_path / "foreign"
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lays a corpus where the settings look for it."""
    write_texts(tmp_path, [f"It is {n} now, and the cat is still on the mat." for n in range(9)])
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_way_of_teaching_moves_the_student(
    way: dict[str, Any],
    dataset: Path,
    tiny_model_dir: Path,
    other_tiny_model_dir: Path,
    foreign_dir: Path,
    tmp_path: Path,
) -> None:
    lines: list[dict[str, Any]] = []
    settings = make_settings(way)
    teacher = foreign_dir if settings.objective in ACROSS else other_tiny_model_dir
    result = train_student(
        settings,
        dataset,
        str(tiny_model_dir),
        tmp_path / "student",
        teacher=str(teacher),
        on_log=lines.append,
    )
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert result.rows == 8
    for setting, figure in FIGURES.items():
        assert all((figure in line) is (setting in way) for line in lines)
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


@pytest.mark.parametrize("name", ["buffer", "minillm", "corpus", "projected"])
def test_a_training_of_several_parts_goes_on_as_if_it_had_not_been_broken_off(
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
    """The probabilities of all tokens, in half precision, softened by a temperature."""
    found: dict[str, list[float]] = {}
    for name, way in (
        ("online", {}),
        ("cached", {"signal": {"kind": "cached", "top_p": 1.0, "top_k": 49152}}),
    ):
        losses: list[float] = found.setdefault(name, [])
        train_student(
            make_settings({"objective": "forward", "temperature": 2.0, **way}),
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
    with pytest.raises(InputError) as caught:
        train_student(
            make_settings({"objective": "reverse"}),
            tmp_path / "prompts.parquet",
            str(tiny_model_dir),
            tmp_path / "other",
            teacher=teacher,
        )
    assert str(caught.value) == (
        f"{tmp_path}/prompts.parquet: has no column completion.\n"
        "Training needs prompt and completion: lists of {role, content}."
    )


def test_a_changed_corpus_is_another_training(
    dataset: Path, tiny_model_dir: Path, other_tiny_model_dir: Path, tmp_path: Path
) -> None:
    settings = make_settings(WAYS["corpus"] | {"max_steps": 1})

    def teach() -> int:
        teacher = str(other_tiny_model_dir)
        folder = tmp_path / "student"
        return train_student(settings, dataset, str(tiny_model_dir), folder, teacher=teacher).steps

    assert teach() == teach() == 1
    write_texts(tmp_path, ["Something else."])
    with pytest.raises(RunError) as caught:
        teach()
    assert str(caught.value) == (
        f"{tmp_path}/student: holds a training of other settings (corpus_texts "
        "2f60ac3ed002cbf0c4b7a51eb7b9dd50e0bfbf9296053aa74e40838b3ceb315c → "
        "a22d3739a13acb500de9b7771d1f512360417d94bac3c8fec4e7616cea5f0459).\n"
        "Go back to those settings, give another output folder, or delete this one."
    )


@pytest.mark.parametrize("objective", ["uld", "aligned"])
def test_texts_cannot_be_aligned(objective: str, foreign_dir: Path, tiny_model_dir: Path) -> None:
    settings = make_settings({"objective": objective, "ce_weight": 0.5})
    with pytest.raises(ConfigError) as caught:
        train_student(
            settings,
            Path("texts.jsonl"),
            str(tiny_model_dir),
            Path("student"),
            teacher=str(foreign_dir),
        )
    assert str(caught.value) == (
        "texts.jsonl: plain text has no prompts, which rollouts, signal context and the objectives "
        "uld, aligned need.\n"
        "Leave them out, or give rows of prompt and completion."
    )


@pytest.mark.parametrize(
    ("way", "message"),
    [
        (
            {"objective": "reinforce"},
            ("Value error, objective reinforce learns from rollouts: add them, share 1"),
        ),
        (
            {"objective": "sft", **WRITTEN},
            "Value error, rollouts: nobody judges them under objective sft",
        ),
        (
            {"objective": "reverse", "rollouts": {"teacher_mix": 0.2}},
            "Value error, rollouts.teacher_mix: only minillm weighs mixed tokens",
        ),
        (
            {"objective": "reverse", "ce_weight": 0.5, **WRITTEN},
            ("Value error, ce_weight, mixing: no cross-entropy on what the student wrote itself"),
        ),
        (
            {"objective": "reverse", "signal": {"kind": "cached"}, **WRITTEN},
            (
                "Value error, signal cached: nothing is on disk of what the student will write; "
                "leave "
                "it out, or name it in a phase without rollouts"
            ),
        ),
        (
            {"objective": "importance", "rollouts": {"temperature": 0.7}},
            (
                "Value error, rollouts: objective importance weighs tokens by the chance they were "
                "drawn with, which is known at temperature 1 and top_p 1 only"
            ),
        ),
        (
            {"objective": "sft", "ce_weight": 0.5},
            (
                "Value error, ce_weight: objective sft does not read it; it belongs to forward, "
                "reverse, jsd, skew_forward, skew_reverse, uld and aligned: take it out, or "
                "choose that"
            ),
        ),
        (
            {"objective": "reinforce", "rollouts": {"buffer": 8}},
            ("Value error, rollouts.buffer: reinforce learns from fresh tokens only"),
        ),
        (
            {"objective": "sft", "hidden": {}},
            (
                "Value error, hidden: layers are read of a teacher in this process that reads "
                "what the "
                "student reads; choose an objective with a teacher, and no signal"
            ),
        ),
        (
            {"objective": "forward", "hidden": {}, "signal": {"kind": "cached"}},
            "Value error, hidden: layers are read of a teacher in this process that reads what "
            "the student reads; choose an objective with a teacher, and no signal",
        ),
        (
            {"objective": "aligned", "hidden": {}},
            ("Value error, hidden: under objective aligned the teacher reads other tokens"),
        ),
        (
            {"objective": "aligned", **WRITTEN},
            ("Value error, rollouts: objective aligned learns from answers aligned beforehand"),
        ),
        (
            {"objective": "aligned", "signal": {"kind": "cached"}},
            (
                "Value error, signal: objective aligned reads the teacher in this process; leave "
                "it out"
            ),
        ),
        (
            {"objective": "aligned", "temperature": 2.0},
            ("Value error, temperature: aligned softens nothing; its own is chunk_temperature"),
        ),
        (
            {"objective": "uld"},
            (
                "Value error, ce_weight: uld compares shapes, whatever tokens they are about; mix "
                "cross-entropy in (ce_weight or mixing)"
            ),
        ),
        (
            {"objective": "forward", "corpus": {"texts": "t"}},
            ("Value error, corpus: stands beside rollouts; add them, or leave it out"),
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(way: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make_settings(way)
    assert caught.value.errors()[0]["msg"] == message
