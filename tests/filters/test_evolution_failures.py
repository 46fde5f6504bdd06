"""Each rule by what it must find and by what looks alike and must be let through."""

import time

import pytest

from filters.evolution_failures import find_failure
from filters.rules import Objection

PARENT = "Describe a harbour."
CHILD = "Describe a harbour on a foggy morning in May."
LONG = " ".join(["A boat lay at the quay."] * 14)


def judge(answer: str | None) -> Objection | None:
    return find_failure(PARENT, CHILD, answer)


@pytest.mark.parametrize(
    ("child", "reason", "evidence"),
    [
        pytest.param("", "empty_prompt", "", id="empty"),
        pytest.param("…", "empty_prompt", "…", id="punctuation"),
        pytest.param("x " * 4001, "too_long", "8002 characters, at most 8000", id="endless"),
        pytest.param("New task: Describe a lake.", "template_leak", "New task:", id="leak"),
        pytest.param("describe a harbour", "unchanged", "describe a harbour", id="unchanged"),
        pytest.param("Describe.", "no_gain", "Describe.", id="shortened"),
    ],
)
def test_text_that_failed_needs_no_answer(child: str, reason: str, evidence: str) -> None:
    assert find_failure(PARENT, child, None) == Objection(reason, evidence)
    assert find_failure(PARENT, child, "A quay, gulls, and a bell.") == (reason, evidence)


def test_text_that_asks_for_more_does_not_fail() -> None:
    assert judge(None) is None
    assert judge("Fog lies on the water; somewhere a bell rings.") is None


@pytest.mark.parametrize(
    ("answer", "evidence"),
    [
        ("Understood.", "Understood."),
        ("Understood! Let me know how I can help.", "Understood! Let me know how I can help."),
        ("Thank you for sharing this task.", "Thank you for sharing this task."),
        ("Sure, I understand the requirements. What would you like me to do next?",) * 2,
        ("Okay, noted, I\u2019ll keep this in mind.", "Okay, noted, I'll keep this in mind."),
        ("Great! I'm ready to help. How can I assist you today?",) * 2,
        ("This is a nice scene. There is no question here.", "There is no question here."),
        ("You haven't asked a question yet.",) * 2,
        ("No specific task was given.",) * 2,
    ],
    ids=range(9),
)
def test_answer_that_only_acknowledges_is_stagnation(answer: str, evidence: str) -> None:
    assert judge(answer) == Objection("stagnant", evidence)


@pytest.mark.parametrize(
    "answer",
    [
        "Sure, here is the scene: fog, gulls, and a bell.",
        "Thank you, said the ferryman, and cast off into the fog.",
        "Understood as a place of work, a harbour in fog is slow.",
        "Yes.",
        "I see the masts.",
        "I will remember the fog.",
        "There is no question that fog slows ships.",
        "You did not give her the lamp.",
        "How can I help but love this quiet hour?",
        "Is there a task more lonely than keeping the light?",
        "There was no wind. A question hung in the fog.",
        f"Thank you. {LONG}",
        f"You did not ask for it, but here it is. {LONG}",
    ],
    ids=range(13),
)
def test_answer_that_does_something_is_no_stagnation(answer: str) -> None:
    assert judge(answer) is None


@pytest.mark.parametrize(
    ("answer", "evidence"),
    [
        ("Please provide the text that I should edit.",) * 2,
        ("Certainly! Could you please share the table?", "Could you please share the table?"),
        ("Could you clarify which harbour you mean?",) * 2,
        ("I need more details about the harbour to describe it.",) * 2,
        ("I\u2019d need to see the code first.", "I'd need to see the code first."),
        ("Without the data of May I cannot say.",) * 2,
        ("I'm sorry, please paste the passage here.",) * 2,
    ],
    ids=range(7),
)
def test_answer_that_asks_for_what_is_missing(answer: str, evidence: str) -> None:
    assert judge(answer) == Objection("asks_for_input", evidence)


@pytest.mark.parametrize(
    "answer",
    [
        "Dear Mr Lund,\nplease provide the list of moorings by Friday.\nYours, Ada",
        "A sign says: please provide your own rope.",
        "The keeper can share the details with nobody.",
        "Ships need more room than numbers tell.",
        f"Please provide the text of it. {LONG}",
    ],
    ids=["letter", "another thing", "story", "no plea", "long"],
)
def test_answer_that_mentions_it_asks_for_nothing(answer: str) -> None:
    assert judge(answer) is None


@pytest.mark.parametrize(
    ("answer", "evidence"),
    [
        ("I cannot assist with that request.", "I cannot assist with that request"),
        ("Unfortunately, I can\u2019t create it.", "Unfortunately, I can't create it"),
        ("I'm unable to write it.", "I'm unable to write it"),
        ("As an AI language model, I have no eyes.", "As an AI language model, I have no eyes"),
        ("Sorry, not today.", "Sorry, not today."),
    ],
    ids=["declines", "regrets", "unable", "what it is", "apology"],
)
def test_answer_that_declines_is_a_refusal(answer: str, evidence: str) -> None:
    assert judge(answer) == Objection("refusal", evidence)


@pytest.mark.parametrize(
    "answer",
    [
        "I cannot help but smile at the fog.",
        "I can't see the quay for the fog.",
        "The pilot said: I cannot assist with that.",
        f"I cannot write about May alone. {LONG}",
    ],
    ids=["smile", "sees nothing", "said by another", "long"],
)
def test_answer_that_goes_on_is_no_refusal(answer: str) -> None:
    assert judge(answer) is None


THANK = "Write a thank-you note to a neighbour who watered the plants in July."
APOLOGISE = "Write an apology to a colleague for missing a deadline, in two sentences."
ASK = "Ask a colleague for the figures of May in one friendly sentence."
DECLINE = "Decline an invitation to a wedding in one sentence."


@pytest.mark.parametrize(
    ("child", "answer"),
    [
        (THANK, "Thank you so much for watering my plants in July!"),
        (THANK, "Thank you very much."),
        (THANK, "Thank you for your kind message. Let me know if you need anything."),
        (CHILD, "Thank you for the lamp."),
        (CHILD, "Thanks for your patience, for the fog and the bell."),
        (APOLOGISE, "I'm sorry that I missed the deadline. It will not happen again."),
        (APOLOGISE, "Sorry for the delay, and thank you for waiting."),
        (DECLINE, "I am sorry, but I cannot attend your wedding."),
        (ASK, "Hi Tom, could you please send me the figures of May?"),
        (ASK, "Could you kindly share the sales data by Friday?"),
        ("Write a message that asks the library whether a book is in.", "Please send me a list."),
        ("Request the minutes of a meeting.", "Could you please send the document?"),
        ("Write a polite request to a supplier.", "Please provide more details on the prices."),
        ("Write to a baker and politely ask for a list.", "Could you please send a list?"),
        ("It is May. Please ask a baker what he needs.", "Could you please share the details?"),
        ("Draft an email requesting the minutes.", "Could you please send the document?"),
        ("Write an email to request the minutes.", "Could you please send the document?"),
        ("In one sentence, ask a baker for a list.", "Could you please send a list?"),
    ],
    ids=range(18),
)
def test_answer_that_says_what_the_task_asks_for_survives(child: str, answer: str) -> None:
    assert find_failure(PARENT, child, answer) is None


@pytest.mark.parametrize(
    ("child", "answer", "reason"),
    [
        (THANK, "Understood. Let me know how I can help.", "stagnant"),
        (THANK, "Sure, I understand the requirements.", "stagnant"),
        (THANK, "Sorry, not today.", "refusal"),
        (THANK, "Please provide the details of the plants.", "asks_for_input"),
        (CHILD, "Thank you!", "stagnant"),
        (CHILD, "Thanks for providing the details.", "stagnant"),
        (CHILD, "Thank you for your very thoughtful question.", "stagnant"),
        (CHILD, "Thank you for this message. How can I assist you?", "stagnant"),
        (APOLOGISE, "I'm sorry, but I can't assist with that.", "refusal"),
        (APOLOGISE, "Sorry, I cannot write this.", "refusal"),
        (APOLOGISE, "Could you please provide more details?", "asks_for_input"),
        (DECLINE, "As an AI, I get no invitations.", "refusal"),
        (ASK, "Please provide more details so that I can write the message.", "asks_for_input"),
        (ASK, "Could you share the figures, so I can help you better?", "asks_for_input"),
        ("Summarise the answer.", "Please provide the text.", "asks_for_input"),
        ("Classify this request by urgency.", "Please provide the text.", "asks_for_input"),
        (
            "A shop asks for 3 dollars per apple. Compute the cost of all apples.",
            "Please provide the number of apples.",
            "asks_for_input",
        ),
        (
            "Explain how teachers ask questions to pupils and rate the text below.",
            "Please provide the text.",
            "asks_for_input",
        ),
        (
            "Describe the steps of a request for comments document below.",
            "Please provide the document.",
            "asks_for_input",
        ),
        ("Request for help: sum it up.", "Please provide the text.", "asks_for_input"),
        ("Write a reply to the request below.", "Please provide the text.", "asks_for_input"),
    ],
    ids=range(21),
)
def test_answer_to_such_a_task_may_fail_all_the_same(child: str, answer: str, reason: str) -> None:
    objection = find_failure(PARENT, child, answer)
    assert objection is not None
    assert objection.reason == reason


@pytest.mark.parametrize("answer", ["", "...", "It is what it is."], ids=["empty", "dots", "words"])
def test_answer_without_content_is_empty(answer: str) -> None:
    assert judge(answer) == Objection("empty_answer", answer)


@pytest.mark.parametrize(
    ("child", "answer"),
    [("It is May", "Fog."), ("Fog.", "It is May")],
    ids=["answer", "task"],
)
@pytest.mark.parametrize("sign", ["?", "\n"], ids=["question marks", "line breaks"])
def test_a_run_of_signs_takes_time_in_proportion(child: str, answer: str, sign: str) -> None:
    few, many = (
        _time_search(*(text.replace(".", sign * count + "a") for text in (child, answer)))
        for count in (500, 4000)
    )
    assert many < 8 * 4 * few  # in proportion to the square it would be 8 * 8


def _time_search(child: str, answer: str) -> float:
    """The CPU seconds of the quickest of three searches."""
    seconds = []
    for _ in range(3):
        start = time.process_time()
        find_failure(PARENT, child, answer)
        seconds.append(time.process_time() - start)
    return min(seconds)
