"""Stage `report`: the page, the cards and the curves, all out of the same facts."""

import json
import tempfile
from pathlib import Path
from typing import Any

from flows.card import render_card, render_model_card
from flows.gather import gather_facts
from flows.gather_learning import gather_evaluation
from flows.history import CREDIT
from flows.report import draw_flow, render_report
from flows.stages.train import METRICS, STUDENT
from flows.store import CARD, CONFIG, VERSIONS, FileEntry
from flows.work import Context, Job, LearningContext, Tick
from generators.credit import dump_credit

REPORT, MODEL_CARD = "report.html", f"{STUDENT}/README.md"
FLOW, CURVES = "flow.svg", "curves.svg"
HELD_OUT = "pass@1, held out"
"""The curve of the evaluation; pass@1 alone is of rows that were kept from the training."""


class ReportStage:
    """Tell what the run made and whether the student learned."""

    name = "report"

    def plan(self, context: Context) -> list[Job]:
        stages = {entry.stage for entry in context.run.manifest.files.values()}
        outputs = [REPORT, FLOW, CARD, CREDIT]
        if context.config.train is not None and context.run.files("train"):
            outputs += [MODEL_CARD, CURVES]
        key = context.key(self.name, [], sorted(stages - {self.name, CONFIG, VERSIONS}))
        return [Job(stage=self.name, outputs=tuple(outputs), rows=len(outputs), key=key)]

    def work(self, context: Context, job: Job, tick: Tick) -> list[FileEntry]:
        facts = gather_facts(context)
        texts = {REPORT: render_report(facts), FLOW: draw_flow(facts), CARD: render_card(facts)}
        texts[CREDIT] = dump_credit(facts.credit)
        if MODEL_CARD in job.outputs:
            texts[MODEL_CARD] = render_model_card(facts)
        entries = [context.write_text(job, path, text) for path, text in texts.items()]
        if CURVES in job.outputs:
            entries.append(context.write(job, CURVES, lambda place: draw_curves(context, place)))
        tick(job.rows)
        return entries


def draw_curves(context: LearningContext, picture: Path) -> None:
    """The training loss, and below it what the arms scored before the first step and after the
    last."""
    from trainers.curves import plot_curves

    lines = context.run.place(METRICS).read_text(encoding="utf-8").splitlines()
    last = max(json.loads(line)["step"] for line in lines)
    evaluation = gather_evaluation(context)
    for arm in evaluation.arms if evaluation else ():
        if arm.prompting == "zero-shot" and arm.when in ("before", "after"):
            score = arm.pass_at_1
            point: dict[str, Any] = {HELD_OUT: [score.value, score.low, score.high]}
            if arm.perplexity is not None:
                point["perplexity"] = arm.perplexity
            step = 0 if arm.when == "before" else last
            lines.append(json.dumps({"step": step, "evaluation": point}))
    with tempfile.TemporaryDirectory() as scratch:
        joined = Path(scratch) / "metrics.jsonl"
        joined.write_text("\n".join(lines) + "\n", encoding="utf-8")
        plot_curves(joined, picture)
