"""Duplicates among planted texts: tutelage, datasketch and text-dedup on one file.

Texts of plain words; to some belongs another that is nearly the same, of a known Jaccard similarity
of word 3-grams. Each program runs in a fresh process, one at a time and in turns. Peers are
installed into environments of their own under the user's cache directory; one that cannot be
installed or does not get through is told with the reason.

    python benchmarks/dedup.py [--peers none] [--texts 20000] [--rounds 3] [--million]
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dedup_peers.task import THRESHOLD, compare, shingle
from paired import describe_machine, write_result
from peers import CACHE, Unavailable, check_output, install_peer
from typed_command import run_command

HERE = Path(__file__).parent
PEERS = {"datasketch": "datasketch==2.0.0", "text_dedup": "text-dedup==0.4.0"}
PROGRAMS = {
    "tutelage": ("tutelage", "memory"),
    "tutelage, into a new index": ("tutelage", "index"),
    "datasketch, its defaults": ("datasketch", "defaults"),
    "datasketch, 32 bands of 4": ("datasketch", "equal"),
    "datasketch, 32 bands of 4, compared exactly": ("datasketch", "exact"),
    "text-dedup, its defaults": ("text_dedup", "defaults"),
    "text-dedup, 32 bands of 4": ("text_dedup", "equal"),
}
"""Which script, and in which way."""
TIMEOUT_S = 900
MILLION = 1_000_000


class Pair(NamedTuple):
    """Two rows that were planted as nearly the same."""

    one: str
    other: str
    similarity: float


class Planted(NamedTuple):
    """A file's rows, and which of them belong together."""

    texts: dict[str, str]
    pairs: list[Pair]


class Cost(NamedTuple):
    """What one program found, and what that took; see `dedup_peers.task.take_cost`."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    version: str
    found: dict[str, list[str]]


class Quality(NamedTuple):
    """How right a program is."""

    recall: float
    """Of planted pairs at or above the threshold: how many are no longer both there."""
    precision: float
    """Of dropped rows: how many are similar enough to a kept row that is named."""
    dropped: int


def plant_texts(count: int, seed: int = 7) -> Planted:
    """Of so many texts two fifths are pairs; a fifth of these are less alike than the threshold."""
    rng = random.Random(seed)
    words = make_words(rng)
    ids = [f"t{number:08d}" for number in rng.sample(range(10 * count), count)]
    texts: dict[str, str] = {}
    pairs: list[Pair] = []
    while len(texts) < count - 1:
        text = draw_text(rng, words)
        one, other = ids[len(texts)], ids[len(texts) + 1]
        texts[one] = " ".join(text)
        if rng.random() < 0.25:
            texts[other] = " ".join(change_text(rng, text, words))
            similarity = compare(shingle(texts[one]), shingle(texts[other]))
            pairs.append(Pair(one, other, similarity))
    order = rng.sample([*texts], len(texts))
    return Planted({id: texts[id] for id in order}, pairs)


def make_words(rng: random.Random) -> list[str]:
    """Words of which the first ones are drawn far more often, as in a language."""
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    return ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(30_000)]


def draw_text(rng: random.Random, words: Sequence[str]) -> list[str]:
    """Between 12 and 60 words."""
    return [words[int(len(words) ** rng.random()) - 1] for _ in range(rng.randint(12, 60))]


def change_text(rng: random.Random, text: Sequence[str], words: Sequence[str]) -> list[str]:
    """The text with a stretch of it replaced, so that much or little stays the same."""
    changed = [*text]
    length = rng.randint(1, max(1, len(text) // 5))
    begin = rng.randrange(len(text) - length + 1)
    changed[begin : begin + length] = [rng.choice(words) for _ in range(length)]
    return changed


def find_python(script: str) -> Path:
    """The interpreter of a program; a peer's environment is made if it is not there."""
    if script not in PEERS:
        return Path(sys.executable)
    return install_peer(CACHE / PEERS[script].replace("==", "-"), [PEERS[script]])


def find_programs(peers: str) -> tuple[dict[str, Path], dict[str, str]]:
    """Each program's interpreter, and why a peer could not be installed."""
    programs, unavailable = {}, {}
    for name, (script, _) in PROGRAMS.items():
        if script in PEERS and peers == "none":
            continue
        try:
            programs[name] = find_python(script)
        except Unavailable as error:
            unavailable[name] = str(error)
    return programs, unavailable


def run_program(python: Path, name: str, file: Path) -> Cost:
    """One program's way through the file, in a new process."""
    script, way = PROGRAMS[name]
    output = check_output(
        [python, HERE / "dedup_peers" / f"run_{script}.py", file, way],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        timeout=TIMEOUT_S,
    )
    return Cost(**json.loads(output.splitlines()[-1]))


def take_turns(
    programs: Mapping[str, Path], file: Path, rounds: int
) -> tuple[dict[str, list[Cost]], dict[str, str]]:
    """Each program's costs by round, in an order that turns; and why some did not get through."""
    costs: dict[str, list[Cost]] = {name: [] for name in programs}
    unavailable: dict[str, str] = {}
    for round in range(rounds):
        names = [*costs]
        turn = round % len(names)
        for name in [*names[turn:], *names[:turn]]:
            try:
                costs[name].append(run_program(programs[name], name, file))
            except Unavailable as error:
                if PROGRAMS[name][0] not in PEERS:
                    raise
                unavailable[name] = str(error)
                del costs[name]
    return costs, unavailable


def judge(found: Mapping[str, Sequence[str]], planted: Planted) -> Quality:
    """Hold what a program found against the texts themselves."""
    wanted = [pair for pair in planted.pairs if pair.similarity >= THRESHOLD]
    caught = [pair for pair in wanted if _are_together(found, pair)]
    right = [
        id
        for id, kept in found.items()
        if any(_compare_rows(planted.texts, id, other) >= THRESHOLD for other in kept)
    ]
    precision = len(right) / len(found) if found else 1.0
    return Quality(len(caught) / len(wanted), precision, len(found))


def _are_together(found: Mapping[str, Sequence[str]], pair: Pair) -> bool:
    one, other = ({id, *found.get(id, ())} for id in pair[:2])
    return bool(one & other)


def _compare_rows(texts: Mapping[str, str], one: str, other: str) -> float:
    return compare(shingle(texts[one]), shingle(texts[other]))


def tell_costs(costs: Mapping[str, Sequence[Cost]], planted: Planted) -> Iterator[str]:
    """The table's rows; a ratio is the median of the rounds' own ratios."""
    yield (
        "| program | version | recall | precision | dropped | texts/s | tutelage's speed, of its "
        "| peak MiB |"
    )
    yield "|---|---|--:|--:|--:|--:|--:|--:|"
    own = costs["tutelage"]
    for name, theirs in costs.items():
        quality = judge(theirs[0].found, planted)
        ratios = [b.wall_s / a.wall_s for a, b in zip(own, theirs, strict=True)]
        wall = statistics.median(cost.wall_s for cost in theirs)
        peak = statistics.median(cost.peak_mib for cost in theirs)
        yield (
            f"| {name} | {theirs[0].version} | {quality.recall:.4f} | {quality.precision:.4f} "
            f"| {quality.dropped:,} | {len(planted.texts) / wall:,.0f} "
            f"| {statistics.median(ratios):.2f} | {peak:.0f} |"
        )


def tell_million(folder: Path) -> Iterator[str]:
    """A million texts through the command: alone, into an index, and again with that index."""
    file, index = folder / "million.jsonl", folder / "index.sqlite"
    planted = plant_texts(MILLION)
    write_rows(file, planted.texts)
    wanted = {pair for pair in planted.pairs if pair.similarity >= THRESHOLD}
    yield f"{len(planted.texts):,} rows, {file.stat().st_size / 2**20:.0f} MiB of JSONL."
    yield ""
    yield (
        "| `tutelage dedup FILE --json` | minutes | rows/s | peak MiB | planted pairs found "
        "| index MiB |"
    )
    yield "|---|--:|--:|--:|--:|--:|"
    for name, options in (
        ("", []),
        ("`--index`, a new one", ["--index", index]),
        ("`--index`, the same rows again", ["--index", index]),
    ):
        output = folder / "lines.jsonl"
        seconds, peak = run_command("dedup", file, ["--json", *options], output)
        with output.open(encoding="utf-8") as lines:
            rows = map(json.loads, lines)
            found = {r["id"]: [r["duplicate_of"]] for r in rows if r["duplicate_of"] is not None}
        share = sum(_are_together(found, pair) for pair in wanted) / len(wanted)
        size = f"{index.stat().st_size / 2**20:.0f}" if options else "-"
        yield (
            f"| {name or 'without an index'} | {seconds / 60:.1f} | {MILLION / seconds:,.0f} "
            f"| {peak:.0f} | {share:.5f} | {size} |"
        )


def write_rows(file: Path, texts: Mapping[str, str]) -> None:
    """The texts as JSONL."""
    with file.open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps({"id": i, "text": t}) + "\n" for i, t in texts.items())


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", choices=("none", "all"), default="all")
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--million", action="store_true", help="also a million texts, in minutes")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    CACHE.mkdir(parents=True, exist_ok=True)
    programs, missing = find_programs(arguments.peers)
    planted = plant_texts(arguments.texts)
    wanted = sum(pair.similarity >= THRESHOLD for pair in planted.pairs)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        file = Path(folder) / "texts.jsonl"
        write_rows(file, planted.texts)
        costs, unavailable = take_turns(programs, file, arguments.rounds)
        lines = [
            "# Duplicates",
            "",
            f"{len(planted.texts):,} texts of 12 to 60 words, among them {wanted:,} planted pairs "
            f"with a Jaccard similarity of word 3-grams of at least {THRESHOLD}, and "
            f"{len(planted.pairs) - wanted:,} that are less alike.",
            f"Measured on {describe_machine('numpy')}; median of {arguments.rounds} rounds in "
            "which the programs take turns.",
            "",
            *tell_costs(costs, planted),
        ]
        missing |= unavailable
        lines += [f"\n{name} could not be measured: {reason}" for name, reason in missing.items()]
        if arguments.million:
            lines += ["", "## A million texts", "", *tell_million(Path(folder))]
    write_result("dedup", lines)


if __name__ == "__main__":
    main()
