"""Models of kind vllm in a run: their settings, choices, and a server of the run's own."""

from pathlib import Path
from typing import Any

import pytest

from flows.run_settings import VllmModel
from flows.work import Resources
from generators.embedded import BUNDLED
from generators.errors import ConfigError
from tests.flows.small_run import conduct_plainly, describe_run, read_settings
from tests.flows.teacher import Teacher
from tests.flows.test_refusals import change, list_files
from tests.generators.asking import chat, expect
from tests.generators.vllm_stand_in import list_running, make_environment, read_starts

URL = "http://127.0.0.1:9/v1"
TERMS = {"licence": "apache-2.0", "outputs_may_train": "yes"}
OURS = {"kind": "vllm", "model": BUNDLED, **TERMS}


@pytest.mark.parametrize(
    ("place", "message"),
    [
        pytest.param(
            {},
            (
                "models.weak: name either base_url (a server that is there) or serve (one to be "
                "started; `serve: {}` starts it from .venv-vllm)"
            ),
            id="nowhere",
        ),
        pytest.param(
            {"base_url": URL, "serve": {}},
            (
                "models.weak: name either base_url (a server that is there) or serve (one to be "
                "started; `serve: {}` starts it from .venv-vllm)"
            ),
            id="two places",
        ),
        pytest.param(
            {"serve": {"options": {"port": 8000}}},
            "models.weak.serve.options: port: set by the run itself, take it out",
            id="our own option",
        ),
    ],
)
def test_faults_are_told(tmp_path: Path, place: dict[str, Any], message: str) -> None:
    settings = change(describe_run(tmp_path, URL), "models.weak", OURS | place)
    with pytest.raises(ConfigError) as caught:
        read_settings(tmp_path / "small.yaml", settings)
    assert str(caught.value).partition(": ")[2] == message


def test_places_and_paces_decide_nothing(tmp_path: Path) -> None:
    def digest(**serve: Any) -> str:
        model = OURS | {"serve": serve}
        settings = change(describe_run(tmp_path, URL), "models.weak", model)
        return read_settings(tmp_path / "small.yaml", settings).digest

    paces = {"python": "x/python", "env": {"A": "1"}, "start_timeout_s": 9, "stop_timeout_s": 1}
    assert digest(**paces, max_restarts=0) == digest()
    assert digest(options={"dtype": "float32"}) != digest()


def test_choices_are_asked_of_vllm_alone(tmp_path: Path) -> None:
    with Teacher() as teacher:
        settings = describe_run(tmp_path, teacher.url)
        model = OURS | {"model": "weak", "base_url": teacher.url}
        settings = change(settings, "models.weak", model)
        del settings["evolve"]
        for i in (0, 1):
            settings = change(settings, f"answer.samplers.{i}.structured", True)
        settings = change(settings, "answer.samplers.1.asks", "all")
        conduct_plainly(read_settings(tmp_path / "small.yaml", settings))
        calls = teacher.asked_since(0)

    asked = [call for call in calls if "letter only" in call.asked]
    guided = {(c.body["model"], str(c.body.get("structured_outputs"))) for c in asked}
    assert guided == {("weak", "{'choice': ['A', 'B', 'C']}"), ("strong", "None")}
    assert [c for c in calls if c not in asked and "structured_outputs" in c.body] == []


def test_missing_environment_stops_before_anything_is_begun(tmp_path: Path) -> None:
    model = OURS | {"serve": {"python": "nowhere/bin/python"}}
    with Teacher() as teacher:
        settings = change(describe_run(tmp_path, teacher.url), "models.weak", model)
        with pytest.raises(ConfigError) as caught:
            conduct_plainly(read_settings(tmp_path / "small.yaml", settings))
    assert str(caught.value) == (
        f"serve.python: nowhere/bin/python: no such file (looked for it from {Path.cwd()})."
        " `make vllm-cpu` makes .venv-vllm; or name the interpreter of an environment in which vllm"
        " is installed."
    )
    assert list_files(tmp_path / "runs") == ["small/.lock"]


def test_server_of_our_own_makes_room_for_a_training_and_ends_with_the_run(tmp_path: Path) -> None:
    model = OURS | {"serve": {"python": make_environment(tmp_path)}}
    settings = change(describe_run(tmp_path, URL), "models.weak", model)
    settings = change(settings, "models.strong", model | {"form": "complete", "concurrency": 2})
    config = read_settings(tmp_path / "small.yaml", settings)
    assert isinstance(config.models["weak"], VllmModel)
    log = tmp_path / "runs" / f"{BUNDLED}.vllm.log"
    resources = Resources(config)
    try:
        resources.client("weak")
        assert not log.exists()
        assert resources.ask("weak", [chat("one")], None) == [expect("one")]
        assert resources.ask("strong", [chat("too")], None) == [expect("too")]
        assert len(list_running(log)) == 2
        resources.release_models()
        assert list_running(log) == []
        assert resources.ask("weak", [chat("two")], None) == [expect("two")]
        assert len(read_starts(log)) == 2
    finally:
        resources.close()
    assert list_running(log) == []
