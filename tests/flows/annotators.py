"""Annotators on the loopback server, and a small annotation that asks them.

A vote depends on the request alone: on the model, what it was asked and the seed. Some votes cannot
be read, and one text is refused.
"""

import io
import math
import random
from pathlib import Path
from typing import Any, NamedTuple

from flows import verbs
from flows.annotate_figures import AnnotationFigures
from flows.annotate_settings import load_annotation
from flows.console import Console
from flows.stages.soft_labels import QUARANTINE, SOFT_LABELS, read_figures
from flows.store import RunDirectory
from tests.flows.small_run import LICENSED, model, rows_of, write_lines
from tests.generators.loopback import Call, Fault, LoopbackServer

FAN = "a fan who has waited all night"
LABELS = {"joy": "glad or moved", "sadness": "a loss", "anger": "", "surprise": ""}
REFUSED = "Text number 7."
TEXTS = tuple(f"Text number {i}." for i in range(10))
GIVEN = {0: "joy", 1: "sadness", 7: "joy"}
VOTES = {"fans": 4, "strangers": 6}
ASKED = len(TEXTS) * sum(VOTES.values())


class AnnotatorServer(LoopbackServer):
    """A loopback server that labels texts."""

    def __init__(self, *, delay_s: float = 0) -> None:
        super().__init__(refuse, delay_s=delay_s, rule=label)

    def asked(self) -> list[Call]:
        """The requests for a label so far."""
        return [call for call in self.calls if not call.path.endswith("/models")]


def refuse(call: Call) -> Fault | None:
    if not call.path.endswith("/models") and call.asked.endswith(REFUSED):
        return Fault(status=400, body='{"error": {"message": "no such text here"}}')
    return None


def label(call: Call) -> dict[str, Any]:
    """A vote, and the first token's probabilities where they are asked for."""
    if call.path.endswith("/models"):
        return {"object": "list", "data": [{"id": "panel"}]}
    weights = weigh(call.asked)
    choice: dict[str, Any] = {"message": {"content": vote(call)}, "finish_reason": "stop"}
    if "top_logprobs" in call.body:
        tokens = {name[:3]: p * 0.9 for name, p in weights.items()} | {"The": 0.1}
        listed = [{"token": t, "logprob": math.log(p)} for t, p in tokens.items()]
        choice["logprobs"] = {"content": [{"logprob": 0.0, "top_logprobs": listed}]}
    return {"choices": [choice], "usage": {"prompt_tokens": 50, "completion_tokens": 2}}


def weigh(asked: str) -> dict[str, float]:
    """How likely each label is for a text as its reader sees it."""
    chance = random.Random(asked)
    parts = {name: chance.random() ** 3 + 0.01 for name in LABELS}
    return {name: part / sum(parts.values()) for name, part in parts.items()}


def vote(call: Call) -> str:
    chance = random.Random(f"{call.body['model']} {call.body['seed']} {call.asked}")
    weights = weigh(call.asked)
    (name,) = chance.choices(list(weights), list(weights.values()))
    roll = chance.random()
    if roll < 0.1:
        return f"I would say {name}."
    if roll < 0.15:
        return "joy or sadness"
    return name.title() if roll < 0.4 else f"{name}."


def describe_annotation(folder: Path, url: str) -> dict[str, Any]:
    """The settings of a small annotation, whose texts are written into `folder`."""
    texts = folder / "texts.jsonl"
    given = [{"label": GIVEN[i]} if i in GIVEN else {} for i in range(len(TEXTS))]
    write_lines(texts, [{"text": t} | g | LICENSED for t, g in zip(TEXTS, given, strict=True)])
    return {
        "name": "faces",
        "runs_dir": str(folder / "runs"),
        "shard_rows": 4,
        "texts": [str(texts)],
        "labels": LABELS,
        "models": {"panel": model(url, "panel")},
        "annotators": [
            {"name": "fans", "model": "panel", "persona": FAN, "method": "votes", "votes": 4},
            {"name": "strangers", "model": "panel", "method": "votes", "votes": 6},
        ],
        "publish": {"licence": "cc0-1.0", "min_votes": 2},
    }


def conduct_annotation(file: Path, *, update: bool = False) -> tuple[RunDirectory, str]:
    """Conduct an annotation in this thread; return it with what it printed."""
    out = io.StringIO()
    console = Console(out=out, err=out)
    verbs.annotate(file, {}, console, prefect=False, update=update)
    return RunDirectory(load_annotation(file).root), out.getvalue()


class Annotated(NamedTuple):
    """A finished annotation and what it took."""

    settings: dict[str, Any]
    run: RunDirectory
    requests: list[Call]
    printed: str

    def rows(self) -> list[dict[str, Any]]:
        """All rows, published and set aside."""
        return rows_of(self.run.place(SOFT_LABELS), self.run.place(QUARANTINE))

    def figures(self) -> AnnotationFigures:
        return read_figures(self.run)
