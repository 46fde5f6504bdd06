"""A text that meets given constraints, to show that they can be met together.

The text makes no sense beyond that; it is the reference answer on which a constraint check is tried
before a model is asked (`filters.check_trial`).
"""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence

from filters.constraints import check_constraints
from generators.constraint_forms import RESPONSES, Constraint

_FILLERS = (
    *("rain", "fell", "on", "fresh", "grass", "while", "birds", "sang", "in", "trees"),
    *("we", "will", "pick", "up", "bulky", "jugs", "of", "milk", "next", "dawn"),
)
_SENTENCE = 8
"""Words of a sentence, where their number is free."""
_MOST = 5_000
"""No text of more words is tried."""


def write_witness(constraints: Sequence[Constraint]) -> str | None:
    """A text that meets all constraints, or None where none of those tried does."""
    for text in _write_texts({c["id"]: c for c in constraints}):
        if check_constraints(constraints, text).passed:
            return text
    return None


def _write_texts(wanted: Mapping[str, Constraint]) -> Iterator[str]:
    """From the shortest up: a few words are enough where nothing asks for more."""
    words = _wanted_words(wanted)
    fillers = _allowed_fillers(wanted)
    fewest = _bound(wanted, "length_constraints:number_words", "num_words")
    sentences = _bound(wanted, "length_constraints:number_sentences", "num_sentences")
    if max(fewest, sentences) > _MOST:
        return
    for extra, length in itertools.product((0, 1, 12), (_SENTENCE, 3, 1)):
        count = max(fewest - len(words), sentences * length - len(words), 1) + extra
        filled = [*words, *itertools.islice(itertools.cycle(fillers), count)]
        size = max(1, len(filled) // sentences) if sentences else len(filled)
        for joint in (". ", " "):
            yield _dress(_join(filled, size, joint), wanted)


def _wanted_words(wanted: Mapping[str, Constraint]) -> list[str]:
    words = list(wanted.get("keywords:existence", {}).get("keywords", ()))
    if (c := wanted.get("keywords:frequency")) and c["relation"] == "at least":
        words += [c["keyword"]] * c["frequency"]
    if (c := wanted.get("keywords:letter_frequency")) and c["let_relation"] == "at least":
        words += [c["letter"]] * c["let_frequency"]
    if (c := wanted.get("change_case:capital_word_frequency")) and c[
        "capital_relation"
    ] == "at least":
        words += ["NASA"] * c["capital_frequency"]
    return words


def _allowed_fillers(wanted: Mapping[str, Constraint]) -> list[str]:
    """Filler words that no constraint counts against the text."""
    forbidden = wanted.get("keywords:forbidden_words", {}).get("forbidden_words", ())
    barred = {word.casefold() for word in forbidden}
    barred.add(wanted.get("keywords:frequency", {}).get("keyword", "").casefold())
    letter = ""
    if (c := wanted.get("keywords:letter_frequency")) and c["let_relation"] == "less than":
        letter = c["letter"].casefold()
    fillers = [w for w in _FILLERS if w not in barred and (not letter or letter not in w)]
    return fillers or ["1"]


def _bound(wanted: Mapping[str, Constraint], id: str, name: str) -> int:
    constraint = wanted.get(id, {})
    return constraint[name] if constraint.get("relation") == "at least" else 0


def _join(words: Sequence[str], size: int, joint: str) -> str:
    pieces = [" ".join(words[i : i + size]) for i in range(0, len(words), size)]
    return joint.join(pieces) + (joint.strip() and ".")


def _dress(body: str, wanted: Mapping[str, Constraint]) -> str:
    """Give the words the layout that the constraints ask for, the innermost first."""
    for id, put_on in _LAYOUTS.items():
        if id in wanted:
            body = put_on(body, wanted[id])
    return body


def _number_paragraphs(body: str, c: Constraint) -> str:
    return "\n***\n".join([body, *["So it went"] * (c["num_paragraphs"] - 1)])


def _begin_paragraph(body: str, c: Constraint) -> str:
    paragraphs = [body, *["So it went"] * (c["num_paragraphs"] - 1)]
    place = c["nth_paragraph"] - 1
    paragraphs[place] = f"{c['first_word'].strip()} {paragraphs[place]}"
    return "\n\n".join(paragraphs)


def _divide(body: str, c: Constraint) -> str:
    name = c["section_spliter"].strip()
    return "\n".join(f"{name} {i + 1}\n{body}" for i in range(c["num_sections"]))


def _add_marked(form: str, count: str, joint: str) -> Callable[[str, Constraint], str]:
    return lambda body, c: joint.join([body, *[form] * c[count]])


_LAYOUTS: Mapping[str, Callable[[str, Constraint], str]] = {
    "detectable_format:constrained_response": lambda body, c: RESPONSES[0],
    "detectable_format:number_highlighted_sections": _add_marked("*so*", "num_highlights", " "),
    "detectable_content:number_placeholders": _add_marked("[so]", "num_placeholders", " "),
    "detectable_format:number_bullet_lists": _add_marked("* so", "num_bullets", "\n"),
    "detectable_format:multiple_sections": _divide,
    "length_constraints:number_paragraphs": _number_paragraphs,
    "length_constraints:nth_paragraph_first_word": _begin_paragraph,
    "detectable_format:title": lambda body, c: f"<<So>>\n{body}",
    "combination:repeat_prompt": lambda body, c: f"{c['prompt_to_repeat'].strip()}\n{body}",
    "combination:two_responses": lambda body, c: f"{body}\n******\n{body} so",
    "detectable_format:json_format": lambda body, c: json.dumps([body]),
    "detectable_content:postscript": lambda body, c: f"{body}\n\n{c['postscript_marker']} So",
    "startend:end_checker": lambda body, c: f"{body}\n{c['end_phrase'].strip()}",
    "startend:quotation": lambda body, c: f'"{body}"',
    "change_case:english_capital": lambda body, c: body.upper(),
    "change_case:english_lowercase": lambda body, c: body.lower(),
}
"""In the order in which they are put on."""
