"""What a training on its own came to: its figures, its student's card, and what is printed."""

from flows.card import render_student_card
from flows.console import Console
from flows.facts import ModelFacts, StudentFacts
from flows.facts_learning import Arm, EvaluationFacts, TrainingFacts
from flows.gather_learning import gather_evaluation, gather_training
from flows.summary import tabulate_arms
from flows.teach_rows import TaughtRows
from flows.teach_settings import TeachConfig
from flows.wording import count_noun
from flows.wording_training import tell_signal, tell_teacher
from flows.work import TeachContext, model_id
from generators.records import Record


class TeachFigures(Record):
    """The result of a training on its own."""

    name: str
    rows: TaughtRows
    dataset_hash: str
    """SHA-256 of the rows' file."""
    training: TrainingFacts
    evaluation: EvaluationFacts | None
    warnings: tuple[str, ...]

    @property
    def arms(self) -> tuple[Arm, ...]:
        return self.evaluation.arms if self.evaluation is not None else ()


def gather_teaching(context: TeachContext, rows: TaughtRows, dataset_hash: str) -> TeachFigures:
    """All figures, from the committed files."""
    training, evaluation = gather_training(context), gather_evaluation(context)
    assert training is not None  # the card comes after the training
    doubt = tell_teacher(evaluation) if evaluation is not None else None
    conditions = [
        f"{name}: {model.conditions}"
        for name, model in context.config.models.items()
        if model.outputs_may_train == "conditional"
    ]
    return TeachFigures(
        name=context.config.name,
        rows=rows,
        dataset_hash=dataset_hash,
        training=training,
        evaluation=evaluation,
        warnings=(*conditions, *([doubt] if doubt else [])),
    )


def render_taught_card(config: TeachConfig, figures: TeachFigures) -> str:
    """The student's README.md."""
    return render_student_card(
        StudentFacts(
            name=figures.name,
            config_digest=config.digest,
            training=figures.training,
            evaluation=figures.evaluation,
            models=tuple(_list_models(config)),
            dataset_hash=figures.dataset_hash,
            rows_told=figures.rows.told,
            warnings=figures.warnings,
        )
    )


def _list_models(config: TeachConfig) -> list[ModelFacts]:
    student = config.train.untaught.model
    facts = [
        ModelFacts(
            id=model_id(model),
            role="teacher of the student" if name in config.train.teachers else "not used",
            licence=model.licence or "not stated",
            outputs_may_train=model.outputs_may_train,
            terms=model.conditions or "",
        )
        for name, model in config.models.items()
        if name in config.train.teachers or model.model != student
    ]
    own = [model.licence for model in config.models.values() if model.model == student]
    licence = next((licence for licence in own if licence), "its own model's")
    return [*facts, ModelFacts(id=student, role="student", licence=licence, outputs_may_train=None)]


def tell_teaching(figures: TeachFigures) -> str:
    """What came out, in one line."""
    training = figures.training
    final = f", loss {training.losses[-1].loss:.3f}" if training.losses else ""
    return (
        f"{count_noun(training.steps, 'step')} on {count_noun(training.rows, 'row')}{final}: "
        f"{'; then '.join(training.told)}"
    )


def show_teaching(figures: TeachFigures, console: Console) -> None:
    """Print the scores, and what came out."""
    if figures.arms:
        console.table("Held-out prompts", *tabulate_arms(figures.arms))
    console.line(tell_teaching(figures))
    if figures.training.signal is not None:
        console.line(f"signal:  {tell_signal(figures.training.signal)}")
    for look in figures.training.looks:
        told = ", ".join(f"{name} {value:.3f}" for name, value in look.figures.items())
        console.line(f"step {look.step}, phase {look.phase}: {told}")
