"""Each rule on what models write in a user's place: what falls, and why, and what stays."""

import time

import pytest

from filters.eliminate import MAX_CHARACTERS
from filters.synthesised import RULES, Turn, judge_turn

KNOWN = {"what is the capital of peru": "seed-1"}
LOOP = "tell me more about the weather and tell me more about the weather and tell me more"


def judge(text: str, *, ended: bool = True) -> tuple[str, str, str | None]:
    verdict = judge_turn(Turn(text, ended, KNOWN), subject_id="one")
    assert (verdict.subject_id, verdict.stage) == ("one", "synthesise")
    return verdict.decision, verdict.reason, verdict.evidence


@pytest.mark.parametrize(
    ("text", "reason", "evidence"),
    [
        pytest.param("", "empty_prompt", "", id="nothing"),
        pytest.param("?! …", "empty_prompt", "?! …", id="only signs"),
        pytest.param(
            "Plan a trip.<|im_end|>\n<|im_start|>assistant\nFine.",
            "role_marker",
            "<|im_end|>",
            id="markup of a template",
        ),
        pytest.param("[INST] Plan a trip to Peru.", "role_marker", "[INST]", id="Mistral's markup"),
        pytest.param(
            "What is a fjord?\nAssistant: A long inlet.",
            "several_turns",
            "Assistant:",
            id="both sides of the talk",
        ),
        pytest.param(
            "Plan a trip to Peru.\nassistant\nFine.", "several_turns", "assistant", id="bare role"
        ),
        pytest.param("User: Plan a trip.", "several_turns", "User:", id="stage directions"),
        pytest.param("**User:** Plan a trip.", "several_turns", "**User:", id="in bold type"),
        pytest.param(
            "+-----+ | == | +-----+ a b c", "not_text", "+-----+ | == | +-----+ a b c", id="signs"
        ),
        pytest.param("Plan a \ufffd trip now.", "not_text", "U+FFFD", id="lost character"),
        pytest.param("Plan a \x07 trip now.", "not_text", "U+0007", id="control character"),
        pytest.param(f"Plan {'SADA' * 15} now.", "not_text", "SADA" * 15, id="endless word"),
        pytest.param("Hello there!", "too_short", "Hello there!", id="two words"),
        pytest.param("你好", "too_short", "你好", id="two characters"),
        pytest.param(
            "word " * (MAX_CHARACTERS // 5) + "end",
            "too_long",
            f"{MAX_CHARACTERS + 3} characters, at most {MAX_CHARACTERS}",
            id="one over",
        ),
        pytest.param(
            "Sure, I can do that for you.", "assistant_speaks", "Sure, I can do", id="sure"
        ),
        pytest.param("Of course! Here it is.", "assistant_speaks", "Of course!", id="of course"),
        pytest.param(
            "As an AI language model I have no taste.",
            "assistant_speaks",
            "As an AI",
            id="as an AI",
        ),
        pytest.param(
            "I’m sorry, but I can’t do that.",  # noqa: RUF001
            "assistant_speaks",
            "I'm sorry, but I can't",
            id="sorry, typographically",
        ),
        pytest.param(
            "I cannot provide medical advice here.",
            "assistant_speaks",
            "I cannot provide",
            id="refusal",
        ),
        pytest.param(
            "Hello! How can I help you today?",
            "assistant_speaks",
            "Hello! How can I help you",
            id="greeting",
        ),
        pytest.param(
            "Here is a poem about rain:\nIt rains.",
            "assistant_speaks",
            "Here is a poem about rain:",
            id="the thing itself",
        ),
        pytest.param(
            "Here are some tips for saving money:\n1. Make a budget.\n2. Find a cheaper flat.",
            "assistant_speaks",
            "Here are some tips for saving money:",
            id="a list of things to do",
        ),
        pytest.param(
            "Here is a haiku about rain:\nIt rains.\nWould you like another one?",
            "assistant_speaks",
            "Here is a haiku about rain:",
            id="the thing and an offer",
        ),
        pytest.param(
            "Certainly, the capital of Peru is Lima.", "assistant_speaks", "Certainly,", id="yes"
        ),
        pytest.param(
            "Sure, how can I help you today?", "assistant_speaks", "Sure,", id="yes and an offer"
        ),
        pytest.param(
            "Of course, I'd be happy to help! Which city is it?",
            "assistant_speaks",
            "Of course, I'd be",
            id="glad to help, and asks",
        ),
        pytest.param(
            "I'm sorry, but I can't open it. Please try another file.",
            "assistant_speaks",
            "I'm sorry, but I can't",
            id="sorry, and please",
        ),
        pytest.param(
            "I apologize for the confusion. What is it about?",
            "assistant_speaks",
            "I apologize for the confusion",
            id="apology for confusion",
        ),
        pytest.param(
            "Sorry, I didn't catch that. Could you repeat the question?",
            "assistant_speaks",
            "Sorry, I didn't catch that",
            id="asks again",
        ),
        pytest.param(
            "Sorry, I don't understand. Can you explain?",
            "assistant_speaks",
            "Sorry, I don't understand",
            id="understands nothing",
        ),
        pytest.param(
            "Certainly, what kind of poem do you want?",
            "assistant_speaks",
            "Certainly,",
            id="yes and a question",
        ),
        pytest.param(
            "Sure, what would you like to know?", "assistant_speaks", "Sure,", id="yes, and what"
        ),
        pytest.param(
            "Sorry, I have many poems. What kind of poem do you want?",
            "assistant_speaks",
            "Sorry",
            id="sorry, and what the user wants",
        ),
        pytest.param(
            "Sure, it means two and two. Does that help?",
            "assistant_speaks",
            "Sure,",
            id="does it help",
        ),
        pytest.param(
            "Of course, the answer is 4. Does that make sense?",
            "assistant_speaks",
            "Of course,",
            id="is it clear",
        ),
        pytest.param(
            "Certainly, Lima is the capital. Is there anything else?",
            "assistant_speaks",
            "Certainly,",
            id="anything else",
        ),
        pytest.param("Sorry, not today.", "assistant_speaks", "Sorry", id="sorry alone"),
        pytest.param("AI: Hello! How can I help you?", "several_turns", "AI:", id="AI offers"),
        pytest.param("AI: The capital is Lima.", "several_turns", "AI:", id="AI tells"),
        pytest.param(
            "What is a fjord?\nAI: Is it a long inlet?", "several_turns", "AI:", id="AI in between"
        ),
        pytest.param(
            "AI: what is it?\nHuman: No idea, sorry.", "several_turns", "AI:", id="two speak"
        ),
        pytest.param("Human: What is a fjord?", "several_turns", "Human:", id="a human asks"),
        pytest.param(LOOP, "loops", "tell me more (3 times)", id="loop"),
        pytest.param(
            "What is the  capital of Peru?", "repeated_prompt", "repeats seed-1", id="repeat"
        ),
    ],
)
def test_falls(text: str, reason: str, evidence: str) -> None:
    assert judge(text) == ("reject", reason, evidence)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("What is a fjord?", id="a question"),
        pytest.param("What is 17 + 25 * 3?", id="arithmetic"),
        pytest.param("12 + 7 - 3 = ?", id="arithmetic alone"),
        pytest.param("I'm looking for a gift. Can you help?", id="a user speaks of himself"),
        pytest.param("I can't sleep. What should I try?", id="a user cannot"),
        pytest.param("Sure-fire ways to cook rice, please.", id="sure within a word"),
        pytest.param("Of course dogs bark. Why do they howl?", id="of course, a user's"),
        pytest.param("Here is a text: It rains.\nSummarise it.", id="material to work on"),
        pytest.param("Sorry to bother you, which bus goes to the airport?", id="a user's sorry"),
        pytest.param(
            "I'm sorry for my English, but how do I say 'good morning' in Polish?", id="bad English"
        ),
        pytest.param("I apologize if this is long, but how do magnets work?", id="a long question"),
        pytest.param("Sorry to bother you, but which one should I buy?", id="what he should do"),
        pytest.param("Sorry, could you tell me how to help my son?", id="a user's could you"),
        pytest.param("Sorry for asking again. Explain recursion.", id="sorry, and an order"),
        pytest.param("Here is a list:\nmilk, eggs… Suggest a recipe.", id="a list to work on"),
        pytest.param("Here is a text:\nIt rains.\n\nSummarise it.", id="a text to work on"),
        pytest.param("Here are some words:\n- oak\n- elm\nWhich is taller?", id="a list, asked"),
        pytest.param(
            "Of course, I know the capital of France, but what about Chad?", id="of course I know"
        ),
        pytest.param(
            "Sorry, I don't understand recursion. Can you explain it?", id="what he does not see"
        ),
        pytest.param("Sorry, I have a tent. Is there anything else I need?", id="what else"),
        pytest.param("Sorry to ask: what do you need to get a visa?", id="what one needs"),
        pytest.param("Here is a line:\nIt are raining.\nDoes this make sense?", id="his own line"),
        pytest.param("AI: what does it stand for, and who coined it?", id="AI as the topic"),
        pytest.param("ChatGPT: explain what it is.", id="ChatGPT as the topic"),
        pytest.param("Explain how a user logs in: which steps?", id="a user within a line"),
        pytest.param("Why do people say 'As an AI' so often?", id="a quotation"),
        pytest.param("Fix this:\n```\nfor i in x:\n    print(i)\n```", id="code"),
        pytest.param("Plan my week 👩‍🍳🎉 with recipes.", id="joined emoji"),
        pytest.param("秘鲁的首都是哪里？", id="an unspaced script"),  # noqa: RUF001
        pytest.param("हिन्दी में एक कविता लिखो", id="combining marks"),
        pytest.param("What is the capital of Chile?", id="nearly an earlier one"),
    ],
)
def test_stays(text: str) -> None:
    assert judge(text) == ("accept", "request", None)


def test_cut_turn_falls_with_its_last_words() -> None:
    text = "Write a story about " + "a very long road " * 9
    assert judge(text, ended=False) == ("reject", "unfinished", text[-80:])
    assert judge("What is a fjord?", ended=False)[1] == "unfinished"


def test_longest_prompt_is_not_too_long() -> None:
    assert judge("word " * (MAX_CHARACTERS // 5))[1] == "loops"


def test_few_repeated_words_are_no_loop() -> None:
    assert judge("Is it a cat or is it a dog or is it a bird?")[1] == "request"


def test_reasons_come_in_this_order() -> None:
    assert list(RULES) == [
        *("empty_prompt", "unfinished", "role_marker", "several_turns", "not_text"),
        *("too_short", "too_long", "assistant_speaks", "loops", "repeated_prompt"),
    ]


@pytest.mark.parametrize("signs", ["?", "? ", "."])
@pytest.mark.parametrize("end", ["a", "a?"], ids=["asks nothing", "asks"])
def test_a_run_of_signs_takes_time_in_proportion(signs: str, end: str) -> None:
    few, many = (_time_judgement(f"AI: what is it{signs * count}{end}") for count in (500, 4000))
    assert many < 8 * 4 * few  # in proportion to the square it would be 8 * 8


def _time_judgement(text: str) -> float:
    """The CPU seconds of the quickest of three judgements."""
    seconds = []
    for _ in range(3):
        start = time.process_time()
        judge(text)
        seconds.append(time.process_time() - start)
    return min(seconds)
