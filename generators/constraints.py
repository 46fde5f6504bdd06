"""Constraint evolution: attach machine-checkable constraints to a task and ask for them in words.

`draw_constraints` picks from a catalogue of what suits an open-ended task and lies within reach of
a small model; what it draws can be met together, with what the task already carries and with what
its text asks for. `state` puts constraints into words, and `without_statement` takes those words
away again, so that a task can evolve further.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from generators.constraint_conflicts import are_compatible, texts_of
from generators.constraint_forms import FORMS, Constraint, demands_something, ids_of
from generators.errors import ConfigError, nearest
from generators.wording import STOP_WORDS, split_words


def draw_constraints(
    text: str,
    rng: random.Random,
    *,
    count: int = 1,
    existing: Sequence[Constraint] = (),
    ids: Sequence[str] | None = None,
) -> tuple[dict[str, Any], ...]:
    """Draw up to `count` constraints for a task, uniformly over the ids that fit.

    `text` is the task without the statement of the `existing` constraints, `ids` restricts the
    catalogue. Fewer come back when no more fit, none when none does. Where all of them, and all
    existing ones, only forbid something, one that demands something is drawn besides: a check that
    gibberish passes is none. Raises ConfigError for an id that is not in the catalogue.
    """
    ids = list(CATALOGUE) if ids is None else list(dict.fromkeys(ids))
    for id in ids:
        if id not in CATALOGUE:
            raise ConfigError(
                f"evolve.constraints: {id!r} is not a constraint to evolve with"
                f"{nearest(id, CATALOGUE)} (there are: {', '.join(CATALOGUE)})"
            )
    spoken_for = {id for pattern, taken in _SPOKEN_FOR if pattern.search(text) for id in taken}
    drawn: list[dict[str, Any]] = []

    def draw_more(count: int, fits: Callable[[Constraint], bool]) -> None:
        for id in rng.sample(ids, len(ids)):
            if len(drawn) == count:
                break
            parameters = CATALOGUE[id](rng, _find_words(text, [*existing, *drawn]))
            if parameters is None or id in spoken_for:
                continue
            candidate = {"id": id, **parameters}
            if fits(candidate) and are_compatible([*existing, *drawn, candidate]):
                drawn.append(candidate)

    draw_more(count, lambda _: True)
    for _ in range(_TRIES):  # at other parameters the same id may demand something
        if not any(map(demands_something, [*existing, *drawn])):
            draw_more(len(drawn) + 1, demands_something)
    return tuple(drawn) if any(map(demands_something, [*existing, *drawn])) else ()


def state(constraints: Sequence[Constraint]) -> str:
    """One paragraph that asks for all constraints as they are checked."""
    return " ".join(FORMS[c["id"]].state(c) for c in constraints)


def without_statement(text: str, constraints: Sequence[Constraint]) -> str:
    """The text without the statement of these constraints at its end, if it carries one."""
    return text.removesuffix(state(constraints)).rstrip()


# The catalogue. Each entry draws its parameters, given the words it may use, or declines.

_OVERUSED = ("very", "really", "just", "things", "amazing", "important", "great", "nice")
_TRIES = 4
_END_PHRASES = ("That is all for now.", "Thank you for reading.", "That says it all.")


class _Words(NamedTuple):
    """Words that a constraint on a task may ask for, and such as it may forbid."""

    wanted: list[str]
    avoidable: list[str]


_Parameters = dict[str, Any]
_Draw = Callable[[random.Random, _Words], _Parameters | None]


def _draw_words(rng: random.Random, words: _Words) -> _Parameters:
    if rng.random() < 0.5:
        return {"relation": "at least", "num_words": rng.randrange(20, 61, 10)}
    return {"relation": "less than", "num_words": rng.randrange(60, 151, 10)}


def _draw_sentences(rng: random.Random, words: _Words) -> _Parameters:
    if rng.random() < 0.5:
        return {"relation": "at least", "num_sentences": rng.randint(2, 4)}
    return {"relation": "less than", "num_sentences": rng.randint(4, 7)}


def _draw_keywords(rng: random.Random, words: _Words) -> _Parameters | None:
    number = min(rng.randint(1, 2), len(words.wanted))
    return {"keywords": rng.sample(words.wanted, number)} if number else None


def _draw_frequency(rng: random.Random, words: _Words) -> _Parameters | None:
    if not words.wanted:
        return None
    keyword = rng.choice(words.wanted)
    return {"keyword": keyword, "frequency": rng.randint(2, 3), "relation": "at least"}


def _draw_forbidden_words(rng: random.Random, words: _Words) -> _Parameters | None:
    number = min(rng.randint(1, 3), len(words.avoidable))
    return {"forbidden_words": rng.sample(words.avoidable, number)} if number else None


CATALOGUE: Mapping[str, _Draw] = {
    "length_constraints:number_words": _draw_words,
    "length_constraints:number_sentences": _draw_sentences,
    "length_constraints:number_paragraphs": lambda rng, _: {"num_paragraphs": rng.randint(2, 3)},
    "keywords:existence": _draw_keywords,
    "keywords:frequency": _draw_frequency,
    "keywords:forbidden_words": _draw_forbidden_words,
    "detectable_format:number_bullet_lists": lambda rng, _: {"num_bullets": rng.randint(2, 5)},
    "detectable_format:number_highlighted_sections": lambda rng, _: {
        "num_highlights": rng.randint(1, 2)
    },
    "detectable_format:multiple_sections": lambda rng, _: {
        "section_spliter": rng.choice(("Section", "Part")),
        "num_sections": rng.randint(2, 3),
    },
    "detectable_format:json_format": lambda rng, _: {},
    "detectable_format:title": lambda rng, _: {},
    "detectable_content:postscript": lambda rng, _: {"postscript_marker": "P.S."},
    "startend:end_checker": lambda rng, _: {"end_phrase": rng.choice(_END_PHRASES)},
    "startend:quotation": lambda rng, _: {},
    "change_case:english_lowercase": lambda rng, _: {},
    "change_case:english_capital": lambda rng, _: {},
    "punctuation:no_comma": lambda rng, _: {},
}
"""What constraint evolution draws from."""


# What a task's own words already settle, which a drawn constraint might contradict.

_LENGTHS = ids_of("length_constraints")
_LAYOUTS = frozenset(
    {
        "detectable_format:json_format",
        "detectable_format:multiple_sections",
        "detectable_format:number_bullet_lists",
        "length_constraints:number_paragraphs",
    }
)
_CASES = ids_of("change_case")
_SPOKEN_FOR: tuple[tuple[re.Pattern[str], frozenset[str]], ...] = tuple(
    (re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE), frozenset(ids))
    for pattern, ids in (
        ("words?|sentences?|paragraphs?|lines?|pages?|characters|stanzas?|brief(?:ly)?", _LENGTHS),
        ("short|long|haiku|limerick|sonnet|tweet|slogan|headline|caption|one-liner", _LENGTHS),
        ("haiku|limerick|sonnet|poem|tweet|slogan|headline|caption|one-liner", _LAYOUTS),
        ("email|message|note|letter|story|speech|dialogue", _LAYOUTS),
        ("lists?|bullets?|points|steps|table|sections?|json|csv|yaml|xml|html|code", _LAYOUTS),
        ("titles?|headline|heading", {"detectable_format:title"}),
        ("quot(?:e[sd]?|ations?|ing)|dialogue|json", {"startend:quotation"}),
        ("p\\.s|postscript", {"detectable_content:postscript", "startend:end_checker"}),
        ("(?:lower|upper) ?case|capitals?|capital letters?", _CASES),
        ("commas?|punctuation", {"punctuation:no_comma"}),
        ("end(?:s|ing)? with|conclude with", {"startend:end_checker"}),
    )
)

# Words to ask for, out of the task's own.

_FORM_WORDS = """
answer answers article brief briefly capital character characters code compare complete create
describe discuss each email essay every example examples explain following give given haiku include
instructions json letter letters list lines make many might must name paragraph paragraphs phrase
phrases please poem point points prompt provide question reader rewrite sentence sentences several
short show simple single speech step steps story summarise summarize summary table task tell text
title translate using want were without word words would write writing your
"""
_TASK_WORDS = frozenset(_FORM_WORDS.split())
"""Words that speak of the answer's form rather than of its subject."""


def _find_words(text: str, constraints: Sequence[Constraint]) -> _Words:
    """The task's content words, and overused words it can do without.

    Names (capitals) and words that a constraint already speaks of stay out.
    """
    used = {word for t in texts_of(constraints) for word in split_words(t)}
    barred = used | STOP_WORDS | _TASK_WORDS | set(_OVERUSED)
    words = re.findall(r"(?<![\w'\u2019-])[^\W\d_]{4,}(?![\w'\u2019-])", text)
    wanted = dict.fromkeys(word for word in words if word.islower() and word not in barred)
    used.update(split_words(text))
    return _Words(list(wanted), [word for word in _OVERUSED if word not in used])
