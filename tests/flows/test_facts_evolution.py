"""What is told of the equality judge: its figures, their interval, and what followed from them."""

import pytest

from flows.card import render_card
from flows.facts_evolution import JudgeFacts
from flows.gather_evolution import gather_judge
from flows.report import render_report
from flows.wording import tell_judge
from flows.work import open_context
from tests.flows.conftest import Finished
from tests.flows.sample_facts import FACTS, wilson

ABLE = JudgeFacts(
    model="strong",
    pairs=132,
    unread=0,
    agreed=wilson(111, 132),
    balanced_accuracy=0.84,
    chance=0.5,
    kappa=0.68,
    trusted=True,
)
UNABLE = ABLE.model_copy(
    update={
        "unread": 1,
        "agreed": wilson(63, 132),
        "balanced_accuracy": 0.47,
        "kappa": -0.05,
        "trusted": False,
    }
)


@pytest.mark.parametrize(
    ("judge", "told"),
    [
        pytest.param(
            ABLE,
            "agreed with 132 hand-labelled pairs in 84.1 % of cases (95 % 76.9 to 89.4 %; Cohen's "
            "kappa 0.68). Its balanced accuracy is 84 %, more than 20 points above chance (50 %), "
            "so it was asked.",
            id="able",
        ),
        pytest.param(
            UNABLE,
            "agreed with 132 hand-labelled pairs in 47.7 % of cases (95 % 39.4 to 56.2 %; Cohen's "
            "kappa \u22120.05). 1 answer that could not be read counted as wrong. Its balanced "
            "accuracy is 47 %, not more than 20 points above chance (50 %), so it was not asked "
            "and the textual rules decided alone.",
            id="unable",
        ),
    ],
)
def test_judge_is_told(judge: JudgeFacts, told: str) -> None:
    assert tell_judge(judge).replace("\u202f", " ") == told


def test_report_and_card_tell_it_once() -> None:
    facts = FACTS.model_copy(update={"judge": UNABLE})
    sentence = f"The equality judge (strong) {tell_judge(UNABLE)}"
    for page in (render_report(facts).replace("&#39;", "'"), render_card(facts)):
        assert page.count(sentence) == page.count("equality judge") == 1
    for page in (render_report(FACTS), render_card(FACTS)):
        assert "equality judge" not in page


def test_judges_name_stays_text() -> None:
    judge = ABLE.model_copy(update={"model": "<b>a_b</b>\n# c\u200b"})
    facts = FACTS.model_copy(update={"judge": judge})
    assert "The equality judge (&lt;b&gt;a_b&lt;/b&gt;" in render_report(facts)
    assert r"The equality judge (\<b\>a\_b\</b\> # c\[U+200B\]) agreed with" in render_card(facts)


def test_judge_is_gathered_with_its_interval(finished: Finished) -> None:
    """188 of 188: Wilson's interval ends at n / (n + z²)."""
    with open_context(finished.run.root, finished.config) as context:
        judge = gather_judge(context)
    assert judge is not None
    assert (judge.agreed.value, judge.agreed.high) == (1.0, 1.0)
    assert judge.agreed.low == pytest.approx(188 / (188 + 1.959964**2))
    rest = (judge.model, judge.pairs, judge.unread, judge.balanced_accuracy, judge.kappa)
    assert rest == ("strong", 188, 0, 1.0, 1.0)
