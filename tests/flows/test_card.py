"""The cards carry front matter the Hub reads, the run's own counts, and inert texts."""

import re
from typing import Any

import pytest
from ruamel.yaml import YAML

from flows.card import render_card, render_model_card
from flows.stages.publish import ROW_SCHEMA
from generators.errors import RunError
from tests.flows.sample_facts import BARE, DATASET, FACTS, LINEAGES, TRAINING, UNTRAINED


def split_card(card: str) -> tuple[Any, str]:
    """The front matter as data, and the body."""
    opening, front, body = card.split("---\n", 2)
    assert opening == ""
    return YAML(typ="safe").load(front), body


def test_the_dataset_card_has_the_front_matter_of_the_hub() -> None:
    front, _ = split_card(render_card(FACTS))
    assert front["license"] == "apache-2.0"
    assert front["task_categories"] == ["text-generation"]
    assert front["size_categories"] == ["n<1K"]
    assert "distillation" in front["tags"]
    assert front["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "train.parquet"}]}
    ]


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param("948 verified rows out of 250 seed prompts", id="made"),
        pytest.param("| **all** | **948** |", id="rows"),
        pytest.param("| evolved in round 1 | 228 |", id="rounds"),
        pytest.param("| `constraint` | Every machine-checkable demand", id="verification"),
        pytest.param("| Verify (answers) | 2,590 | 1,096 | 214 | 1,280 |", id="stages"),
        pytest.param("301 rows lie in `quarantine.parquet` and 1,523", id="held-back"),
        pytest.param('load_dataset("parquet", data_files="train.parquet"', id="loading"),
        pytest.param("| `parent_id` |", id="columns"),
        pytest.param("yes: Apache-2.0 sets no condition on the outputs.", id="terms"),
        pytest.param(DATASET.hash, id="hash"),
        pytest.param("share one lineage", id="warning"),
    ],
)
def test_the_dataset_card_shows_the_runs_counts(shown: str) -> None:
    assert shown in split_card(render_card(FACTS))[1]


def test_the_card_of_a_later_cycle_says_what_its_counts_are_of() -> None:
    later = FACTS.model_copy(update={"run": FACTS.run.model_copy(update={"cycle": 3})})
    shown = "948 verified rows of 3 cycles, the last of them out of 250 seed prompts and 2 rounds"
    assert shown in split_card(render_card(later))[1]


def test_the_card_explains_the_columns_that_are_published() -> None:
    _, body = split_card(render_card(FACTS))
    table = body.split("## Columns")[1].split("##")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == ROW_SCHEMA.names


def test_a_card_before_training_equals_the_one_after() -> None:
    assert render_card(UNTRAINED) == render_card(FACTS)


@pytest.mark.parametrize(
    ("rows", "category"),
    [(999, "n<1K"), (1_000, "1K<n<10K"), (2_000_000, "1M<n<10M")],
    ids=["small", "next", "large"],
)
def test_size_category(rows: int, category: str) -> None:
    counts = {
        f"by_{name}": {key: rows}
        for name, key in {
            "domain": "writing",
            "verified_by": "program",
            "operator": "seed",
            "licence": "CC0-1.0",
        }.items()
    }
    dataset = DATASET.model_copy(update={"rows": rows, "by_round": {0: rows}, **counts})
    front, _ = split_card(render_card(FACTS.model_copy(update={"dataset": dataset})))
    assert front["size_categories"] == [category]


def test_a_text_cannot_leave_its_block_or_cell() -> None:
    answer = "````\n# Not a heading\n---\n\u200b"
    lineage = LINEAGES[0].model_copy(update={"answer": answer})
    warning = "a | b\n# c <script>"
    facts = FACTS.model_copy(update={"lineages": (lineage,), "warnings": (warning,)})
    _, body = split_card(render_card(facts))
    assert "`````text\n````\n# Not a heading\n---\n[U+200B]\n`````" in body
    assert "- a \\| b # c \\<script\\>" in body


def test_a_name_cannot_break_the_front_matter() -> None:
    run = FACTS.run.model_copy(update={"name": "x: [y\nlicense: mit"})
    front, _ = split_card(render_card(FACTS.model_copy(update={"run": run})))
    assert front["license"] == "apache-2.0"
    assert front["pretty_name"] == "x: [y\nlicense: mit (tutelage)"


def test_the_model_card_has_base_model_scores_and_parts() -> None:
    front, body = split_card(render_model_card(FACTS))
    assert front["base_model"] == TRAINING.base_model
    assert front["library_name"] == "transformers"
    assert front["license"] == "apache-2.0"
    plain = body.replace("\u202f", " ")
    assert "| after, zero-shot | 228 | 52.6 % | 46.2 to 59.0 % | 76 % (k = 4, 50 prompts)" in plain
    assert "worth +19.3 points" in plain
    assert "stands +15.8 points" in plain
    assert f"| dataset hash | `{DATASET.hash}` |" in plain


def test_a_model_card_without_evaluation_has_no_scores() -> None:
    body = render_model_card(FACTS.model_copy(update={"evaluation": None}))
    assert "## Evaluation" not in body
    assert "pass@" not in body


@pytest.mark.parametrize(
    ("render", "facts", "message"),
    [
        pytest.param(
            render_card,
            BARE,
            (
                "run demo: there is no dataset to describe yet; finish the run first (tutelage run "
                "CONFIG)"
            ),
            id="dataset",
        ),
        pytest.param(
            render_model_card,
            UNTRAINED,
            (
                "run demo: there is no student to describe yet; train one first (tutelage train "
                "CONFIG)"
            ),
            id="student",
        ),
    ],
)
def test_nothing_to_describe(render: Any, facts: Any, message: str) -> None:
    with pytest.raises(RunError) as caught:
        render(facts)
    assert str(caught.value) == message
