"""A loopback server that evolves tasks by methods, and writes methods: some better, some no use.

A third of the tasks come back as they were, a third become ones that are answered by a nod, and a
third come out well. With a method that asks for a figure the second third come out well too, with
one that asks for a month all do. One task is always refused. Whatever else is asked, the teacher of
`tests.flows.teacher` answers.
"""

import hashlib
from pathlib import Path
from typing import Any

from tests.flows.small_run import describe_run
from tests.flows.teacher import REWRITE, Teacher, teach
from tests.generators.loopback import Call, Fault

GOOD = "make it harder: have it name a month, so that its answer must speak of the season."
FAIR = "make it harder: put one more figure into it that its answer must use."
POOR = "make it as hard as you can, then harder still."
WRITTEN = (POOR, FAIR, GOOD, "", "Change {{ task }} into a harder one.", "x " * 2001)
"""What the optimiser writes as methods; the last three cannot be used."""
DIAGNOSES = (
    "Round 1 often leaves the task as it was.",
    "Round 1:\n-----\nNothing.",
    "The second round adds nothing.",
)
"""What it finds wrong; the second cannot be used."""
ADDED, HOLLOW = "Set it in the month of May.", "Do the rest."
NOD = "Understood. Let me know how I can help."
REFUSED = "What is 11 + 19? Answer with the number only."


class MethodWriter(Teacher):
    """A teacher that knows the prompts of the search as well."""

    def __init__(self, *, delay_s: float = 0) -> None:
        super().__init__(refuse, delay_s=delay_s)
        self._rule = reply

    def rewrites(self, method: str) -> dict[str, str | None]:
        """What each task became that was to be rewritten by a method; None where refused."""
        calls = [call for call in self.asked_since(0) if read_method(call.asked) == method]
        return {
            read_task(call.asked): None if refuse(call) else rewrite(call.asked) for call in calls
        }


def refuse(call: Call) -> Fault | None:
    if call.path.endswith("/models") or not call.asked.startswith(REWRITE):
        return None
    if read_task(call.asked) == REFUSED:
        return Fault(status=400, body='{"error": {"message": "not this one"}}')
    return None


def reply(call: Call) -> dict[str, Any]:
    """Answer one request."""
    if call.path.endswith("/models"):
        return teach(call)
    asked, seed = call.asked, call.body["seed"]
    if asked.startswith(REWRITE):
        text = rewrite(asked)
    elif "You judge the method" in asked:
        text = DIAGNOSES[seed % len(DIAGNOSES)]
    elif "You improve the method" in asked:
        text = WRITTEN[seed % len(WRITTEN)]
    elif asked.endswith(HOLLOW):
        text = NOD
    elif asked.endswith(ADDED):
        text = "In May the days are long, and the harbour smells of tar."
    else:
        return teach(call)
    usage = {"prompt_tokens": len(asked.split()), "completion_tokens": len(text.split())}
    message = {"role": "assistant", "content": text}
    return {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}


def rewrite(asked: str) -> str:
    """What a task becomes."""
    task, method = read_task(asked), read_method(asked) or ""
    third = hashlib.sha256(task.encode()).digest()[0] % 3
    if "month" in method or third == 2 or ("more figure" in method and third == 1):
        return f"{task} {ADDED}"
    return task if third == 0 else f"{task} {HOLLOW}"


def read_task(asked: str) -> str:
    """The task in a request to rewrite one."""
    return asked.split("-----")[1].strip()


def read_method(asked: str) -> str | None:
    """The method in a request to rewrite a task."""
    head, _, rest = asked.partition("How to edit this one: ")
    return rest.partition("\n\nThe task to edit")[0] if head.startswith(REWRITE) else None


def describe_search(folder: Path, url: str) -> dict[str, Any]:
    """The settings of a small search."""
    settings = describe_run(folder, url)
    settings["evolve"]["equality_judge"] = False
    sizes = {"minibatch": 4, "rounds": 2, "steps": 3, "candidates": 3, "dev": 12}
    return settings | {"auto_evol": sizes}
