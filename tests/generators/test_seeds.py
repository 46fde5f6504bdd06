"""The seeds that are checked in, and what bad ones get."""

import json
import math
import re
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from generators.errors import InputError
from generators.procedural import signature, split_of
from generators.records import (
    CHECK,
    ChoiceCheck,
    CodeCheck,
    ExactCheck,
    JsonSchemaCheck,
    MathCheck,
    ProceduralCheck,
    Prompt,
)
from generators.seed_lines import LINE_SCHEMA
from generators.seeds import load_examples, load_seeds, load_texts

SEEDS = Path(__file__).parents[2] / "seeds"
NONE = "\N{EN DASH}"
RIGHTS = '"domain": "maths", "licence": "CC0-1.0", "author": "me"'
ASKED = {"role": "user", "content": "What is the weather?"}
CALL = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
TOOL_TURN = (
    "calls a tool or is a tool's result, which published rows have no place for; tell it in words, "
    "or leave the line out"
)


@pytest.fixture(scope="module")
def seeds() -> list[Prompt]:
    return load_seeds(SEEDS, split="train")


@pytest.fixture(scope="module")
def heldout() -> list[Prompt]:
    return load_seeds(SEEDS / "heldout" / "arithmetic.jsonl", split="heldout")


def test_readme_counts_what_is_there(seeds: list[Prompt], heldout: list[Prompt]) -> None:
    said = {
        name: (int(lines), int(prompts) if prompts != NONE else 0)
        for name, lines, prompts in re.findall(
            rf"^\| `(.+?)` \| (\d+) \| (\d+|{NONE}) \|",
            (SEEDS / "README.md").read_text(),
            re.MULTILINE,
        )
    }
    drawn = Counter(prompt.source.split(":")[0] for prompt in seeds)
    drawn["heldout/arithmetic.jsonl"] = len(heldout)
    assert said == {
        str(path.relative_to(SEEDS)): (
            len(path.read_text().splitlines()),
            drawn[str(path.relative_to(SEEDS))],
        )
        for path in SEEDS.rglob("*.jsonl")
    }
    assert len(seeds) - drawn["arithmetic.jsonl"] >= 165


def test_seeds_are_distinct_roots_with_their_rights(seeds: list[Prompt]) -> None:
    assert len({prompt.text for prompt in seeds}) == len({prompt.id for prompt in seeds}) == 542
    assert {prompt.licence for prompt in seeds} == {"CC0-1.0"}
    assert {prompt.author for prompt in seeds} == {"tutelage authors"}
    assert {(prompt.round, prompt.operator, prompt.parent_id) for prompt in seeds} == {
        (0, "seed", None)
    }
    assert all(prompt.root_id == prompt.id for prompt in seeds)
    assert seeds[0].source == "arithmetic.jsonl:1"


def test_every_domain_is_there(seeds: list[Prompt]) -> None:
    counts = Counter(prompt.domain for prompt in seeds)
    assert counts == {
        "maths": 370,
        "writing": 56,
        "reasoning": 26,
        "explaining": 25,
        "classification": 19,
        "code": 16,
        "extraction": 16,
        "tools": 14,
    }


def test_reference_answers_agree_with_their_prompts(seeds: list[Prompt]) -> None:
    kinds = Counter(prompt.check.kind for prompt in seeds if prompt.check)
    assert kinds.keys() == {"math", "exact", "choice", "json_schema", "code", "procedural"}
    for prompt in seeds:
        match prompt.check:
            case MathCheck(answer=answer):
                assert Fraction(answer) > 0, prompt.source
            case ExactCheck(answer=answer):
                assert answer == answer.strip()
                assert re.search(r"Answer (with|yes|in)", prompt.text), prompt.source
            case ChoiceCheck(options=options):
                shown = [prompt.text.index(f"{key}) {text}") for key, text in options.items()]
                assert shown == sorted(shown), prompt.source
                assert prompt.text.endswith("Answer with the letter only."), prompt.source
            case CodeCheck(entry_point=name, cases=cases):
                parameters = re.search(rf"`{name}\((.*?)\)`", prompt.text)
                assert parameters, prompt.source
                wanted = len(parameters[1].split(", "))
                assert {len(case.args) for case in cases} == {wanted}, prompt.source
                assert len({json.dumps(case.expected) for case in cases}) > 1, prompt.source


def _right_answer(schema: dict[str, Any]) -> Any:
    if "const" in schema:
        return schema["const"]
    return {key: _right_answer(inner) for key, inner in schema["properties"].items()}


def test_json_checks_let_only_the_right_answer_pass(seeds: list[Prompt]) -> None:
    checked = [prompt for prompt in seeds if isinstance(prompt.check, JsonSchemaCheck)]
    assert len(checked) == 30
    for prompt in checked:
        assert isinstance(prompt.check, JsonSchemaCheck)
        judge = Draft202012Validator(prompt.check.schema_)
        right = _right_answer(prompt.check.schema_)
        assert judge.is_valid(right), prompt.source
        assert not judge.is_valid({**right, "remark": "more"}), prompt.source
        for key in right:
            assert not judge.is_valid({**right, key: "wrong"}), prompt.source
            assert not judge.is_valid({k: v for k, v in right.items() if k != key}), prompt.source


def test_tool_seeds_ask_for_a_call_that_their_tool_takes(seeds: list[Prompt]) -> None:
    checked = [prompt for prompt in seeds if prompt.tools]
    assert len(checked) == 14
    for prompt in checked:
        assert isinstance(prompt.check, JsonSchemaCheck)
        call = _right_answer(prompt.check.schema_)
        tools = {tool["function"]["name"]: tool["function"] for tool in prompt.tools}
        assert len(tools) > 1, prompt.source
        accepts = Draft202012Validator(tools[call["name"]]["parameters"])
        assert accepts.is_valid(call["arguments"]), prompt.source


def test_procedural_seeds_stay_in_their_split(seeds: list[Prompt], heldout: list[Prompt]) -> None:
    def signatures(prompts: list[Prompt]) -> list[tuple[str, tuple[int, ...]]]:
        return [signature(p.check) for p in prompts if isinstance(p.check, ProceduralCheck)]

    train, test = signatures(seeds), signatures(heldout)
    assert (len(train), len(test)) == (340, 240)
    assert (len(set(train)), len(set(test))) == (340, 240)
    assert {split_of(one) for one in train} == {"train"}
    assert {split_of(one) for one in test} == {"heldout"}


def test_another_draw_gives_other_prompts_and_the_same_draw_the_same(seeds: list[Prompt]) -> None:
    again = load_seeds(SEEDS / "arithmetic.jsonl", split="train")
    other = load_seeds(SEEDS / "arithmetic.jsonl", split="train", draw="1")
    assert again == seeds[: len(again)]
    assert len(other) == len(again)
    assert 50 < len({p.text for p in again} - {p.text for p in other}) < 340


def test_examples_are_right_and_reserved() -> None:
    examples = load_examples(SEEDS / "examples" / "arithmetic.jsonl")
    assert set(Counter(example.task for example in examples).values()) == {4}
    assert len({example.task for example in examples}) == 7
    for example in examples:
        operands = tuple(sorted(map(int, re.findall(r"\d+", example.prompt))))
        assert split_of((example.task, operands)) == "examples", example.prompt
        step = re.fullmatch(r" (?:(?P<step>.+) = )?(?P<answer>-?\d+)", example.completion)
        assert step is not None, example.completion
        step_text = (step["step"] or example.prompt.split(":")[-1].strip(" =")).replace(
            "GCD", "gcd"
        )
        assert eval(step_text, {"gcd": math.gcd}) == int(step["answer"]), example


def test_heldout_texts_are_paragraphs() -> None:
    texts = load_texts(SEEDS / "heldout" / "text.jsonl")
    assert len(set(texts)) == 30
    assert all(40 <= len(text.split()) <= 80 for text in texts)


def test_schema_file_is_the_schema_of_the_code() -> None:
    assert json.loads((SEEDS / "seed.schema.json").read_text()) == LINE_SCHEMA
    Draft202012Validator.check_schema(LINE_SCHEMA)


def test_schema_file_accepts_the_seeds_and_knows_every_check() -> None:
    judge = Draft202012Validator(LINE_SCHEMA)
    for path in [*SEEDS.glob("*.jsonl"), SEEDS / "heldout" / "arithmetic.jsonl"]:
        for line in path.read_text().splitlines():
            assert judge.is_valid(json.loads(line)), line
    assert not judge.is_valid({"prompt": "x", "check": {"answer": "4"}})
    generated = CHECK.json_schema()
    kinds = LINE_SCHEMA["$defs"]["PromptLine"]["properties"]["check"]["discriminator"]["mapping"]
    assert kinds == generated["discriminator"]["mapping"]


def test_repeated_lines_get_ids_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "twice.jsonl"
    file.write_text(f'{{"prompt": "Say hello.", {RIGHTS}}}\n' * 3)
    prompts = load_seeds(file)
    assert len({prompt.id for prompt in prompts}) == 3
    assert prompts == load_seeds(file)
    assert [prompt.source for prompt in prompts] == [f"twice.jsonl:{n}" for n in (1, 2, 3)]


def test_chat_seed_keeps_its_turns_and_tools(tmp_path: Path) -> None:
    file = tmp_path / "chat.jsonl"
    tool = {"type": "function", "function": {"name": "stop"}}
    turns = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hello."}]
    rights = json.loads(f"{{{RIGHTS}}}")
    file.write_text(json.dumps({"messages": turns, "tools": [tool], **rights}))
    [prompt] = load_seeds(file)
    assert [(m.role, m.content) for m in prompt.messages] == [
        ("system", "Be short."),
        ("user", "Hello."),
    ]
    assert prompt.tools == (tool,)
    assert prompt.check is None


def test_all_bad_lines_are_reported_at_once(tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    lines = [
        '{"prompt": "Hi", "domain": "writing", "licence": "CC0-1.0"}',
        f'{{"prompt": " ", {RIGHTS}}}',
        f'{{"prompt": "Good.", {RIGHTS}}}',
        f'{{"prompt": "2 + 2?", "check": {{"kind": "math", "answer": "4", "n": 8}}, {RIGHTS}}}',
        '{"prompt": "2 + 2?"',
        f'{{"procedural": {{"task": "chain_sums", "count": 3}}, {RIGHTS}}}',
        f'{{"prompt": "Hi", "check": {{"answer": 3}}, {RIGHTS.replace("domain", "doman")}}}',
    ]
    file.write_text("\n".join(lines))
    with pytest.raises(InputError) as refused:
        load_seeds(file)
    assert str(refused.value).splitlines() == [
        f"{file}:1: author: is missing",
        f"{file}:2: prompt: is empty",
        f"{file}:4: check.n: is not a field of a check of kind math; there are answer, kind",
        f"{file}:5: is not JSON: Expecting ',' delimiter (column 20)",
        f"{file}:6: procedural.task: 'chain_sums' is not known; choose from chain_sum, gcd, "
        "products, template:apples, template:bakery, template:bus, template:savings "
        "(did you mean chain_sum?)",
        f"{file}:7: doman: is not a field here; there are author, check, domain, licence, prompt, "
        "tools (did you mean domain?)",
        f"{file}:7: check.kind: is missing",
        f"{file}:7: domain: is missing",
    ]


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        pytest.param(
            {"prompt": "?", "check": {"kind": "maths", "answer": "1"}},
            "check.kind: 'maths' is not known; choose from choice, code, consensus, constraint, "
            "exact, json_schema, judge, math, procedural (did you mean math?)",
            id="unknown kind",
        ),
        pytest.param(
            {"prompt": "?", "check": {"kind": "math", "answer": " "}},
            "check.answer: is empty",
            id="empty answer",
        ),
        pytest.param(
            {
                "prompt": "?",
                "check": {"kind": "choice", "answer": "C", "options": {"A": "", "B": ""}},
            },
            "check.answer: 'C' is none of the options (A, B)",
            id="answer is no option",
        ),
        pytest.param(
            {"prompt": "?", "check": {"kind": "json_schema", "schema": {"required": "a"}}},
            "check.schema: is not a JSON Schema: required: 'a' is not of type 'array'",
            id="no JSON Schema",
        ),
        pytest.param(
            {"prompt": "?", "check": {"kind": "code", "entry_point": "f", "cases": [{"args": []}]}},
            "check.cases.0.expected: is missing",
            id="case without expected",
        ),
        pytest.param(
            {
                "prompt": "?",
                "check": {
                    "kind": "code",
                    "entry_point": "f",
                    "cases": [{"args": [{"$set": 1}], "expected": 1}],
                },
            },
            "check.cases.0.args: $set must hold a list",
            id="case with a strange value",
        ),
        pytest.param(
            {"prompt": "?", "check": {"kind": "code", "entry_point": "f", "cases": []}},
            "check.cases: is empty",
            id="no cases",
        ),
        pytest.param(
            {"prompt": "?", "check": {"kind": "judge", "rubric": ""}},
            "check.rubric: is empty",
            id="empty rubric",
        ),
        pytest.param(
            {
                "prompt": "?",
                "check": {
                    "kind": "constraint",
                    "constraints": [{"id": "punctuation:no_comma", "n": 3}],
                },
            },
            "check.constraints.0: punctuation:no_comma: n: not a parameter; it takes none",
            id="constraint with a strange parameter",
        ),
        pytest.param(
            {
                "prompt": "?",
                "check": {
                    "kind": "procedural",
                    "task": "gcd",
                    "entry": {"question": "?", "answer": "1"},
                },
            },
            "check.entry.metadata.operands: must be a list of whole numbers",
            id="entry without operands",
        ),
        pytest.param({}, "prompt: is missing (or messages, or procedural)", id="no prompt"),
        pytest.param(
            {"prompt": "?", "messages": []},
            "messages: stands beside prompt; keep one of them",
            id="two forms",
        ),
        pytest.param(
            {"messages": [{"role": "assistant", "content": "Hello."}]},
            "messages: has no turn in which the user says something",
            id="no user",
        ),
        pytest.param(
            {"messages": [ASKED, {"role": "assistant", "content": "", "tool_calls": [CALL]}]},
            f"messages.1: {TOOL_TURN}",
            id="call of a tool",
        ),
        pytest.param(
            {"messages": [ASKED, {"role": "tool", "content": "Rain."}]},
            f"messages.1: {TOOL_TURN}",
            id="result of a tool",
        ),
        pytest.param(
            {"prompt": "?", "tools": [{"type": "function", "function": {"name": ""}}]},
            "tools.0.function.name: is empty",
            id="tool without a name",
        ),
        pytest.param(
            {"procedural": {"task": "gcd", "params": {"max_valu": 3}, "count": 1}},
            "procedural.params.max_valu: is not a parameter of gcd; there are max_numbers, "
            "max_value, min_numbers, min_value (did you mean max_value?)",
            id="unknown parameter",
        ),
        pytest.param(
            {
                "procedural": {
                    "task": "products",
                    "params": {"min_terms": 4, "max_terms": 3},
                    "count": 1,
                }
            },
            "procedural.params: min_terms is above max_terms",
            id="crossed range",
        ),
        pytest.param(
            {"procedural": {"task": "products", "count": 60}},
            "procedural.count: products has only 36 distinct entries left in the train split with "
            "these params, not 60; lower the count or widen the params",
            id="too many",
        ),
        pytest.param(
            {"procedural": {"task": "products", "count": 0}},
            "procedural.count: must be at least 1",
            id="none",
        ),
    ],
)
def test_bad_seed_is_named(fields: dict[str, Any], fault: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(json.dumps(fields | json.loads(f"{{{RIGHTS}}}")))
    with pytest.raises(InputError) as refused:
        load_seeds(file, split="train")
    assert str(refused.value) == f"{file}:1: {fault}"
