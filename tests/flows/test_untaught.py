"""Students that a configuration has made: of some layers, or with untrained weights."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from flows.estimate import estimate_run
from flows.stage_lists import list_stages
from flows.stages.evaluate import ArmResult, list_arms
from flows.stages.report import MODEL_CARD
from flows.stages.teach import read_figures
from flows.teach_settings import load_teaching
from flows.untaught import identify_untaught, open_untaught
from generators.embedded import identify_model, load_model
from generators.errors import ConfigError, RunError
from tests.flows.small_run import add_training, describe_run, read_settings, write_config
from tests.flows.taught import TERMS, add_evaluation, describe_teaching
from tests.flows.test_teach import CACHED, Watched, conduct_watched
from trainers.settings import Student
from trainers.students import load_student, save_cut

URL = "http://127.0.0.1:9/v1"
Settings = dict[str, Any]


def describe_made(folder: Path, model: Path, teacher: Path, **made: Any) -> Settings:
    """A small training of a student made of `model`, evaluated before it and after it."""
    settings = add_evaluation(describe_teaching(folder, model, teacher), folder, prompts=2)
    settings["evaluate"]["max_tokens"] = 2
    settings["train"] |= {"student": {"model": str(model), **made}, "max_steps": 1}
    return settings


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ({"layers": [1]}, "layer 1 of it"),
        (
            {"fresh": {"num_hidden_layers": 3, "hidden_size": 32}, "seed": 5},
            "untrained weights of seed 5, its configuration with num\\_hidden\\_layers 3, "
            "hidden\\_size 32; its embeddings where shapes agree",
        ),
    ],
    ids=["cut", "fresh"],
)
def test_a_made_student_is_evaluated_taught_and_told(
    made: Settings, told: str, tiny_model_dir: Path, tmp_path: Path
) -> None:
    """Its teacher is the very model that it is made of, which is another than the student."""
    settings = describe_made(tmp_path, tiny_model_dir, tiny_model_dir, **made)
    run, _ = conduct_watched(tmp_path / "taught.yaml", settings, first := Watched())
    assert first.worked == [
        *("rows", "evaluate-before", "evaluate-teacher", "train", "evaluate-after", "card"),
    ]
    student = Student.model_validate(settings["train"]["student"])
    save_cut(student, place := tmp_path / f"model-{'cut' if 'layers' in made else 'fresh'}")
    before = ArmResult.model_validate_json(run.place("evaluation/before.json").read_bytes())
    assert before.model == identify_model(str(place))
    assert list(run.root.glob(".untaught-*")) == []
    untaught, taught = load_model(str(place)).model, load_model(str(run.place("student"))).model
    own, other = dict(taught.named_parameters()), dict(untaught.named_parameters())
    assert {n: w.shape for n, w in own.items()} == {n: w.shape for n, w in other.items()}
    assert 0 < max((own[n] - other[n]).abs().max().item() for n in own) < 0.1
    card = run.place(MODEL_CARD).read_text(encoding="utf-8")
    assert f"| made of it | {told} |" in card
    base = str(tiny_model_dir)
    assert f"base_model: {base}\n" in card
    assert "A student made of " in card
    figures = read_figures(run).training
    assert (figures.base_model, figures.made) == (base, told.replace("\\", ""))


def test_another_student_redoes_what_it_touches(tiny_model_dir: Path, tmp_path: Path) -> None:
    settings = describe_made(tmp_path, tiny_model_dir, tiny_model_dir, layers=[0])
    settings["train"]["signal"] = CACHED
    file = tmp_path / "taught.yaml"
    first, _ = conduct_watched(file, settings, Watched())
    told = first.place("evaluation/before.json").read_bytes()
    settings["train"]["student"]["layers"] = [1]
    with pytest.raises(RunError) as caught:
        conduct_watched(file, settings, Watched())
    assert str(caught.value) == (
        f"{first.root}: this run was begun with another configuration:\n"
        "  train.student.layers.0: 0 is now 1\n"
        "Run with --update to redo what these changes touch, or give it another name."
    )
    run, _ = conduct_watched(file, settings, again := Watched(), update=True)
    # the same tokenizer, so the same rows and the same signal; nor has the teacher changed
    assert again.worked == ["evaluate-before", "train", "evaluate-after", "card"]
    assert run.place("evaluation/before.json").read_bytes() != told
    settings["train"]["student"] = str(tiny_model_dir)
    with pytest.raises(RunError) as caught:
        conduct_watched(file, settings, Watched())
    assert str(caught.value) == (
        f"{first.root}: this run was begun with another configuration:\n"
        f"  train.student: {{'model': '{tiny_model_dir}', 'layers': [1], 'fresh': None, "
        f"'reuse_embeddings': True, 'seed': 0}} is now '{tiny_model_dir}'\n"
        "Run with --update to redo what these changes touch, or give it another name."
    )


def test_an_untaught_student_is_known_by_all_that_makes_it(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    model = str(tiny_model_dir)
    fresh = Student(model=model, fresh={})
    students = [
        Student(model=model),
        Student(model=model, layers=(0,)),
        Student(model=model, layers=(0, 1)),
        fresh,
        fresh.model_copy(update={"seed": 1}),
        fresh.model_copy(update={"reuse_embeddings": False}),
        fresh.model_copy(update={"fresh": {"num_hidden_layers": 1}}),
    ]
    assert len({identify_untaught(student) for student in students}) == len(students)
    assert identify_untaught(students[0]) == identify_model(model)
    with open_untaught(students[0], tmp_path) as place:
        assert place == model
    with open_untaught(students[1], tmp_path) as place:
        opened, _ = load_model(place, "float32")
        expected = load_student(students[1]).model.state_dict()
        assert all(weight.equal(expected[name]) for name, weight in opened.state_dict().items())
    assert list(tmp_path.iterdir()) == []


FAULTS: dict[str, tuple[Settings, str]] = {
    "an unknown setting": (
        {"fresh": {"hiden_size": 32}},
        "train.student: fresh.hiden_size: not a setting of a llama model (did you mean "
        "hidden_size?)",
    ),
    "heads that do not divide": (
        {"fresh": {"hidden_size": 66}},
        "train.student: fresh: hidden_size 66 cannot be shared out among 4 attention heads; give "
        "hidden_size or num_attention_heads so that it divides",
    ),
    "too few ids": (
        {"fresh": {"vocab_size": 100}},
        "train.student: fresh.vocab_size 100: the tokenizer, which stays, knows 49,152 ids; give "
        "at least as many, or leave it out",
    ),
    "layers that are not there": (
        {"layers": [1, 2]},
        "train.student: layers [1, 2]: give ascending numbers from 0 to 1, each once",
    ),
    "both": (
        {"layers": [0], "fresh": {}},
        "train.student: layers and fresh: untrained weights have no layers to keep; give one of "
        "them, or fresh.num_hidden_layers",
    ),
    "a misspelt field": (
        {"layer": [0]},
        "train.student.layer: not a setting (did you mean layers?)",
    ),
    "a value of no kind": (
        {"fresh": {"hidden_size": [32]}},
        "train.student.fresh.hidden_size: expected a whole number or a number or true or false or "
        "text, got a list",
    ),
}


@pytest.mark.parametrize(("made", "fault"), FAULTS.values(), ids=FAULTS)
def test_students_that_cannot_be_made_are_refused_at_their_place(
    made: Settings, fault: str, tiny_model_dir: Path, tmp_path: Path
) -> None:
    settings = describe_made(tmp_path, tiny_model_dir, tiny_model_dir, **made)
    file = tmp_path / "taught.yaml"
    file.write_text(json.dumps(settings, indent=1), encoding="utf-8")
    with pytest.raises(ConfigError) as refusal:
        load_teaching(file)
    place, _, text = str(refusal.value).partition(": ")
    assert text == fault
    line = int(re.fullmatch(rf"{re.escape(str(file))}:(\d+):\d+", place)[1])  # type: ignore[index]
    name = fault.partition(":")[0].rpartition(".")[2]
    assert f'"{name}":' in file.read_text(encoding="utf-8").splitlines()[line - 1]


def test_a_student_of_no_kind_is_refused(tmp_path: Path) -> None:
    settings = describe_teaching(tmp_path, tmp_path, tmp_path)
    settings["train"]["student"] = 5
    with pytest.raises(ConfigError) as refusal:
        load_teaching(write_config(tmp_path / "taught.yaml", settings))
    assert str(refusal.value).partition(": ")[2] == (
        "train.student: expected text or settings (`name: value`), got 5 (put it in quotes)"
    )


def test_what_is_not_on_this_machine_is_not_looked_at(tmp_path: Path) -> None:
    """Its configuration is not known before it has been fetched, or made by another run."""
    for model in ("my-org/my-model", str(tmp_path / "runs" / "small")):
        settings = describe_teaching(tmp_path, tmp_path, tmp_path)
        settings["train"]["student"] = {"model": model, "layers": [90]}
        config = load_teaching(write_config(tmp_path / "taught.yaml", settings))
        assert config.train.untaught == Student(model=model, layers=(90,))


def test_a_run_from_seeds_takes_a_made_student_too(tiny_model_dir: Path, tmp_path: Path) -> None:
    settings = add_training(describe_run(tmp_path, URL), tmp_path, tiny_model_dir)
    plain = read_settings(tmp_path / "small.yaml", settings)
    settings["train"]["student"] = {"model": str(tiny_model_dir), "layers": [1]}
    made = read_settings(tmp_path / "small.yaml", settings)
    assert made.digest != plain.digest
    assert [stage.name for stage in list_stages(made)] == [s.name for s in list_stages(plain)]
    assert estimate_run(made) == estimate_run(plain)
    own = {"kind": "embedded", "model": str(tiny_model_dir), **TERMS}
    settings["models"]["own"] = own
    settings["train"] |= {"objective": "forward", "teacher": "own"}
    followed = read_settings(tmp_path / "small.yaml", settings)
    assert list_arms(followed) == ["before", "few-shot", "teacher", "after"]
    settings |= {"difficulty": {"model": "own"}, "select": {"model": "own"}}
    with pytest.raises(ConfigError) as refusal:
        read_settings(tmp_path / "small.yaml", settings)
    lines = [line.partition(": ")[2] for line in str(refusal.value).splitlines()]
    assert lines[0] == (
        f"difficulty.model: that is {tiny_model_dir}, and the student is made of {tiny_model_dir}: "
        "save it with `tutelage cut`, and name its folder here and in train.student; difficulty is "
        "measured on the student itself"
    )
    assert lines[1].startswith(f"select.model: that is {tiny_model_dir}, and the student is made")
