"""What is written is read again as it was; what something else has edited is caught."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from generators.errors import InputError
from generators.records import (
    CHECK,
    Answer,
    Check,
    FunctionCall,
    Message,
    Prompt,
    Record,
    ToolCall,
    Usage,
    Verdict,
)
from generators.tables import arrow_schema, read_records, write_records

CALL = ToolCall(id="c1", function=FunctionCall(name="add", arguments='{"a": 1, "b": "ü"}'))
CHECKS: list[dict[str, Any] | None] = [
    None,
    {"kind": "math", "answer": "18"},
    {"kind": "exact", "answer": 'say "yes"\nand go'},
    {"kind": "choice", "answer": "B", "options": {"A": "2", "B": "3"}},
    {"kind": "json_schema", "schema": {"type": "object", "properties": {"n": {"minimum": 0.5}}}},
    {"kind": "constraint", "constraints": [{"id": "keywords:existence", "keywords": ["tea"]}]},
    {"kind": "code", "entry_point": "median", "cases": [{"args": [[3, None]], "expected": 2}]},
    {"kind": "procedural", "task": "gcd", "entry": {"metadata": {"operands": [4, 6]}}},
    {"kind": "consensus", "votes": {"7": 6, "8": 2}, "n": 8, "threshold": 0.75},
    {"kind": "judge", "rubric": "Is it kind?"},
]


def make_prompt(check: Check | None = None) -> Prompt:
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    turns = (
        Message(role="system", content=""),
        Message(role="user", content="Add 1 and 2.\n\t“please” 🙂"),
        Message(role="assistant", content="", reasoning_content="use the tool", tool_calls=(CALL,)),
        Message(role="tool", content="3", tool_call_id="c1"),
    )
    seed = Prompt.seed(
        turns, check=check, domain="tools", licence="CC0-1.0", source="s:1", author="me"
    )
    return seed.child(
        turns,
        operator="deepen",
        round=1,
        check=check,
        author="m@1",
        template_hash="ab",
        tools=[tool],
    )


def make_answer(**fields: Any) -> Answer:
    values: dict[str, Any] = {
        "id": "a1",
        "prompt_id": "p1",
        "sample_index": 3,
        "sampler": "weak",
        "model": "m@1",
        "messages": (Message(role="assistant", content="5", tool_calls=(CALL,)),),
        "finish_reason": "stop",
        "usage": Usage(prompt_tokens=7, completion_tokens=2),
        "params": {"temperature": 0.7, "stop": ["\n"]},
        "request_key": "f" * 64,
    }
    return Answer(**values | fields)


def make_verdict(**fields: Any) -> Verdict:
    values: dict[str, Any] = {
        "subject_id": "a1",
        "stage": "verify",
        "detector": "math",
        "version": "1",
        "decision": "accept",
        "reason": "equal",
    }
    return Verdict(**values | fields)


def write_edited(path: Path, record: Any, **cells: Any) -> None:
    """A table as somebody else might leave it: cells changed, added, or (Ellipsis) dropped."""
    write_records(path, type(record), [record])
    row = pq.read_table(path).to_pylist()[0] | cells
    row = {name: value for name, value in row.items() if value is not ...}
    pq.write_table(pa.Table.from_pylist([row]), path)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check["kind"] if check else "none")
def test_prompts_come_back_with_their_checks(check: dict[str, Any] | None, tmp_path: Path) -> None:
    prompt = make_prompt(CHECK.validate_python(check) if check else None)
    assert write_records(tmp_path / "p.parquet", Prompt, [prompt]) == 1
    assert read_records(tmp_path / "p.parquet", Prompt) == [prompt]


@pytest.mark.parametrize(
    "record",
    [
        make_answer(),
        make_answer(reasoning="2 and 3", tool_calls=(CALL,), logprobs=(-0.5, -1e-05, 0.0)),
        make_answer(finish_reason="length", params={}),
        make_verdict(),
        make_verdict(decision="quarantine", evidence='["“5”"]', score=0.1),
    ],
    ids=["answer", "answer-with-all", "answer-cut", "verdict", "verdict-with-all"],
)
def test_answers_and_verdicts_come_back(record: Answer | Verdict, tmp_path: Path) -> None:
    kind: Any = type(record)
    write_records(tmp_path / "r.parquet", kind, [record, record])
    assert read_records(tmp_path / "r.parquet", kind) == [record, record]


@pytest.mark.parametrize("kind", [Prompt, Answer, Verdict], ids=lambda kind: kind.__name__)
def test_no_records_are_a_table_with_the_same_columns(kind: Any, tmp_path: Path) -> None:
    path = tmp_path / "none.parquet"
    assert write_records(path, kind, []) == 0
    assert read_records(path, kind) == []
    assert pq.read_schema(path) == arrow_schema(kind)


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [
        (Prompt, {"round": "int32"}),
        (Answer, {"sample_index": "int32"}),
        (Verdict, {"score": "double"}),
    ],
    ids=["Prompt", "Answer", "Verdict"],
)
def test_a_column_is_text_unless_it_is_a_number(
    kind: type[Record], numbers: dict[str, str]
) -> None:
    columns = {field.name: str(field.type) for field in arrow_schema(kind)}
    assert columns == dict.fromkeys(kind.model_fields, "string") | numbers


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_records(tmp_path / name, Prompt, [make_prompt()])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "Parquet file size is 0 bytes"),
        (
            b"id,text\n1,hello\n" * 9,
            "Parquet magic bytes not found in footer. Either the file is corrupted or this is not "
            "a parquet file.",
        ),
    ],
    ids=["empty", "csv"],
)
def test_what_is_no_parquet_is_named(content: bytes, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_records(path, Verdict)
    assert str(caught.value) == (
        f"{path}: cannot be read as Parquet: Could not open Parquet input source '{path}': {fault}"
    )


@pytest.mark.parametrize("place", ["footer", "data"])
def test_a_damaged_file_is_named(place: str, tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    write_records(path, Verdict, [make_verdict()] * 100)
    content = path.read_bytes()
    damaged = content[:-20] if place == "footer" else content[:4] + b"\xff" * 40 + content[44:]
    path.write_bytes(damaged)
    with pytest.raises(InputError) as caught:
        read_records(path, Verdict)
    ours, _, arrows = str(caught.value).partition("Parquet: ")
    assert ours == f"{path}: cannot be read as "
    assert arrows == str(caught.value.__cause__)


@pytest.mark.parametrize("name", ["missing.parquet", ""], ids=["missing", "folder"])
def test_a_file_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_records(tmp_path / name, Verdict)
    assert str(caught.value) == f"{tmp_path / name}: no such file"


@pytest.mark.parametrize(
    ("cells", "fault"),
    [
        (
            {"decision": "maybe"},
            "a1: decision: 'maybe' is not one of ['accept', 'quarantine', 'reject']",
        ),
        ({"score": "high"}, "a1: score: 'high' is not valid under any of the given schemas"),
        (
            {"extra": 1},
            "a1: row: Additional properties are not allowed ('extra' was unexpected)",
        ),
        ({"reason": ...}, "a1: row: 'reason' is a required property"),
        ({"subject_id": None}, "without an id: subject_id: None is not of type 'string'"),
    ],
    ids=["enumeration", "type", "unknown-column", "lost-column", "null"],
)
def test_an_edited_verdict_is_caught(cells: dict[str, Any], fault: str, tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    write_edited(path, make_verdict(), **cells)
    with pytest.raises(InputError) as caught:
        read_records(path, Verdict)
    assert str(caught.value) == f"{path}: Verdict {fault}"


@pytest.mark.parametrize(
    ("cells", "fault"),
    [
        (
            {"messages": '[{"role":"robot","content":""}]'},
            "messages.0.role: 'robot' is not one of ['system', 'user', 'assistant', 'tool']",
        ),
        (
            {"messages": "[{"},
            "messages: is no JSON: Expecting property name enclosed in double quotes: "
            "line 1 column 3 (char 2)",
        ),
        (
            {"check": '{"kind":"math"}'},
            "check: {'kind': 'math'} is not valid under any of the given schemas",
        ),
        (
            {"check": '{"constraints":[{"id":"punctuation:no_comma"}]}'},
            "check: Unable to extract tag using discriminator 'kind'",
        ),
        ({"round": 1.5}, "round: 1.5 is not of type 'integer'"),
    ],
    ids=["nested", "no-json", "half-a-check", "check-without-kind", "fraction"],
)
def test_an_edited_prompt_is_caught(cells: dict[str, Any], fault: str, tmp_path: Path) -> None:
    path, prompt = tmp_path / "p.parquet", make_prompt()
    write_edited(path, prompt, **cells)
    with pytest.raises(InputError) as caught:
        read_records(path, Prompt)
    assert str(caught.value) == f"{path}: Prompt {prompt.id}: {fault}"


def test_a_record_that_is_none_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    forged = make_verdict().model_copy(update={"decision": "maybe"})
    with pytest.raises(InputError) as caught:
        write_records(path, Verdict, [make_verdict(), forged])
    assert str(caught.value) == (
        f"{path}: Verdict a1: decision: 'maybe' is not one of ['accept', 'quarantine', 'reject']"
    )
    assert not path.exists()
