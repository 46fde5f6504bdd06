"""What only the whole configuration can tell to be wrong, by its literal message."""

from pathlib import Path
from typing import Any

import pytest

from generators.errors import ConfigError
from generators.operator_sets import OPERATORS
from tests.flows.small_run import add_training, describe_run, read_settings, write_lines
from tests.flows.test_refusals import change

URL = "http://127.0.0.1:9/v1"
TERMS = {"licence": "apache-2.0", "outputs_may_train": "yes"}
EMBEDDED = {"kind": "embedded", **TERMS}
HOSTED = {"kind": "openai", "base_url": URL, "model": "weak", **TERMS}
VOTES = {"domains": ["maths"]}
LICENCELESS = {"first": "a", "second": "a!", "label": "equal", "domain": "code", "author": "me"}
PAIR = LICENCELESS | {"licence": "CC0-1.0"}
FOLLOWING = {"objective": "forward"}
PRICES = [{"input_usd_per_million": usd, "output_usd_per_million": 1.0} for usd in (1.0, 2.0)]


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        pytest.param(
            "answer.samplers.0.model",
            "weka",
            "answer.samplers.0.model: no model is called 'weka' (did you mean weak?) "
            "(models: weak, strong)",
            id="unknown model",
        ),
        pytest.param(
            "train",
            FOLLOWING | {"teacher": "nobody"},
            "train.teacher: no model is called 'nobody' (models: weak, strong)",
            id="unknown teacher",
        ),
        pytest.param(
            "seeds.paths.0",
            "nowhere.jsonl",
            f"seeds.paths.0: nowhere.jsonl: no such file (looked for it from {Path.cwd()})",
            id="no file",
        ),
        pytest.param(
            "runs_dir",
            "s3://bucket/runs",
            "runs_dir: s3://bucket/runs: run directories lie on a local disk; name a folder",
            id="remote runs",
        ),
        pytest.param(
            "journal",
            "postgresql://me:secret@host/answers",
            "journal: postgresql://me:***@host/answers: a run's directory keeps this URL, so no "
            "password may be in it; take it out, and set PGPASSWORD or write the password into "
            "~/.pgpass",
            id="password in the journal's URL",
        ),
        pytest.param(
            "journal",
            "mysql://host/answers",
            "journal: mysql:// is no place for a journal; name a file, or a postgresql:// URL",
            id="journal in another database",
        ),
        pytest.param(
            "answer.samplers.1.name",
            "cheap",
            "answer.samplers: two samplers are called 'cheap'; give each its own name",
            id="twins",
        ),
        pytest.param(
            "answer.samplers.1.name",
            "judge",
            "answer.samplers.1.name: 'judge' cannot be a sampler's name; it names files: letters, "
            "digits, _ . and -, and none of difficulty, judge",
            id="sampler with a stage's name",
        ),
        pytest.param(
            "answer.samplers.1.name",
            "../strong",
            "answer.samplers.1.name: '../strong' cannot be a sampler's name; it names files: "
            "letters, digits, _ . and -, and none of difficulty, judge",
            id="sampler with a path for a name",
        ),
        pytest.param(
            "evolve.operators",
            ["deepn"],
            f"evolve.operators.0: 'deepn' is no operator (did you mean deepen?) "
            f"(known: {', '.join(OPERATORS)})",
            id="unknown operator",
        ),
        pytest.param(
            "train.objective",
            "forward",
            "train.objective: forward follows a teacher: name train.teacher",
            id="no teacher",
        ),
        pytest.param(
            "train",
            FOLLOWING | {"teacher": "strong"},
            "train.teacher: its logits are needed, so it must run in this process: name an "
            "embedded model, or choose objective sft",
            id="distant teacher",
        ),
        pytest.param(
            "evolve.constraints",
            ["punctuation:no_comma", "change_case:english_capital"],
            "evolve.constraints: all of these only forbid something, so gibberish would meet them; "
            "add one that asks for something, such as length_constraints:number_words",
            id="constraints that only forbid",
        ),
        pytest.param(
            "evolve.choice",
            "thompson",
            "evolve.credit: thompson chooses by the credit.json of an earlier run, and uniform by "
            "nothing: give both choice: thompson and credit, or neither",
            id="nothing to choose by",
        ),
        pytest.param(
            "consensus",
            VOTES | {"min_votes": 6},
            "consensus.min_votes: 6 votes are needed, and the samplers' n together give 5; lower "
            "it, or "
            "raise an n",
            id="too few samples to vote",
        ),
        pytest.param(
            "consensus",
            VOTES | {"domains": ["maths", "writing"]},
            "consensus.domains.1: 'writing' is one of evolve.open_domains, where no single answer "
            "is right; take it out of one of the two",
            id="vote on taste",
        ),
        pytest.param(
            "difficulty",
            {"model": "pupil"},
            "difficulty.model: no model is called 'pupil' (models: weak, strong)",
            id="unknown student",
        ),
        pytest.param(
            "evolve",
            {"model": "strong", "choice": "thompson", "credit": __file__},
            f"evolve.credit: {__file__}: not the credit.json of a run: top: Invalid JSON: "
            "trailing characters at line 1 column 3. Give the file that lies in the run "
            "directory.",
            id="credit of something else",
        ),
        pytest.param(
            "difficulty",
            {"model": "weak", "band": [0.5, 0.5]},
            "difficulty.band: [0.5, 0.5]: give two rates from 0 to 1, the lower one first, or null",
            id="empty band",
        ),
        pytest.param(
            "difficulty",
            {"model": "weak", "sampling": {"temperature": 0}},
            "difficulty.sampling.temperature: 0 gives the same answer k times; raise it",
            id="greedy student",
        ),
        pytest.param(
            "train",
            None,
            "evaluate: there is no student to evaluate: add a train section",
            id="no student",
        ),
    ],
)
def test_faults_of_the_whole_are_told(tmp_path: Path, place: str, value: Any, message: str) -> None:
    settings = add_training(describe_run(tmp_path, URL), tmp_path, tmp_path / "student")
    with pytest.raises(ConfigError) as caught:
        read_settings(tmp_path / "small.yaml", change(settings, place, value))
    assert str(caught.value).partition(": ")[2] == message


FEW = (
    "evolve.calibration: {0}: 2 labelled pairs (1 equal, 1 different) are too few to measure the "
    "equality judge by; give at least 100, of which 25 equal and 25 different; or set "
    "evolve.equality_judge to no"
)
BAD = (
    "evolve.calibration: {0}:1: licence: is missing\n"
    "{1}: evolve.calibration: {0}:2: label: must be one of equal, different"
)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        pytest.param([PAIR, PAIR | {"second": "b", "label": "different"}], FEW, id="few"),
        pytest.param([LICENCELESS, PAIR | {"second": "b", "label": "same"}], BAD, id="bad lines"),
        pytest.param(
            None,
            f"evolve.calibration: {{0}}: no such file (looked for it from {Path.cwd()})",
            id="none",
        ),
    ],
)
def test_labelled_pairs_must_be_good_where_a_judge_is_asked(
    tmp_path: Path, lines: list[dict[str, Any]] | None, message: str
) -> None:
    file, config = tmp_path / "pairs.jsonl", tmp_path / "small.yaml"
    if lines is not None:
        write_lines(file, lines)
    settings = change(describe_run(tmp_path, URL), "evolve.calibration", str(file))
    with pytest.raises(ConfigError) as caught:
        read_settings(config, settings)
    told = str(caught.value)
    assert told.partition(": ")[2] == message.format(file, told.partition(": ")[0])

    unjudged = change(settings, "evolve.equality_judge", False)
    assert read_settings(config, unjudged).evolve is not None


def test_difficulty_is_measured_on_the_student(tmp_path: Path) -> None:
    settings = add_training(describe_run(tmp_path, URL), tmp_path, tmp_path / "student")
    settings["models"]["other"] = EMBEDDED | {"model": "smollm2-135m-instruct"}
    settings["difficulty"] = {"model": "other"}
    with pytest.raises(ConfigError) as caught:
        read_settings(tmp_path / "small.yaml", settings)
    assert str(caught.value).partition(": ")[2] == (
        f"difficulty.model: that is smollm2-135m-instruct, and the student is {tmp_path}/student; "
        "difficulty is measured on the student itself"
    )


def test_greedy_sampler_has_one_vote(tmp_path: Path) -> None:
    settings = describe_run(tmp_path, URL) | {"consensus": VOTES}
    settings = change(settings, "answer.samplers.1.sampling.temperature", 0)
    with pytest.raises(ConfigError) as caught:
        read_settings(tmp_path / "small.yaml", settings)
    assert str(caught.value).partition(": ")[2] == (
        "answer.samplers.1.sampling.temperature: 0 gives the same answer n times, which is one "
        "vote; raise it or set n to 1"
    )


def test_model_in_this_process_takes_no_schema(tmp_path: Path) -> None:
    settings = change(describe_run(tmp_path, URL), "models.weak", EMBEDDED)
    with pytest.raises(ConfigError) as caught:
        read_settings(
            tmp_path / "small.yaml", change(settings, "answer.samplers.0.structured", True)
        )
    assert str(caught.value).partition(": ")[2] == (
        "answer.samplers.0.structured: models.weak runs in this process, where no schema can be "
        "asked for; take it out"
    )


def test_one_model_has_one_price(tmp_path: Path) -> None:
    settings = describe_run(tmp_path, URL) | {"budget": {"max_cost_usd": 1.0}}
    for name, model in (("weak", "weak"), ("strong", "weak")):
        price = PRICES[name == "strong"]
        settings = change(settings, f"models.{name}", HOSTED | {"model": model, "price": price})
    with pytest.raises(ConfigError) as caught:
        read_settings(tmp_path / "small.yaml", settings)
    assert str(caught.value).partition(": ")[2] == (
        "models.strong.price: models.weak is the same model at another price; state one price"
    )
