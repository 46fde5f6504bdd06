"""A real server that writes a student's rollouts, by weights that change under it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from flows.conduct import PlainConductor
from flows.console import Console
from flows.pipeline import conduct
from flows.stages.teach import read_figures
from generators.embedded import BUNDLED, LoadedModel, load_model
from tests.flows.small_run import ROOT
from tests.flows.taught import list_rows, shrink
from tests.vllm.conftest import SERVE, find_guards, find_server
from trainers.metrics import read_metrics
from trainers.rollout_settings import RolloutSettings
from trainers.rollouts import Rollout
from trainers.served_student import ServedStudent
from trainers.settings import Student, TrainSettings
from trainers.students import load_student
from trainers.train import train_student

SMALL: dict[str, int | float | bool | str] = {
    "num_hidden_layers": 2,
    "hidden_size": 128,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 256,
}
"""vLLM for processors wants heads of 32 numbers or more."""
ROLLOUTS: dict[str, Any] = {
    "max_new_tokens": 12,
    "serve": SERVE | {"options": {"enforce-eager": True}, "concurrency": 8},
}

PROMPTS = [[1, 504, 30, 20 + i] for i in range(4)]
END = 2


def save_small(folder: Path, seed: int) -> Path:
    student = Student(model=BUNDLED, fresh=SMALL, reuse_embeddings=False, seed=seed)
    model, tokenizer = load_student(student)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def student_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small(tmp_path_factory.mktemp("small") / "student", seed=0)


@pytest.fixture(scope="module")
def teacher_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small(tmp_path_factory.mktemp("small") / "teacher", seed=1)


@pytest.fixture
def student(student_dir: Path) -> LoadedModel:
    return load_model(str(student_dir), "float32")


@pytest.fixture
def served(student: LoadedModel, tmp_path: Path) -> Iterator[ServedStudent]:
    settings = RolloutSettings.model_validate(ROLLOUTS)
    place = tmp_path / "served"
    served = ServedStudent(student, settings, place, max_length=64, precision="float32")
    try:
        yield served
    finally:
        served.close()


def sample(served: ServedStudent, step: int) -> list[Rollout]:
    prompts = PROMPTS * 4
    seeds = [2**62 + i for i in range(len(prompts))]
    return served.sample(prompts, seeds, weights=[1.0] * len(prompts), step=step)


def move(model: Any) -> None:
    """Every weight moves, as in a large step of training."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1 + 0.3 * torch.randn_like(weight))


def read_gap(model: Any, rollouts: list[Rollout]) -> float:
    """How far any token's log-probability is from what transformers makes of it."""
    gaps = []
    for rollout in rollouts:
        start, ids = rollout.row.prompt_length, rollout.row.input_ids
        with torch.no_grad():
            log_probs_TV = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        own_N = log_probs_TV[range(start - 1, len(ids) - 1), ids[start:]]
        gaps.append((own_N - torch.tensor(rollout.log_probs)).abs().max().item())
    return max(gaps)


def make_ends_likely(model: Any) -> None:
    """One completion in five or so ends at once."""
    with torch.no_grad():
        hidden_D = model.model(torch.tensor([PROMPTS[0]])).last_hidden_state[0, -1]
        model.lm_head.weight[END] = 9.4 * hidden_D / hidden_D.dot(hidden_D)


def test_log_probabilities_follow_the_weights_and_outlive_the_server(
    served: ServedStudent, student: LoadedModel, student_dir: Path
) -> None:
    torch.manual_seed(0)
    old = load_model(str(student_dir), "float32").model
    first = sample(served, 0)
    assert read_gap(student.model, first) < 1e-3
    assert sample(served, 0) == first
    assert len({tuple(one.row.input_ids) for one in first}) == len(first)
    server = find_server()

    move(student.model)
    second = sample(served, 1)
    print(f"new {read_gap(student.model, second):.1e}, old {read_gap(old, second):.2f} nats apart")
    assert read_gap(student.model, second) < 1e-3
    assert read_gap(old, second) > 0.1
    assert find_server() == server

    move(student.model)
    make_ends_likely(student.model)
    server.kill()
    third = sample(served, 2)
    assert read_gap(student.model, third) < 1e-3
    assert find_server() != server
    assert 0 < sum(one.ended for one in third) < len(third)
    for one in third:
        length = len(one.row.input_ids) - one.row.prompt_length
        assert one.ended == (one.row.input_ids[-1] == END)
        assert one.ended or length == 12
    served.close()
    assert find_guards() == []


def teach(way: dict[str, Any], student: Path, teacher: Path, folder: Path) -> list[dict[str, Any]]:
    """The lines of a training on the student's own tokens."""
    dataset = folder / "train.parquet"
    pq.write_table(pa.Table.from_pylist(list_rows(folder)), dataset)
    plain = {"objective": "reverse", "rollouts": ROLLOUTS, "batch_size": 4, "schedule": "constant"}
    plain |= {"max_length": 128, "precision": "float32", "max_steps": 6, "learning_rate": 3e-3}
    train_student(
        TrainSettings.model_validate(plain | way),
        dataset,
        str(student),
        folder / "out",
        teacher=str(teacher),
        metrics=folder / "metrics.jsonl",
    )
    return read_metrics(folder / "metrics.jsonl")


@pytest.mark.parametrize(
    "way",
    [
        pytest.param({}, id="whole"),
        pytest.param({"lora": {"rank": 8}, "processes": 2, "batch_size": 2}, id="adapters by two"),
    ],
)
def test_a_student_learns_from_what_a_server_wrote(
    way: dict[str, Any], student_dir: Path, teacher_dir: Path, tmp_path: Path
) -> None:
    """At each step by the weights of that step: the gap to the trainer stays nothing, while the
    student moves."""
    lines = teach(way, student_dir, teacher_dir, tmp_path)
    print([(line["loss"], line["rollout_gap"]) for line in lines])
    assert [line["step"] for line in lines] == [*range(1, 7)]
    assert max(line["rollout_gap"] for line in lines) < 1e-3
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [
        *("model", "rollouts.log", "training.json"),
    ]
    assert find_guards() == []


def test_the_configuration_teaches(
    student_dir: Path,
    teacher_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    file = ROOT / "flows/configs/teach-vllm-rollouts.yaml"
    config = shrink(file, tmp_path, student_dir, teacher_dir)
    run = conduct(config, Console(json=True), PlainConductor())
    lines = read_metrics(run.place("metrics.jsonl"))
    assert [line["step"] for line in lines] == [1, 2]
    assert max(line["rollout_gap"] for line in lines) < 1e-3
    assert "on tokens that the student writes itself" in read_figures(run).training.told[-1]
