"""The card that travels with a classifier, and the same figures for the terminal."""

from importlib import metadata
from typing import Any

from flows.annotate_card import name_context, tell_figure
from flows.card import add_front, load_templates
from flows.classify_figures import ArmScore, ClassifierFigures
from flows.classify_settings import ClassifyConfig
from flows.console import Console
from flows.wording import count_noun, format_share
from trainers.evaluate import Estimate

ARMS = {
    "prior": "the training rows' mean distribution",
    "teacher": "the teacher",
    "before": "the student before",
    "after": "the student after",
}
OBJECTIVES = {
    "soft": "KL(p ‖ q) from the annotators' distribution p to the student's q",
    "hard": "cross-entropy of the annotators' majority",
    "hinton": "the teacher's softened distribution, and the annotators' majority beside it",
}
REASONS = {
    "tie": "no label has more than every other, and the objective wants one",
    "longer_than_window": "more tokens than `max_length`",
    "empty_text": "the text is empty",
    "no_labels": "no label, no vote and no distribution",
    "bad_distribution": "a probability below 0, or a sum that is not 1",
    "unknown_label": "a label that the row's distribution does not have",
    "no_votes": "no annotator's answer could be read",
    "few_votes": "fewer votes than the annotation asked for",
}
"""What each code means that a row is left out with."""


def render_classifier_card(config: ClassifyConfig, figures: ClassifierFigures) -> str:
    """Return the classifier's README.md."""
    student = config.models[config.classifier.student]
    front = {
        "license": (student.licence or "unknown").lower(),
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "base_model": student.model,
        "tags": ["synthetic", "soft-labels", "distillation", "tutelage"],
    }
    skipped = {**figures.rows.skipped, **figures.skipped}
    body = (
        load_templates()
        .get_template("classifier_card.md.jinja")
        .render(
            config=config,
            figures=figures,
            ARMS=ARMS,
            objective=OBJECTIVES[figures.objective],
            after=next(arm.score for arm in figures.arms if arm.arm == "after"),
            tell=tell_figure,
            tell_estimate=tell_estimate,
            tell_accuracy=tell_accuracy,
            name_context=name_context,
            personas=any(context is not None for context in figures.rows.contexts),
            skipped=skipped,
            reasons={reason: REASONS.get(reason, "as the data says") for reason in skipped},
            version=metadata.version("tutelage"),
        )
    )
    return add_front(front, body)


def tell_estimate(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def tell_accuracy(accuracy: Estimate | None) -> str:
    if accuracy is None:
        return tell_figure(None)
    low, high = format_share(accuracy.low), format_share(accuracy.high)
    return f"{format_share(accuracy.value)} ({low} to {high})"


def tell_training(figures: ClassifierFigures) -> str:
    """What came out, in one line."""
    rows = figures.rows
    return (
        f"{count_noun(figures.steps, 'step')} on {count_noun(figures.trained_rows, 'row')} of "
        f"{count_noun(rows.train_texts, 'text')}, loss {figures.train_loss:.3f}; "
        f"{count_noun(rows.held_out, 'row')} of {count_noun(rows.held_out_texts, 'text')} held out"
    )


def tabulate_arms(arms: tuple[ArmScore, ...]) -> tuple[list[str], list[list[Any]]]:
    """The columns and the rows of the scores' table."""
    columns = ["", "accuracy", "soft cross-entropy", "KL", "Brier", "ECE"]
    rows = [
        [
            ARMS[arm.arm],
            tell_accuracy(arm.score.accuracy),
            tell_figure(arm.score.cross_entropy),
            tell_estimate(arm.score.kl),
            tell_figure(arm.score.brier),
            tell_figure(arm.score.ece),
        ]
        for arm in arms
    ]
    return columns, rows


def show_classifier(figures: ClassifierFigures, console: Console) -> None:
    """Print the scores, what came out, and what is in doubt."""
    console.table("Held-out rows", *tabulate_arms(figures.arms))
    console.line(tell_training(figures))
    for warning in figures.warnings:
        console.warn(warning)
