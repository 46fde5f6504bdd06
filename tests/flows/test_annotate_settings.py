"""An annotation's configuration: what is wrong with it is said at its place."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.annotate_settings import AnnotateConfig, load_annotation, load_settings, parse_settings
from flows.config import RunConfig
from generators.annotation import VoteSampling, VotingAnnotator, WeighingAnnotator
from generators.errors import ConfigError
from tests.flows.annotators import FAN, describe_annotation
from tests.flows.small_run import describe_run, write_config

Settings = dict[str, Any]
URL = "http://127.0.0.1:9/v1"
EMBEDDED = {
    "kind": "embedded",
    "model": "smollm2-135m-instruct",
    "licence": "apache-2.0",
    "outputs_may_train": "yes",
}
WEIGHER = {"name": "weigher", "model": "panel", "method": "probabilities"}


def find_faults(tmp_path: Path, change: Callable[[Settings], Any]) -> list[str]:
    """What is said of the small annotation's settings after a change, without the places."""
    settings = describe_annotation(tmp_path, URL)
    change(settings)
    file = write_config(tmp_path / "faces.yaml", settings)
    with pytest.raises(ConfigError) as error:
        load_annotation(file)
    return [line.partition(": ")[2] for line in str(error.value).splitlines()]


def test_settings_are_read_with_their_defaults(tmp_path: Path) -> None:
    settings = describe_annotation(tmp_path, URL)
    settings["annotators"].append(WEIGHER)
    del settings["annotators"][0]["votes"]
    config = load_annotation(write_config(tmp_path / "faces.yaml", settings))
    fans, _, weigher = config.annotators
    assert isinstance(fans, VotingAnnotator)
    assert (fans.votes, fans.sampling) == (8, VoteSampling(temperature=1.0, max_tokens=16))
    assert isinstance(weigher, WeighingAnnotator)
    assert (weigher.min_label_mass, weigher.top_logprobs) == (0.05, None)
    assert config.contexts == [FAN, None]
    assert config.root == tmp_path / "runs" / "faces"


CASES: dict[str, tuple[Callable[[Settings], Any], list[str]]] = {
    "an unknown model": (
        lambda s: s["annotators"][0].update(model="panle"),
        [
            "annotators.0.model: no model is called 'panle' (did you mean panel?) (models: panel)",
        ],
    ),
    "two of one name": (
        lambda s: s["annotators"][1].update(name="fans"),
        ["annotators: two annotators are called 'fans'"],
    ),
    "a name that is no file's": (
        lambda s: s["annotators"][1].update(name="a/b"),
        ["annotators.1.name: must match ^[A-Za-z0-9][A-Za-z0-9._-]*$, got 'a/b'"],
    ),
    "one label": (
        lambda s: s.update(labels={"joy": ""}),
        ["labels: must have at least 2, has 1"],
    ),
    "65 labels": (
        lambda s: s.update(labels={f"label {i}": "" for i in range(65)}),
        ["labels: must be at most 64, are 65"],
    ),
    "labels that read the same": (
        lambda s: s.update(labels={"C": "", "C++": ""}),
        [
            "labels: 'C' and 'C++' are the same without case and outer punctuation, as answers are "
            "read; rename one"
        ],
    ),
    "a label without a letter": (
        lambda s: s.update(labels={"joy": "", ":-(": ""}),
        ["labels: ':-(' has no letter or digit by which an answer could name it"],
    ),
    "a label of two lines": (
        lambda s: s.update(labels={"joy": "", "a\nb": ""}),
        ["labels: 'a\\nb' is more than one line; write it in one"],
    ),
    "greedy votes": (
        lambda s: s["annotators"][0].update(sampling={"temperature": 0}),
        [
            "annotators.0.sampling.temperature: 0 gives the same answer n times, which is one "
            "vote; raise it or set votes to 1"
        ],
    ),
    "votes of a weigher": (
        lambda s: s["annotators"].append(WEIGHER | {"votes": 3}),
        [
            "annotators.2.votes: not a setting: choose from name, model, persona, method, "
            "min_label_mass, top_logprobs"
        ],
    ),
    "an unknown method": (
        lambda s: s["annotators"][0].update(method="vote"),
        [
            "annotators.0.method: 'vote' is not a choice (did you mean votes?): choose from votes, "
            "probabilities"
        ],
    ),
    "labels that begin alike, at a server": (
        lambda s: s.update(
            labels={"very good": "", "very bad": ""},
            annotators=[WEIGHER],
            publish={"licence": "cc0-1.0"},
        ),
        [
            "annotators.0.method: a server tells the probabilities of first tokens alone, and the "
            "labels 'very good' and 'very bad' begin alike: rename one, or choose votes"
        ],
    ),
    "top_logprobs of an embedded model": (
        lambda s: s.update(
            models={"panel": EMBEDDED},
            annotators=[WEIGHER | {"top_logprobs": 5}],
            publish={"licence": "cc0-1.0"},
        ),
        [
            "annotators.0.top_logprobs: models.panel runs in this process, where the labels' "
            "probabilities are exact; take it out"
        ],
    ),
    "more votes than there are": (
        lambda s: s["publish"].update(min_votes=5),
        [
            f"publish.min_votes: 5 votes are needed, and the annotators (those who read as {FAN!r})"
            " give 4 together"
        ],
    ),
    "no such texts": (
        lambda s: s.update(texts=["nowhere.jsonl"]),
        [f"texts.0: nowhere.jsonl: no such file (looked for it from {Path.cwd()})"],
    ),
    "a budget without a price": (
        lambda s: s.update(budget={"max_cost_usd": 1.0}),
        [
            "models.panel.price: budget.max_cost_usd needs it: write "
            "`price: {input_usd_per_million: …, output_usd_per_million: …}`"
        ],
    ),
}


@pytest.mark.parametrize(("change", "faults"), CASES.values(), ids=CASES)
def test_what_is_wrong_is_said(
    tmp_path: Path, change: Callable[[Settings], Any], faults: list[str]
) -> None:
    assert find_faults(tmp_path, change) == faults


def test_labels_may_begin_alike_where_a_model_of_this_process_weighs(tmp_path: Path) -> None:
    settings = describe_annotation(tmp_path, URL) | {
        "models": {"panel": EMBEDDED},
        "labels": {"very good": "", "very bad": ""},
        "annotators": [WEIGHER],
        "publish": {"licence": "cc0-1.0"},
    }
    file = tmp_path / "texts.jsonl"
    file.write_text('{"text": "a", "licence": "CC0-1.0", "author": "us"}\n', encoding="utf-8")
    assert load_annotation(write_config(tmp_path / "faces.yaml", settings)).name == "faces"


def test_the_kinds_of_configurations_are_told_apart(tmp_path: Path) -> None:
    annotation = write_config(tmp_path / "faces.yaml", describe_annotation(tmp_path, URL))
    run = write_config(tmp_path / "small.yaml", describe_run(tmp_path, URL))
    assert type(load_settings(annotation)) is AnnotateConfig
    assert type(load_settings(run)) is RunConfig
    for file in (annotation, run):
        settings = load_settings(file)
        stored = settings.model_dump(mode="json", by_alias=True)
        assert parse_settings(stored) == settings
    with pytest.raises(ConfigError) as error:
        load_annotation(run)
    assert str(error.value) == f"{run}: the settings of a run from seeds. Type: tutelage run {run}"


@pytest.mark.parametrize(
    ("change", "decides"),
    [
        (lambda s: s.update(name="other"), False),
        (lambda s: s["models"]["panel"].update(concurrency=9), False),
        (lambda s: s.update(budget={"max_tokens": 9}), False),
        (lambda s: s["annotators"][0].update(persona="a child"), True),
        (lambda s: s["labels"].update(joy="another description"), True),
        (lambda s: s["publish"].update(min_votes=3), True),
        (lambda s: s.update(seed=1), True),
    ],
    ids=["name", "pace", "budget", "persona", "description", "min_votes", "seed"],
)
def test_the_digest_is_of_what_decides(
    tmp_path: Path, change: Callable[[Settings], Any], decides: bool
) -> None:
    settings = describe_annotation(tmp_path, URL)
    before = load_annotation(write_config(tmp_path / "faces.yaml", settings)).digest
    settings["labels"] = dict(settings["labels"])
    change(settings)
    after = load_annotation(write_config(tmp_path / "faces.yaml", settings)).digest
    assert (before != after) == decides
