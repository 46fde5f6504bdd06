"""Every mistake in a configuration is told at its line, in plain words, all at once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from flows.config_file import read_config
from generators.errors import ConfigError


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Embedded(Section):
    kind: Literal["embedded"] = "embedded"
    model: str
    temperature: float = Field(default=0.7, ge=0, le=2)


class Endpoint(Section):
    kind: Literal["openai"] = "openai"
    url: str
    model: str
    temperature: float = 0.7


Teacher = Annotated[Embedded | Endpoint, Field(discriminator="kind")]


class Sampler(Section):
    name: str
    n: int = 4
    teacher: Teacher | None = None


class Train(Section):
    steps: int = Field(default=60, gt=0)
    objective: Literal["sft", "forward", "reverse"] = "sft"
    batch: int | Literal["auto"] = "auto"
    bf16: bool = True

    @model_validator(mode="after")
    def check_steps(self) -> "Train":
        if self.objective == "reverse" and self.steps > 1000:
            raise ValueError("reverse needs steps of at most 1000: lower steps")
        return self


class Settings(Section):
    teacher: Teacher
    samplers: tuple[Sampler, ...] = ()
    teachers: dict[str, Teacher] = {}
    train: Train = Train()
    folder: Path = Path("runs")
    schema_: dict[str, Any] = Field(default={}, alias="schema")
    seeds: str | tuple[str, ...] = ()

    @field_validator("seeds")
    @classmethod
    def refuse_http(cls, seeds: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(seeds, str) and seeds.startswith("http:"):
            raise ValueError("a plain http address: use https")
        return seeds


GOOD = "teacher:\n  kind: embedded\n  model: smol\n"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    return Path("configs/demo.yaml")


def refusal(config: Path, text: str, **overrides: Any) -> list[str]:
    config.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_config(config, Settings, overrides=overrides)
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines()


def test_good_file_becomes_the_model(config: Path) -> None:
    config.write_text(
        "teacher: &small\n  kind: embedded\n  model: yes\n  temperature: 1e-1\n"
        "samplers:\n  - {name: 2024-01-01, n: 2, teacher: *small}\n"
        "teachers:\n  other:\n    <<: *small\n    model: no\n"
        "folder: out\nschema: {type: object, required: [a]}\n"
    )
    assert read_config(config, Settings) == Settings(
        teacher=Embedded(model="yes", temperature=0.1),
        samplers=(Sampler(name="2024-01-01", n=2, teacher=Embedded(model="yes", temperature=0.1)),),
        teachers={"other": Embedded(model="no", temperature=0.1)},
        folder=Path("out"),
        schema={"type": "object", "required": ["a"]},
    )


@pytest.mark.parametrize(
    ("word", "truth"), [("yes", True), ("no", False), ("on", True), ("false", False)]
)
def test_yes_and_no_are_understood_where_they_mean_true_and_false(
    config: Path, word: str, truth: bool
) -> None:
    config.write_text(f"teacher: {{kind: embedded, model: {word!r}}}\ntrain: {{bf16: {word}}}\n")
    settings = read_config(config, Settings)
    assert (settings.teacher.model, settings.train.bf16) == (word, truth)


def test_overrides_win_over_the_file(config: Path) -> None:
    config.write_text(GOOD + "folder: here\n")
    overrides = {"folder": Path("there"), "train.steps": 5}
    settings = read_config(config, Settings, overrides=overrides)
    assert (settings.folder, settings.train.steps) == (Path("there"), 5)


def test_a_wrong_override_is_told_as_such(config: Path) -> None:
    assert refusal(config, GOOD + "train:\n  steps: 7\n", **{"train.steps": "many"}) == [
        "configs/demo.yaml: train.steps (given on the command line): "
        "expected a whole number, got 'many'"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "teacher:\n  kind: embedded\n  model: smol\n  temprature: 1\n",
            "4:3: teacher.temprature: not a setting (did you mean temperature?)",
            id="unknown setting with a near name",
        ),
        pytest.param(
            "teacher:\n  kind: embedded\n  model: smol\n  url: x\n",
            "4:3: teacher.url: not a setting: choose from kind, model, temperature",
            id="unknown setting of this kind of section",
        ),
        pytest.param(
            GOOD + "schemo: {}\n",
            "4:1: schemo: not a setting (did you mean schema?)",
            id="unknown setting near an alias",
        ),
        pytest.param(
            "teacher:\n  kind: embedded\n  model: smol\n  temperature: abc\n",
            "4:16: teacher.temperature: expected a number, got 'abc'",
            id="text for a number",
        ),
        pytest.param(
            "teacher:\n  kind: embedded\n  model: 135\n",
            "3:10: teacher.model: expected text, got 135 (put it in quotes)",
            id="number for text",
        ),
        pytest.param(
            GOOD + "train:\n  bf16: maybe\n",
            "5:9: train.bf16: expected true or false, got 'maybe'",
            id="word for true or false",
        ),
        pytest.param(
            GOOD + "train:\n  steps: true\n",
            "5:10: train.steps: expected a whole number, got true",
            id="true for a number",
        ),
        pytest.param(
            GOOD + "train:\n  steps: '7'\n",
            "5:10: train.steps: expected a whole number, got '7'",
            id="quoted number",
        ),
        pytest.param(
            GOOD + "train:\n  steps: 0\n",
            "5:10: train.steps: must be greater than 0, got 0",
            id="out of bounds",
        ),
        pytest.param(
            GOOD + "train:\n",
            "4:1: train: expected settings (`name: value`), got nothing",
            id="empty section",
        ),
        pytest.param(
            GOOD + "train:\n  - steps\n",
            "4:1: train: expected settings (`name: value`), got a list",
            id="list for a section",
        ),
        pytest.param(
            GOOD + "samplers: few\n",
            "4:11: samplers: expected a list, got 'few'",
            id="text for a list",
        ),
        pytest.param(
            "teacher:\n  kind: embedded\n",
            "1:1: teacher.model: missing",
            id="missing setting",
        ),
        pytest.param(
            "train: {}\n",
            "1:1: teacher: missing: choose from embedded, openai",
            id="missing section",
        ),
        pytest.param(
            GOOD + "samplers:\n  - name: a\n  - n: 2\n",
            "6:5: samplers.1.name: missing",
            id="missing in a list item",
        ),
        pytest.param(
            GOOD + "train:\n  objective: forwrad\n",
            "5:14: train.objective: 'forwrad' is not a choice (did you mean forward?): "
            "choose from sft, forward, reverse",
            id="wrong choice",
        ),
        pytest.param(
            "teacher:\n  kind: opnai\n  model: smol\n",
            "2:9: teacher.kind: 'opnai' is not a choice (did you mean openai?): "
            "choose from embedded, openai",
            id="unknown kind of section",
        ),
        pytest.param(
            "teacher:\n  model: smol\n",
            "1:1: teacher.kind: missing: choose from embedded, openai",
            id="kind of section not said",
        ),
        pytest.param(
            GOOD + "samplers:\n  - name: a\n    teacher:\n      kind: openai\n      url: x\n"
            "      model: y\n      temprature: 1\n",
            "10:7: samplers.0.teacher.temprature: not a setting (did you mean temperature?)",
            id="optional section of a kind, in a list",
        ),
        pytest.param(
            GOOD + "teachers:\n  openai:\n    kind: openai\n    url: x\n    model: 3\n",
            "8:12: teachers.openai.model: expected text, got 3 (put it in quotes)",
            id="section named like its kind",
        ),
        pytest.param(
            GOOD + "train:\n  batch: lots\n",
            "5:10: train.batch: expected a whole number or auto, got 'lots'",
            id="union of a number and a word",
        ),
        pytest.param(
            GOOD + "seeds: 3\n",
            "4:8: seeds: expected text or a list, got 3 (put it in quotes)",
            id="union of text and a list",
        ),
        pytest.param(
            GOOD + "seeds: [a, 3]\n",
            "4:12: seeds.1: expected text, got 3 (put it in quotes)",
            id="item of a list in a union",
        ),
        pytest.param(
            GOOD + "seeds: http:x\n",
            "4:8: seeds: a plain http address: use https",
            id="a validator's own words",
        ),
        pytest.param(
            GOOD + "train:\n  objective: reverse\n  steps: 2000\n",
            "4:1: train: reverse needs steps of at most 1000: lower steps",
            id="a section's own validator",
        ),
        pytest.param(
            GOOD + "train:\n  steps: 1\n  bf16: true\n  steps: 2\n",
            "7:3: train.steps: set twice (first in line 5)",
            id="duplicate setting",
        ),
        pytest.param(
            GOOD + "folder: !path here\n",
            "4:9: folder: 'here' cannot be read as !path",
            id="unknown tag",
        ),
        pytest.param(
            GOOD + "schema: &loop {a: *loop}\n",
            "4:9: schema.a: an alias that contains itself",
            id="recursive alias",
        ),
        pytest.param(
            GOOD + "schema:\n  ? [a, b]\n  : 1\n",
            "5:5: schema: a list cannot name a setting",
            id="list as a name",
        ),
        pytest.param(
            GOOD + "schema:\n  <<: 3\n",
            "5:7: schema.<<: brings in no settings",
            id="merge of a number",
        ),
        pytest.param(
            "- teacher\n",
            "1:1: expected settings (`name: value`) at the top, got a list",
            id="list at the top",
        ),
        pytest.param(
            "teacher\n",
            "1:1: expected settings (`name: value`) at the top, got a single value",
            id="text at the top",
        ),
        pytest.param(
            "teacher: kind: embedded\n",
            "1:14: not YAML: mapping values are not allowed here",
            id="syntax",
        ),
        pytest.param(
            "teacher:\n\tkind: embedded\n", "2:1: not YAML: a tab where spaces belong", id="tab"
        ),
        pytest.param(
            "a: 1\nteacher: [1\nb: 2\n",
            "3:2: not YAML: expected ',' or ']', but got ':' "
            "(while parsing a flow sequence which begins in line 2)",
            id="unclosed list",
        ),
        pytest.param("a: *b\n", "1:4: not YAML: found undefined alias 'b'", id="undefined alias"),
        pytest.param(
            "a: 1\n---\nb: 2\n", "2:1: not YAML: but found another document", id="two documents"
        ),
    ],
)
def test_mistake_is_told_at_its_place(config: Path, text: str, message: str) -> None:
    assert refusal(config, text) == [f"configs/demo.yaml:{message}"]


def test_all_mistakes_are_told_in_the_order_of_the_file(config: Path) -> None:
    text = (
        "teacher:\n  kind: embedded\n  temprature: 1\n  temperature: hot\n"
        "train:\n  steps: -1\n  steps: 2\n  objectve: sft\npurpose: 1\n"
    )
    assert refusal(config, text) == [
        "configs/demo.yaml:1:1: teacher.model: missing",
        "configs/demo.yaml:3:3: teacher.temprature: not a setting (did you mean temperature?)",
        "configs/demo.yaml:4:16: teacher.temperature: expected a number, got 'hot'",
        "configs/demo.yaml:6:10: train.steps: must be greater than 0, got -1",
        "configs/demo.yaml:7:3: train.steps: set twice (first in line 6)",
        "configs/demo.yaml:8:3: train.objectve: not a setting (did you mean objective?)",
        "configs/demo.yaml:9:1: purpose: not a setting: "
        "choose from teacher, samplers, teachers, train, folder, schema, seeds",
    ]


def test_item_at_fault_does_not_make_its_list_short(config: Path) -> None:
    class Listed(Section):
        samplers: tuple[Sampler, ...] = Field(min_length=1)

    config.write_text("samplers:\n  - n: 1\n")
    with pytest.raises(ConfigError) as caught:
        read_config(config, Listed)
    assert str(caught.value) == "configs/demo.yaml:2:5: samplers.0.name: missing"


def test_problems_of_the_whole_are_told_at_their_places(config: Path) -> None:
    config.write_text(GOOD + "samplers:\n  - name: a\n  - name: a\n")

    def find_problems(settings: Settings) -> Iterator[tuple[str, str]]:
        yield "samplers.1.name", f"a second {settings.samplers[1].name!r}"
        yield "train.steps", "too many"

    with pytest.raises(ConfigError) as caught:
        read_config(config, Settings, check=find_problems)
    assert str(caught.value).splitlines() == [
        "configs/demo.yaml:1:1: train.steps: too many",
        "configs/demo.yaml:6:11: samplers.1.name: a second 'a'",
    ]


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n", "~\n"])
def test_empty_file(config: Path, text: str) -> None:
    assert refusal(config, text) == ["configs/demo.yaml: empty: write the run's settings into it"]


def test_missing_file_names_a_near_one(config: Path) -> None:
    config.write_text(GOOD)
    with pytest.raises(ConfigError) as near:
        read_config(Path("configs/dmeo.yaml"), Settings)
    with pytest.raises(ConfigError) as far:
        read_config(Path("elsewhere/x.yaml"), Settings)
    assert str(near.value) == ("configs/dmeo.yaml: no such file (did you mean configs/demo.yaml?)")
    assert str(far.value) == "elsewhere/x.yaml: no such file"


def test_directory_and_binary_file(config: Path) -> None:
    config.write_bytes(b"a: \xff\n")
    with pytest.raises(ConfigError) as binary:
        read_config(config, Settings)
    with pytest.raises(ConfigError) as folder:
        read_config(Path("configs"), Settings)
    assert str(binary.value) == "configs/demo.yaml: not UTF-8 text (byte 4)"
    assert str(folder.value) == "configs: a directory, where a YAML file is expected"


def test_path_is_told_as_it_was_given(config: Path) -> None:
    config.write_text("purpose: 1\n" + GOOD)
    with pytest.raises(ConfigError) as caught:
        read_config(Path("..") / Path.cwd().name / config, Settings)
    assert str(caught.value) == (
        f"../{Path.cwd().name}/configs/demo.yaml:1:1: purpose: not a setting: choose from teacher,"
        " samplers, teachers, train, folder, schema, seeds"
    )
