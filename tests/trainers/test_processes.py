"""One student trained by two processes on gloo, beside one process with twice the batch."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig

from generators.errors import ConfigError, InputError, RunError
from tests.generators.vllm_stand_in import make_environment, read_asked, read_starts
from trainers.launch import Work, find_function, listen, train_in_processes
from trainers.metrics import read_metrics
from trainers.prefixes import number_rows
from trainers.settings import Student, TrainSettings
from trainers.train import train_student
from trainers.worker import _train as train_in_worker

PLAIN: dict[str, Any] = {
    "learning_rate": 1e-3,
    "accumulation": 2,
    "max_steps": 3,
    "max_length": 128,
    "save_steps": 1,
    "precision": "float32",
    "seed": 3,
}
WAYS: dict[str, dict[str, Any]] = {
    "forward": {"objective": "forward"},
    "reverse-data": {"objective": "reverse", "rollouts": {"max_new_tokens": 6, "share": 0.0}},
    "reverse-own": {"objective": "reverse", "rollouts": {"max_new_tokens": 6, "share": 1.0}},
    "cached-lora": {
        "objective": "forward",
        "signal": {"kind": "cached", "top_k": 20},
        "lora": {"rank": 4},
        "learning_rate": 1e-2,
    },
    "corpus": {
        "objective": "reverse",
        "rollouts": {"max_new_tokens": 6},
        "corpus": {"texts": "seeds/heldout/text.jsonl", "window": 32},
    },
}
SHARDED = {"objective": "forward", "sharded": True}
SCRIPT = Path(__file__).with_name("several_trainings.py")


def by(processes: int, way: dict[str, Any]) -> dict[str, Any]:
    """The way with four rows, and two texts of a corpus, in the batches of all processes."""
    shared = {"batch_size": 4 // processes, "processes": processes}
    if "corpus" in way:
        shared["corpus"] = way["corpus"] | {"rows": 2 // processes}
    return way | shared


class Places(NamedTuple):
    dataset: Path
    student: Path
    teacher: Path


@pytest.fixture(scope="module")
def places(dataset: Path, tiny_model_dir: Path, other_tiny_model_dir: Path) -> Places:
    return Places(dataset, tiny_model_dir, other_tiny_model_dir)


@pytest.fixture(scope="module")
def by_two(places: Places, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of all ways, trained by two processes that torchrun has started."""
    folder = tmp_path_factory.mktemp("two")
    ways = folder / "ways.json"
    asked = {name: PLAIN | by(2, way) for name, way in WAYS.items()}
    asked["served"] = PLAIN | by(2, write_by_server(folder / "vllm"))
    asked["sharded"] = PLAIN | by(2, SHARDED) | {"break_at": 2}
    ways.write_text(json.dumps(asked))
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run(
        [sys.executable, "-m", *torchrun, str(SCRIPT), str(ways), *map(str, places), str(folder)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    return folder


def write_by_server(environment: Path) -> dict[str, Any]:
    """The way in which the stand-in for vLLM writes, by the seeds alone."""
    environment.mkdir()
    serve = {"python": make_environment(environment), "stop_timeout_s": 1}
    return {"objective": "reverse", "rollouts": {"max_new_tokens": 6, "serve": serve}}


def train(way: dict[str, Any], places: Places, output: Path, on_log: Any = None) -> Path:
    """The student's folder, beside the metrics."""
    result = train_student(
        TrainSettings.model_validate_json(json.dumps(PLAIN | way)),
        places.dataset,
        str(places.student),
        output,
        teacher=str(places.teacher),
        on_log=on_log,
        metrics=output / "metrics.jsonl",
    )
    return result.output


def check_alike(one: Path, two: Path, start: Path) -> None:
    """Both have had the same steps, and have come to the same student."""
    lines = [read_metrics(folder / "metrics.jsonl") for folder in (one, two)]
    for name, tolerance in (("loss", 1e-5), ("grad_norm", 1e-5), ("tokens", 0), ("step", 0)):
        expected, found = ([line[name] for line in each] for each in lines)
        assert found == pytest.approx(expected, rel=tolerance, abs=tolerance)
    weights = [load_file(folder / "model.safetensors") for folder in (start, one / "model")]
    other = load_file(two / "model" / "model.safetensors")
    assert weights[0].keys() == other.keys()
    way, apart = (
        torch.cat([(weights[1][name] - each[name]).flatten() for name in other]).norm()
        for each in (weights[0], other)
    )
    assert apart < 1e-3 * way


@pytest.mark.parametrize("name", WAYS)
def test_two_processes_learn_what_one_does_with_twice_the_batch(
    name: str, places: Places, by_two: Path, tmp_path: Path
) -> None:
    train(by(1, WAYS[name]), places, tmp_path)
    check_alike(tmp_path, by_two / name, places.student)
    assert not (by_two / name / "checkpoints").exists()


def test_one_server_writes_for_all_processes(places: Places, by_two: Path, tmp_path: Path) -> None:
    train(by(1, write_by_server(tmp_path / "vllm")), places, tmp_path)
    check_alike(tmp_path, by_two / "served", places.student)
    (start,) = read_starts(by_two / "served/rollouts.log")
    assert start["env"].keys().isdisjoint({"PYTHONPATH", "RANK"})
    assert len(read_asked(by_two / "served/rollouts.log")) == 4  # two steps after the first


def test_a_sharded_student_learns_what_a_whole_one_does_and_goes_on_from_its_checkpoint(
    places: Places, by_two: Path, tmp_path: Path
) -> None:
    train(by(1, WAYS["forward"]), places, tmp_path)
    check_alike(tmp_path, by_two / "sharded", places.student)
    config = AutoConfig.from_pretrained(by_two / "sharded" / "model")
    assert config.architectures == ["LlamaForCausalLM"]


def test_a_process_that_dies_ends_all_and_the_training_goes_on_from_its_checkpoint(
    places: Places, tmp_path: Path
) -> None:
    way = WAYS["reverse-own"] | {"max_steps": 4}
    steps: list[int] = []
    seen: list[psutil.Process] = []
    others = psutil.Process().children()

    def kill_the_second(line: dict[str, Any]) -> None:
        steps.append(line["step"])
        if line["step"] == 3:
            seen.extend(each for each in psutil.Process().children() if each not in others)
            second = next(each for each in seen if each.environ().get("RANK") == "1")
            second.send_signal(signal.SIGKILL)

    with pytest.raises(RunError) as caught:
        train(by(2, way), places, tmp_path / "two", kill_the_second)
    assert str(caught.value) == (
        "process 1 of the training was ended by signal 9, and so the others were ended. Its last "
        "lines:\n"
        "  (nothing)\n"
        "Start again to go on from the last checkpoint; where memory ran out, lower batch_size."
    )
    assert (steps, len(seen)) == ([1, 2, 3], 2)
    assert not any(worker.is_running() for worker in seen)
    (checkpoint,) = (tmp_path / "two" / "checkpoints").glob("checkpoint-*/complete.json")
    saved = json.loads(checkpoint.read_text())
    assert {"rng_state_0.pth", "rng_state_1.pth"} < saved.keys()
    train(by(2, way), places, tmp_path / "two", lambda line: steps.append(line["step"]))
    train(by(1, way), places, tmp_path / "one")
    check_alike(tmp_path / "one", tmp_path / "two", places.student)
    assert steps[3] > 1


def start(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)


def test_what_a_worker_cannot_use_is_told_as_it_was(tmp_path: Path) -> None:
    told = ["error", {"kind": "InputError", "message": "no row\nto train on"}]
    worker = start(f"print({json.dumps(told)!r})")
    with pytest.raises(InputError) as caught:
        listen([worker], [tmp_path / "log"], None)
    assert str(caught.value) == "no row\nto train on"


def test_a_worker_that_dies_is_told_of_with_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {i}\n" for i in range(20)))
    idle = start("import sys; sys.stdin.read()")
    with pytest.raises(RunError) as caught:
        listen([idle, start("raise SystemExit(3)")], [log, log], None)
    lines = "".join(f"  line {number}\n" for number in range(5, 20))
    assert str(caught.value) == (
        "process 1 of the training ended with code 3, and so the others were ended. Its last "
        "lines:\n"
        f"{lines}"
        "Start again to go on from the last checkpoint; where memory ran out, lower batch_size."
    )
    idle.kill()


def test_a_worker_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    """It waits for a second worker, who never comes, until its input ends."""
    work = {"settings": {}, "dataset": "none", "student": {"model": "none"}, "output": "none"}
    work |= {"teacher": None, "teacher_id": None, "signal": None, "verify": None, "metrics": None}
    work["meeting_place"] = str(tmp_path / "meeting")
    with subprocess.Popen(
        [sys.executable, "-m", "trainers.worker"],
        stdin=subprocess.PIPE,
        env=os.environ | {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"},
        text=True,
    ) as worker:
        assert worker.stdin is not None
        worker.stdin.write(json.dumps(work) + "\n")
        worker.stdin.close()
        assert worker.wait(timeout=60) == 1


def test_workers_are_told_what_a_teacher_elsewhere_is_called(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They find its signal by that name, and have no client of its server."""
    known = {"teacher": "tiny", "teacher_id": "tiny@1", "signal": tmp_path / "signal"}
    heard: list[dict[str, Any]] = []

    def begin(work: Work, logs: list[Path]) -> None:
        heard.append(known | {name: getattr(work, name) for name in known})
        train_in_worker(work, sys.stdout)

    def learn(*_: Any, **given: Any) -> None:
        heard.append({name: given[name] for name in known})
        raise RunError("enough")

    monkeypatch.setattr("trainers.launch._start_workers", begin)
    monkeypatch.setattr("trainers.train.train_student", learn)
    monkeypatch.setattr("trainers.processes.join_processes", lambda place: 1)
    student = Student(model=str(places.student))
    with pytest.raises(RunError) as caught:
        train_in_processes(TrainSettings(processes=2), places.dataset, student, tmp_path, **known)
    assert str(caught.value) == "enough"
    assert heard == [known, known]


def test_rows_are_numbered_as_one_process_would_number_them() -> None:
    assert number_rows([3, 2], (0, 1)) == [0, 1, 2, 3, 4]
    first, second = (number_rows([2, 2], (i, 2)) for i in (0, 1))
    assert (first, second) == ([0, 1, 4, 5], [2, 3, 6, 7])


def test_a_judge_that_no_other_process_can_import_is_refused(
    places: Places, tmp_path: Path
) -> None:
    settings = TrainSettings(processes=2)
    student = Student(model=str(places.student))
    with pytest.raises(ConfigError) as caught:
        train_in_processes(
            settings, places.dataset, student, tmp_path, verify=lambda check, text: True
        )
    assert str(caught.value) == (
        "verify: tests.trainers.test_processes:test_a_judge_that_no_other_process_can_import_is_"
        "refused.<locals>.<lambda> "
        "cannot be imported by the processes of a training.\n"
        "Give a function of a module, or train in one process (processes: 1)."
    )
    assert find_function("trainers.prefixes:number_rows") is number_rows
