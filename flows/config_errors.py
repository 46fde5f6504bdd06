"""What pydantic found wrong with a configuration, in the words of the person who wrote it.

A pydantic error speaks of types, tags and union members; here each becomes a setting's name and
a plain sentence. The error's `loc` is followed through the model's annotations, so that union
tags and member names drop out of the name, and the settings a section does take are known.
"""

import re
from collections.abc import Iterator, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic_core import ErrorDetails

from generators.errors import nearest

Location = tuple[str | int, ...]
"""The way to a setting: names of sections, indices in lists."""


class Problem(NamedTuple):
    """What is wrong with one setting."""

    location: Location
    text: str
    at: Literal["name", "value", "section"]
    """Where to point: at the name, at the value, or at the section it is missing from."""


class _Finding(NamedTuple):
    """One pydantic error; `expected` is set when the value is of no accepted kind."""

    problem: Problem
    expected: str | None = None
    got: str = ""


class _Place(NamedTuple):
    location: Location
    section: type[BaseModel] | None
    """The model that the last name of `location` belongs to."""
    choices: list[str]
    """What that setting may be, where it is one of a few words."""


_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "finite_number": "a finite number",
    "string": "text",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozen_set": "a list",
    "dict": "a mapping",
    "mapping": "a mapping",
    "model": "settings (`name: value`)",
    "model_attributes": "settings (`name: value`)",
    "path": "a path",
    "url": "a URL",
    "none_required": "nothing",
}
"""By the stem of pydantic's error type: `int_type` and `int_parsing` both expect an int."""

_WORDS = {"yes": True, "on": True, "no": False, "off": False}

_LIMITS = {
    "greater_than": "must be greater than {gt}, got {got}",
    "greater_than_equal": "must be at least {ge}, got {got}",
    "less_than": "must be less than {lt}, got {got}",
    "less_than_equal": "must be at most {le}, got {got}",
    "multiple_of": "must be a multiple of {multiple_of}, got {got}",
    "too_short": "must have at least {min_length}, has {actual_length}",
    "too_long": "must have at most {max_length}, has {actual_length}",
    "string_too_short": "must be at least {min_length} characters long, got {got}",
    "string_too_long": "must be at most {max_length} characters long, got {got}",
    "string_pattern_mismatch": "must match {pattern}, got {got}",
}


def explain(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """The problems behind a validation error, one per setting."""
    found: dict[Location, list[_Finding]] = {}
    for details in error.errors(include_url=False):
        finding = _translate(details, model)
        found.setdefault(finding.problem.location, []).append(finding)
    inner = {location[:depth] for location in found for depth in range(len(location))}
    problems: list[Problem] = []
    for location, findings in found.items():
        told = [finding.problem for finding in findings if finding.expected is None]
        if location in inner:  # what is wrong inside says more, or is the cause
            problems.extend(problem for problem in told if problem.at == "name")
        else:
            problems.extend(told or [_join_alternatives(findings)])
    return problems


def find_yes_and_no(
    error: ValidationError, model: type[BaseModel]
) -> Iterator[tuple[Location, bool]]:
    """Settings that are true or false, given by a word that YAML 1.2 reads as text."""
    for details in error.errors(include_url=False):
        word = details["input"]
        if details["type"] == "bool_type" and isinstance(word, str) and word in _WORDS:
            yield _locate(model, details["loc"]).location, _WORDS[word]


def name_setting(location: Location) -> str:
    """`("samplers", 0, "model")` as messages write it: `samplers.0.model`."""
    return ".".join(str(part) for part in location)


def _translate(details: ErrorDetails, model: type[BaseModel]) -> _Finding:
    kind, context = details["type"], details.get("ctx", {})
    named = details["loc"][-1:] == ("[key]",)
    place = _locate(model, details["loc"][: -1 if named else None])
    at = "name" if named else "value"
    match kind:
        case "extra_forbidden":
            name = str(place.location[-1])
            return _Finding(Problem(place.location, _refuse(name, place.section), "name"))
        case "missing":
            text = "missing" + (f": choose from {', '.join(place.choices)}" * bool(place.choices))
            return _Finding(Problem(place.location, text, "section"))
        case "union_tag_not_found" | "union_tag_invalid":
            return _translate_tag(place, context)
        case "literal_error" | "enum":
            choices = _unquote(context["expected"])
            text = _offer(details["input"], choices)
            got = _show(details["input"])
            return _Finding(Problem(place.location, text, at), " or ".join(choices), got)
    expected = _EXPECTED.get(kind) or _EXPECTED.get(_stem(kind))
    if expected:
        got = _show(details["input"]) + _hint(expected, details["input"])
        problem = Problem(place.location, f"expected {expected}, got {got}", at)
        return _Finding(problem, expected, got)
    return _Finding(Problem(place.location, _state(details), at))


def _translate_tag(place: _Place, context: dict[str, Any]) -> _Finding:
    """A section whose kind is not said, or is none of those there are."""
    location = (*place.location, context["discriminator"].strip("'"))
    if "tag" not in context:
        text = "missing" + (f": choose from {', '.join(place.choices)}" * bool(place.choices))
        return _Finding(Problem(location, text, "section"))
    text = _offer(context["tag"], _unquote(context["expected_tags"]))
    return _Finding(Problem(location, text, "value"))


def _stem(kind: str) -> str:
    return re.sub(r"_(type|parsing|parsing_size|from_float|syntax_violation)$", "", kind)


def _state(details: ErrorDetails) -> str:
    """A limit that was broken, or what a validator of ours said."""
    context = details.get("ctx", {})
    if details["type"] in ("value_error", "assertion_error"):
        return str(context["error"])
    if template := _LIMITS.get(details["type"]):
        return template.format(got=_show(details["input"]), **context)
    message = details["msg"]
    return message[:1].lower() + message[1:]


def _join_alternatives(findings: Sequence[_Finding]) -> Problem:
    """One sentence names what the members of a union take, which each refused the value."""
    if len(findings) == 1:
        return findings[0].problem
    kinds = dict.fromkeys(finding.expected for finding in findings if finding.expected)
    text = f"expected {' or '.join(kinds)}, got {findings[0].got}"
    return findings[0].problem._replace(text=text)


def _refuse(name: str, section: type[BaseModel] | None) -> str:
    choices = _settings(section) if section else []
    if near := nearest(name, choices):
        return "not a setting" + near
    return "not a setting" + (f": choose from {', '.join(choices)}" * bool(choices))


def _offer(value: Any, choices: Sequence[str]) -> str:
    near = nearest(str(value), choices)
    return f"{_show(value)} is not a choice{near}: choose from {', '.join(choices)}"


def _hint(expected: str, value: Any) -> str:
    if expected == "text" and isinstance(value, bool | int | float):
        return " (put it in quotes)"
    return ""


def _show(value: Any) -> str:
    """A value as it stands in the file, and no longer than a line."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "…" + shown[0]


def _unquote(choices: str) -> list[str]:
    """Pydantic's `'a', 'b' or 3` as a list."""
    found = re.findall(r"'((?:[^'\\]|\\.)*)'|([^\s,']+)", choices)
    return [quoted or bare for quoted, bare in found if bare != "or"]


def _settings(section: type[BaseModel]) -> list[str]:
    return [_written(section, name) for name in section.model_fields]


def _written(section: type[BaseModel], name: str) -> str:
    """A field's name in the file: its alias, if it has one."""
    alias = section.model_fields[name].validation_alias
    if isinstance(alias, AliasChoices):
        alias = alias.choices[0]
    return alias if isinstance(alias, str) else name


def _locate(model: type[BaseModel], loc: Location) -> _Place:
    """Follow a pydantic `loc` through annotations, leaving out the parts that select in unions."""
    parts, location = list(loc), []
    section: type[BaseModel] | None = None
    members = _members(model)
    while parts:
        members = _select(members, parts)
        if parts:
            location.append(parts.pop(0))
            section, inner = _descend(members, location[-1])
            members = _members(inner)
    return _Place(tuple(location), section, _choices(members))


def _members(annotation: Any) -> list[Any]:
    """The alternatives of an annotation, `None` apart."""
    if hasattr(annotation, "__value__"):
        return _members(annotation.__value__)
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [member for inner in get_args(annotation) for member in _members(inner)]
    return [] if annotation is NoneType else [annotation]


def _select(members: list[Any], parts: list[str | int]) -> list[Any]:
    """Take the parts that name a member of a union off the front, and keep that member."""
    while len(members) > 1 and parts:
        label = str(parts.pop(0))
        if chosen := [member for member in members if _answers_to(member, label)]:
            return chosen[:1]
        if "-union[" not in label:
            break
    return members


def _answers_to(member: Any, label: str) -> bool:
    if isinstance(member, type) and issubclass(member, BaseModel):
        return label in _tags(member) or re.search(rf"\b{member.__name__}\b", label) is not None
    kind = getattr(get_origin(member) or member, "__name__", str(member))
    return re.match(rf"{re.escape(kind.lower())}\b", label.lower()) is not None


def _tags(model: type[BaseModel]) -> set[str]:
    """The fixed words of a model, one of which a discriminator chose it by."""
    fields = model.model_fields.values()
    return {word for field in fields for word in _choices(_members(field.annotation))}


def _choices(members: list[Any]) -> list[str]:
    """The words a setting is chosen from; for a union of sections, their tags."""
    if len(members) > 1 and all(isinstance(m, type) and issubclass(m, BaseModel) for m in members):
        return [words[0] for member in members if (words := _first_word(member))]
    if not members or any(get_origin(member) is not Literal for member in members):
        return []
    return [str(word) for member in members for word in get_args(member)]


def _first_word(model: type[BaseModel]) -> list[str]:
    literals = (_choices(_members(field.annotation)) for field in model.model_fields.values())
    return next((words for words in literals if len(words) == 1), [])


def _descend(members: list[Any], part: str | int) -> tuple[type[BaseModel] | None, Any]:
    """The section that holds `part`, and the annotation of what stands there."""
    for member in members:
        if isinstance(member, type) and issubclass(member, BaseModel):
            fields = member.model_fields
            name = next((n for n in fields if part in (n, _written(member, n))), None)
            return member, fields[name].annotation if name else Any
        arguments = get_args(member)
        if get_origin(member) is tuple and arguments[-1] is not Ellipsis:
            return None, arguments[int(part)] if int(part) < len(arguments) else Any
        if arguments:
            return None, arguments[0 if isinstance(part, int) else -1]
    return None, Any
