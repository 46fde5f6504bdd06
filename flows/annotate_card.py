"""The card that travels with a dataset of soft labels, and the same figures for the terminal."""

from collections.abc import Mapping
from importlib import metadata
from typing import Any

from flows.annotate_figures import Accuracy, AnnotationFigures
from flows.annotate_settings import AnnotateConfig
from flows.card import add_front, load_templates
from flows.console import Console
from flows.wording import count_noun, format_range, format_share

REASONS = {
    "tie": "no label has more than every other",
    "no_votes": "no annotator's answer could be read",
    "few_votes": "fewer votes could be read than `publish.min_votes`",
    "no_label": "the answer names none of the labels",
    "several_labels": "the answer names several labels",
    "label_among_words": "the answer names a label, but says more than that",
    "cut_off": "the answer was cut at the token limit, so its end is not known",
    "low_label_mass": "the labels have less probability together than `min_label_mass`",
    "shared_first_token": "first tokens that begin several labels have too much probability",
}
"""What each code means that a row, a vote or a reading is set aside with."""


def render_annotation_card(config: AnnotateConfig, figures: AnnotationFigures) -> str:
    """Return the dataset's README.md."""
    front = {
        "pretty_name": f"{config.name} (tutelage)",
        "license": config.publish.licence,
        "task_categories": ["text-classification"],
        "tags": ["synthetic", "soft-labels", "annotation", "tutelage"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": "soft-labels.parquet"}],
            }
        ],
    }
    body = (
        load_templates()
        .get_template("annotation_card.md.jinja")
        .render(
            config=config,
            figures=figures,
            tell=tell_figure,
            tell_accuracy=tell_accuracy,
            name_context=name_context,
            tell_lost=tell_lost,
            reasons=_list_reasons(figures),
            version=metadata.version("tutelage"),
        )
    )
    return add_front(front, body)


def _list_lost(counts: Mapping[str, int]) -> list[str]:
    return [f"{reason} {count:,}" for reason, count in counts.items()]


def _list_reasons(figures: AnnotationFigures) -> dict[str, str]:
    """The codes that occur, with their meanings."""
    found = {*figures.quarantined, *(r for one in figures.annotators for r in one.unread)}
    return {reason: meaning for reason, meaning in REASONS.items() if reason in found}


def name_context(context: str | None) -> str:
    return "anybody" if context is None else context


def tell_figure(value: float | None) -> str:
    """A figure to three decimals; a dash where there is none."""
    return "–" if value is None else f"{value:.3f}"  # noqa: RUF001 - as in the other tables


def tell_accuracy(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return tell_figure(None)
    share = accuracy.share
    return f"{format_share(share.value)} ({format_range(share)})"


def tell_lost(unread: Mapping[str, int], failed: Mapping[str, int]) -> str:
    """Why answers do not count: `no_label 3, http_400 1`."""
    return ", ".join([*_list_lost(unread), *_list_lost(failed)])


def tell_annotation(figures: AnnotationFigures) -> str:
    """What came out, in one line."""
    quarantined = ", ".join(f"{count:,} {reason}" for reason, count in figures.quarantined.items())
    contexts = count_noun(len(figures.contexts), "context")
    return (
        f"{figures.published:,} rows published, {figures.rows - figures.published:,} quarantined"
        f"{f' ({quarantined})' if quarantined else ''}, of {count_noun(figures.texts, 'text')} "
        f"in {contexts}"
    )


def tabulate_annotators(figures: AnnotationFigures) -> tuple[list[str], list[list[Any]]]:
    """The columns and the rows of the annotators' table."""
    columns = ["annotator", "reads as", "asked", "read", "lost", "alpha", "label mass", "accuracy"]
    rows = [
        [
            one.name,
            name_context(one.context),
            one.asked,
            one.read,
            tell_lost(one.unread, one.failed),
            tell_figure(one.alpha),
            tell_figure(one.label_mass),
            tell_accuracy(one.accuracy),
        ]
        for one in figures.annotators
    ]
    return columns, rows


def show_figures(figures: AnnotationFigures, console: Console) -> None:
    """Print the annotators' table, the entropies and what came out."""
    console.table("Annotators", *tabulate_annotators(figures))
    bins = [[f"{b.low:.2f} to {b.high:.2f}", b.texts] for b in figures.entropy if b.texts]
    console.table("Entropy of the soft labels, in bits", ["from … to", "texts"], bins)
    if figures.context_pairs:
        console.table(
            "Contexts",
            ["one", "other", "texts", "distance", "other majority"],
            [
                [name_context(p.one), name_context(p.other), p.texts, p.distance, p.other_label]
                for p in figures.context_pairs
            ],
        )
    console.line(f"Krippendorff's alpha between annotators: {tell_figure(figures.alpha)}")
    if figures.accuracy is not None:
        console.line(
            f"majority against {count_noun(figures.accuracy.texts, 'given label')}: "
            f"{tell_accuracy(figures.accuracy)}"
        )
    console.line(tell_annotation(figures))
