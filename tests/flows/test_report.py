"""The report says what the facts say, loads nothing, and gives hostile text no power."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from pydantic import ValidationError

from filters.eliminate import RULES
from flows.facts import Facts, StageCount
from flows.facts_learning import Arm
from flows.glossary import OPERATORS as EXPLAINED_OPERATORS
from flows.glossary import explain_reason
from flows.intervals import Interval
from flows.picture import draw_flow
from flows.report import render_report, sum_operators
from flows.untrusted_text import show_added, show_text
from flows.wording import format_points, format_seconds, format_share, tell_learning, tell_skill
from generators.operator_sets import OPERATORS
from tests.flows.sample_facts import (
    BARE,
    COUNTS,
    EVALUATION,
    FACTS,
    LINEAGES,
    UNTRAINED,
    quarantine,
    reject,
    wilson,
)

VOID = {"meta", "br", "link", "img", "input", "hr"}
SECTIONS = [
    "funnel",
    "dataset",
    "operators",
    "samplers",
    "difficulty",
    "lineages",
    "training",
    "evaluation",
    "models",
    "warnings",
    "again",
]
LOADING = {"src", "srcset", "poster", "data", "action", "formaction", "background", "xlink:href"}


class Page(HTMLParser):
    """What a browser would make of a page: its text, tags, attributes and unbalanced ends."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.faults: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words)).replace("\u202f", " ")

    def find(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]

    def sections(self) -> list[str | None]:
        return [attrs.get("id") for attrs in self.find("section")]


def with_answer(answer: str) -> Facts:
    """The sample with this answer in its first lineage."""
    lineage = LINEAGES[0].model_copy(update={"answer": answer})
    return FACTS.model_copy(update={"lineages": (lineage,)})


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param("948 verified rows out of 250 seed prompts and 2 rounds", id="made"),
        pytest.param("655 by a program, 204 against machine-checkable", id="verified"),
        pytest.param("rose from 17.5 % to 52.6 % of 228 held-out prompts", id="learned"),
        pytest.param("46.2 to 59.0 %", id="interval"),
        pytest.param("+19.3 format, +15.8 skill", id="attribution"),
        pytest.param("214 quarantined", id="funnel"),
        pytest.param("182 of 500 evolved prompts", id="drops"),
        pytest.param("The answer is not the right one", id="explained"),
        pytest.param("No explanation is known for code_of_a_new_detector", id="unknown-code"),
        pytest.param("181,760", id="ledger"),
        pytest.param("41 % of samples pass", id="difficulty"),
        pytest.param("contains \u201cshade\u201d; no commas.", id="check"),
        pytest.param("60 steps over 934 rows in 3 min 8 s", id="training"),
        pytest.param("0.118", id="kl"),
        pytest.param("c0ffee5e1b7a9d20", id="hash"),
        pytest.param("Apache-2.0 sets no condition on the outputs.", id="terms"),
        pytest.param("share one lineage", id="warning"),
        pytest.param("transformers 5.23.0", id="version"),
    ],
)
def test_the_page_shows_what_the_facts_say(shown: str) -> None:
    assert shown in Page(render_report(FACTS)).text


def test_the_page_is_well_formed_and_has_every_section() -> None:
    page = Page(render_report(FACTS))
    assert (page.faults, page.open) == ([], [])
    assert page.sections() == SECTIONS
    links = {str(attrs["href"])[1:] for attrs in page.find("a")}
    assert links == {*page.sections(), "matter"}


@pytest.mark.parametrize(
    ("facts", "sections"),
    [
        pytest.param(
            UNTRAINED,
            [s for s in SECTIONS if s not in {"training", "evaluation"}],
            id="untrained",
        ),
        pytest.param(BARE, ["again"], id="seeds-only"),
    ],
)
def test_a_stage_that_has_not_run_leaves_no_trace(facts: Facts, sections: list[str]) -> None:
    page = Page(render_report(facts))
    assert page.sections() == sections
    assert {str(attrs["href"])[1:] for attrs in page.find("a")} == {*sections, "matter"}
    assert "zero-shot" not in page.text
    assert (page.faults, page.open) == ([], [])


def test_the_page_loads_nothing_and_forbids_it() -> None:
    html = render_report(FACTS)
    page = Page(html)
    loaded = [(tag, name) for tag, attrs in page.tags for name in attrs if name in LOADING]
    assert loaded == []
    assert [tag for tag, _ in page.tags if tag in {"script", "link", "iframe", "object"}] == []
    assert all(str(attrs["href"]).startswith("#") for attrs in page.find("a"))
    assert re.findall(r"url\(|@import", html) == []
    assert set(re.findall(r"https?://[^\"'\s<]*", html)) == {"http://www.w3.org/2000/svg"}
    policies = [a["content"] for a in page.find("meta") if a.get("http-equiv")]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_everything_drawn_or_tabled_has_a_name() -> None:
    page = Page(render_report(FACTS))
    tables, captions = len(page.find("table")), len(page.find("caption"))
    assert tables == captions > 8
    charts = page.find("svg")
    assert len(charts) > 20
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    assert len(page.find("h1")) == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param("<script>alert(1)</script>", id="script"),
        pytest.param('"><img src=x onerror=alert(1)>', id="attribute"),
        pytest.param("</p></section></main><style>*{display:none}</style>", id="closing-tags"),
        pytest.param("</style><svg onload=alert(1)>", id="style-end"),
        pytest.param("{{ facts }}{% raw %}", id="template"),
    ],
)
def test_markup_in_an_answer_stays_text(answer: str) -> None:
    page, tame = Page(render_report(with_answer(answer))), Page(render_report(with_answer("tame")))
    assert page.tags == tame.tags
    assert answer in "".join(page.words)


def test_markup_in_names_stays_text() -> None:
    evil = "<img src=x onerror=alert(1)>"
    count = StageCount(
        stage=evil,
        unit=evil,
        total=1,
        accepted=0,
        quarantined=0,
        rejected=1,
        reasons=(reject(evil, 1),),
        note=evil,
    )
    run = FACTS.run.model_copy(update={"name": evil, "versions": {evil: evil}, "command": evil})
    update = {"counts": (count,), "run": run, "warnings": (evil,)}
    page = Page(render_report(FACTS.model_copy(update=update)))
    assert page.find("img") == []
    assert page.faults == []
    assert "<img" not in draw_flow(FACTS.model_copy(update=update))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("a\u200bb", "U+200B", id="zero-width-space"),
        pytest.param("a\u202eb", "U+202E", id="bidi-override"),
        pytest.param("a\U000e0041b", "U+E0041", id="tag"),
        pytest.param("a\U000e0101b", "U+E0101", id="variation-selector"),
        pytest.param("a\u3164b", "U+3164", id="filler"),
        pytest.param("a\x00b", "U+0000", id="null"),
        pytest.param("a\ud800b", "U+D800", id="lone-surrogate"),
        pytest.param("a\u200db", "U+200D", id="joiner-between-letters"),
    ],
)
def test_hidden_characters_are_shown(text: str, shown: str) -> None:
    html = show_text(text)
    assert f">{shown}</span>" in html
    assert text[1] not in html
    assert shown in render_report(with_answer(text)).encode().decode()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\U0001f469\u200d\U0001f4bb", id="emoji-joined"),
        pytest.param("\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627", id="right-to-left"),
        pytest.param("caf\u00e9\n\tx", id="accents-and-breaks"),
    ],
)
def test_honest_characters_stay_as_they_are(text: str) -> None:
    assert show_text(text) == text


def test_each_text_finds_its_own_direction() -> None:
    page = Page(render_report(FACTS))
    said = [attrs for attrs in page.find("p") if attrs.get("class") == "said"]
    assert len(said) == sum(len(row.steps) + 1 for row in LINEAGES)
    assert all(attrs["dir"] == "auto" for attrs in said)


def test_a_huge_text_is_cut_and_says_so() -> None:
    html = render_report(with_answer("x" * 5_000_000))
    assert "… 4,998,500 more characters" in html
    assert len(html) < 200_000


def test_added_words_are_marked() -> None:
    assert show_added("a <b> red cat\n", "a cat") == ("a <ins>&lt;b&gt; red</ins> cat\n")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param(
            {"total": 5, "accepted": 3, "quarantined": 0, "rejected": 1},
            (
                "Value error, verify: 5 answers went in, but 4 came out (3 accepted, 0 "
                "quarantined, 1 "
                "rejected)"
            ),
            id="lost",
        ),
        pytest.param(
            {"total": 5, "accepted": 3, "quarantined": 1, "rejected": 1},
            ("Value error, verify: the reasons for quarantine account for 0 of 1 answers"),
            id="unexplained",
        ),
    ],
)
def test_counts_that_lose_subjects_cannot_be_built(fields: dict[str, int], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        StageCount.model_validate({"stage": "verify", "unit": "answers", **fields})
    assert caught.value.errors()[0]["msg"] == message


def test_newcombe_interval_of_a_difference() -> None:
    """The paper's example (a): 56 of 70 less 48 of 80, method 10."""
    difference = wilson(56, 70).minus(wilson(48, 80))
    assert round(difference.value, 4) == 0.2
    assert (round(difference.low, 4), round(difference.high, 4)) == (0.0524, 0.3339)


def test_the_parts_of_the_gain_add_up() -> None:
    parts = EVALUATION.attribution
    assert parts is not None
    assert parts.format.value + parts.skill.value == pytest.approx(parts.total.value)
    assert parts.total.value == pytest.approx(80 / 228)


def score(arm: Arm, passed: int) -> Arm:
    return arm.model_copy(update={"pass_at_1": wilson(passed, 228)})


def test_overlapping_intervals_claim_nothing() -> None:
    before, shown, after = EVALUATION.arms
    weak = EVALUATION.model_copy(update={"arms": (before, shown, score(after, 52))})
    assert "does not show that it learned" in tell_learning(weak)
    parts = weak.attribution
    assert parts is not None
    assert "no skill beyond it" in tell_skill(parts)
    page = Page(render_report(FACTS.model_copy(update={"evaluation": weak})))
    assert "big keep" not in [attrs.get("class") for attrs in page.find("dd")]
    assert "does not show that it learned" in page.text


def test_operators_are_added_up_over_rounds() -> None:
    totals = {total.operator: total for total in sum_operators(FACTS.operators)}
    assert totals["breadth"][1:] == (61, 44, 21)
    assert sum(total.tried for total in totals.values()) == COUNTS[0].total


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        pytest.param(format_share(0.5263), "52.6\u202f%", id="share"),
        pytest.param(format_share(1.0), "100\u202f%", id="all"),
        pytest.param(format_share(0.9999), "> 99.9\u202f%", id="nearly-all"),
        pytest.param(format_share(0.0001), "< 0.1\u202f%", id="nearly-none"),
        pytest.param(format_points(-0.0712), "\u22127.1", id="loss"),
        pytest.param(format_seconds(9.96), "10\u202fs", id="seconds"),
        pytest.param(format_seconds(3725), "1\u202fh 2\u202fmin", id="hours"),
    ],
)
def test_numbers_are_spelt_one_way(shown: str, expected: str) -> None:
    assert shown == expected


def test_an_interval_holds_its_value() -> None:
    with pytest.raises(ValidationError) as caught:
        Interval(value=0.5, low=0.6, high=0.7)
    assert caught.value.errors()[0]["msg"] == (
        "Value error, 0.5 lies outside its interval [0.6, 0.7]"
    )


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [
        pytest.param("http_429", "The model's server refused this request.", id="with-status"),
        pytest.param("near_duplicate_prompt", "Almost the same words", id="with-subject"),
        pytest.param("wrong: 41", "The answer is not the right one.", id="with-detail"),
        pytest.param("wrong_colour", "", id="unknown"),
    ],
)
def test_reasons_are_explained(reason: str, meaning: str) -> None:
    assert explain_reason(reason)[: len(meaning) or None] == meaning


def test_the_glossary_knows_every_rule_and_operator() -> None:
    assert [reason for reason in RULES if not explain_reason(reason)] == []
    assert set(OPERATORS) <= set(EXPLAINED_OPERATORS)


@pytest.mark.parametrize(
    ("facts", "shown", "missing"),
    [
        pytest.param(FACTS, ["2,590 answers", "1,280 rejected", "948 rows"], [], id="full"),
        pytest.param(UNTRAINED, ["948 rows"], ["pass@1", "steps"], id="untrained"),
        pytest.param(None, ["seeds", "evaluate"], ["948", "rejected"], id="no-run"),
    ],
)
def test_the_picture_stands_alone(
    facts: Facts | None, shown: list[str], missing: list[str]
) -> None:
    svg = draw_flow(facts)
    root = ElementTree.fromstring(svg)
    words = " ".join(root.itertext()).split("</style>")[-1]
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert [text for text in shown if text not in words] == []
    assert [text for text in missing if text in words] == []
    assert "prefers-color-scheme: dark" in svg


def test_the_picture_counts_what_fell_before_answering_at_elimination() -> None:
    check = StageCount(
        stage="check",
        unit="prompts",
        total=568,
        accepted=560,
        quarantined=8,
        rejected=0,
        reasons=(quarantine("no_verifier", 8),),
    )
    svg = draw_flow(FACTS.model_copy(update={"counts": (COUNTS[0], check, *COUNTS[1:])}))
    assert "54 quarantined" in svg
