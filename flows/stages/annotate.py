"""Stages `texts` and `annotate-NAME`: the texts are read, and each annotator labels all of them.

What an annotator said about a text is one record: all its votes or its probabilities, what could
not be read, and what failed.
"""

from pathlib import Path

from flows.run_settings import EmbeddedModel
from flows.stages.family import read_stage
from flows.store import FileEntry, hash_input
from flows.work import AnnotationContext, Job, Tick, shard_jobs
from generators.annotation import (
    TEMPLATE,
    Annotation,
    Annotator,
    LabelledText,
    VotingAnnotator,
    draft_annotation,
    load_annotation_texts,
)
from generators.label_reading import record_annotation
from generators.prompting import hash_template

READING = "2"
"""Changed whenever the same answers come to other annotations."""


class TextsStage:
    """Read and check the files of texts."""

    name = "texts"

    def plan(self, context: AnnotationContext) -> list[Job]:
        config = context.config
        contents = [(path, hash_input(Path(path))) for path in config.texts]
        key = context.key(self.name, [contents, list(config.labels)], [])
        output = f"{context.folder}/texts.parquet"
        return [Job(stage=self.name, outputs=(output,), rows=len(contents), key=key)]

    def work(self, context: AnnotationContext, job: Job, tick: Tick) -> list[FileEntry]:
        texts = load_annotation_texts(context.config.texts, context.config.labels)
        tick(job.rows)
        return [context.write_records(job, job.outputs[0], LabelledText, texts)]


class AnnotateStage:
    """Put each text to one annotator."""

    def __init__(self, annotator: Annotator) -> None:
        self.annotator = annotator
        self.name = f"annotate-{annotator.name}"

    def plan(self, context: AnnotationContext) -> list[Job]:
        config, annotator = context.config, self.annotator
        settings = [
            annotator.model_dump(mode="json"),
            context.model_settings(annotator.model),
            list(config.labels.items()),
            [hash_template(config.models[annotator.model].form, TEMPLATE), READING],
            [config.seed, config.shard_rows],
        ]
        jobs = shard_jobs(
            self.name,
            [f"{context.folder}/annotations-{annotator.name}-{{}}.parquet"],
            len(read_texts(context)),
            config.shard_rows,
            context.key(self.name, settings, [TextsStage.name]),
        )
        votes = annotator.votes if isinstance(annotator, VotingAnnotator) else 1
        return [job.model_copy(update={"rows": job.rows * votes}) for job in jobs]

    def work(self, context: AnnotationContext, job: Job, tick: Tick) -> list[FileEntry]:
        size = context.config.shard_rows
        texts = read_texts(context)[job.shard * size : (job.shard + 1) * size]
        annotations = annotate_texts(context, self.annotator, texts, tick)
        return [context.write_records(job, job.outputs[0], Annotation, annotations)]


def annotate_texts(
    context: AnnotationContext, annotator: Annotator, texts: list[LabelledText], tick: Tick
) -> list[Annotation]:
    """Ask one annotator about some texts, all at once."""
    config, labels = context.config, context.config.labels
    model = config.models[annotator.model]
    drafts = [
        draft_annotation(
            text,
            annotator,
            labels,
            model.form,
            is_embedded=isinstance(model, EmbeddedModel),
            run_seed=config.seed,
            cycle=context.cycle,
        )
        for text in texts
    ]
    requests = [request for draft in drafts for request in draft]
    outcomes = iter(context.resources.ask(annotator.model, requests, tick))
    return [
        record_annotation(
            text,
            annotator,
            labels,
            draft,
            [next(outcomes) for _ in draft],
            form=model.form,
            model=context.resources.client(annotator.model).id,
            template_hash=hash_template(model.form, TEMPLATE),
        )
        for text, draft in zip(texts, drafts, strict=True)
    ]


def read_texts(context: AnnotationContext) -> list[LabelledText]:
    """The texts as the run has committed them."""
    return read_stage(context, TextsStage.name, "texts", LabelledText)


def read_annotations(context: AnnotationContext, annotator: Annotator) -> list[Annotation]:
    """What one annotator said, in the order of the texts."""
    return read_stage(context, f"annotate-{annotator.name}", "annotations-", Annotation)
