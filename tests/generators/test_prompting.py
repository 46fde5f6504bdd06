"""Every template renders in both forms, whole and with nothing undefined, and has a stable hash."""

import hashlib
from typing import Any

import jinja2
import pytest

from generators.clients import Request, Sampling
from generators.errors import ConfigError
from generators.operator_sets import METHOD, OPERATORS
from generators.prompting import TEMPLATES, Form, hash_template, render_request
from generators.records import Message
from generators.seed_lines import Example

SAMPLING = Sampling(temperature=0.5, max_tokens=7)
TASK = 'Compare <b>"tea"</b> & {{ coffee }}\nin {% two %} lines.'
NAMED = {name: operator for name, operator in OPERATORS.items() if name != METHOD}
"""Those whose template is one of ours."""
LLM_OPERATORS = [n for n, operator in NAMED.items() if operator.kind not in ("key", "turn")]
EXAMPLES = [
    Example(task="t", prompt="3 + 8 =", completion=" 11"),
    Example(task="t", prompt="2 + 2 =", completion=" 4"),
]


def read_text(request: Request) -> str:
    """What the model gets to read, in either form."""
    if request.text is None:
        (message,) = request.messages
        assert message.role == "user"
        return message.content
    assert request.messages == ()
    return request.text


@pytest.mark.parametrize("form", ["chat", "complete"])
@pytest.mark.parametrize("name", LLM_OPERATORS)
def test_a_rewrite_shows_the_task_as_it_stands(name: str, form: Form) -> None:
    request = render_request(form, name, SAMPLING, 9, task=TASK)
    text = read_text(request)
    assert text.count(TASK) == 1
    rest = text.replace(TASK, "")
    assert not {"{{", "}}", "{%", "%}"} & {rest[i : i + 2] for i in range(len(rest))}
    assert request.seed == 9
    assert request.sampling.stop == (("\n",) if form == "complete" else ())
    assert request.sampling.model_copy(update={"stop": ()}) == SAMPLING


@pytest.mark.parametrize("name", LLM_OPERATORS)
def test_a_completion_ends_where_the_new_task_begins(name: str) -> None:
    text = read_text(render_request("complete", name, SAMPLING, 0, task=TASK))
    assert text.endswith(f"\n\nTask: {TASK}\nNew task:")
    pairs = text.removesuffix(f"Task: {TASK}\nNew task:").strip().split("\n\n")[1:]
    assert len(pairs) == 4
    assert all(
        line.startswith(label)
        for pair in pairs
        for line, label in zip(pair.split("\n"), ("Task: ", "New task: "), strict=True)
    )


@pytest.mark.parametrize("name", LLM_OPERATORS)
def test_a_chat_sets_the_task_between_rules(name: str) -> None:
    text = read_text(render_request("chat", name, SAMPLING, 0, task=TASK))
    assert text.endswith(f"\n-----\n{TASK}\n-----")


def test_what_operators_in_depth_share_comes_first() -> None:
    """So that a server's prefix cache reads it once."""
    depth = [name for name, operator in NAMED.items() if operator.kind == "depth"]
    texts = [read_text(render_request("chat", name, SAMPLING, 0, task=TASK)) for name in depth]
    heads = {tuple(text.split("\n")[:3]) for text in texts}
    assert len(heads) == 1
    assert len(set(texts)) == len(depth) == 11


def test_a_conversation_goes_on_behind_its_last_answer() -> None:
    slots: dict[str, Any] = {"task": "Name a tree.", "answer": "The\noak.", "earlier": []}
    text = read_text(render_request("complete", "follow_up", SAMPLING, 0, **slots))
    assert text.endswith("\n\nTask: Name a tree.\nAnswer: The oak.\nNext:")
    text = read_text(render_request("chat", "follow_up", SAMPLING, 0, **slots))
    assert text.endswith("\n-----\nPerson: Name a tree.\n\nAssistant: The\noak.\n-----")


@pytest.mark.parametrize("form", ["chat", "complete"])
def test_the_judge_sees_both_tasks_in_their_order(form: Form) -> None:
    text = read_text(render_request(form, "equality", SAMPLING, 0, first="One?", second="Two?"))
    assert text.index("First task:") < text.index("One?") < text.index("Two?")
    assert "equal" in text


def test_an_answer_goes_on_behind_its_examples() -> None:
    request = render_request("complete", "answer", SAMPLING, 1, task=TASK, examples=EXAMPLES)
    assert request == Request(
        text=f"3 + 8 = 11\n2 + 2 = 4\n{TASK}",
        sampling=Sampling(temperature=0.5, max_tokens=7, stop=("\n",)),
        seed=1,
    )


def test_a_chat_is_one_user_turn() -> None:
    request = render_request("chat", "breadth", SAMPLING, 1, task="Sing.")
    assert request.messages == (Message(role="user", content=read_text(request)),)
    assert (request.text, request.tools) == (None, ())


@pytest.mark.parametrize(
    ("slots", "open_slot"), [({}, "first"), ({"first": "One?"}, "second")], ids=["none", "half"]
)
def test_a_slot_that_is_left_open_is_an_error(slots: dict[str, Any], open_slot: str) -> None:
    with pytest.raises(jinja2.UndefinedError) as caught:
        render_request("chat", "equality", SAMPLING, 0, **slots)
    assert str(caught.value) == f"'{open_slot}' is undefined"


def test_a_template_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        render_request("chat", "widen", SAMPLING, 0, task="Sing.")
    assert str(caught.value) == (
        "templates/chat/widen.jinja: no such template (there are: add_constraints, annotate, "
        "breadth, "
        "code_add_constraints, code_complexity, code_erroneous_code, code_more_steps, "
        "code_rare_requirement, complicate_input, concretise, deepen, equality, follow_up, "
        "increase_reasoning, judge, maths_easier, maths_harder, method_feedback, method_initial, "
        "method_rewrite)"
    )


def test_each_template_has_the_hash_of_its_file_and_its_frame() -> None:
    files = sorted(TEMPLATES.glob("*/*.jinja"))
    frame = (TEMPLATES / "chat/rewrite.frame").read_bytes()
    hashes = set()
    for file in files:
        form: Any = file.parent.name
        content = file.read_bytes()
        whole = content + b"\0" + frame if content.startswith(b"{% extends") else content
        expected = hashlib.sha256(whole).hexdigest()[:16]
        assert hash_template(form, file.stem) == expected
        hashes.add(expected)
    assert len(hashes) == len(files) == 38


def test_every_operator_of_a_model_has_both_forms() -> None:
    for form in ("chat", "complete"):
        names = {file.stem for file in (TEMPLATES / form).glob("*.jinja")}
        others = {"equality", "answer", "annotate", "follow_up", "judge"}
        others |= {"method_initial", "method_feedback", "method_rewrite"}
        assert names - others == set(LLM_OPERATORS)
