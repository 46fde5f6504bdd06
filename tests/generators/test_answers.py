"""How a prompt is put to a sampler, behind which examples, and what an answer remembers."""

from typing import Any

import pytest
from pydantic import ValidationError

from generators.answers import (
    Examples,
    SamplerSettings,
    draft_samples,
    group_examples,
    put_prompt,
    to_answer,
)
from generators.clients import Request, Response, Sampling, draw_seed
from generators.prompting import Form
from generators.records import (
    Answer,
    Check,
    ChoiceCheck,
    FunctionCall,
    JsonSchemaCheck,
    MathCheck,
    Message,
    ProceduralCheck,
    Prompt,
    ToolCall,
    Usage,
    digest,
)
from generators.seed_lines import Example

SAMPLING = Sampling(temperature=0.7, max_tokens=80)
SAMPLER = SamplerSettings(name="weak", model="m", n=3, sampling=SAMPLING, examples_max_tokens=5)
EXAMPLES = [
    Example(task="gcd", prompt="Of 4 and 6?", completion=" 2"),
    Example(task="products", prompt="2 * 3 =", completion=" 6"),
    Example(task="gcd", prompt="Of 9 and 6?", completion=" 3"),
]
TURNS = (
    Message(role="system", content="Be brief."),
    Message(role="user", content="Of 8 and 6?"),
)
TOOL = {"type": "function", "function": {"name": "gcd", "parameters": {"type": "object"}}}
GCD = ProceduralCheck(task="gcd", entry={})


def make_prompt(check: Check | None = GCD, **fields: Any) -> Prompt:
    fields = {"domain": "maths", "licence": "CC0-1.0", "source": "s:1", "author": "me", **fields}
    return Prompt.seed(TURNS, check=check, **fields)


def examples_in(form: Form) -> Examples:
    return group_examples(EXAMPLES, form)


def test_examples_are_grouped_by_task_in_their_order() -> None:
    assert group_examples(EXAMPLES, "chat") == Examples(
        {"gcd": [EXAMPLES[0], EXAMPLES[2]], "products": [EXAMPLES[1]]}, "chat"
    )
    assert group_examples([], "complete") == Examples({}, "complete")


def test_a_raw_completion_goes_on_behind_the_tasks_examples() -> None:
    assert put_prompt(make_prompt(), SAMPLER, examples_in("complete"), 9) == Request(
        text="Of 4 and 6? 2\nOf 9 and 6? 3\nOf 8 and 6?",
        sampling=Sampling(temperature=0.7, max_tokens=5, stop=("\n",)),
        seed=9,
    )


@pytest.mark.parametrize(
    ("structured", "check", "schema"),
    [
        (True, JsonSchemaCheck(schema={"type": "array"}), {"type": "array"}),
        (False, JsonSchemaCheck(schema={"type": "array"}), None),
        (True, None, None),
    ],
    ids=["structured", "not structured", "no schema"],
)
def test_a_schema_is_asked_for_where_the_sampler_says_so(
    structured: bool, check: Check | None, schema: dict[str, Any] | None
) -> None:
    sampler = SAMPLER.model_copy(update={"structured": structured})
    asked = put_prompt(make_prompt(check), sampler, examples_in("chat"), 9)
    assert (asked.messages, asked.json_schema) == (TURNS, schema)


@pytest.mark.parametrize(
    ("structured", "guided", "choices"),
    [(True, True, ("A", "B")), (True, False, ()), (False, True, ())],
    ids=["structured", "not vLLM", "not structured"],
)
def test_choices_are_asked_for_where_sampler_and_model_allow(
    structured: bool, guided: bool, choices: tuple[str, ...]
) -> None:
    sampler = SAMPLER.model_copy(update={"structured": structured})
    check = ChoiceCheck(answer="B", options={"A": "blue", "B": "red"})
    examples = group_examples(EXAMPLES, "chat", guided=guided)
    asked = put_prompt(make_prompt(check), sampler, examples, 9)
    assert (asked.messages, asked.choices) == (TURNS, choices)


def test_a_chat_has_the_tasks_examples_as_earlier_turns() -> None:
    prompt = make_prompt(tools=[TOOL])
    assert put_prompt(prompt, SAMPLER, examples_in("chat"), 9) == Request(
        messages=(
            TURNS[0],
            Message(role="user", content="Of 4 and 6?"),
            Message(role="assistant", content="2"),
            Message(role="user", content="Of 9 and 6?"),
            Message(role="assistant", content="3"),
            TURNS[1],
        ),
        tools=(TOOL,),
        sampling=Sampling(temperature=0.7, max_tokens=5),
        seed=9,
    )


@pytest.mark.parametrize("form", ["chat", "complete"])
@pytest.mark.parametrize(
    "check",
    [ProceduralCheck(task="chain_sum", entry={}), MathCheck(answer="2"), None],
    ids=["another-task", "another-check", "none"],
)
def test_a_prompt_without_examples_is_a_chat_as_it_stands(check: Check | None, form: Form) -> None:
    prompt = make_prompt(check, tools=[TOOL])
    assert put_prompt(prompt, SAMPLER, examples_in(form), 9) == Request(
        messages=TURNS, tools=(TOOL,), sampling=SAMPLING, seed=9
    )


def test_every_sample_is_drawn_by_a_seed_of_its_own() -> None:
    prompt = make_prompt()
    drafts = draft_samples(prompt, SAMPLER, examples_in("chat"), run_seed=7, cycle=2)
    assert [(draft.prompt, draft.sample) for draft in drafts] == [(prompt, i) for i in range(3)]
    assert [draft.request.seed for draft in drafts] == [
        draw_seed(7, 2, "answer", prompt.id, "weak", i) for i in range(3)
    ]
    assert len({draft.request.seed for draft in drafts}) == 3
    assert all(draft.request.messages == drafts[0].request.messages for draft in drafts)


def test_some_samples_are_drawn_as_they_would_be_among_all() -> None:
    prompt, examples = make_prompt(), examples_in("complete")
    drafts = draft_samples(prompt, SAMPLER, examples, run_seed=7, cycle=2)
    some = draft_samples(prompt, SAMPLER, examples, run_seed=7, cycle=2, indices=[2, 0])
    assert some == [drafts[2], drafts[0]]
    assert draft_samples(prompt, SAMPLER, examples, run_seed=7, cycle=2, indices=[]) == []


@pytest.mark.parametrize(
    ("run_seed", "cycle", "name"),
    [(8, 2, "weak"), (7, 3, "weak"), (7, 2, "strong")],
    ids=["run", "cycle", "sampler"],
)
def test_another_run_cycle_or_sampler_draws_anew(run_seed: int, cycle: int, name: str) -> None:
    prompt, examples = make_prompt(), examples_in("chat")
    sampler = SAMPLER.model_copy(update={"name": name})
    one = draft_samples(prompt, SAMPLER, examples, run_seed=7, cycle=2)
    other = draft_samples(prompt, sampler, examples, run_seed=run_seed, cycle=cycle)
    assert not {d.request.seed for d in one} & {d.request.seed for d in other}


def test_an_answer_keeps_what_the_model_said_and_how_it_was_asked() -> None:
    prompt = make_prompt()
    draft = draft_samples(prompt, SAMPLER, examples_in("chat"), run_seed=7, cycle=2)[1]
    call = ToolCall(id="c1", function=FunctionCall(name="gcd", arguments='{"a": 8}'))
    response = Response(
        text="  The answer is 2.\n",
        reasoning="8 = 6 + 2",
        tool_calls=(call,),
        finish_reason="tool_calls",
        usage=Usage(prompt_tokens=9, completion_tokens=6),
        logprobs=(-0.5, -0.25),
    )
    answer = to_answer(draft, response, sampler="weak", model="m@1", request_key="k" * 64)
    assert answer == Answer(
        id=digest("answer", prompt.id, "weak", 1, "  The answer is 2.\n"),
        prompt_id=prompt.id,
        sample_index=1,
        sampler="weak",
        model="m@1",
        messages=(Message(role="assistant", content="The answer is 2.", tool_calls=(call,)),),
        reasoning="8 = 6 + 2",
        tool_calls=(call,),
        finish_reason="tool_calls",
        usage=Usage(prompt_tokens=9, completion_tokens=6),
        params={"temperature": 0.7, "top_p": 1.0, "max_tokens": 5, "stop": []},
        request_key="k" * 64,
        logprobs=(-0.5, -0.25),
    )
    assert answer.completion == "The answer is 2."


def test_equal_texts_of_two_samples_are_two_answers() -> None:
    drafts = draft_samples(make_prompt(), SAMPLER, examples_in("chat"), run_seed=7, cycle=2)
    response = Response(text="2", finish_reason="stop", usage=Usage())
    ids = [to_answer(d, response, sampler="weak", model="m", request_key="k").id for d in drafts]
    assert len(set(ids)) == 3


@pytest.mark.parametrize("field", ["n", "examples_max_tokens"])
def test_a_sampler_draws_at_least_once(field: str) -> None:
    settings: dict[str, Any] = {"name": "weak", "model": "m", field: 0}
    with pytest.raises(ValidationError) as caught:
        SamplerSettings(**settings)
    assert [(error["loc"], error["type"]) for error in caught.value.errors()] == [
        ((field,), "greater_than_equal")
    ]
