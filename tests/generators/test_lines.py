"""Reading JSONL that people wrote."""

from pathlib import Path

import pytest

from generators.errors import InputError
from generators.lines import read_lines
from generators.seeds import load_examples, load_texts


def test_byte_order_mark_blank_lines_and_crlf_are_accepted(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n  \n{"a": "x\xe2\x80\xa8y"}\r\n')
    lines, faults = read_lines(file, holds="rows")
    assert [(line.number, line.value) for line in lines] == [(1, {"a": 1}), (4, {"a": "x\u2028y"})]
    assert faults == []


def test_folder_is_read_in_the_order_of_names_and_not_below(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for name in ("b.jsonl", "a.jsonl", "c.txt", "below/d.jsonl"):
        (tmp_path / name).write_text(f'{{"from": "{name}"}}\n')
    lines, _ = read_lines(tmp_path, holds="rows")
    assert [line.value["from"] for line in lines] == ["a.jsonl", "b.jsonl"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(
            b'{"a": 1}\n{"a": "\xe9"}',
            "2: is not UTF-8 (byte 0xe9); save the file as UTF-8",
            id="latin-1",
        ),
        pytest.param(
            b"\xff\xfe{\x00", "1: is not UTF-8 (byte 0xff); save the file as UTF-8", id="utf-16"
        ),
        pytest.param(
            b'{"a": 1}\n{"a" 1}', "2: is not JSON: Expecting ':' delimiter (column 6)", id="no JSON"
        ),
        pytest.param(b'{"a": NaN}', "1: is not JSON: NaN is not a JSON number", id="NaN"),
        pytest.param(
            b'{"a": "\\ud800"}',
            "1: is not JSON: it escapes half of a surrogate pair, which is no character",
            id="surrogate",
        ),
        pytest.param(b"[1]", "1: must be a JSON object, not a list", id="list"),
        pytest.param(b"null", "1: must be a JSON object, not null", id="null"),
    ],
)
def test_line_that_is_no_object_is_a_fault(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(content)
    assert [str(fault) for fault in read_lines(file, holds="rows").faults] == [f"{file}:{message}"]


def test_nothing_to_read_is_refused(tmp_path: Path) -> None:
    missing, empty = tmp_path / "missing.jsonl", tmp_path / "empty.jsonl"
    empty.write_text("\n")
    with pytest.raises(InputError) as refused:
        read_lines(missing, holds="seeds")
    assert str(refused.value) == f"{missing}: no such file or folder; give a JSONL file of seeds"
    with pytest.raises(InputError) as refused:
        read_lines(empty, holds="seeds")
    assert str(refused.value) == f"{empty}: is empty; write seeds into it, one JSON object a line"
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(InputError) as refused:
        read_lines(folder, holds="seeds")
    assert str(refused.value) == (
        f"{folder}: no *.jsonl in this folder; give a file or folder of seeds"
    )


def test_bad_examples_and_texts_are_named(tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"task": "gcd", "prompt": "1, 2", "completion": ""}\n{"text": 3}')
    other, missing = "is not a field here; there are", "is missing"
    fields = "author, domain, licence, text"
    with pytest.raises(InputError) as refused:
        load_examples(file)
    assert str(refused.value).splitlines() == [
        f"{file}:1: completion: is empty",
        f"{file}:2: text: {other} completion, prompt, task",
        *(f"{file}:2: {name}: {missing}" for name in ("task", "prompt", "completion")),
    ]
    with pytest.raises(InputError) as refused:
        load_texts(file)
    assert str(refused.value).splitlines() == [
        *(f"{file}:1: {name}: {other} {fields}" for name in ("completion", "prompt", "task")),
        *(f"{file}:1: {name}: {missing}" for name in ("domain", "licence", "author", "text")),
        f"{file}:2: text: must be a text, not a number",
        *(f"{file}:2: {name}: {missing}" for name in ("domain", "licence", "author")),
    ]
