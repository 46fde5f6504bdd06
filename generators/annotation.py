"""Annotation: texts, the annotators that label them, and what an annotator is asked.

An annotator is a model, asked either for n votes (samples that each name one label) or for its
probabilities of the labels. It may read as somebody: the same tearful face is read differently by
fans. `generators.label_reading` makes labels out of what comes back.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from generators.clients import Request, Sampling, draw_seed
from generators.errors import nearest
from generators.lines import Fault, Line, find_faults, raise_faults, read_lines
from generators.prompting import Form, render_request
from generators.records import Record, digest
from generators.seed_lines import Text

TEMPLATE = "annotate"
TOP_LOGPROBS = 20
"""As many as OpenAI's API and vLLM's default allow."""


class VoteSampling(Sampling):
    """At temperature 1 votes are drawn from the model's own distribution."""

    temperature: float = Field(default=1.0, ge=0)
    max_tokens: int = Field(default=16, ge=1)


class AnnotatorSettings(Record):
    """One annotator."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    model: str
    """A name under `models`."""
    persona: str | None = Field(default=None, pattern=r"\S")
    """Who reads, such as `a fan who has waited all night`: the context of its labels. Annotators of
    one persona share a context; those without one read as anybody."""


class VotingAnnotator(AnnotatorSettings):
    """Names a label in each of n samples."""

    method: Literal["votes"]
    votes: int = Field(default=8, ge=1)
    """Samples drawn for each text."""
    sampling: VoteSampling = VoteSampling()


class WeighingAnnotator(AnnotatorSettings):
    """Gives each label the probability that the model gives to its text."""

    method: Literal["probabilities"]
    min_label_mass: float = Field(default=0.05, ge=0, le=1)
    """Where the labels have less probability together than this, nothing is read."""
    top_logprobs: int | None = Field(default=None, ge=2, le=100)
    """How many first tokens a server is asked for (20 without it); for models behind a URL."""


Annotator = Annotated[VotingAnnotator | WeighingAnnotator, Field(discriminator="method")]


class AnnotationLine(Record):
    """A line of a file of texts."""

    text: Text
    licence: Text
    """The SPDX identifier of the licence the text is under."""
    author: Text
    """Who wrote it."""
    domain: Text = "text"
    label: Text | SkipJsonSchema[None] = None
    """The label that somebody has given it; annotators are held against it, and never see it."""


class LabelledText(Record):
    """A text to be annotated, and where it came from."""

    id: str
    text: str
    domain: str
    label: str | None
    """Given with the text, not by an annotator."""
    licence: str
    author: str
    source: str


class Annotation(Record):
    """What one annotator said about one text."""

    text_id: str
    annotator: str
    model: str
    context: str | None
    """The annotator's persona."""
    method: Literal["votes", "probabilities"]
    counts: dict[str, int]
    """Votes for each label, zeros included."""
    n: int
    """Votes that were read, or 1 where the probabilities were."""
    probs: dict[str, float] | None
    """The annotator's distribution over the labels; null where nothing was read."""
    label_mass: float | None
    """The probability that the labels have altogether; null for votes."""
    unread: dict[str, int]
    """Answers that came and could not be read, by reason."""
    failed: dict[str, int]
    """Requests that brought no answer, by reason."""
    template_hash: str


def load_annotation_texts(
    paths: Sequence[str | Path], labels: Mapping[str, str]
) -> list[LabelledText]:
    """Load the texts of JSONL files or folders of them; exact repeats get ids of their own.

    Raises InputError that lists every bad line of all files.
    """
    texts: list[LabelledText] = []
    faults: list[Fault] = []
    repeats: Counter[str] = Counter()
    schema = AnnotationLine.model_json_schema()
    for path in paths:
        reading = read_lines(path, holds="texts")
        faults += reading.faults
        for line in reading.lines:
            found = find_faults(line.value, schema) or _find_label_fault(line, labels)
            faults += [line.fault(*fault) for fault in found]
            if not found:
                texts.append(_make_text(line, repeats))
    if faults:
        raise_faults(faults)
    return texts


def _find_label_fault(line: Line, labels: Mapping[str, str]) -> list[tuple[str, str]]:
    label = line.value.get("label")
    if label is None or label in labels:
        return []
    known = ", ".join(labels)
    return [("label", f"{label!r} is none of the labels ({known}){nearest(label, labels)}")]


def _make_text(line: Line, repeats: Counter[str]) -> LabelledText:
    record = AnnotationLine.model_validate(line.value)
    occurrence = repeats[record.text]
    repeats[record.text] += 1
    id = digest("text", record.text, *([occurrence] if occurrence else []))
    source = f"{line.path.name}:{line.number}"
    return LabelledText(id=id, source=source, **record.model_dump())


def draft_annotation(
    text: LabelledText,
    annotator: Annotator,
    labels: Mapping[str, str],
    form: Form,
    *,
    is_embedded: bool,
    run_seed: int,
    cycle: int,
) -> list[Request]:
    """The requests that put one text to one annotator: one for each vote, or one in all."""

    def put(sampling: Sampling, seed: int) -> Request:
        slots = {"text": text.text, "labels": labels, "persona": annotator.persona}
        return render_request(form, TEMPLATE, sampling, seed, **slots)

    if isinstance(annotator, VotingAnnotator):
        parts = (run_seed, cycle, "annotate", text.id, annotator.name)
        sampling = Sampling(**annotator.sampling.model_dump())
        return [put(sampling, draw_seed(*parts, i)) for i in range(annotator.votes)]
    # Nothing depends on a seed here, so annotators that ask for the same share the answer.
    sampling = Sampling(temperature=1, max_tokens=1)
    asked = put(sampling, 0).model_copy(update={"sampling": sampling})
    if is_embedded:
        continuations = tuple(put_label(label, form) for label in labels)
        return [asked.model_copy(update={"continuations": continuations})]
    return [asked.model_copy(update={"top_logprobs": annotator.top_logprobs or TOP_LOGPROBS})]


def put_label(label: str, form: Form) -> str:
    """A label as the model would write it: behind the prompt's last word, or as a turn's start."""
    return f" {label}" if form == "complete" else label
