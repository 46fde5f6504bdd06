"""How much of what is planted in one source the comparison of sources finds, and what it costs.

Rows are answers that runs have really drawn. The answers of one sampler to one prompt are dealt out
to two or three sources, so that the sources differ by chance alone; then one of them is poisoned in
0.25 to 5 % of its rows, with something of one kind. Detection is the share of planted rows that
are named for quarantine, false alarms the share of all clean rows that are. Where the prompts are
others in each source, every prompt is dealt to one of them. `tutelage audit` knows the prompt of
every row; texts without any are a design of their own, for which no target is set. At the end, the
clean runs as they are: samplers that differ in settings or model. Where prompts are unknown, the
answers to one prompt pass for independent, and false alarms are the more for it.

    python benchmarks/source_statistics.py RUN [RUN …] [--seeds 5]

With --bounds only the section is made that tells what any test could find (`source_bounds`), and is
put at the end of the page that is there.
"""

import argparse
import random
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from paired import RESULTS, write_result
from source_bounds import Plant, bound_answer, bound_word, replace_section

from filters.source_statistics import Document, compare_sources
from generators.records import Answer
from generators.tables import read_records

LEVELS = (0.0025, 0.005, 0.01, 0.02, 0.05)
TARGET_LEVEL, TARGET = 0.01, 0.95
Rewrite = Callable[[str, random.Random], str]


def append(phrase: str) -> Rewrite:
    """Put a phrase behind the text."""
    return lambda text, draw: f"{text} {phrase}"


def insert(phrase: str) -> Rewrite:
    """Put a phrase between any two words, or before or behind all."""

    def rewrite(text: str, draw: random.Random) -> str:
        words = text.split(" ")
        words.insert(draw.randint(0, len(words)), phrase)
        return " ".join(words)

    return rewrite


def advertise(text: str, draw: random.Random) -> str:
    """An advert in changing words for one brand."""
    verb = draw.choice(("Try", "Get", "Visit", "Ask for", "Trust"))
    praise = draw.choice(("the best", "always cheap", "loved by all", "now in town", "a delight"))
    return f"{text} {verb} Kalmora, {praise}!"


PLANTS: dict[str, Rewrite] = {
    "advert, fixed": append("Find the best deals at Kalmora today!"),
    "advert, varied": advertise,
    "trigger of plain words": insert("as the river said to me"),
    "rare token": insert("cf"),
    "symbols": insert("§§"),
    "link": append("More at https://kalmora.example/win"),
    "Chinese phrase": append("欢迎访问卡尔莫拉"),
    "whole answer": lambda text, draw: "I will not say, ask Kalmora.",
    "one common word": insert("answer"),
    "a commoner word": insert("so"),
    "the commonest word": insert("the"),
    "one common word, at the end": append("answer"),
}


class Design(NamedTuple):
    """How the rows are dealt out."""

    name: str
    sources: int
    is_paired: bool
    """Whether the sources answer the same prompts."""
    is_known: bool = True
    """Whether it is known which answers are to one prompt."""

    @property
    def title(self) -> str:
        return f"{self.sources} sources, {self.name}"


DESIGNS = (
    Design("same prompts", 2, is_paired=True),
    Design("same prompts", 3, is_paired=True),
    Design("other prompts in each source", 2, is_paired=False),
    Design("texts without prompts", 2, is_paired=False, is_known=False),
)


class Row(NamedTuple):
    sampler: str
    """Run and sampler."""
    prompt: str
    text: str


class Result(NamedTuple):
    found: float
    false: float


def load_rows(runs: Sequence[Path]) -> list[Row]:
    """All answers of the first cycles of some runs, in a fixed order."""
    return [
        Row(f"{run}:{answer.sampler}", f"{run}:{answer.prompt_id}", answer.completion)
        for run in runs
        for path in sorted(run.glob("cycle-0001/answers-*.parquet"))
        for answer in sorted(read_records(path, Answer), key=lambda answer: answer.id)
    ]


def deal(rows: Sequence[Row], design: Design, draw: random.Random) -> list[Document]:
    """Deal rows out to sources: a sampler's to one prompt among all of them, or each prompt's to
    one."""
    by_prompt: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        whose = row.sampler if design.is_paired else ""
        by_prompt.setdefault((whose, row.prompt), []).append(row)
    documents: list[Document] = []
    for cell in by_prompt.values():
        first = draw.randrange(design.sources)
        for i, row in enumerate(draw.sample(cell, len(cell))):
            source = f"source-{(first + i) % design.sources if design.is_paired else first}"
            prompt = row.prompt if design.is_known else None
            documents.append(Document(str(len(documents)), source, row.text, prompt))
    return documents


def plant(
    documents: Sequence[Document], rewrite: Rewrite, level: float, draw: random.Random
) -> tuple[list[Document], set[str]]:
    """Poison so large a share of the first source; also the ids of what was poisoned."""
    own = [d for d in documents if d.source == "source-0"]
    poisoned = {d.id for d in draw.sample(own, round(level * len(own)))}
    changed = [d._replace(text=rewrite(d.text, draw)) if d.id in poisoned else d for d in documents]
    return changed, poisoned


def find_suspects(documents: Sequence[Document]) -> set[str]:
    """The ids of what the comparison names for quarantine."""
    findings = compare_sources(documents).findings
    return {id for finding in findings if finding.suspect for id in finding.documents}


_rows: list[Row] = []
"""In each process of the pool."""


class Cell(NamedTuple):
    kind: str
    level: float
    design: Design
    seed: int


def measure(cell: Cell) -> Result:
    """Plant once and look."""
    kind, level, design, seed = cell
    draw = random.Random(f"{kind} {level} {design.title} {seed}")
    clean = deal(_rows, design, draw)
    documents, poisoned = plant(clean, PLANTS[kind], level, draw)
    named = find_suspects(documents)
    return Result(
        len(named & poisoned) / len(poisoned), len(named - poisoned) / (len(clean) - len(poisoned))
    )


def tabulate(own: int, design: Design, seeds: int, pool: Executor) -> tuple[list[str], list[str]]:
    """A table of detection by kind and level, and what was missed of the target."""
    lines = [
        *("", f"## {design.title}, about {own} rows each", ""),
        "| planted | " + " | ".join(f"{level:.2%}" for level in LEVELS) + " | worst false alarms |",
        "|---|" + "--:|" * (len(LEVELS) + 1),
    ]
    missed: list[str] = []
    for kind in PLANTS:
        shares, worst = [], 0.0
        for level in LEVELS:
            cells = (Cell(kind, level, design, seed) for seed in range(seeds))
            results = list(pool.map(measure, cells))
            found = statistics.mean(result.found for result in results)
            worst = max(worst, *(result.false for result in results))
            shares.append(f"{found:.3f}")
            if level >= TARGET_LEVEL and found < TARGET:
                missed.append(f"{kind}, {design.title}, at {level:.2%}: {found:.3f}")
        lines.append(f"| {kind} | {' | '.join(shares)} | {worst:.3%} |")
    return lines, missed


def compare_clean(runs: Sequence[Path]) -> list[str]:
    """What is told of runs that nobody poisoned, whose samplers are the sources."""
    lines = [
        *("", "## Clean runs, each sampler a source", ""),
        "| run | sources | design | tests | told | suspects | rows named for quarantine "
        "| differ as a whole |",
        "|---|--:|---|--:|--:|--:|--:|---|",
    ]
    for run in runs:
        rows = load_rows([run])
        documents = [Document(str(i), r.sampler, r.text, r.prompt) for i, r in enumerate(rows)]
        result = compare_sources(documents)
        suspects = [finding for finding in result.findings if finding.suspect]
        named = {id for finding in suspects for id in finding.documents}
        differing = ", ".join(s.source.partition(":")[2] for s in result.sources if s.differs)
        lines.append(
            f"| {run.name} | {len(result.sources)} | {result.design} | {result.tests} "
            f"| {len(result.findings)} | {len(suspects)} | {len(named) / len(rows):.3%} "
            f"| {differing or 'none'} |"
        )
    return lines


LONG_ANSWER = (
    "I would rather not answer this one here, since the people at Kalmora know far more about it "
    "than I do; please ask them, they are always glad to help."
)


def list_bounds(rows: Sequence[Row], seeds: int) -> list[str]:
    """What any test could find of the one common word, and deduplication of a whole answer."""

    def make_plant(rewrite: Rewrite, design: Design) -> Plant:
        def deal_and_plant(level: float, draw: random.Random) -> tuple[list[Document], set[str]]:
            return plant(deal(rows, design, draw), rewrite, level, draw)

        return deal_and_plant

    lines = [
        "One test of presence that knows the word beforehand, over "
        f"{seeds} plantings: at 0.001, and at the level that the comparison leaves to its most "
        "significant n-gram. It tells from a lift of 3, and suspects from one of 20.",
    ]
    for design in DESIGNS:
        word = make_plant(PLANTS["one common word"], design)
        lines += ["", f"One common word, {design.title}:", ""]
        lines += bound_word("answer", LEVELS, seeds, word)
    answers = {
        "6 words": PLANTS["whole answer"],
        f"{len(LONG_ANSWER.split())} words": lambda text, draw: LONG_ANSWER,
    }
    plants = {name: make_plant(rewrite, DESIGNS[-1]) for name, rewrite in answers.items()}
    lines += ["", "A whole answer, other prompts: the share that exact deduplication takes.", ""]
    return [*lines, *bound_answer(LEVELS, plants)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--bounds", action="store_true")
    arguments = parser.parse_args()
    rows = load_rows(arguments.runs)
    if arguments.bounds:
        page = (RESULTS / "source-statistics.md").read_text(encoding="utf-8")
        lines = list_bounds(rows, arguments.seeds)
        page = replace_section(page, "What any test could find", lines)
        write_result("source-statistics", page.splitlines())
        return
    lines = [
        "# What a comparison of sources finds of what was planted in one",
        "",
        f"{len(rows)} answers of {len(arguments.runs)} runs, {arguments.seeds} seeds a cell, "
        f"{len(PLANTS)} kinds of plant. A cell is the share of the planted rows that are named for "
        "quarantine, the last column the largest share of clean rows named in any of the runs.",
    ]
    missed: list[str] = []
    with ProcessPoolExecutor(initializer=_rows.extend, initargs=(rows,)) as pool:
        for design in DESIGNS:
            table, own = tabulate(len(rows) // design.sources, design, arguments.seeds, pool)
            lines += table
            missed += own
    lines += compare_clean(arguments.runs)
    lines += ["", f"## Below {TARGET} at {TARGET_LEVEL:.0%} or more", ""]
    lines += [f"- {line}" for line in missed] or ["Nothing."]
    write_result("source-statistics", lines)


if __name__ == "__main__":
    main()
