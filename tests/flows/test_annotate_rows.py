"""Annotations merged into rows, and the figures that are drawn from them."""

import math
from collections import Counter
from typing import Any

import pytest
import torch

from flows.annotate_figures import bin_entropies, compare_contexts, find_alpha
from flows.annotate_rows import SoftLabel, find_entropy, find_majority, merge_annotations
from generators.annotation import Annotation, LabelledText

LABELS = ("joy", "sadness", "anger")
FAN = "a fan"


def make_text(id: str = "t") -> LabelledText:
    return LabelledText(
        id=id, text=f"{id}.", domain="d", label=None, licence="CC0-1.0", author="us", source="f:1"
    )


def vote(name: str, *counts: int, text: str = "t", context: str | None = None) -> Annotation:
    n = sum(counts)
    return Annotation(
        text_id=text,
        annotator=name,
        model="m@1",
        context=context,
        method="votes",
        counts=dict(zip(LABELS, counts, strict=True)),
        n=n,
        probs={label: c / n for label, c in zip(LABELS, counts, strict=True)} if n else None,
        label_mass=None,
        unread={"no_label": 2},
        failed={},
        template_hash="h",
    )


def weigh(name: str, *probs: float, context: str | None = None) -> Annotation:
    return vote(name, 0, 0, 0, context=context).model_copy(
        update={
            "method": "probabilities",
            "model": "w@1",
            "n": 1 if probs else 0,
            "probs": dict(zip(LABELS, probs, strict=True)) if probs else None,
            "label_mass": 0.5,
            "unread": {},
        }
    )


def merge(*annotations: Annotation, min_votes: int = 1) -> list[SoftLabel]:
    contexts = list(dict.fromkeys(a.context for a in annotations))
    texts = [make_text(id) for id in dict.fromkeys(a.text_id for a in annotations)]
    return merge_annotations(
        texts, annotations, contexts=contexts, licence="cc0-1.0", min_votes=min_votes
    )


def test_votes_of_all_annotators_are_added_up() -> None:
    (row,) = merge(vote("a", 3, 1, 0), vote("b", 0, 2, 0))
    assert row.counts == {"joy": 3, "sadness": 3, "anger": 0}
    assert row.label_probs == {"joy": 0.5, "sadness": 0.5, "anger": 0.0}
    assert (row.label, row.reason) == (None, "tie")
    assert (row.n, row.unread, row.entropy) == (6, 4, 1.0)
    assert [(share.id, share.n, share.unread) for share in row.annotators] == [
        ("a", 4, 2),
        ("b", 2, 2),
    ]
    (row,) = merge(vote("a", 3, 1, 0), vote("b", 0, 1, 0))
    assert (row.label, row.label_probs, row.reason) == (
        "joy",
        {"joy": 0.6, "sadness": 0.4, "anger": 0.0},
        None,
    )


def test_probabilities_are_averaged_and_each_annotator_weighs_the_same() -> None:
    (row,) = merge(weigh("w", 0.5, 0.25, 0.25), vote("a", 0, 9, 1), weigh("broken"))
    assert row.label_probs == pytest.approx({"joy": 0.25, "sadness": 0.575, "anger": 0.175})
    assert (row.label, row.n, row.teacher) == ("sadness", 11, "m@1, w@1")
    assert row.counts == {"joy": 0, "sadness": 9, "anger": 1}


@pytest.mark.parametrize(
    ("annotations", "min_votes", "reason"),
    [
        ([vote("a", 2, 1, 0)], 3, None),
        ([vote("a", 2, 1, 0)], 4, "few_votes"),
        ([vote("a", 1, 1, 0)], 3, "few_votes"),
        ([vote("a", 1, 1, 0)], 2, "tie"),
        ([vote("a", 0, 0, 0), weigh("b")], 1, "no_votes"),
        ([weigh("b", 0.4, 0.4, 0.2)], 1, "tie"),
        ([weigh("b", 0.4, 0.4 + 1e-6, 0.2)], 1, None),
        ([weigh("b", 1 / 3, 1 / 3, 1 / 3)] * 3, 1, "tie"),
    ],
)
def test_a_row_without_a_majority_is_set_aside(
    annotations: list[Annotation], min_votes: int, reason: str | None
) -> None:
    (row,) = merge(*annotations, min_votes=min_votes)
    assert row.reason == reason
    assert (row.label is None) == (reason is not None)


def test_contexts_have_rows_of_their_own_and_one_together() -> None:
    rows = merge(vote("a", 4, 0, 0, context=FAN), vote("b", 0, 2, 0))
    found = {(row.context, row.pooled): (row.label, row.n) for row in rows}
    assert found == {
        (FAN, False): ("joy", 4),
        (None, False): ("sadness", 2),
        (None, True): ("joy", 6),
    }
    assert len({row.id for row in rows}) == 3
    assert {row.root_id for row in rows} == {"t"}


def test_one_context_has_one_row() -> None:
    (row,) = merge(vote("a", 4, 0, 0, context=FAN))
    assert (row.context, row.pooled) == (FAN, True)


def test_rows_do_not_depend_on_the_order_of_texts() -> None:
    one, two = vote("a", 1, 0, 0, text="t"), vote("a", 0, 1, 0, text="u")
    assert merge(one, two) == merge(two, one)


@pytest.mark.parametrize(
    ("probs", "bits"),
    [((1.0, 0.0), 0.0), ((0.5, 0.5), 1.0), ((0.25,) * 4, 2.0), ((0.9, 0.1), 0.4689955935892812)],
)
def test_entropy_in_bits(probs: tuple[float, ...], bits: float) -> None:
    found = find_entropy(dict(zip("abcd", probs, strict=False)))
    assert found == pytest.approx(bits, abs=1e-12)
    assert math.copysign(1, found) == 1


def minimise(target: list[float]) -> tuple[list[float], float]:
    """Minimise the cross-entropy to a target over the logits of a distribution."""
    wanted_C = torch.tensor(target, dtype=torch.float64)
    logits_C = torch.zeros_like(wanted_C, requires_grad=True)
    optimiser = torch.optim.LBFGS([logits_C], lr=0.5, max_iter=500, tolerance_grad=1e-12)

    def step() -> torch.Tensor:
        optimiser.zero_grad()
        loss = -(wanted_C * logits_C.log_softmax(dim=-1)).sum()
        loss.backward()
        return loss

    optimiser.step(step)
    return logits_C.detach().softmax(dim=-1).tolist(), float(step().detach())


def test_the_soft_losss_minimiser_is_the_soft_label_and_the_hard_ones_a_one_hot() -> None:
    (row,) = merge(vote("a", 5, 2, 1))
    assert row.label_probs is not None
    soft, loss = minimise(list(row.label_probs.values()))
    assert soft == pytest.approx([5 / 8, 2 / 8, 1 / 8], abs=1e-5)
    assert row.entropy is not None
    assert loss == pytest.approx(row.entropy * math.log(2), abs=1e-9)
    hard, loss = minimise([float(label == row.label) for label in LABELS])
    assert hard == pytest.approx([1, 0, 0], abs=1e-4)
    assert loss == pytest.approx(0, abs=1e-4)


# Figures


KRIPPENDORFF = """
1 2 3 3 2 1 4 1 2 . . .
1 2 3 3 2 2 4 1 2 5 . 3
. 3 3 3 2 3 4 2 2 5 1 .
1 2 3 3 2 4 4 1 2 5 1 .
"""
"""Section C of "Computing Krippendorff's Alpha-Reliability": four observers, twelve units."""
BINARY = """
0 1 0 0 0 0 0 0 1 0
1 1 1 0 0 1 0 0 0 0
"""
"""Its section A: two observers, ten units."""


def read_units(table: str) -> list[Counter[str]]:
    observers = [line.split() for line in table.split("\n") if line]
    return [Counter(v for v in unit if v != ".") for unit in zip(*observers, strict=True)]


@pytest.mark.parametrize(("table", "alpha"), [(KRIPPENDORFF, 0.743), (BINARY, 0.095)])
def test_alpha_of_the_published_examples(table: str, alpha: float) -> None:
    found = find_alpha(read_units(table))
    assert found == pytest.approx(alpha, abs=5e-4)


@pytest.mark.parametrize(
    ("units", "alpha"),
    [
        ([{"a": 2}, {"b": 2}], 1.0),
        ([{"a": 1, "b": 1}, {"a": 1, "b": 1}], -0.5),
        ([{"a": 3}, {"a": 2}], None),
        ([{"a": 1}, {"b": 1}], None),
        ([], None),
    ],
    ids=["agreed", "never agreed", "one label", "one rating each", "nothing"],
)
def test_alpha_at_its_ends(units: list[dict[str, int]], alpha: float | None) -> None:
    assert find_alpha(units) == alpha


def test_entropies_fall_into_bins() -> None:
    bins = bin_entropies([0.0, 0.05, 1.0, 2.0, None, 1.99], labels=4)
    assert [b.texts for b in bins] == [2, 0, 0, 0, 0, 1, 0, 0, 0, 2]
    assert (bins[0].low, bins[-1].high) == (0.0, 2.0)


def test_contexts_are_compared_text_by_text() -> None:
    said: list[Any] = [
        *(vote("f", 4, 0, 0, context=FAN), vote("s", 0, 2, 0)),
        *(vote("f", 1, 1, 0, context=FAN, text="u"), vote("s", 0, 1, 0, text="u")),
        *(vote("f", 1, 0, 0, context=FAN, text="v"), vote("s", 0, 0, 0, text="v")),
    ]
    (pair,) = compare_contexts(merge(*said), [FAN, None])
    assert (pair.one, pair.other, pair.texts) == (FAN, None, 2)
    assert pair.distance == pytest.approx((1.0 + 0.5) / 2)
    assert pair.other_label == 1
    assert find_majority({"joy": 0.5, "sadness": 0.5}).label is None
