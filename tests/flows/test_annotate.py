"""A small annotation, real in every part: what was asked, what was counted, what was published."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset

from flows.cli import main
from flows.stages.publish import hash_dataset
from flows.stages.soft_labels import CARD, QUARANTINE, SOFT_LABELS, read_figures
from flows.store import RunDirectory
from generators.errors import LicenceError, RunError
from generators.label_reading import read_vote
from tests.flows.annotators import (
    ASKED,
    FAN,
    GIVEN,
    LABELS,
    REFUSED,
    TEXTS,
    VOTES,
    Annotated,
    AnnotatorServer,
    conduct_annotation,
    describe_annotation,
    vote,
)
from tests.flows.kills import run_until
from tests.flows.small_run import rows_of, write_config
from tests.flows.test_budget import hide_sums
from tests.generators.loopback import Call


def recount(calls: list[Call]) -> dict[tuple[str, str | None], Counter[str]]:
    """What the server itself answered, by text and reader."""
    counted: dict[tuple[str, str | None], Counter[str]] = {}
    for call in calls:
        text = call.asked.rpartition("The text:\n")[2]
        context = FAN if FAN in call.asked else None
        said = read_vote(vote(call), LABELS)
        reason = "failed" if text == REFUSED else said.label or "unread"
        counted.setdefault((text, context), Counter())[reason] += 1
    return counted


def test_counts_are_what_the_annotators_said(annotated: Annotated) -> None:
    assert len(annotated.requests) == ASKED
    said = recount(annotated.requests)
    rows = [row for row in annotated.rows() if not row["pooled"]]
    assert len(rows) == len(said) == 2 * len(TEXTS)
    for row in rows:
        counted = said[row["text"], row["context"]]
        assert row["counts"] == {label: counted[label] for label in LABELS}
        assert (row["unread"], row["failed"]) == (counted["unread"], counted["failed"])
        n = sum(row["counts"].values())
        assert row["n"] == n
        if n:
            assert row["label_probs"] == {label: counted[label] / n for label in LABELS}
    assert sum(c["unread"] for c in said.values()) > 0


def test_a_pooled_row_is_the_sum_of_its_contexts(annotated: Annotated) -> None:
    rows = annotated.rows()
    for pooled in (row for row in rows if row["pooled"]):
        parts = [r for r in rows if r["root_id"] == pooled["root_id"] and not r["pooled"]]
        assert len(parts) == 2
        for label in LABELS:
            assert pooled["counts"][label] == sum(part["counts"][label] for part in parts)
        assert [a["id"] for a in pooled["annotators"]] == ["fans", "strangers"]
        assert sum(a["n"] for a in pooled["annotators"]) == pooled["n"]


def test_every_text_and_context_is_published_or_set_aside(annotated: Annotated) -> None:
    published, aside = (rows_of(annotated.run.place(p)) for p in (SOFT_LABELS, QUARANTINE))
    places = Counter((row["text"], row["context"], row["pooled"]) for row in published + aside)
    wanted = [(FAN, False), (None, False), (None, True)]
    assert places == Counter((text, *place) for text in TEXTS for place in wanted)
    assert len({row["id"] for row in published + aside}) == len(published + aside)


def test_ties_are_reported_with_their_counts(annotated: Annotated) -> None:
    published, aside = (rows_of(annotated.run.place(p)) for p in (SOFT_LABELS, QUARANTINE))
    for row in published:
        first, second = Counter(row["counts"]).most_common(2)
        assert (row["label"], True) == (first[0], first[1] > second[1])
    for row in aside:
        first, second = sorted(row["counts"].values(), reverse=True)[:2]
        expected = "no_votes" if row["n"] == 0 else "few_votes" if row["n"] < 2 else "tie"
        assert (row["reason"], row["label"]) == (expected, None)
        assert first == second or expected == "few_votes"
    reasons = Counter(row["reason"] for row in aside)
    assert reasons["tie"] > 0
    assert reasons["no_votes"] == 3
    assert annotated.figures().quarantined == reasons


def test_readers_see_the_same_text_differently(annotated: Annotated) -> None:
    rows = [row for row in annotated.rows() if not row["pooled"] and row["n"]]
    probs = {(row["text"], row["context"]): row["label_probs"] for row in rows}
    distances = [
        sum(abs(probs[text, FAN][name] - probs[text, None][name]) for name in LABELS) / 2
        for text in TEXTS
        if (text, FAN) in probs and (text, None) in probs
    ]
    (pair,) = annotated.figures().context_pairs
    assert (pair.one, pair.other, pair.texts) == (FAN, None, len(distances))
    assert pair.distance == pytest.approx(sum(distances) / len(distances))
    assert pair.distance > 0.1


def test_figures_are_counted_from_the_rows(annotated: Annotated) -> None:
    figures, said = annotated.figures(), recount(annotated.requests)
    pooled = {row["text"]: row for row in annotated.rows() if row["pooled"]}
    assert figures.accuracy is not None
    right = sum(pooled[TEXTS[i]]["label"] == name for i, name in GIVEN.items())
    assert (figures.accuracy.texts, figures.accuracy.share.value) == (3, right / 3)
    assert sum(b.texts for b in figures.entropy) == sum(row["n"] > 0 for row in pooled.values())
    for one, context in zip(figures.annotators, (FAN, None), strict=True):
        own = [counted for (_, reader), counted in said.items() if reader == context]
        assert one.asked == len(TEXTS) * VOTES[one.name]
        assert sum(one.unread.values()) == sum(counted["unread"] for counted in own)
        assert one.failed == {"http_400": VOTES[one.name]}
        assert one.read == one.asked - sum(one.unread.values()) - VOTES[one.name]
        assert one.alpha is not None
        assert one.label_mass is None
    assert figures.published + sum(figures.quarantined.values()) == 3 * len(TEXTS)


def test_the_dataset_opens_as_any_other(annotated: Annotated) -> None:
    file = str(annotated.run.place(SOFT_LABELS))
    rows: Any = load_dataset("parquet", data_files=file, split="train")
    assert len(rows) == annotated.figures().published
    row = rows[0]
    assert list(row["label_probs"]) == list(row["counts"]) == list(LABELS)
    assert sum(row["label_probs"].values()) == pytest.approx(1)
    assert (row["teacher"], row["licence"], row["text_licence"]) == ("panel", "cc0-1.0", "CC0-1.0")
    assert (row["author"], row["source"][:12]) == ("tutelage authors", "texts.jsonl:")
    assert "reason" not in row


def test_the_card_and_the_terminal_tell_the_figures(annotated: Annotated) -> None:
    figures = annotated.figures()
    card = annotated.run.place(CARD).read_text(encoding="utf-8")
    assert card.startswith("---\npretty_name: faces (tutelage)\nlicense: cc0-1.0\n")
    assert f"| tie | {figures.quarantined['tie']} |" in card
    assert f"| dataset hash | `{hash_dataset(annotated.run.place(SOFT_LABELS))}` |" in card
    assert "| fans | panel | a fan who has waited all night | votes | 40 |" in card
    aside = figures.rows - figures.published
    told = ", ".join(f"{count} {reason}" for reason, count in figures.quarantined.items())
    line = f"{figures.published} rows published, {aside} quarantined ({told}), of 10 texts"
    assert f"{line} in 2 contexts\n" in annotated.printed
    assert f"Krippendorff's alpha between annotators: {figures.alpha:.3f}\n" in annotated.printed


# Going on, and refusing


def test_a_finished_annotation_is_left_as_it_is(annotated: Annotated, tmp_path: Path) -> None:
    file = write_config(tmp_path / "faces.yaml", annotated.settings)
    run, printed = conduct_annotation(file)
    assert run.manifest == annotated.run.manifest
    assert printed.startswith(f"{run.root}: this run is finished; nothing is left to do.\n")


def test_kills_lose_and_double_nothing(annotated: Annotated, tmp_path: Path) -> None:
    with AnnotatorServer(delay_s=0.03) as server:
        config = write_config(tmp_path / "faces.yaml", describe_annotation(tmp_path, server.url))
        for count in (11, 47, 78):
            ended = run_until(config, lambda n=count: len(server.asked()) >= n, verb="annotate")
            assert ended.was_killed
        assert run_until(config, lambda: False, verb="annotate").code == 0
        asked = len(server.asked())
    run = RunDirectory(tmp_path / "runs" / "faces")
    for path in (SOFT_LABELS, QUARANTINE):
        assert hash_dataset(run.place(path)) == hash_dataset(annotated.run.place(path))
    assert read_figures(run) == annotated.figures()
    assert 0 <= asked - ASKED <= 3 * 4


def test_changed_settings_are_refused_and_redone_with_update(tmp_path: Path) -> None:
    with AnnotatorServer() as server:
        settings = describe_annotation(tmp_path, server.url)
        file = write_config(tmp_path / "faces.yaml", settings)
        conduct_annotation(file)
        settings["publish"]["min_votes"] = 4
        write_config(file, settings)
        with pytest.raises(RunError) as error:
            conduct_annotation(file)
        assert str(error.value).splitlines()[1] == "  publish.min_votes: 2 is now 4"
        run, _ = conduct_annotation(file, update=True)
        assert len(server.asked()) == ASKED
        assert {row["n"] >= 4 for row in rows_of(run.place(SOFT_LABELS))} == {True}

        labels = [*settings["labels"].items()]
        turned = settings | {"labels": dict(reversed(labels))}
        with pytest.raises(RunError) as error:
            conduct_annotation(write_config(file, turned))
        names = [name for name, _ in labels]
        assert str(error.value).splitlines()[1] == (
            f"  labels: {', '.join(names)} are now in the order {', '.join(reversed(names))}"
        )

        settings["annotators"][1]["persona"] = "a child"
        write_config(file, settings)
        run, _ = conduct_annotation(file, update=True)
        assert len(server.asked()) == ASKED + 60
        assert {row["context"] for row in rows_of(run.place(SOFT_LABELS))} == {FAN, "a child", None}


def test_terms_that_forbid_it_stop_it_before_the_first_request(tmp_path: Path) -> None:
    with AnnotatorServer() as server:
        settings = describe_annotation(tmp_path, server.url)
        settings["models"]["panel"]["outputs_may_train"] = "no"
        file = write_config(tmp_path / "faces.yaml", settings)
        with pytest.raises(LicenceError) as error:
            conduct_annotation(file)
        assert server.calls == []
    assert str(error.value) == (
        "models.panel: its terms (apache-2.0) do not let its outputs train a model. "
        "Nothing was asked of it. Take another teacher."
    )


def test_a_budget_stops_it_and_a_larger_one_lets_it_go_on(
    annotated: Annotated, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with AnnotatorServer() as server:
        settings = describe_annotation(tmp_path, server.url) | {"budget": {"max_tokens": 3000}}
        file = write_config(tmp_path / "faces.yaml", settings)
        assert main(["annotate", str(file), "--no-prefect"]) == 1
        last = capfd.readouterr().err.splitlines()[-1]
        assert hide_sums(last) == (
            "tutelage: the run has spent … tokens of budget.max_tokens (3,000), and the next "
            "request"
            " could make it …: raise budget.max_tokens and type the same command again; no answer"
            " is paid for twice"
        )
        before = len(server.asked())
        assert before < ASKED
        write_config(file, settings | {"budget": None})
        run, _ = conduct_annotation(file)
        # A refusal has no usage but is remembered as well, so nothing is asked twice.
        assert len(server.asked()) == ASKED
    assert hash_dataset(run.place(SOFT_LABELS)) == hash_dataset(annotated.run.place(SOFT_LABELS))
