"""Stage `soft-labels`: annotations become a dataset of soft labels; ties and rows without enough
votes lie beside it with the reason why.

`dataset/soft-labels.parquet` and `dataset/quarantine.parquet` hold together one row for each text
and context, and one for each text over all contexts where there are several.
"""

from functools import partial

import pyarrow as pa

from flows.annotate_card import render_annotation_card
from flows.annotate_figures import AnnotationFigures, gather_figures
from flows.annotate_rows import SoftLabel, make_aside_schema, make_schema, merge_annotations
from flows.stages.annotate import TextsStage, read_annotations, read_texts
from flows.stages.publish import hash_dataset, write_table
from flows.store import FileEntry, RunDirectory
from flows.work import AnnotationContext, Job, Tick
from generators.errors import RunError

SOFT_LABELS, QUARANTINE = "dataset/soft-labels.parquet", "dataset/quarantine.parquet"
CARD, SUMMARY = "dataset/README.md", "summary.json"
VERSION = "1"
"""Changed whenever the same annotations come to other rows, figures or words."""


class SoftLabelsStage:
    """Merge what the annotators said, and tell how far they agree."""

    name = "soft-labels"

    def plan(self, context: AnnotationContext) -> list[Job]:
        config = context.config
        before = [TextsStage.name, *(f"annotate-{a.name}" for a in config.annotators)]
        key = context.key(self.name, [config.name, config.digest, VERSION], before)
        outputs = (SOFT_LABELS, QUARANTINE, SUMMARY, CARD)
        return [Job(stage=self.name, outputs=outputs, rows=len(read_texts(context)), key=key)]

    def work(self, context: AnnotationContext, job: Job, tick: Tick) -> list[FileEntry]:
        config, texts = context.config, read_texts(context)
        annotations = {a.name: read_annotations(context, a) for a in config.annotators}
        rows = merge_annotations(
            texts,
            [annotation for own in annotations.values() for annotation in own],
            contexts=config.contexts,
            licence=config.publish.licence,
            min_votes=config.publish.min_votes,
        )
        published = [row for row in rows if row.reason is None]
        aside = [row for row in rows if row.reason is not None]
        entries = [
            _write_rows(context, job, SOFT_LABELS, published, make_schema(config.labels)),
            _write_rows(context, job, QUARANTINE, aside, make_aside_schema(config.labels)),
        ]
        dataset_hash = hash_dataset(context.run.place(SOFT_LABELS))
        figures = gather_figures(config, texts, annotations, rows, dataset_hash)
        card = render_annotation_card(config, figures)
        summary = figures.model_dump_json(indent=1) + "\n"
        tick(job.rows)
        return [
            *entries,
            context.write_text(job, SUMMARY, summary),
            context.write_text(job, CARD, card),
        ]


def _write_rows(
    context: AnnotationContext, job: Job, path: str, rows: list[SoftLabel], schema: pa.Schema
) -> FileEntry:
    plain = [row.model_dump(mode="json") for row in rows]
    return context.write(job, path, partial(write_table, rows=plain, schema=schema))


def read_figures(run: RunDirectory) -> AnnotationFigures:
    """The figures of a finished annotation. Raises RunError where there are none."""
    file = run.place(SUMMARY)
    if not file.is_file():
        raise RunError(f"{run.root}: no annotation has been finished here")
    return AnnotationFigures.model_validate_json(file.read_bytes())
