"""Stage `decontaminate`: accepted answers and their prompts are held against benchmarks.

What gives away an item is quarantined and not rejected: n-grams cannot tell a leak from a common
phrase, nor an embedding a paraphrase from a like task, and whoever never measures on that benchmark
may release the row. It stands before `dedup`, so that no row is dropped in favour of one that then
goes. A later cycle holds the rows of earlier ones against the benchmarks again, as these are now.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from filters.contamination import (
    VERSION,
    BenchmarkItem,
    Benchmarks,
    Contamination,
    Part,
    describe_contamination,
)
from filters.neighbours import Neighbourhood
from flows.decontaminate_settings import DecontaminateSettings, hash_benchmarks, load_benchmarks
from flows.encoders import Encoder, name_encoder
from flows.history import BASE, read_published
from flows.overrides import OVERRIDES, overrule, read_overrides
from flows.stages.accepted import keep_accepted, list_accepting, read_accepted
from flows.stages.family import evolve_stages, read_family
from flows.store import FileEntry
from flows.work import Context, Job, Tick
from generators.records import Answer, Prompt, Record, Verdict

DECONTAMINATE = "decontaminate"


class Benchmark(Record):
    """A file that rows were held against."""

    name: str
    """Its path, as the configuration has it."""
    n: int
    """How many items it has."""
    sha256: str


class DecontaminateStage:
    """One verdict for each accepted answer, and a record of each item that it gives away."""

    name = DECONTAMINATE

    def __init__(self, settings: DecontaminateSettings) -> None:
        self.settings = settings

    def plan(self, context: Context) -> list[Job]:
        before = [*evolve_stages(context), *list_accepting(context), OVERRIDES, BASE]
        settings: list[Any] = [self.settings.model_dump(), hash_benchmarks(self.settings), VERSION]
        if self.settings.neighbours is not None:
            settings.append(name_encoder(self.settings.neighbours.model))
        outputs = tuple(
            f"{context.folder}/{kind}-decontaminate.parquet"
            for kind in ("verdicts", "found", "benchmarks")
        )
        rows = len(list_compared(context))
        key = context.key(self.name, settings, before)
        return [Job(stage=self.name, outputs=outputs, rows=rows, key=key)]

    def work(self, context: Context, job: Job, tick: Tick) -> list[FileEntry]:
        items = load_benchmarks(self.settings)
        benchmarks = Benchmarks(items, coverage=self.settings.coverage)
        prompts, overrides = read_family(context).prompts, read_overrides(context.run)
        verdicts: list[Verdict] = []
        every: list[Contamination] = []
        answers = list_compared(context)
        near = find_neighbours(answers, prompts, items, self.settings)
        for answer in answers:
            found = find_contamination(answer, prompts[answer.prompt_id], benchmarks)
            known = {(one.part, one.item) for one in found}
            found += [n for n in near.get(answer.id, ()) if (n.part, n.item) not in known]
            verdicts.append(overrule(judge_contamination(answer.id, found), overrides))
            every += found
            tick(1)
        return [
            context.write_records(job, job.outputs[0], Verdict, verdicts),
            context.write_records(job, job.outputs[1], Contamination, every),
            context.write_records(
                job, job.outputs[2], Benchmark, count_items(self.settings, items)
            ),
        ]


def list_compared(context: Context) -> list[Answer]:
    """The rows of earlier cycles, and the answers that this one has accepted."""
    return [*read_published(context), *read_accepted(context)]


def count_items(settings: DecontaminateSettings, items: Sequence[BenchmarkItem]) -> list[Benchmark]:
    """The benchmarks as they are now; the files may be gone when the report is read."""
    counts = Counter(item.benchmark for item in items)
    hashes = zip(settings.benchmarks, hash_benchmarks(settings), strict=True)
    return [Benchmark(name=name, n=counts[name], sha256=sha256) for name, sha256 in hashes]


def find_contamination(
    answer: Answer, prompt: Prompt, benchmarks: Benchmarks
) -> list[Contamination]:
    """What a row gives away: by its last question, by all its turns, or by its answer."""
    asked = benchmarks.find(answer.id, "prompt", prompt.text)
    known = {found.item for found in asked}
    turns = benchmarks.find(answer.id, "prompt", prompt.conversation)
    asked += [found for found in turns if found.item not in known]
    return asked + benchmarks.find(answer.id, "completion", answer.completion)


def find_neighbours(
    answers: Sequence[Answer],
    prompts: Mapping[str, Prompt],
    items: Sequence[BenchmarkItem],
    settings: DecontaminateSettings,
) -> dict[str, list[Contamination]]:
    """What rows give away in other words, by the answer's id; nothing where nobody asks for it.

    Every text is embedded once, however many rows it stands in.
    """
    if settings.neighbours is None:
        return {}
    model, threshold = settings.neighbours.model, settings.neighbours.threshold
    near = Neighbourhood([item.text for item in items], Encoder(model).embed, threshold)
    parts = {a.id: [*_list_parts(a, prompts[a.prompt_id])] for a in answers}
    texts = sorted({text for own in parts.values() for _, text in own})
    found = dict(zip(texts, near.find(texts), strict=True))
    told: dict[str, list[Contamination]] = {}
    for id, own in parts.items():
        nearest: dict[tuple[Part, str], Contamination] = {}
        for part, text in own:
            for item, similarity in found[text]:
                one = items[item]
                hit = Contamination(
                    subject_id=id,
                    part=part,
                    benchmark=one.benchmark,
                    item=one.place,
                    way="neighbour",
                    score=similarity,
                )
                other = nearest.setdefault((part, one.place), hit)
                if similarity > other.score:
                    nearest[part, one.place] = hit
        told[id] = sorted(nearest.values(), key=lambda hit: -hit.score)
    return told


def _list_parts(answer: Answer, prompt: Prompt) -> Iterator[tuple[Part, str]]:
    """The texts of a row: its last question, all turns together, and its answer."""
    yield "prompt", prompt.text
    yield "prompt", prompt.conversation
    yield "completion", answer.completion


def judge_contamination(id: str, found: Sequence[Contamination]) -> Verdict:
    """Quarantine an answer that gives anything away; the first thing found is told."""
    first = found[0] if found else None
    return Verdict(
        subject_id=id,
        stage=DECONTAMINATE,
        detector="benchmark_overlap" if first is None or first.way != "neighbour" else "embeddings",
        version=VERSION,
        decision="accept" if first is None else "quarantine",
        reason="clean" if first is None else "contaminated",
        evidence=None if first is None else describe_contamination(first),
        score=None if first is None else first.score,
    )


def read_clean(context: Context) -> list[Answer]:
    """The accepted answers that this stage let on; all of them where there is no such stage."""
    accepted = read_accepted(context)
    if context.config.decontaminate is None:
        return accepted
    return keep_accepted(context, DECONTAMINATE, accepted)
