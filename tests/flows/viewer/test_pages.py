"""The pages show what the run holds, and what a person does on them is done."""

import getpass
import json
from contextlib import closing
from pathlib import Path

import pytest

from flows.overrides import read_log
from flows.store import QUARANTINE, REJECTED, TRAIN, VIEWER, RunDirectory, hold_run
from flows.viewer.database import connect
from generators.records import Prompt
from tests.flows.conftest import Finished
from tests.flows.small_run import read_cycle, rows_of
from tests.flows.viewer.asker import Asker, read_words
from tests.flows.viewer.viewed_run import HARM, copy_run

WHY = "read it: <i>it ends</i> where it should"


@pytest.fixture(scope="module")
def asker(viewed: RunDirectory) -> Asker:
    return Asker(viewed.root)


def pick(run: RunDirectory, reason: str) -> str:
    """The first quarantined answer that lies there for this reason."""
    return min(r["id"] for r in rows_of(run.place(QUARANTINE)) if r["reason"] == reason)


def test_dashboard_tells_the_run(asker: Asker, viewed: RunDirectory) -> None:
    page = asker.get("/")
    words = read_words(page.text)
    counts = [len(rows_of(viewed.place(path))) for path in (TRAIN, QUARANTINE, REJECTED)]
    assert page.status_code == 200
    assert f"published rows {counts[0]}" in words
    assert f"{counts[1]} quarantined, {counts[2]} rejected" in words
    for title in ("From seeds to rows", "Operators", "Difficulty by round", "Duplicates", "Poison"):
        assert title in words
    assert "Cost What the answers took." in words
    assert page.text.count('<svg class="chart"') >= 5
    assert "Training" not in words


def test_dashboard_shows_curves_and_scores_of_a_student(trained: Finished, tmp_path: Path) -> None:
    run = copy_run(trained.run, tmp_path)
    page = Asker(run.root).get("/").text
    lines = [json.loads(line) for line in run.place("metrics.jsonl").read_text().splitlines()]
    with closing(connect(run.place(VIEWER))) as connection:
        losses = connection.execute(
            "select step, value from metrics where name = 'loss' order by step"
        ).fetchall()
    assert [*map(tuple, losses)] == [(e["step"], e["loss"]) for e in lines if "loss" in e]
    assert len(losses) == 40
    assert "Training loss from " in page
    assert "grad norm: from " in page
    assert "Scores with 95 % intervals." in page
    assert "Asked without examples, the student" in page


def test_list_offers_facets_with_counts(asker: Asker, viewed: RunDirectory) -> None:
    words = read_words(asker.get("/rows?decision=quarantine").text)
    assert f"{len(rows_of(viewed.place(QUARANTINE)))} rows" in words
    assert f"published {len(rows_of(viewed.place(TRAIN)))}" in words


def test_search_that_finds_nothing_says_so(asker: Asker) -> None:
    words = read_words(asker.get("/rows?q=nonsuch").text)
    assert "0 rows" in words
    assert "No row is like that. All words must occur in its prompt or in its answer." in words


def test_id_that_is_searched_for_opens_its_row(asker: Asker, viewed: RunDirectory) -> None:
    row = rows_of(viewed.place(TRAIN))[0]["id"]
    answer = asker.get(f"/rows?q={row}")
    assert (answer.status_code, answer.headers["location"]) == (302, f"/row/{row}")


def test_row_reads_like_a_page(asker: Asker, viewed: RunDirectory) -> None:
    row = next(r for r in rows_of(viewed.place(TRAIN)) if r["verified_by"] == "reference")
    page = asker.get(f"/row/{row['id']}")
    words = read_words(page.text)
    assert page.status_code == 200
    assert "Published: verified by reference" in words
    assert row["prompt"][-1]["content"] in words
    assert "Check the answer is" in words
    assert page.text.count('<article class="answer') >= 2
    assert "Lineage From the seed down to this prompt" in words
    assert "Why it must not stay in the dataset" in words
    assert '<textarea id="why" name="why" rows="2" required>' in page.text


def test_quarantined_row_says_why_and_on_what_evidence(asker: Asker, viewed: RunDirectory) -> None:
    words = read_words(asker.get(f"/row/{pick(viewed, 'truncated')}").text)
    assert "Quarantined: truncated The answer was cut at the token limit." in words
    assert "Why it may be in the dataset" in words


def test_prompt_has_a_page_too(asker: Asker, viewed: RunDirectory) -> None:
    child = next(p for p in read_cycle(viewed, "prompts-", Prompt) if p.round == 1)
    page = asker.get(f"/row/{child.id}")
    assert page.status_code == 200
    assert f'href="/row/{child.parent_id}"' in page.text


def test_failed_attempt_has_a_page_at_its_id(asker: Asker, viewed: RunDirectory) -> None:
    attempt = next(
        r for p in (REJECTED, QUARANTINE) for r in rows_of(viewed.place(p)) if ":" in r["id"]
    )
    page = asker.get("/row/" + attempt["id"].replace(":", "%3A"))
    assert page.status_code == 200
    assert "What it was to come from" in read_words(page.text)


def test_row_leads_to_its_neighbours_in_the_list(asker: Asker, viewed: RunDirectory) -> None:
    ids = [row["id"] for row in rows_of(viewed.place(TRAIN))]
    page = asker.get(f"/row/{ids[1]}?decision=accept&at=1").text
    assert f'rel="prev" href="/row/{ids[0]}?decision=accept&amp;at=0"' in page
    assert f'rel="next" href="/row/{ids[2]}?decision=accept&amp;at=2"' in page
    assert f"2 of {len(ids)}" in read_words(page)


def test_unknown_row_is_told(asker: Asker) -> None:
    page = asker.get("/row/nobody")
    assert page.status_code == 404
    assert "No row, prompt or answer of this run has this id." in read_words(page.text)


def test_raw_tables_can_be_read_and_asked(asker: Asker, viewed: RunDirectory) -> None:
    rows = sum(len(rows_of(viewed.place(path))) for path in (TRAIN, QUARANTINE, REJECTED))
    assert f"{rows} rows" in read_words(asker.get("/viewer/rows").text)
    sql = "select+count(*)+as+n+from+rows+where+decision='accept'"
    assert asker.get(f"/viewer.json?sql={sql}&_shape=array").json() == [
        {"n": len(rows_of(viewed.place(TRAIN)))}
    ]


def test_raw_tables_cannot_be_written(asker: Asker) -> None:
    answer = asker.get("/viewer.json?sql=delete+from+rows")
    assert answer.status_code == 400
    assert answer.json()["error"] == "Statement must be a SELECT"


def test_assets_are_our_own_and_no_others(asker: Asker) -> None:
    assert asker.get("/assets/viewer.js").headers["content-type"].startswith("text/javascript")
    assert "--keep" in asker.get("/assets/report.css").text
    assert asker.get("/assets/plugin.py").status_code == 404


def test_released_row_is_in_the_dataset_and_on_record(own: RunDirectory) -> None:
    row = pick(own, "truncated")
    asker = Asker(own.root)
    answer = asker.post_form(f"/row/{row}", f"/row/{row}/release", why=WHY)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/row/{row}?done=release")

    (act,) = read_log(own)
    assert (act.row, act.decision, act.why, act.by) == (row, "accept", WHY, getpass.getuser())
    page = asker.get(answer.headers["location"]).text
    published = row in {r["id"] for r in rows_of(own.place(TRAIN))}
    said = "It is released and in the dataset now." if published else "The release is on record"
    assert said in read_words(page)
    assert WHY in read_words(page)
    assert "<i>it ends</i>" not in page


def test_rejected_row_leaves_the_dataset_and_may_come_back(own: RunDirectory) -> None:
    row = rows_of(own.place(TRAIN))[0]["id"]
    asker = Asker(own.root)
    answer = asker.post_form(f"/row/{row}", f"/row/{row}/reject", why=WHY)
    page = read_words(asker.get(answer.headers["location"]).text)
    assert "It is rejected and not in the dataset any more." in page
    assert "Rejected: rejected by person" in page
    assert row not in {r["id"] for r in rows_of(own.place(TRAIN))}

    asker.post_form(f"/row/{row}", f"/row/{row}/release", why="looked again")
    assert row in {r["id"] for r in rows_of(own.place(TRAIN))}
    assert [act.decision for act in read_log(own)] == ["reject", "accept"]


def test_version_that_follows_from_an_act_is_shown(own: RunDirectory) -> None:
    row = rows_of(own.place(TRAIN))[0]["id"]
    asker = Asker(own.root)
    asker.post_form(f"/row/{row}", f"/row/{row}/reject", why=WHY)
    words = read_words(asker.get("/versions").text)
    assert "rejected 1 row" in words
    assert "From version 1 to version 2," in words
    assert "1 went" in words
    assert "rejected by person 1" in words


@pytest.mark.parametrize("why", ["", "  \n "])
def test_reason_must_not_be_empty(own: RunDirectory, why: str) -> None:
    row = pick(own, "truncated")
    answer = Asker(own.root).post_form(f"/row/{row}", f"/row/{row}/release", why=why)
    assert answer.status_code == 400
    assert "The reason is empty; say for what reason the row may be trusted" in read_words(
        answer.text
    )
    assert read_log(own) == []


def test_run_that_is_held_is_told_and_the_reason_is_kept(own: RunDirectory) -> None:
    row = pick(own, "truncated")
    with hold_run(own.root):
        answer = Asker(own.root).post_form(f"/row/{row}", f"/row/{row}/release", why=WHY)
    assert answer.status_code == 400
    words = read_words(answer.text)
    assert (
        f"{own.root}: another process is working on this run. Wait for it, or give this run "
        "another name in its configuration."
    ) in words
    assert f"{WHY}" in words
    assert read_log(own) == []


def test_row_that_cannot_be_released_is_told(own: RunDirectory) -> None:
    row = rows_of(own.place(TRAIN))[0]["id"]
    answer = Asker(own.root).post_form(f"/row/{row}", f"/row/{row}/release", why=WHY)
    assert answer.status_code == 400
    assert f"{row}: is published already (published); only what lies in quarantine" in read_words(
        answer.text
    )


def test_address_of_a_form_takes_nothing_else(asker: Asker, viewed: RunDirectory) -> None:
    page = asker.get(f"/row/{pick(viewed, 'truncated')}/release")
    assert page.status_code == 405
    assert "This address takes forms." in read_words(page.text)


def test_run_that_has_gone_on_can_be_read_anew(own: RunDirectory) -> None:
    asker = Asker(own.root)
    assert "The run has gone on" not in asker.get("/rows").text
    stages = {entry.stage for entry in own.manifest.files.values()}
    own.keep_stages(stages - {"publish"})
    assert "The run has gone on since these pages were made." in asker.get("/rows").text
    assert asker.post_form("/rows", "/refresh").status_code == 303
    words = read_words(asker.get("/rows").text)
    assert "The run has gone on" not in words
    assert "Nothing is published yet, so there are no rows." in words
    assert "Nothing is published yet. The run has come to " in read_words(asker.get("/").text)


def test_hostile_text_stands_there_as_text(asker: Asker, viewed: RunDirectory) -> None:
    row = pick(viewed, "hidden_characters")
    page = asker.get(f"/row/{row}").text
    assert HARM in read_words(page)
    for pages in (page, asker.get("/rows?reason=hidden_characters").text, asker.get("/").text):
        assert pages.count("<script") == 1
        assert "<img" not in pages
        assert "javascript:" not in pages.replace("&#34;javascript:window", "")
        assert "\u202e" not in pages
    assert 'title="right-to-left override">U+202E</span>' in page
    assert "the end" in read_words(page)
