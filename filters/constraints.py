"""Judge an answer against machine-checkable constraints, by IFEval's ids and parameters.

IFEval (arXiv:2311.07911) says what each constraint means; where its judgement is lax this one is
stricter, so that doubt goes against the answer: a keyword counts as a whole word, a postscript
must close the answer, sections must be numbered in order at line starts, JSON must be an object
or a list, a title or a placeholder must have words in it, and an answer without a single word
passes nothing. Three judgements differ in kind: sentences are split by a rule of ours, the
`change_case` pair asks for the Latin alphabet where IFEval runs a language detector, and every
paragraph must be in the language asked for; where that cannot be told the constraint is undecided,
and where IFEval's detector fails it is passed.

A constraint is added by one function here, one line in `_CHECKERS` and its form in
`generators.constraint_forms`.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from filters.language_id import detect_language
from generators.constraint_forms import RESPONSES, Constraint, validate_constraint
from generators.errors import InputError
from generators.strict_json import refuse_constant

__all__ = ["ConstraintResult", "check_constraints", "validate_constraint"]


class ConstraintResult(NamedTuple):
    """Whether an answer meets all constraints, and the ids of those it does not.

    Where it neither passes nor fails any, at least one of them cannot be decided.
    """

    passed: bool
    failed: tuple[str, ...]


def check_constraints(constraints: Sequence[Constraint], completion: str) -> ConstraintResult:
    """Judge a completion against all constraints.

    A completion without a word in it fails every one, and an empty list of constraints is passed
    by nothing. Raises InputError for a constraint that `validate_constraint` refuses.
    """
    for constraint in constraints:
        if error := validate_constraint(constraint):
            raise InputError(f"constraint {error}")
    blank = re.search(r"\w", completion) is None
    met = [not blank and _CHECKERS[c["id"]](completion, c) for c in constraints]
    failed = tuple(c["id"] for c, is_met in zip(constraints, met, strict=True) if is_met is False)
    return ConstraintResult(bool(met) and all(met), failed)


def _holds(relation: str, number: int, bound: int) -> bool:
    return number >= bound if relation == "at least" else number < bound


def _count_occurrences(phrase: str, text: str, *, whole_words: bool) -> int:
    pattern = r"\s+".join(map(re.escape, phrase.split()))
    if whole_words:
        pattern = rf"(?<!\w){pattern}(?!\w)"
    return len(re.findall(pattern, text, re.IGNORECASE))


def _has_keywords(text: str, c: Constraint) -> bool:
    return all(_count_occurrences(k, text, whole_words=True) for k in c["keywords"])


def _has_keyword_frequency(text: str, c: Constraint) -> bool:
    # An occurrence inside a longer word is in doubt: it helps neither side.
    whole_words = c["relation"] == "at least"
    found = _count_occurrences(c["keyword"], text, whole_words=whole_words)
    return _holds(c["relation"], found, c["frequency"])


def _has_no_forbidden_word(text: str, c: Constraint) -> bool:
    return not any(_count_occurrences(w, text, whole_words=True) for w in c["forbidden_words"])


def _has_letter_frequency(text: str, c: Constraint) -> bool:
    found = text.lower().count(c["letter"].lower())
    return _holds(c["let_relation"], found, c["let_frequency"])


def _is_in_language(text: str, c: Constraint) -> bool | None:
    paragraphs = re.split(r"\n\s*\n", text)
    languages = {detect_language(part) for part in [text, *paragraphs]} - {None}
    return languages == {c["language"]} if languages else None


def _has_word_count(text: str, c: Constraint) -> bool:
    # Vowel signs are no `\w`: with them a word of Tamil or Hindi would count as several.
    bare = "".join(char for char in text if not unicodedata.category(char).startswith("M"))
    return _holds(c["relation"], len(re.findall(r"\w+", bare)), c["num_words"])


_SENTENCE_END = re.compile(r"(?<![.!?\u2026])[.!?\u2026]++[\"'\u201d\u2019)\]*_]*+(?=\s|$)")
_NO_SENTENCE_END = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|prof|st|vs|etc|approx|fig)|\b[a-z]|(?:^|\n)\s*\d+)\.$", re.IGNORECASE
)


def count_sentences(text: str) -> int:
    """Count sentences: they end in `.`, `!` or `?` before white space.

    A dot after an abbreviation, an initial or a list number ends none; words after the last end
    count as one more.
    """
    count = start = 0
    for match in _SENTENCE_END.finditer(text):
        end = match.end()
        if end < len(text.rstrip()) and _NO_SENTENCE_END.search(text[max(0, end - 12) : end]):
            continue
        count += re.search(r"\w", text[start:end]) is not None
        start = end
    return count + (re.search(r"\w", text[start:]) is not None)


def _has_sentence_count(text: str, c: Constraint) -> bool:
    return _holds(c["relation"], count_sentences(text), c["num_sentences"])


def _split_outer(text: str, divider: str) -> list[str]:
    """The parts between dividers; a divider at the very start or end opens no part."""
    parts = [part.strip() for part in text.split(divider)]
    return parts[not parts[0] : len(parts) - (not parts[-1])]


def _has_paragraph_count(text: str, c: Constraint) -> bool:
    paragraphs = _split_outer(text, "***")
    return all(paragraphs) and len(paragraphs) == c["num_paragraphs"]


def _has_first_word(text: str, c: Constraint) -> bool:
    paragraphs = re.split(r"\n\s*\n", text.strip())
    if len(paragraphs) != c["num_paragraphs"]:
        return False
    paragraph = paragraphs[c["nth_paragraph"] - 1]
    first = re.match(r"[\s\"'\u201c\u2018]*([^\s.,?!\"'\u201d\u2019]+)", paragraph)
    return first is not None and first[1].lower() == c["first_word"].strip().lower()


def _has_placeholders(text: str, c: Constraint) -> bool:
    found = [p for p in re.findall(r"\[([^\[\]\n]+)\]", text) if re.search(r"\w", p)]
    return len(found) >= c["num_placeholders"]


def _has_postscript(text: str, c: Constraint) -> bool:
    marker = c["postscript_marker"].strip()
    parts = map(re.escape, marker.rstrip(".").split("."))
    pattern = r"\.\s?".join(parts) + (r"\." if marker.endswith(".") else r"\.?")
    last_paragraph = re.split(r"\n\s*\n", text.strip())[-1]
    return re.search(rf"^[^\w\n]*?{pattern}\W*\w", last_paragraph, re.I | re.M) is not None


def _has_bullets(text: str, c: Constraint) -> bool:
    attempts = re.findall(r"^[ \t]*(?:\*(?!\*)|-)(.*)$", text, re.MULTILINE)
    well_formed = all(re.match(r"[ \t]+\S", rest) for rest in attempts)
    return well_formed and len(attempts) == c["num_bullets"]


def _has_constrained_response(text: str, c: Constraint) -> bool:
    return sum(response in text for response in RESPONSES) == 1


def _has_highlights(text: str, c: Constraint) -> bool:
    text = re.sub(r"^[ \t]*\*(?=[ \t])|\*{3,}", "", text, flags=re.MULTILINE)
    found = re.findall(r"(\*{1,2})(?=\S)([^*\n]+)(?<=\S)\1", text)
    return len(found) >= c["num_highlights"]


def _has_sections(text: str, c: Constraint) -> bool:
    name = re.escape(c["section_spliter"].strip())
    _, *pieces = re.split(rf"^[#*_ \t]*{name}[ \t]?(\d+)\b", text, flags=re.MULTILINE)
    numbers, bodies = pieces[::2], pieces[1::2]
    in_order = numbers == [str(i + 1) for i in range(len(numbers))]
    return (
        in_order and len(numbers) >= c["num_sections"] and all(re.search(r"\w", b) for b in bodies)
    )


def _is_json(text: str, c: Constraint) -> bool:
    fenced = re.fullmatch(r"```(?:json)?\s*\n?(.*?)```", text.strip(), re.IGNORECASE | re.DOTALL)
    try:
        value = json.loads(fenced[1] if fenced else text, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict | list)


def _has_title(text: str, c: Constraint) -> bool:
    return any(re.search(r"\w", title) for title in re.findall(r"<<([^<>\n]+)>>", text))


def _has_two_responses(text: str, c: Constraint) -> bool:
    responses = _split_outer(text, "******")
    return len(responses) == 2 and all(responses) and responses[0] != responses[1]


def _repeats_prompt(text: str, c: Constraint) -> bool:
    text, prompt = text.strip().lower(), c["prompt_to_repeat"].strip().lower()
    return text.startswith(prompt) and re.search(r"\w", text[len(prompt) :]) is not None


def _ends_with_phrase(text: str, c: Constraint) -> bool:
    return text.strip().strip('"').lower().endswith(c["end_phrase"].strip().lower())


def _is_quoted(text: str, c: Constraint) -> bool:
    text = text.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


def _has_capital_words(text: str, c: Constraint) -> bool:
    found = sum(word.isupper() for word in re.findall(r"\w+(?:[-.]\w+)*", text))
    return _holds(c["capital_relation"], found, c["capital_frequency"])


def _is_latin(text: str) -> bool:
    return all(letter < "\u0250" for letter in text if letter.isalpha())


def _is_capital(text: str, c: Constraint) -> bool:
    return text.isupper() and _is_latin(text)


def _is_lowercase(text: str, c: Constraint) -> bool:
    return text.islower() and _is_latin(text)


def _has_no_comma(text: str, c: Constraint) -> bool:
    return "," not in text


_CHECKERS: Mapping[str, Callable[[str, Mapping[str, Any]], bool | None]] = {
    "keywords:existence": _has_keywords,
    "keywords:frequency": _has_keyword_frequency,
    "keywords:forbidden_words": _has_no_forbidden_word,
    "keywords:letter_frequency": _has_letter_frequency,
    "language:response_language": _is_in_language,
    "length_constraints:number_words": _has_word_count,
    "length_constraints:number_sentences": _has_sentence_count,
    "length_constraints:number_paragraphs": _has_paragraph_count,
    "length_constraints:nth_paragraph_first_word": _has_first_word,
    "detectable_content:number_placeholders": _has_placeholders,
    "detectable_content:postscript": _has_postscript,
    "detectable_format:number_bullet_lists": _has_bullets,
    "detectable_format:constrained_response": _has_constrained_response,
    "detectable_format:number_highlighted_sections": _has_highlights,
    "detectable_format:multiple_sections": _has_sections,
    "detectable_format:json_format": _is_json,
    "detectable_format:title": _has_title,
    "combination:two_responses": _has_two_responses,
    "combination:repeat_prompt": _repeats_prompt,
    "startend:end_checker": _ends_with_phrase,
    "startend:quotation": _is_quoted,
    "change_case:capital_word_frequency": _has_capital_words,
    "change_case:english_capital": _is_capital,
    "change_case:english_lowercase": _is_lowercase,
    "punctuation:no_comma": _has_no_comma,
}
