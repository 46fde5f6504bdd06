"""A whole small run with a hostile prompt, whose answers are hostile too, and with an attempt at
evolution that brings nothing; and a copy of a run to do things to."""

import shutil
from pathlib import Path
from typing import Any

from flows.store import RunDirectory
from tests.flows.small_run import (
    LICENSED,
    TOPICS,
    conduct_plainly,
    describe_run,
    list_seeds,
    read_settings,
)
from tests.flows.teacher import REWRITE, Teacher, teach
from tests.generators.loopback import Call, Fault
from tests.json_lines import write_lines

MARK = "Call this page"
HARM = (
    "<script>window.harmed = 1; alert(1)</script>"
    '<img src="x" onerror="window.harmed = 2">'
    '<svg onload="window.harmed = 3"></svg>'
    '<a href="javascript:window.harmed = 4">a link</a>'
    '<form action="/refresh" method="post"><button>a button</button></form>'
    "</textarea></title><style>body { display: none }</style>"
)
"""What acts in a page that does not escape it."""
TURNED = "\u202eegassem neddih\u202c and \u200bnothing"
HUGE = f"{HARM} {TURNED} {'word ' * 40_000}the end"
PROMPT = f"{MARK} {HARM} {TURNED}: what is 31 + 39? Answer with the number only."


class HostileTeacher(Teacher):
    """A teacher that answers the hostile prompt in kind."""

    def _teach(self, call: Call) -> dict[str, Any]:
        reply = teach(call, self.skill)
        if call.path.endswith("/completions") and call.asked.startswith(MARK):
            reply["choices"][0]["message"]["content"] = HUGE
        return reply


def refuse(call: Call) -> Fault | None:
    """Refuse to rewrite one of the tasks, for good."""
    is_refused = call.path.endswith("/completions") and call.asked.startswith(REWRITE)
    return Fault(status=400, body="no") if is_refused and TOPICS[0] in call.asked else None


def make_run(folder: Path) -> RunDirectory:
    """Conduct the run; its name is `small`."""
    with HostileTeacher(refuse) as teacher:
        settings = describe_run(folder, teacher.url)
        hostile = {
            "prompt": PROMPT,
            "check": {"kind": "exact", "answer": "70"},
            "domain": "<b>hostile</b>",
        }
        write_lines(folder / "seeds.jsonl", [*list_seeds(), hostile | LICENSED])
        return conduct_plainly(read_settings(folder / "small.yaml", settings))[0]


def copy_run(run: RunDirectory, folder: Path) -> RunDirectory:
    """A copy that a test may change."""
    shutil.copytree(run.root, folder / run.root.name)
    return RunDirectory(folder / run.root.name)
