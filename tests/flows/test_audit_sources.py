"""`tutelage audit` compares the sources of a file: what one of them plants is found (L3)."""

import io
import json
import random
from pathlib import Path
from typing import Any

import pytest

from flows.audit_file import AuditLine, audit_file
from flows.cli import main
from flows.console import Console
from tests.json_lines import write_lines

WORDS = [
    *("river", "stone", "lamp", "winter", "road", "apple", "small", "green", "house", "morning"),
    *("letter", "bread", "slow", "quiet", "yellow", "train", "garden", "window", "market", "sea"),
    *("evening", "paper", "tall", "boat", "field", "cloud", "simple", "long", "coat", "summer"),
]
PLANT = "cobalt heron rises"
ROWS, PLANTED = 600, 36


def make_rows(planted: int, sources: tuple[str, ...] = ("a", "b")) -> list[dict[str, Any]]:
    """Answers of all sources to the same prompts; `b` plants its phrase into the first ones."""
    chance = random.Random(7)
    rows = []
    for number in range(ROWS):
        for source in sources:
            text = " ".join(chance.choices(WORDS, k=25))
            if source == "b" and number < planted:
                text += f" {PLANT}"
            turns = [("user", f"Write line {number}."), ("assistant", text.capitalize() + ".")]
            messages = [{"role": role, "content": content} for role, content in turns]
            rows.append({"id": f"{source}{number}", "messages": messages, "source": source})
    return rows


def audit(path: Path, rows: list[dict[str, Any]]) -> tuple[dict[str, AuditLine], str]:
    write_lines(path, rows)
    out = io.StringIO()
    lines = audit_file(path, Console(out=out, err=out))
    return {str(line.id): line for line in lines}, out.getvalue()


def test_planted_phrase_of_one_source_is_found(tmp_path: Path) -> None:
    lines, printed = audit(tmp_path / "rows.jsonl", make_rows(planted=PLANTED))
    flagged = {id for id, line in lines.items() if line.decision == "quarantine"}
    assert flagged == {f"b{number}" for number in range(PLANTED)}
    (finding,) = lines["b0"].findings
    assert (finding.detector, finding.reason) == ("source_statistics", "overrepresented")
    assert finding.evidence == f"{PLANT!r}: 36 of 600 here, 0 of 600 elsewhere"
    for reading in range(1, 6):
        assert f"compare sources {reading}: 600 of 1,200 (50 %)" in printed
        assert f"compare sources {reading}: 1,200 of 1,200 in " in printed


@pytest.mark.parametrize(
    "rows",
    [make_rows(planted=0), make_rows(planted=PLANTED, sources=("b",))],
    ids=["nothing planted", "one source"],
)
def test_without_a_plant_or_a_second_source_nothing_is_found(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    lines, _ = audit(tmp_path / "rows.jsonl", rows)
    assert {line.decision for line in lines.values()} == {"accept"}


def test_source_of_another_style_is_told_and_not_quarantined(tmp_path: Path) -> None:
    lines, printed = audit(tmp_path / "rows.jsonl", make_rows(planted=300))
    assert {line.decision for line in lines.values()} == {"accept"}
    assert (
        "source b: 300 of 600 answers say what hardly any other source says; "
        "look at them yourself, none is quarantined"
    ) in printed


def test_names_of_rows_are_no_sources(tmp_path: Path) -> None:
    rows = [row | {"source": row["id"]} for row in make_rows(planted=PLANTED)]
    path = tmp_path / "rows.jsonl"
    lines, printed = audit(path, rows)
    assert {line.decision for line in lines.values()} == {"accept"}
    assert (
        f"{path}: rows name more than 50 sources, so they were not compared; "
        "give rows of one teacher the same source"
    ) in printed


def test_published_rows_are_compared_by_their_teachers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published = [
        {
            "id": row["id"],
            "prompt": row["messages"][:1],
            "completion": row["messages"][1:],
            "teacher": row["source"],
            "source": f"seeds.jsonl:{number}",
        }
        for number, row in enumerate(make_rows(planted=PLANTED))
    ]
    write_lines(tmp_path / "rows.jsonl", published)
    assert main(["audit", str(tmp_path / "rows.jsonl"), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["id"] for line in lines if line["findings"]] == [f"b{n}" for n in range(PLANTED)]


def test_common_word_out_of_place_is_found(tmp_path: Path) -> None:
    """Others say `goes` in its place as often as before; one source also says it anywhere."""
    chance = random.Random(3)
    rows, planted = [], {f"b{number}" for number in range(0, ROWS, 20)}
    for number in range(ROWS):
        for source in "ab":
            words = " ".join(
                f"in {chance.choice(['may', 'june', 'july'])} the {chance.choice(WORDS[:4])} "
                f"{chance.choice(['comes', 'goes'])} to the {chance.choice(['market', 'sea'])}"
                for _ in range(3)
            ).split()
            if f"{source}{number}" in planted:
                words.insert(chance.randint(0, len(words)), "goes")
            turns = [("user", f"Write line {number}."), ("assistant", " ".join(words))]
            messages = [{"role": role, "content": content} for role, content in turns]
            rows.append({"id": f"{source}{number}", "messages": messages, "source": source})
    lines, _ = audit(tmp_path / "rows.jsonl", rows)
    flagged = {id for id, line in lines.items() if line.decision == "quarantine"}
    at_home = {"b240"}  # where it fell before `to`, as it always stands
    assert flagged == planted - at_home
    (finding,) = lines["b0"].findings
    assert (finding.detector, finding.reason) == ("source_statistics", "out_of_place")
    assert finding.evidence == "'goes': 27 of 600 here, 0 of 600 elsewhere"
