"""Method files: what a model wrote is quoted, never executed; and the operator that uses one."""

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest

from generators.clients import Failure, Outcome, Response, Sampling
from generators.errors import InputError
from generators.method import (
    INITIAL,
    Trajectory,
    draft_feedback,
    draft_method,
    dump_method,
    find_method_fault,
    load_method,
    read_reply,
)
from generators.operator_sets import GENERAL, KEYED, METHOD, OPERATOR_SETS
from generators.operators import (
    Draw,
    EvolveSettings,
    bare_text,
    build_rewrite,
    fitting_operators,
    read_rewrite,
)
from generators.prompting import TEMPLATES, hash_template, render_request
from generators.records import Message, ProceduralCheck, Prompt, Usage

SAMPLING = Sampling(temperature=0.5, max_tokens=7)
DRAW = Draw(run_seed=7, cycle=1, round=1)
TEXT = "Make it harder by one figure."
FRAME = (TEMPLATES / "chat/rewrite.frame").read_bytes()
HEAD = '{% extends "chat/rewrite.frame" %}\n'


def write(folder: Path, source: str) -> Path:
    file = folder / "method.jinja"
    file.write_text(source, encoding="utf-8")
    return file


def show(file: Path, task: str = "Name a tree.") -> str:
    return render_request("chat", file, SAMPLING, 0, task=task).messages[0].content


def make_prompt(domain: str = "writing", check: Any = None) -> Prompt:
    return Prompt.seed(
        [Message(role="user", content="Describe a lake.")],
        check=check,
        domain=domain,
        licence="CC0-1.0",
        source="s.jsonl:1",
        author="me",
    )


# Files


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "Use {{ 7 * 7 }} and {{ task }} and {% for x in y %}.",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{# a comment #} stays",
        "{% raw %} nested",
        "ends with {%",
        "{",
        "%} begins with an end",
        "{% block how %}other{% endblock %}",
        "two\nlines, “quotes” and ünïcode",
        "  blanks around  ",
    ],
    ids=range(11),
)
def test_whatever_a_model_wrote_is_shown_as_it_stands(text: str, tmp_path: Path) -> None:
    file = write(tmp_path, dump_method(text))
    assert load_method(file) == text
    assert find_method_fault(file) is None
    whole = show(write(tmp_path, HEAD + "{% block how %}HERE{% endblock %}"))
    assert show(write(tmp_path, dump_method(text))) == whole.replace("HERE", text)


@pytest.mark.parametrize(
    "text",
    [
        "a{% endraw %}{{ 7 * 7 }}",
        "a{%- endraw -%}b",
        "a{%+endraw%}b",
        "a{%\nendraw %}b",
        "the word endraw alone",
    ],
    ids=["plain", "trimmed", "signed", "broken line", "word"],
)
def test_text_that_would_end_its_quotation_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        dump_method(text)
    assert str(caught.value) == (
        "a method with the word 'endraw' in it would be executed as a template; leave it out"
    )
    outcome = Response(text=text, finish_reason="stop", usage=Usage())
    assert read_reply(outcome) == (None, "scaffold")


def test_only_what_was_written_here_is_read_back(tmp_path: Path) -> None:
    file = write(tmp_path, HEAD + "{% block how %}by hand{% endblock %}")
    with pytest.raises(InputError) as caught:
        load_method(file)
    message = "not a method file that tutelage wrote; find one with: tutelage optimise CONFIG"
    assert str(caught.value) == f"{file}: {message}"


def test_search_begins_with_a_method_file_of_the_common_frame() -> None:
    text = load_method(INITIAL)
    assert text.startswith("make it harder in a way that suits it.")
    assert dump_method(text) == INITIAL.read_text(encoding="utf-8")
    deepen = render_request("chat", "deepen", SAMPLING, 0, task="Name a tree.").messages[0].content
    assert show(INITIAL).split("\n")[:3] == deepen.split("\n")[:3]
    assert show(INITIAL).endswith("\n-----\nName a tree.\n-----")


def test_hash_covers_the_file_and_its_frame_and_follows_its_changes(tmp_path: Path) -> None:
    hashes = []
    for text in (TEXT, "Another."):
        file = write(tmp_path, dump_method(text))
        whole = file.read_bytes() + b"\0" + FRAME
        hashes.append(hash_template("chat", file))
        assert hashes[-1] == hashlib.sha256(whole).hexdigest()[:16]
    assert hashes[0] != hashes[1]


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        (
            "Rewrite: {{ task }}",
            'does not extend the frame: begin it with {% extends "chat/rewrite.frame" %}',
        ),
        (
            HEAD + "{% block how %}{{ tsak }}{% endblock %}",
            "not a template that can be used: 'tsak' is undefined",
        ),
        (
            HEAD + "{% block how %}",
            "not a template that can be used: Unexpected end of template. Jinja was looking for "
            "the following tags: 'endblock'. The innermost block that needs to be closed is "
            "'block'.",
        ),
        (
            HEAD + "{% block how %}{{ task.__class__.__mro__ }}{% endblock %}",
            "not a template that can be used: access to attribute '__class__' of 'str' object is "
            "unsafe.",
        ),
        (
            HEAD + "{% block how %}{{ 1 / 0 }}{% endblock %}",
            "not a template that can be used: division by zero",
        ),
        (
            HEAD + "{% block how %}{{ task + 1 }}{% endblock %}",
            'not a template that can be used: can only concatenate str (not "int") to str',
        ),
        (
            HEAD + "{% block how %}{% for i in range(9999999) %}x{% endfor %}{% endblock %}",
            "not a template that can be used: Range too big. The sandbox blocks ranges larger than "
            "MAX_RANGE (100000).",
        ),
        (
            HEAD + "{% block how %}{{ [1].index(5) }}{% endblock %}",
            "not a template that can be used: 5 is not in list",
        ),
        (
            HEAD + "{% block how %}{{ '{}'.format() }}{% endblock %}",
            "not a template that can be used: tuple index out of range",
        ),
        (
            HEAD + "{% block how %}{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}{% endblock %}",
            "not a template that can be used: maximum recursion depth exceeded",
        ),
        (
            HEAD + "{% block how %}{% include 'nope' ignore missing %}{% endblock %}",
            "includes 'nope', and there is no such template; take it out",
        ),
    ],
    ids=[
        "no frame",
        "unknown name",
        "broken",
        "unsafe",
        "division",
        "types",
        "range",
        "value",
        "place",
        "recursion",
        "missing",
    ],
)
def test_file_that_is_no_method_is_told(source: str, fault: str, tmp_path: Path) -> None:
    file = write(tmp_path, source)
    told = find_method_fault(file)
    assert told is not None
    # Where in the call stack the limit is met is Python's to say.
    assert re.sub(r"(recursion depth exceeded).*", r"\1", told) == f"{file}: {fault}"


def test_file_in_another_encoding_is_told(tmp_path: Path) -> None:
    file = tmp_path / "method.jinja"
    file.write_bytes(HEAD.encode() + b"\xff\xfe")
    assert find_method_fault(file) == f"{file}: not UTF-8; write it anew in that encoding"


# The optimiser's replies


def respond(text: str, finish_reason: Any = "stop") -> Response:
    return Response(text=text, finish_reason=finish_reason, usage=Usage())


@pytest.mark.parametrize(
    ("outcome", "text", "reason"),
    [
        (respond(f' "{TEXT}"\n'), TEXT, None),
        (respond("a\r\nb"), "a\nb", None),
        (respond("x" * 4000), "x" * 4000, None),
        (respond("A task (as --- here) may grow."), "A task (as --- here) may grow.", None),
        (respond("x" * 4001), None, "method_too_long"),
        (respond(" \n"), None, "empty"),
        (respond("***"), None, "empty"),
        (respond("Make it", "length"), None, "unfinished"),
        (respond("Change {{ task }}."), None, "scaffold"),
        (respond("Do this:\n-----\nName a tree."), None, "scaffold"),
        (respond("You edit tasks that people give to a model."), None, "scaffold"),
        (Failure(reason="http_400", message="no", permanent=True), None, "http_400"),
    ],
    ids=range(12),
)
def test_replies_are_read_or_refused(
    outcome: Outcome, text: str | None, reason: str | None
) -> None:
    assert read_reply(outcome) == (text, reason)


def test_optimiser_sees_the_method_and_how_each_task_fared() -> None:
    fields = {"step": 1, "prompt_id": "p", "domain": "d", "evidence": None}
    told = [
        Trajectory(
            texts=("Swim.", "Swim far.", "{{ swim }}"),
            answer="I swam.",
            reason="survived",
            **fields,
        ),
        Trajectory(texts=("Sing.",), answer=None, reason="http_400", **fields),
    ]
    request = draft_feedback(TEXT, told, SAMPLING, 5)
    shown = request.messages[0].content
    assert shown.endswith(
        f"\nThe method:\n{TEXT}\n\nCase 1\nThe task: Swim.\nRound 1: Swim far.\n"
        "Round 2: {{ swim }}\nThe answer: I swam.\n\nCase 2\nThe task: Sing.\n"
        "There is no answer (http_400).\n"
    )
    assert (request.seed, request.sampling) == (5, SAMPLING)
    asked = draft_method(TEXT, "It is {{ vague }}.", SAMPLING, 6).messages[0].content
    assert asked.endswith(
        f"\nThe method:\n{TEXT}\n\nWhat was found wrong with it:\nIt is {{{{ vague }}}}."
    )


# The operator


def test_method_joins_every_set_once_it_is_there() -> None:
    without, given = EvolveSettings(model="m"), EvolveSettings(model="m", method="found.jinja")
    for domain, names in [("advice", GENERAL), *OPERATOR_SETS.items()]:
        fitting = [name for name in names if name not in KEYED]
        assert fitting_operators(make_prompt(domain), without) == fitting
        assert fitting_operators(make_prompt(domain), given) == [*fitting, METHOD]
    named = given.model_copy(update={"operators": ("deepen",)})
    assert fitting_operators(make_prompt(), named) == ["deepen"]
    assert METHOD not in without.list_templates()
    assert Path("found.jinja") in given.list_templates()


def test_generated_prompt_is_not_rewritten_by_a_method() -> None:
    check = ProceduralCheck(task="t", entry={"question": "1?", "answer": "1"})
    settings = EvolveSettings(model="m", method="found.jinja")
    assert fitting_operators(make_prompt(check=check), settings) == ["procedural"]


def test_child_carries_the_hash_of_the_method_file(tmp_path: Path) -> None:
    file = write(tmp_path, dump_method(TEXT))
    settings, parent = EvolveSettings(model="m", method=str(file)), make_prompt("maths")
    request = build_rewrite(parent, METHOD, "chat", settings, DRAW)
    assert request.messages[0].content == show(file, "Describe a lake.")
    assert f"How to edit this one: {TEXT}\n" in request.messages[0].content
    attempt = read_rewrite(
        parent, METHOD, respond("Two."), form="chat", model="m@1", settings=settings, draw=DRAW
    )
    assert attempt.child is not None
    assert bare_text(attempt.child) == "Two."
    assert (attempt.child.operator, attempt.child.template_hash) == (
        METHOD,
        hash_template("chat", file),
    )
