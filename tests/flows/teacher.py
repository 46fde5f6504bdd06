"""A teacher on the loopback server: its answers depend on the request alone, and some are bad.

It rewrites tasks when it is given the evolving templates, adds numbers, counts apples, and writes
a few sentences about anything else. It knows which of the labelled pairs are equal, and calls few
of its own rewritten tasks so. Chance is drawn from the model's name, what was asked and the
seed, so that any order of requests, and any number of restarts, brings the same answers.
"""

import random
import re
from collections.abc import Callable
from typing import Any

from generators.calibration import load_pairs
from tests.flows.small_run import ROOT
from tests.generators.loopback import Call, Fault, LoopbackServer

SKILL = {"weak": 0.5, "strong": 0.75}
"""How often each model gets a sum right."""
REWRITE, JUDGE = "You edit tasks", "Below are two tasks"
TALK = "You play a person"
LABELS = {
    (pair.first, pair.second): pair.label
    for pair in load_pairs(ROOT / "seeds/calibration/equality.jsonl")
}
"""What people say of pairs of tasks."""
ADDITIONS = (
    "Mention the month of May.",
    "Write it for a reader who has just moved to Oslo.",
    "Name two causes behind it and one likely consequence.",
    "Compare it with how it was done fifty years ago.",
)
NEXT_TURNS = (
    "Tell me what happened on the day after that.",
    "Say it again for somebody who has never been to the sea.",
    "Which of these would you leave out, and why?",
    "Write the part about the weather once more, but in winter.",
)
SENTENCES = (
    "The morning began with rain, yet nobody minded.",
    "We walked along the harbour and counted the boats.",
    "A neighbour waved from the other side of the street.",
    "In the afternoon the wind turned, and the clouds went away.",
    "There was bread on the table and soup in the pot.",
    "The children asked for one more story before bed.",
    "Every garden smelled of cut grass and wet stone.",
    "Late in the evening a train passed behind the hill.",
)
SUM = re.compile(r"What is (\d+) \+ (\d+)\?")
COMPARED = re.compile(r"First task:\n(.*)\n\nSecond task:\n(.*)", re.DOTALL)
APPLES = re.compile(r"(picks|gives|brings) (\d+)")


class Teacher(LoopbackServer):
    """A loopback server that teaches."""

    def __init__(
        self, fault: Callable[[Call], Fault | None] = lambda _: None, *, delay_s: float = 0
    ) -> None:
        super().__init__(fault, delay_s=delay_s, rule=self._teach)
        self.skill: Callable[[str, str], float] = lambda model, asked: SKILL[model]
        """How often a model gets a sum right, by its name and what it is asked."""

    def _teach(self, call: Call) -> dict[str, Any]:
        return teach(call, self.skill)

    def asked_since(self, count: int) -> list[Call]:
        """The requests for an answer that came after the first `count` calls."""
        return [call for call in self.calls[count:] if not call.path.endswith("/models")]


def teach(
    call: Call, skill: Callable[[str, str], float] = lambda model, asked: SKILL[model]
) -> dict[str, Any]:
    """Answer one request."""
    if call.path.endswith("/models"):
        return {"object": "list", "data": [{"id": "weak"}, {"id": "strong"}]}
    body, asked = call.body, call.asked
    chance = random.Random(f"{body['model']} {body['seed']} {asked}")
    text, finish = _write(asked, chance, skill(body["model"], asked)), "stop"
    if len(text.split()) > 3 and chance.random() < 0.1:
        text, finish = text.rpartition(" ")[0], "length"
    usage = {"prompt_tokens": len(asked.split()), "completion_tokens": len(text.split())}
    message = {"role": "assistant", "content": text}
    return {"choices": [{"message": message, "finish_reason": finish}], "usage": usage}


def read_pair(asked: str) -> tuple[str, str] | None:
    """The two tasks that are to be compared, if that is what is asked."""
    compared = COMPARED.search(asked) if asked.startswith(JUDGE) else None
    return (compared[1], compared[2]) if compared else None


def _write(asked: str, chance: random.Random, skill: float) -> str:
    if asked.startswith(TALK):
        return _talk_on(asked, chance)
    if asked.startswith(REWRITE):
        return _rewrite(asked.split("-----")[1].strip(), chance)
    if pair := read_pair(asked):
        return LABELS.get(pair) or ("equal" if chance.random() < 0.1 else "Different.")
    if match := SUM.search(asked):
        return _answer_number(int(match[1]) + int(match[2]), chance, skill)
    if "apples" in asked:
        steps = [(verb, int(n)) for verb, n in APPLES.findall(asked)]
        total = sum(-n if verb == "gives" else n for verb, n in steps)
        return _answer_number(total, chance, skill)
    if "letter only" in asked:
        return chance.choice("ABC")
    if chance.random() < 0.1:
        return "Sorry, I cannot help with that."
    text = " ".join(chance.sample(SENTENCES, chance.randint(2, 8)))
    return text.lower().replace(",", "") if chance.random() < 0.3 else text


def _talk_on(asked: str, chance: random.Random) -> str:
    if SUM.search(asked):
        return f"What is {chance.randint(11, 40)} + {chance.randint(11, 40)}? The number only."
    return chance.choice(NEXT_TURNS)


def _rewrite(task: str, chance: random.Random) -> str:
    roll = chance.random()
    if roll < 0.1:
        return task
    if roll < 0.2:
        return f"New task: {task}"
    if roll < 0.25:
        return ""
    return f"{task} {chance.choice(ADDITIONS)}"


def _answer_number(right: int, chance: random.Random, skill: float) -> str:
    number = right if chance.random() < skill else right + chance.randint(1, 9)
    return str(number) if chance.random() < 0.5 else f" {number}. "
