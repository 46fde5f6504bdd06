"""The viewer in a real browser: search, facets, keys, lineage, release and reject, and a row whose
texts try to do harm."""

import re
import threading
from collections.abc import Iterator
from urllib.parse import unquote

import pytest
from playwright.sync_api import Browser, Page, expect

from flows.overrides import read_log
from flows.store import QUARANTINE, REJECTED, TRAIN, RunDirectory
from flows.viewer import serving
from generators.records import Prompt
from tests.flows.small_run import read_cycle, rows_of
from tests.flows.viewer.chromium import Visitor, open_chromium
from tests.flows.viewer.viewed_run import HARM, copy_run


@pytest.fixture(scope="module")
def run(viewed: RunDirectory, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run of this module's own: rows are released and rejected on it."""
    return copy_run(viewed, tmp_path_factory.mktemp("browsed"))


@pytest.fixture(scope="module")
def url(run: RunDirectory) -> Iterator[str]:
    server = serving.make_server(run.root)
    with serving.listen(None) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield serving.describe(run.root, listener).url
        server.should_exit = True
        thread.join(30)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_chromium() as browser:
        yield browser


@pytest.fixture
def visitor(browser: Browser, url: str) -> Iterator[Visitor]:
    with browser.new_context() as context:
        visitor = Visitor(context.new_page(), url)
        yield visitor
        assert (visitor.strangers, visitor.faults) == ([], [])


def find(run: RunDirectory, reason: str) -> str:
    """The first quarantined answer that lies there for this reason."""
    return min(row["id"] for row in rows_of(run.place(QUARANTINE)) if row["reason"] == reason)


def test_words_are_searched_and_found(visitor: Visitor) -> None:
    page = visitor.go("/")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("harbour")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(r"^\d+ rows$"))
    for row in page.locator("ol.rows > li").all():
        assert {mark.inner_text().casefold() for mark in row.locator("mark").all()} == {"harbour"}
    expect(page.get_by_role("searchbox")).to_have_value("harbour")


def test_facet_narrows_the_list_and_is_taken_out_again(visitor: Visitor, run: RunDirectory) -> None:
    page = visitor.go("/rows")
    everything = page.get_by_role("heading", level=1).inner_text()
    facets = page.get_by_label("Facets")
    facets.get_by_role("link", name=re.compile("^quarantined")).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(
        f"{len(rows_of(run.place(QUARANTINE)))} rows"
    )
    facets.get_by_role("link", name=re.compile("^truncated")).click()
    assert {mark.inner_text() for mark in page.locator(".what").all()} == {"quarantined"}
    assert {mark.inner_text() for mark in page.locator(".marks b").all()} == {"truncated"}
    facets.get_by_role("link", name=re.compile("^truncated")).click()
    facets.get_by_role("link", name=re.compile("^quarantined")).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(everything)


def list_opened(page: Page) -> list[str]:
    """The ids of the rows on a page of the list."""
    links = [str(link.get_attribute("href")) for link in page.locator("ol.rows a.open").all()]
    return [unquote(link.partition("?")[0].rpartition("/")[2]) for link in links]


def test_list_is_sorted_and_paged(visitor: Visitor, run: RunDirectory) -> None:
    page = visitor.go("/rows")
    page.get_by_label("Sorted").select_option("longest answer first")
    page.wait_for_url("**/rows?*sort=-words*")
    first = list_opened(page)
    page.get_by_role("link", name=re.compile("^next")).click()
    page.wait_for_url("**/rows?*page=2*")
    expect(page.locator("ol.rows")).to_have_attribute("start", "51")
    second = list_opened(page)

    said = {r["id"]: r["completion"][-1]["content"] for r in rows_of(run.place(TRAIN))}
    said |= {
        r["id"]: r["completion"] for p in (QUARANTINE, REJECTED) for r in rows_of(run.place(p))
    }
    words = {id: len((text or "").split()) for id, text in said.items()}
    shown = [words[id] for id in (*first, *second)]
    assert len(first) == 50
    assert not {*first} & {*second}
    assert shown == sorted(words.values(), reverse=True)[: len(shown)]


def test_keys_walk_the_list_and_open_a_row(visitor: Visitor) -> None:
    page = visitor.go("/rows?decision=accept")
    rows, listed = page.locator("ol.rows a.open"), list_opened(page)
    page.keyboard.press("j")
    expect(rows.nth(0)).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    expect(rows.nth(2)).to_be_focused()
    page.keyboard.press("k")
    expect(rows.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/row/*&at=1")
    assert f"/row/{listed[1]}?" in page.url
    expect(page.locator(".up")).to_have_text(re.compile(r"^2 of \d+$"))
    page.keyboard.press("j")
    page.wait_for_url("**/row/*&at=2")
    assert f"/row/{listed[2]}?" in page.url
    page.keyboard.press("ArrowLeft")
    page.wait_for_url("**/row/*&at=1")
    page.keyboard.press("u")
    page.wait_for_url("**/rows?decision=accept")
    assert list_opened(page) == listed


def test_keys_mean_letters_in_a_field(visitor: Visitor) -> None:
    page = visitor.go("/rows")
    page.get_by_role("searchbox").focus()
    page.keyboard.type("jk/")
    assert page.get_by_role("searchbox").input_value() == "jk/"
    assert page.url == f"{visitor.url.rstrip('/')}/rows"
    page.keyboard.press("Escape")
    expect(page.get_by_role("searchbox")).not_to_be_focused()
    page.keyboard.press("j")
    expect(page.locator("ol.rows a.open").nth(0)).to_be_focused()


def test_everything_is_reached_by_tab_with_a_visible_focus(visitor: Visitor) -> None:
    page = visitor.go("/rows?decision=accept&q=apples")
    wanted = page.locator("a:visible, button:visible, input:visible, select:visible").count()
    seen: list[str] = []
    for _ in range(wanted + 40):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                "(() => { const e = document.activeElement; const s = getComputedStyle(e);"
                " return [e.tagName, e.id, e.getAttribute('href'), s.outlineStyle !== 'none']"
                ".join('|') })()"
            )
        )
        if len(seen) > 5 and seen[-1].startswith("BODY"):
            break
    reached = [entry for entry in dict.fromkeys(seen) if not entry.startswith("BODY")]
    assert any(entry.startswith("INPUT|q|") for entry in reached)
    assert any("/row/" in entry for entry in reached)
    assert any(entry.startswith("SELECT|sort") for entry in reached)
    assert any("decision=reject" in entry for entry in reached)
    assert [entry for entry in reached if entry.endswith("|false")] == []


def test_lineage_is_walked_up_to_the_seed_and_down_again(
    visitor: Visitor, run: RunDirectory
) -> None:
    prompts = {prompt.id: prompt for prompt in read_cycle(run, "prompts-", Prompt)}
    row = next(r for r in rows_of(run.place(TRAIN)) if r["round"] >= 1)
    seed = prompts[row["root_id"]]
    page = visitor.go(f"/row/{row['id']}")
    lineage = page.get_by_role("region", name="Lineage")
    lineage.get_by_role("link", name="To the seed").click()
    page.wait_for_url(f"**/row/{seed.id}")
    expect(page.locator(".question")).to_have_text(seed.text)
    below = page.get_by_role("region", name="Lineage").locator("ul.tree a")
    hrefs = [link.get_attribute("href") for link in below.all()]
    assert f"/row/{row['prompt_id']}" in hrefs
    below.nth(hrefs.index(f"/row/{row['prompt_id']}")).click()
    page.wait_for_url(f"**/row/{row['prompt_id']}")
    expect(page.locator(".lineage li.here")).to_contain_text(
        prompts[row["prompt_id"]].text.split()[0]
    )
    expect(page.locator(f"#a-{row['id']}")).to_be_visible()


def test_answers_stand_side_by_side_with_their_verdicts(
    visitor: Visitor, run: RunDirectory
) -> None:
    row = next(r for r in rows_of(run.place(TRAIN)) if r["verified_by"] == "reference")
    page = visitor.go(f"/row/{row['id']}")
    answers = page.locator("article.answer")
    boxes = [answer.bounding_box() for answer in answers.all()[:2]]
    assert boxes[0]
    assert boxes[1]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] < boxes[1]["x"]
    first = answers.first
    first.get_by_text(re.compile(r"^\d verdicts?, \d+ tokens?$")).click()
    expect(first.locator(".verdicts li").first).to_be_visible()


def test_row_is_released_with_a_reason(visitor: Visitor, run: RunDirectory) -> None:
    row = find(run, "truncated")
    page = visitor.go(f"/row/{row}")
    page.get_by_role("button", name="Release").click()
    assert page.evaluate("document.querySelector('#why:invalid') !== null")  # it asks for a reason
    page.get_by_label("Why it may be in the dataset").fill("read it: it ends where it should")
    page.get_by_role("button", name="Release").click()
    page.wait_for_url(f"**/row/{row}?done=release")
    expect(page.get_by_role("status")).to_contain_text("release")
    expect(page.get_by_role("region", name="What people did")).to_contain_text(
        "read it: it ends where it should"
    )
    assert read_log(run)[-1].row == row


def test_row_is_rejected_with_a_reason(visitor: Visitor, run: RunDirectory) -> None:
    row = max(r["id"] for r in rows_of(run.place(TRAIN)))
    page = visitor.go(f"/row/{row}")
    page.get_by_label("Why it must not stay in the dataset").fill("the answer is beside the point")
    page.get_by_role("button", name="Reject").click()
    page.wait_for_url(f"**/row/{row}?done=reject")
    expect(page.get_by_role("status")).to_have_text(
        "It is rejected and not in the dataset any more."
    )
    expect(page.get_by_role("heading", level=1)).to_have_text("Rejected: rejected by person")
    assert row not in {r["id"] for r in rows_of(run.place(TRAIN))}
    page.get_by_role("link", name="Versions").click()
    expect(page.get_by_role("main")).to_contain_text("rejected 1 row")


def test_hostile_row_harms_nothing(visitor: Visitor, run: RunDirectory) -> None:
    row = find(run, "hidden_characters")
    page = visitor.go("/rows?reason=hidden_characters")
    expect(page.locator("ol.rows .prompt").first).to_contain_text("<script>window.harmed = 1")
    page = visitor.go("/rows?q=word&reason=hidden_characters")
    expect(page.locator("ol.rows mark").first).to_have_text("word")
    visitor.assert_unharmed()
    page = visitor.go(f"/row/{row}")
    expect(page.locator(".question")).to_contain_text(HARM)
    expect(page.locator(".question .hidden-char").first).to_have_text("U+202E")
    answer = page.locator("article.answer.this")
    expect(answer).to_contain_text(HARM)
    assert (
        page.locator("article img, article script, article form, article a[href^=java]").count()
        == 0
    )
    answer.locator("details.rest > summary").first.click()
    expect(answer.locator("details.rest").first).to_contain_text("the end")
    assert page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    visitor.assert_unharmed()
    visitor.go("/viewer/rows?reason=hidden_characters")
    visitor.go("/")
    visitor.assert_unharmed()


def test_inline_script_would_not_run(visitor: Visitor) -> None:
    page = visitor.go("/rows")
    page.evaluate(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.harmed = 5';"
        " document.body.append(s); const i = new Image(); i.setAttribute('onerror',"
        " 'window.harmed = 6'); i.src = '/assets/none.png'; document.body.append(i); })()"
    )
    page.wait_for_timeout(200)
    visitor.assert_unharmed()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_follows_the_preferred_colours(browser: Browser, url: str, scheme: str) -> None:
    with browser.new_context(color_scheme="dark" if scheme == "dark" else "light") as context:
        page = Visitor(context.new_page(), url).go("/rows")
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(252, 252, 251)", "dark": "rgb(20, 24, 26)"}[scheme]
