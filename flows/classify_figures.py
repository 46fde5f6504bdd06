"""What a classifier's training came to in figures: rows, the arms' scores, and what to doubt."""

from collections import Counter
from collections.abc import Sequence

from flows.classify_rows import RowFacts
from flows.classify_settings import ClassifyConfig
from flows.intervals import Interval
from generators.records import Record
from trainers.classifier_settings import ClassifierResult, ClassScore


class ArmScore(Record):
    """One arm, put to the held-out rows."""

    arm: str
    """`prior`, `teacher`, `before` or `after`."""
    model: str | None
    """Name and revision; null for what the run makes itself."""
    skipped: dict[str, int]
    """Held-out rows that it could not read, by reason."""
    score: ClassScore


class ClassifierFigures(Record):
    """The result of a classifier's training."""

    name: str
    objective: str
    student: str
    layers: tuple[int, ...] | None
    teacher: str | None
    rows: RowFacts
    trained_rows: int
    skipped: dict[str, int]
    """Rows that were read and not trained on, by reason."""
    steps: int
    train_loss: float
    arms: tuple[ArmScore, ...]
    warnings: tuple[str, ...]


def gather_figures(
    config: ClassifyConfig, rows: RowFacts, result: ClassifierResult, arms: Sequence[ArmScore]
) -> ClassifierFigures:
    """All figures, and what they leave in doubt."""
    classifier = config.classifier
    teacher = classifier.teacher
    return ClassifierFigures(
        name=config.name,
        objective=classifier.objective,
        student=config.models[classifier.student].model,
        layers=classifier.layers,
        teacher=None if teacher is None else config.models[teacher].model,
        rows=rows,
        trained_rows=result.rows,
        skipped=dict(sorted(Counter(result.skipped).items())),
        steps=result.steps,
        train_loss=result.train_loss,
        arms=tuple(arms),
        warnings=tuple(find_doubts(arms)),
    )


def find_doubts(arms: Sequence[ArmScore]) -> list[str]:
    """Where intervals leave open, or deny, that the teacher knew more and the student learned."""
    kl = {arm.arm: Interval.of(arm.score.kl) for arm in arms}
    doubts = []
    pairs = (
        ("teacher", "before", "the teacher is not better than the untrained student"),
        ("after", "before", "the student is not better than before"),
        ("after", "prior", "the student is not better than the labels' mean in training"),
    )
    for better, worse, text in pairs:
        if better in kl and worse in kl and kl[better].high >= kl[worse].low:
            doubts.append(
                f"beyond chance {text}: KL {_tell(kl[better])} against {_tell(kl[worse])}"
            )
    return doubts


def _tell(interval: Interval) -> str:
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
