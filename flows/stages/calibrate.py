"""Stage `calibrate`: the model that is to judge equality is first tried on labelled pairs.

It is asked exactly as evolution will ask it, once for each pair of `evolve.calibration`. What comes
out is one `Agreement`; where that is no better than chance + 0.2, evolution does not ask this model
and its textual rules decide alone.
"""

from collections.abc import Sequence

from filters.agreement import Agreement, measure_agreement
from filters.equality import COMPARISON, build_comparison, read_judgement
from flows.store import FileEntry
from flows.work import Context, Job, Tick
from generators.calibration import load_pairs
from generators.clients import Outcome
from generators.operators import EvolveSettings
from generators.prompting import hash_template

CALIBRATE = "calibrate"


class CalibrateStage:
    """One job: all pairs in, one agreement out."""

    name = CALIBRATE

    def __init__(self, settings: EvolveSettings) -> None:
        self.settings = settings

    def plan(self, context: Context) -> list[Job]:
        model, pairs = self.settings.model, load_pairs(self.settings.calibration)
        settings = [
            [(pair.first, pair.second, pair.label) for pair in pairs],
            context.model_settings(model),
            hash_template(context.config.models[model].form, COMPARISON),
        ]
        output = f"{context.folder}/agreement-equality.json"
        key = context.key(self.name, settings, [])
        return [Job(stage=self.name, outputs=(output,), rows=len(pairs), key=key)]

    def work(self, context: Context, job: Job, tick: Tick) -> list[FileEntry]:
        pairs = load_pairs(self.settings.calibration)
        tasks = [(pair.first, pair.second) for pair in pairs]
        judgements = judge_equality(context, self.settings.model, tasks, tick)
        agreement = measure_agreement(judgements, [pair.equal for pair in pairs])
        return [context.write_text(job, job.outputs[0], agreement.model_dump_json(indent=1))]


def judge_equality(
    context: Context, model: str, pairs: Sequence[tuple[str, str]], tick: Tick | None
) -> list[bool | None]:
    """Ask a model under `models` which pairs are equal; None where no judgement came of it."""
    form = context.config.models[model].form
    requests = [build_comparison(form, first, second) for first, second in pairs]
    outcomes: list[Outcome] = context.resources.ask(model, requests, tick) if requests else []
    return [
        read_judgement(outcome.text) if outcome.kind == "response" else None for outcome in outcomes
    ]


def read_agreement(context: Context) -> Agreement | None:
    """How the judge did; None where it was not put to the test."""
    files = context.run.files(CALIBRATE)
    return Agreement.model_validate_json(files[0].read_bytes()) if files else None
