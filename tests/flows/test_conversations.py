"""Conversations are carried on behind verified answers only, and their last turn is checked."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from filters.verify import verify
from flows.store import RunDirectory
from generators.records import Prompt, Verdict
from tests.flows.small_run import (
    LICENSED,
    TOPICS,
    conduct_plainly,
    describe_run,
    read_cycle,
    read_settings,
    rows_of,
    write_lines,
)
from tests.flows.teacher import NEXT_TURNS, SUM, TALK, Teacher
from tests.generators.loopback import Call


class Talk(NamedTuple):
    run: RunDirectory
    prompts: dict[str, Prompt]
    calls: list[Call]


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Talk:
    """A run in which every parent that can be is carried on, in four rounds."""
    folder = tmp_path_factory.mktemp("talk")
    with Teacher() as teacher:
        settings = describe_run(folder, teacher.url)
        settings["evolve"] |= {"operators": ["follow_up", "constraint"], "rounds": 4}
        settings["consensus"] = {"domains": ["maths"], "threshold": 0.6}
        run, _ = conduct_plainly(read_settings(folder / "small.yaml", settings))
        calls = teacher.asked_since(0)
    prompts = {p.id: p for p in read_cycle(run, "prompts-round-", Prompt)}
    return Talk(run, prompts, calls)


def continued(talk: Talk) -> list[Prompt]:
    return [p for p in talk.prompts.values() if p.operator == "follow_up"]


def test_a_child_is_its_parents_conversation_and_one_turn_more(talk: Talk) -> None:
    assert len(continued(talk)) >= 10
    for child in continued(talk):
        assert child.parent_id is not None
        parent = talk.prompts[child.parent_id]
        assert child.messages[:-2] == parent.messages
        assert [m.role for m in child.messages[-2:]] == ["assistant", "user"]
        turn = child.text.partition("\n\n")[0]  # a truncated one is rejected as unfinished
        assert turn
        assert SUM.search(turn) or any(told.startswith(turn) for told in NEXT_TURNS)


def test_what_is_carried_on_was_verified(talk: Talk) -> None:
    for child in continued(talk):
        assert child.parent_id is not None
        check = talk.prompts[child.parent_id].check
        assert check is not None
        assert verify(check, child.messages[-2].content).decision == "accept"


def test_a_task_without_a_verified_answer_is_not_carried_on(talk: Talk) -> None:
    verdicts = read_cycle(talk.run, "verdicts-evolve", Verdict)
    left = [v for v in verdicts if v.reason == "parent_unanswered"]
    assert len(left) >= 3
    assert {v.decision for v in left} == {"quarantine"}
    parents = {v.subject_id.partition(":")[0] for v in left if v.subject_id.endswith(":1")}
    assert not parents & {p.parent_id for p in continued(talk) if p.round == 1}
    asked = [call.asked for call in talk.calls if call.asked.startswith(TALK)]
    assert not any(talk.prompts[id].text in text for id in parents for text in asked)


def test_a_child_has_a_check_of_its_own(talk: Talk) -> None:
    kinds = {(p.domain, p.check.kind if p.check else None) for p in continued(talk)}
    assert ("writing", "constraint") in kinds
    assert ("maths", "consensus") in kinds
    assert {kind for domain, kind in kinds if domain not in ("maths", "writing")} <= {None}


def test_published_conversations_have_several_turns(talk: Talk) -> None:
    rows = rows_of(talk.run.place("dataset/train.parquet"))
    told = [row for row in rows if row["operator"] == "follow_up"]
    assert len(told) >= 3
    for row in told:
        roles: list[Any] = [turn["role"] for turn in row["prompt"]]
        assert roles in (["user", "assistant", "user"], ["user", "assistant"] * 2 + ["user"])
        assert [turn["role"] for turn in row["completion"]] == ["assistant"]
        assert json.loads(row["check"])["kind"] in ("constraint", "consensus")


def test_the_whole_conversation_is_answered(talk: Talk) -> None:
    ids = {row["prompt_id"] for row in rows_of(talk.run.place("dataset/train.parquet"))}
    published = [talk.prompts[id] for id in ids if len(talk.prompts[id].messages) > 1]
    assert len(published) >= 3
    sent = [call.body["messages"] for call in talk.calls if "messages" in call.body]
    for prompt in published:
        turns = [{"role": m.role, "content": m.content} for m in prompt.messages]
        assert turns in sent


def test_task_whose_check_is_not_fit_is_not_carried_on(tmp_path: Path) -> None:
    """Gibberish has no comma either: an answer that only had to have none is not verified."""
    check = {"kind": "constraint", "constraints": [{"id": "punctuation:no_comma"}]}
    with Teacher() as teacher:
        settings = describe_run(tmp_path, teacher.url)
        unfit = [
            {"prompt": text, "domain": "writing", "check": check} | LICENSED for text in TOPICS
        ]
        write_lines(tmp_path / "seeds.jsonl", unfit)
        settings["evolve"] |= {"operators": ["follow_up"], "rounds": 1}
        run, _ = conduct_plainly(read_settings(tmp_path / "small.yaml", settings))

    reasons = [(v.decision, v.reason) for v in read_cycle(run, "verdicts-evolve", Verdict)]
    assert reasons == [("quarantine", "parent_unanswered")] * len(TOPICS)
    fates = [(v.decision, v.reason) for v in read_cycle(run, "verdicts-check", Verdict)]
    assert fates == [("quarantine", "shuffled_passes")] * len(TOPICS)
    assert rows_of(run.place("dataset/train.parquet")) == []
