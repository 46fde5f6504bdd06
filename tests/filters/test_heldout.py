"""An evaluation on prompts that were trained on is refused, and says which."""

import pytest

from filters.heldout import check_disjoint
from generators.errors import HeldOutError
from generators.procedural import make_entries, prompt_of
from generators.records import Check, Message, ProceduralCheck, Prompt

TASK = "template:apples"
REMEDY = "Take them out of the seeds, or draw both sets anew with splits 'train' and 'heldout'."


def ask(text: str, check: Check | None = None, before: str = "") -> Prompt:
    turns = [Message(role="user", content=text)]
    if before:
        turns = [
            Message(role="user", content=before),
            Message(role="assistant", content="Yes."),
            *turns,
        ]
    return Prompt.seed(
        turns, check=check, domain="maths", licence="CC0-1.0", source="t.jsonl", author="test"
    )


def draw_check() -> ProceduralCheck:
    (entry,) = make_entries(TASK, {}, 1, seed=1)
    return ProceduralCheck(task=TASK, entry=entry)


def test_different_prompts_are_disjoint() -> None:
    assert check_disjoint([ask("What is 3 + 4?")], [ask("What is 3 + 5?")]) is None
    assert check_disjoint([], [ask("What is 3 + 4?")]) is None
    assert check_disjoint([ask("What is 3 + 4?")], []) is None


def test_equal_text_is_refused_with_the_remedy() -> None:
    train, heldout = ask("What is 3 + 4?"), ask("  what is 3 + 4 ")
    with pytest.raises(HeldOutError) as caught:
        check_disjoint([ask("What is 1 + 1?"), train], [ask("Why?"), heldout])
    assert str(caught.value) == (
        f'1 of 2 held-out prompts occur in training: {heldout.id} ("what is 3 + 4") is trained'
        f" on as {train.id}. {REMEDY}"
    )


def test_equal_operands_are_refused_however_they_are_worded() -> None:
    check = draw_check()
    train, heldout = ask(prompt_of(check), check), ask("Work this out, please.", check)
    with pytest.raises(HeldOutError) as caught:
        check_disjoint([train], [heldout])
    assert str(caught.value) == (
        f'1 of 1 held-out prompts occur in training: {heldout.id} ("Work this out, please.") is'
        f" trained on as {train.id}. {REMEDY}"
    )
    assert check_disjoint([train], [ask("Work this out, please.")]) is None


def test_the_whole_conversation_counts_and_the_system_turn_does_not() -> None:
    last = "And how many are left?"
    assert check_disjoint([ask(last, before="I had 3.")], [ask(last, before="I had 4.")]) is None
    prompt = ask(last)
    turns = [Message(role="system", content="Be brief."), *prompt.messages]
    with pytest.raises(HeldOutError) as caught:
        check_disjoint([prompt], [prompt.model_copy(update={"messages": tuple(turns)})])
    assert str(caught.value) == (
        f'1 of 1 held-out prompts occur in training: {prompt.id} ("{last}") is trained on as'
        f" {prompt.id}. {REMEDY}"
    )


def test_at_most_five_are_named_and_the_rest_counted() -> None:
    prompts = [ask(f"What is {i} + 4?") for i in range(7)]
    with pytest.raises(HeldOutError) as caught:
        check_disjoint(prompts, prompts)
    named = [f'{p.id} ("{p.text}") is trained on as {p.id}' for p in prompts[:5]]
    assert str(caught.value) == (
        f"7 of 7 held-out prompts occur in training: {'; '.join(named)}; and 2 more. {REMEDY}"
    )
