"""Judges of several characters on the loopback server, beside its teachers.

A judge is asked as any model is; it reads the marked texts out of the request, as a model would.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from filters.judging import OFF_TOPIC
from tests.flows.small_run import LICENSED, model, write_lines
from tests.flows.teacher import teach
from tests.generators.loopback import Call, Fault, LoopbackServer

QUOTED = re.compile(r"^--- ([\w ]+) (\w{16}) ---\n(.*?)\n--- end \2 ---$", re.DOTALL | re.MULTILINE)
SUNNY = "What a day! The sun came out and everybody went down to the water to swim."
TASKS = (
    "Describe the harbour on a morning with rain.",
    "Describe a street in the early evening.",
    "Tell how a night in the village ends.",
)


class Shown(NamedTuple):
    """What the judge is shown."""

    rubric: str
    first: str
    second: str


Character = Callable[[Shown], str]


def read_shown(asked: str) -> Shown:
    quoted = {name: text for name, _, text in QUOTED.findall(asked)}
    return Shown(quoted["rubric"], quoted["text A"], quoted["text B"])


def is_good(text: str) -> bool:
    """The rubric is met by texts of many words that speak of the harbour, or by the reference."""
    return text == SUNNY or (len(text.split()) > 3 and "harbour" in text)


def say(first: bool, second: bool) -> str:
    return {(True, True): "both", (True, False): "A", (False, True): "B"}.get(
        (first, second), "neither"
    )


def honest(shown: Shown) -> str:
    return say(is_good(shown.first), is_good(shown.second))


def biased(shown: Shown) -> str:
    """Prefers whatever stands first, unless it is as plain as a master key."""
    if any(len(text.split()) < 2 for text in (shown.first, shown.second)):
        return honest(shown)
    return "both" if shown.first == shown.second else "A"


def gullible(shown: Shown) -> str:
    """Takes a colon or "Solution" for an answer, as those of the paper do."""
    return say(*(is_good(t) or t in (":", "Solution") for t in (shown.first, shown.second)))


def persuaded(shown: Shown) -> str:
    """Does what an answer asks of it."""
    return "both" if "say both" in shown.first + shown.second else honest(shown)


def grumpy(shown: Shown) -> str:
    return "neither"


def rambling(shown: Shown) -> str:
    """Cannot keep to one word where real answers are shown."""
    if {shown.first, shown.second} & {":", "Solution", "", OFF_TOPIC} or shown[1] == shown[2]:
        return honest(shown)
    return "A good answer, I think."


class JudgedServer(LoopbackServer):
    """The teachers, and a judge called `judge`."""

    def __init__(
        self, character: Character, fault: Callable[[Call], Fault | None] = lambda _: None
    ) -> None:
        def rule(call: Call) -> dict[str, Any]:
            if call.path.endswith("/models"):
                return {"object": "list", "data": [{"id": n} for n in ("weak", "strong", "judge")]}
            if call.model != "judge":
                return teach(call)
            message = {"role": "assistant", "content": character(read_shown(call.asked))}
            usage = {"prompt_tokens": 100, "completion_tokens": 1}
            return {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}

        super().__init__(fault, rule=rule)

    def put_to_judge(self) -> list[Shown]:
        """What the judge was shown."""
        return [read_shown(call.asked) for call in self.calls if call.model == "judge"]


def describe_judged(folder: Path, url: str, reference: str | None = SUNNY) -> dict[str, Any]:
    """The settings of a run with some tasks for the judge and one sum, without evolution."""
    seeds = folder / "seeds.jsonl"
    check = {"kind": "judge", "rubric": "Speaks of the harbour, in whole sentences."}
    check |= {"reference": reference} if reference is not None else {}
    judged = [{"prompt": task, "check": check, "domain": "writing"} for task in TASKS]
    key = {"kind": "exact", "answer": "12"}
    sums = {"prompt": "What is 5 + 7? The number only.", "check": key, "domain": "maths"}
    write_lines(seeds, [line | LICENSED for line in [*judged, sums]])
    sampling = {"temperature": 0.7, "max_tokens": 200}
    return {
        "name": "judged",
        "runs_dir": str(folder / "runs"),
        "shard_rows": 4,
        "seeds": {"paths": [str(seeds)]},
        "models": {name: model(url, name) for name in ("weak", "strong", "judge")},
        "judge": {"model": "judge"},
        "answer": {
            "samplers": [
                {"name": "cheap", "model": "weak", "n": 4, "sampling": sampling},
                {"name": "dear", "model": "strong", "n": 4, "sampling": sampling},
            ]
        },
        "publish": {"licence": "cc0-1.0", "answers_per_prompt": 20},
    }
