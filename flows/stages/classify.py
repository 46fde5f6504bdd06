"""Stages of a classifier's training: `score-ARM`, `train` and `card`.

The same held-out rows are put to the student before and after training and, where it follows one,
to its teacher. `prior` is what is known of a text before it is read: the mean of the training rows'
distributions, which a classifier that learned anything must beat.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from flows.classify_card import render_classifier_card
from flows.classify_figures import ArmScore, ClassifierFigures, gather_figures
from flows.classify_scores import describe_student, identify_arm, score_arm
from flows.classify_settings import ClassifyConfig
from flows.stages.labels import HELD_OUT, TRAIN, LabelsStage, read_row_facts
from flows.stages.train import METRICS, STUDENT
from flows.store import TRAINING, FileEntry, RunDirectory, copy_folder
from flows.work import ClassifierContext, Job, Stage, Tick
from generators.embedded import identify_model
from generators.errors import RunError
from trainers.classifier_settings import ClassifierResult, ClassifierSettings

SUMMARY, CARD, CURVES = "summary.json", f"{STUDENT}/README.md", "curves.svg"
VERSION = "1"
"""Changed whenever the same rows come to other scores or words."""


def list_classifier_stages(config: ClassifyConfig) -> list[Stage]:
    """The stages from soft labels to a classifier with its card, in order."""
    taught = ["teacher"] if config.classifier.teacher is not None else []
    first = [ScoreStage(arm) for arm in ("prior", *taught, "before")]
    return [LabelsStage(), *first, ClassifierStage(), ScoreStage("after"), ClassifierCardStage()]


class ClassifierStage:
    """Train; checkpoints survive a kill, the student appears when it is done."""

    name = "train"

    def plan(self, context: ClassifierContext) -> list[Job]:
        names = [name for _, name in context.config.named_models]
        models = [identify_model(context.config.models[name].model) for name in names]
        settings = context.config.classifier.model_dump(mode="json")
        key = context.key(self.name, [settings, models], [LabelsStage.name])
        outputs = (METRICS, f"{STUDENT}/config.json", f"{STUDENT}/result.json")
        rows = context.config.classifier.max_steps or 1
        return [Job(stage=self.name, outputs=outputs, rows=rows, key=key)]

    def work(self, context: ClassifierContext, job: Job, tick: Tick) -> list[FileEntry]:
        from trainers.classifier import train_classifier

        root = context.run.root
        folder = root / TRAINING / job.key
        step = 0

        def count_steps(entry: dict[str, Any]) -> None:
            """Also those that a killed process had done: a resumed training begins behind them."""
            nonlocal step
            tick(entry["step"] - step)
            step = entry["step"]

        train_classifier(
            trainer_settings(context.config),
            context.run.place(TRAIN),
            describe_student(context.config),
            folder / "output",
            on_log=count_steps,
            metrics=folder / METRICS,
        )
        text = (folder / METRICS).read_text(encoding="utf-8")
        source = folder / "output" / "model"
        return [
            context.write_text(job, METRICS, text),
            *copy_folder(root, source, STUDENT, stage=self.name, key=job.key),
        ]


class ScoreStage:
    """Score one arm on the held-out rows."""

    def __init__(self, arm: str) -> None:
        self.arm = arm
        self.name = f"score-{arm}"

    def plan(self, context: ClassifierContext) -> list[Job]:
        config = context.config
        before = [LabelsStage.name, *([ClassifierStage.name] if self.arm == "after" else [])]
        model = identify_arm(config, self.arm)
        settings = [
            self.arm,
            model,
            config.classifier.layers,
            config.classifier.max_length,
            VERSION,
        ]
        key = context.key(self.name, settings, before)
        output = f"evaluation/{self.arm}.json"
        rows = read_row_facts(context).held_out
        return [Job(stage=self.name, outputs=(output,), rows=rows, key=key)]

    def work(self, context: ClassifierContext, job: Job, tick: Tick) -> list[FileEntry]:
        place = context.run.place
        score = score_arm(
            context.config,
            self.arm,
            train=place(TRAIN),
            held_out=place(HELD_OUT),
            trained=place(STUDENT),
            tick=tick,
        )
        return [context.write_text(job, job.outputs[0], score.model_dump_json(indent=1) + "\n")]


class ClassifierCardStage:
    """Tell what was learned, from whom, and under which licences."""

    name = "card"

    def plan(self, context: ClassifierContext) -> list[Job]:
        config = context.config
        before = [stage.name for stage in list_classifier_stages(config)[:-1]]
        key = context.key(self.name, [config.name, config.digest, VERSION], before)
        return [Job(stage=self.name, outputs=(SUMMARY, CARD, CURVES), rows=1, key=key)]

    def work(self, context: ClassifierContext, job: Job, tick: Tick) -> list[FileEntry]:
        arms = [
            stage.arm
            for stage in list_classifier_stages(context.config)
            if isinstance(stage, ScoreStage)
        ]
        scores = [
            ArmScore.model_validate_json(context.run.place(f"evaluation/{arm}.json").read_bytes())
            for arm in arms
        ]
        result_file = context.run.place(f"{STUDENT}/result.json")
        result = ClassifierResult.model_validate_json(result_file.read_bytes())
        figures = gather_figures(context.config, read_row_facts(context), result, scores)
        tick(job.rows)
        return [
            context.write_text(job, SUMMARY, figures.model_dump_json(indent=1) + "\n"),
            context.write_text(job, CARD, render_classifier_card(context.config, figures)),
            context.write(job, CURVES, lambda place: draw_curves(context, figures, place)),
        ]


def trainer_settings(config: ClassifyConfig) -> ClassifierSettings:
    """The trainer's own settings, with the teacher's folder for its name."""
    names = set(ClassifierSettings.model_fields)
    settings = config.classifier.model_dump(include=names)
    teacher = config.classifier.teacher
    if teacher is not None:
        settings["teacher"] = config.models[teacher].model
    return ClassifierSettings(**settings)


def draw_curves(context: ClassifierContext, figures: ClassifierFigures, picture: Path) -> None:
    """The training loss, and below it what the student scored before and after."""
    from trainers.curves import plot_curves

    lines = context.run.place(METRICS).read_text(encoding="utf-8").splitlines()
    for arm in figures.arms:
        if arm.arm in ("before", "after"):
            point: dict[str, Any] = {"KL from the annotators": list(arm.score.kl)}
            if arm.score.accuracy is not None:
                point["accuracy"] = list(arm.score.accuracy)
            step = 0 if arm.arm == "before" else figures.steps
            lines.append(json.dumps({"step": step, "evaluation": point}))
    with tempfile.TemporaryDirectory() as scratch:
        joined = Path(scratch) / "metrics.jsonl"
        joined.write_text("\n".join(lines) + "\n", encoding="utf-8")
        plot_curves(joined, picture, unit="text")


def read_figures(run: RunDirectory) -> ClassifierFigures:
    """The figures of a finished training. Raises RunError where there are none."""
    file = run.place(SUMMARY)
    if not file.is_file():
        raise RunError(
            f"{run.root}: no classifier has been finished here; finish it: tutelage classify CONFIG"
        )
    return ClassifierFigures.model_validate_json(file.read_bytes())
