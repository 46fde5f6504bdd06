"""Whole trainings whose teacher is not one model in this process: several, or a server."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from generators.errors import ConfigError, InputError
from generators.vllm_client import VllmClient, VllmSettings
from tests.generators.loopback import LoopbackServer
from tests.tiny_model import save_tiny_model
from tests.trainers.scoring_server import serve_scores
from trainers.remote_teacher import SAMPLE
from trainers.settings import TrainSettings
from trainers.signal_store import SignalStore
from trainers.train import train_student

PLAIN: dict[str, Any] = {
    "objective": "forward",
    "learning_rate": 2e-3,
    "batch_size": 8,
    "max_steps": 2,
    "max_length": 128,
    "precision": "float32",
    "seed": 3,
}
REMOTE = {"kind": "remote", "top": 20}
WRITTEN = {"max_new_tokens": 6}
DOMAINS = ["maths", "maths", "writing", "writing", "maths", None, "physics", "writing"]


def make_settings(**way: Any) -> TrainSettings:
    return TrainSettings.model_validate_json(json.dumps(PLAIN | way))


@pytest.fixture(scope="module")
def third_dir(small_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("third") / "model", small_model_dir, seed=2)


@pytest.fixture
def by_domain(rows: list[dict[str, Any]], tmp_path: Path) -> Path:
    table = [row | {"domain": domain} for row, domain in zip(rows, DOMAINS, strict=True)]
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "domains.parquet")
    return tmp_path / "domains.parquet"


def learn(
    settings: TrainSettings, dataset: Path, student: Path, output: Path, **given: Any
) -> tuple[list[float], dict[str, torch.Tensor]]:
    losses: list[float] = []
    result = train_student(
        settings,
        dataset,
        str(student),
        output,
        on_log=lambda line: losses.append(line["loss"]),
        **given,
    )
    return losses, load_file(result.output / "model.safetensors")


def test_each_teacher_reads_the_rows_of_its_domain(
    by_domain: Path,
    tiny_model_dir: Path,
    other_tiny_model_dir: Path,
    third_dir: Path,
    tmp_path: Path,
) -> None:
    """A step from all rows is the sum of those of the parts, as all rows count alike."""
    teachers = {"maths": str(other_tiny_model_dir), "default": str(third_dir)}

    def measure(name: str, rows: Path, teacher: Any) -> tuple[float, int]:
        lines: list[dict[str, Any]] = []
        train_student(
            make_settings(max_steps=1),
            rows,
            str(tiny_model_dir),
            tmp_path / name,
            teacher=teacher,
            on_log=lines.append,
        )
        return lines[0]["loss"] * lines[0]["tokens"], lines[0]["tokens"]

    found = measure("all", by_domain, teachers)
    parts = []
    table = pq.read_table(by_domain).to_pylist()
    for name, model in teachers.items():
        own = [row for row in table if (row["domain"] == "maths") == (name == "maths")]
        pq.write_table(pa.Table.from_pylist(own), tmp_path / f"{name}.parquet")
        parts.append(measure(name, tmp_path / f"{name}.parquet", model))
    assert found == pytest.approx((sum(p[0] for p in parts), sum(p[1] for p in parts)), rel=1e-5)
    swapped = dict(zip(teachers, reversed(teachers.values()), strict=True))
    assert measure("swapped", by_domain, swapped)[0] != pytest.approx(found[0], rel=1e-3)


def test_completions_of_the_students_own_are_routed_like_the_rows(
    by_domain: Path, tiny_model_dir: Path, other_tiny_model_dir: Path, tmp_path: Path
) -> None:
    """Teachers that are the same teach what one does."""
    settings = make_settings(objective="reverse", rollouts=WRITTEN)
    one = str(other_tiny_model_dir)
    alone, _ = learn(settings, by_domain, tiny_model_dir, tmp_path / "one", teacher=one)
    several = {"maths": one, "default": one}
    found, _ = learn(settings, by_domain, tiny_model_dir, tmp_path / "two", teacher=several)
    assert found == pytest.approx(alone, rel=1e-5)


def test_a_row_that_no_teacher_is_named_for_is_told_of(
    by_domain: Path, dataset: Path, tiny_model_dir: Path, other_tiny_model_dir: Path, tmp_path: Path
) -> None:
    teachers = {"maths": str(other_tiny_model_dir)}
    with pytest.raises(InputError) as caught:
        learn(make_settings(), dataset, tiny_model_dir, tmp_path / "a", teacher=teachers)
    assert str(caught.value) == (
        "some rows have no domain, so which teacher reads them is not known.\n"
        "Give rows a column domain, or name a teacher for 'default'."
    )
    table = [row for row in pq.read_table(by_domain).to_pylist() if row["domain"]]
    pq.write_table(pa.Table.from_pylist(table), by_domain)
    with pytest.raises(ConfigError) as caught:
        learn(make_settings(), by_domain, tiny_model_dir, tmp_path / "b", teacher=teachers)
    assert str(caught.value) == "domain 'physics': has no teacher; there are teachers for maths"


def find_client(server: LoopbackServer) -> VllmClient:
    settings = VllmSettings(base_url=server.url, model="tiny", deadline_s=60)
    return VllmClient(settings, model_id="tiny@1")


def test_a_server_teaches_on_the_rows_what_a_cache_of_its_model_does(
    dataset: Path, tiny_model_dir: Path, other_tiny_model_dir: Path, tmp_path: Path
) -> None:
    cached = make_settings(signal={"kind": "cached", "top_k": 20})
    teacher = str(other_tiny_model_dir)
    expected, _ = learn(cached, dataset, tiny_model_dir, tmp_path / "cached", teacher=teacher)
    with serve_scores(other_tiny_model_dir) as server:
        found, after = learn(
            make_settings(signal=REMOTE),
            dataset,
            tiny_model_dir,
            tmp_path / "remote",
            teacher="tiny",
            make_scorer=lambda: find_client(server),
        )
    assert found == pytest.approx(expected, rel=1e-2)
    before = load_file(tiny_model_dir / "model.safetensors")
    assert any((after[name] != before[name]).any() for name in after)
    assert len(server.calls) == 1 + 2 * 8


def test_a_server_writes_the_cache_that_its_model_would(
    dataset: Path, tiny_model_dir: Path, other_tiny_model_dir: Path, tmp_path: Path
) -> None:
    """Asked once for each row; afterwards nobody is, and the rows are found by its name."""
    settings = make_settings(signal={"kind": "cached", "top_k": 20})
    teacher = str(other_tiny_model_dir)
    expected, _ = learn(settings, dataset, tiny_model_dir, tmp_path / "local", teacher=teacher)
    known: dict[str, Any] = {"teacher": "tiny", "teacher_id": "tiny@1"}
    with serve_scores(other_tiny_model_dir) as server:
        found, _ = learn(
            settings,
            dataset,
            tiny_model_dir,
            tmp_path / "served",
            make_scorer=lambda: find_client(server),
            **known,
        )
    assert found == pytest.approx(expected, rel=1e-5)
    assert len(server.calls) == 1 + 8
    signal = tmp_path / "served" / "signal"
    header = SignalStore(signal).header
    assert (header.source.teacher, header.precision) == ("tiny@1", None)
    own = SignalStore(tmp_path / "local" / "signal").header
    assert (own.precision, own.cut) == ("float32", header.cut)
    place = tmp_path / "again"
    again, _ = learn(settings, dataset, tiny_model_dir, place, signal=signal, **known)
    assert again == found
    other = known | {"teacher_id": "tiny@2"}
    with pytest.raises(ConfigError) as caught:
        learn(settings, dataset, tiny_model_dir, tmp_path / "other", signal=signal, **other)
    assert str(caught.value) == (
        "signal: there is no client for the teacher's server, which is to be asked; give "
        "train_student one (make_scorer), or leave signal out."
    )


def test_a_server_scores_what_the_student_has_drawn_as_its_model_does(
    dataset: Path, tiny_model_dir: Path, other_tiny_model_dir: Path, tmp_path: Path
) -> None:
    """The drawn tokens' own log-probabilities, likely or not."""
    way = {"objective": "importance", "rollouts": WRITTEN}
    teacher = str(other_tiny_model_dir)
    expected, _ = learn(
        make_settings(**way), dataset, tiny_model_dir, tmp_path / "local", teacher=teacher
    )
    with serve_scores(other_tiny_model_dir) as server:
        found, _ = learn(
            make_settings(signal=REMOTE, **way),
            dataset,
            tiny_model_dir,
            tmp_path / "remote",
            teacher="tiny",
            make_scorer=lambda: find_client(server),
        )
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_a_server_of_another_vocabulary_is_refused(
    dataset: Path, tiny_model_dir: Path, other_tiny_model_dir: Path, tmp_path: Path
) -> None:
    with (
        serve_scores(other_tiny_model_dir, shift=1) as server,
        pytest.raises(ConfigError) as caught,
    ):
        learn(
            make_settings(signal=REMOTE),
            dataset,
            tiny_model_dir,
            tmp_path,
            teacher="tiny",
            make_scorer=lambda: find_client(server),
        )
    assert str(caught.value) == (
        "teacher tiny@1 and student do not share a vocabulary: the server writes a text out in "
        "other ids.\n"
        "Token-level distillation compares them id by id: choose a teacher of the student's "
        "family, or train on its answers (objective: sft)."
    )
    assert [call.body["prompt"] for call in server.calls] == [SAMPLE]


def test_a_remote_teacher_needs_a_client(
    dataset: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        learn(make_settings(signal=REMOTE), dataset, tiny_model_dir, tmp_path, teacher="tiny")
    assert str(caught.value) == (
        "signal: there is no client for the teacher's server, which is to be asked; give "
        "train_student one (make_scorer), or leave signal out."
    )


@pytest.mark.parametrize(
    ("way", "message"),
    [
        (
            {"teacher": {}},
            ("Value error, teacher: no domain is named; give domain: model, or one model"),
        ),
        (
            {"teacher": {"maths": "a"}, "signal": REMOTE},
            ("Value error, signal: several teachers are read as they are needed; leave it out"),
        ),
        (
            {"teacher": {"maths": "a"}, "hidden": {}},
            ("Value error, teacher: hidden, uld and aligned follow one teacher; name one"),
        ),
        (
            {
                "objective": "minillm",
                "teacher": {"maths": "a"},
                "rollouts": {"teacher_mix": 0.2},
            },
            (
                "Value error, rollouts.teacher_mix: the teacher that writes along is one model in "
                "this "
                "process; set it to 0, or name one teacher and no signal"
            ),
        ),
        (
            {"objective": "minillm", "signal": REMOTE, "rollouts": {"teacher_mix": 0.2}},
            (
                "Value error, rollouts.teacher_mix: the teacher that writes along is one model in "
                "this "
                "process; set it to 0, or name one teacher and no signal"
            ),
        ),
        (
            {"signal": REMOTE, "temperature": 2.0},
            ("Value error, temperature: a remote teacher tells its tokens at 1; leave it at 1"),
        ),
        (
            {"signal": REMOTE, "processes": 2},
            ("Value error, processes: a remote teacher is asked by one process; set it to 1"),
        ),
        ({"sharded": True}, "Value error, sharded: one process holds all of it; raise processes"),
        (
            {"sharded": True, "processes": 2, "lora": {}, "rollouts": {}},
            (
                "Value error, sharded: rollouts, lora need the student whole in each process; "
                "leave "
                "one out"
            ),
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(way: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make_settings(**way)
    assert caught.value.errors()[0]["msg"] == message


def test_teachers_are_listed_once() -> None:
    settings = make_settings(teacher={"maths": "big", "code": "big", "default": "other"})
    assert (settings.teachers, settings.lone_teacher) == (("big", "other"), None)
    assert make_settings(teacher="big").teachers == ("big",)
