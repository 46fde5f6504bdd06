"""The lecture's claims about distillation, tried in miniature: which hold here, and which do not.

    python benchmarks/claims.py [--claims a b ...] [--seeds 3]

Each claim is a module of `claims_lab/`. Its students are taught by the project's own trainers in
a small world that the lab makes. A verdict is decided by intervals over the seeds and is printed
whichever way it falls. With three seeds or more it is kept in `results/claims.md`, where the claims
that were not asked for stay as they are. Pictures are drawn into `docs/pictures/`.
"""

import argparse
import importlib
import re
import time
from pathlib import Path

from claims_lab.evidence import MOST_SEEDS, ClaimResult, list_contrasts
from claims_lab.lab import HELD_OUT, STUDENT_SHAPE, TEACHER_SHAPE, TEACHER_TEXTS, open_world
from claims_lab.language import WORDS
from paired import RESULTS, describe_machine, write_result

CLAIMS = {
    "a": "kd_against_sft",
    "b": "cached_against_online",
    "c": "exposure_bias",
    "d": "cover_or_seek",
    "e": "weak_against_strong",
    "f": "few_shot",
    "g": "few_annotators",
    "h": "prompt_only",
    "i": "chosen_rows",
}
"""The module of each."""
NEEDED = 3
"""Seeds, for a result that is kept."""
HEADING = re.compile(r"^## \((\w)\) (.*)$", re.MULTILINE)
VERDICT = re.compile(r"^\*\*Here: (.*)\.\*\*$", re.MULTILINE)


def describe_world() -> list[str]:
    """What all students learn, and from whom; and what an interval is."""
    world = open_world()
    return [
        f"A language of {len(WORDS)} words with known probabilities (`claims_lab/language.py`):"
        " worked sums, and stories of who met whom and what was wanted. Teacher:"
        f" {TEACHER_SHAPE['layers']} layers of {TEACHER_SHAPE['width']}, trained on"
        f" {TEACHER_TEXTS:,} texts; on {HELD_OUT} held-out ones it has {world.teacher_nll:.4f} nats"
        f" per token where the language's entropy is {world.entropy:.4f}. Students:"
        f" {STUDENT_SHAPE['layers']} layers of {STUDENT_SHAPE['width']}, unless a claim says"
        " otherwise.",
        "",
        "Seeds draw the rows, the student's first weights, the batches and the samples; arms of"
        " one seed have all of them in common. Figures are means over the seeds with 95 % intervals"
        " (Student's t). A contrast is the difference of two arms seed by seed: it holds where its"
        " whole interval lies on the right side, does not hold where all of it lies on the wrong"
        " one, and is undecided here otherwise. A claim is as its worst contrast is. Intervals are"
        " over seeds: of other teachers and languages they say nothing.",
    ]


def try_claim(letter: str, seeds: range) -> str:
    """A claim's section of the results."""
    started = time.monotonic()
    result: ClaimResult = importlib.import_module(f"claims_lab.{CLAIMS[letter]}").run(seeds)
    lines = [f"## ({letter}) {result.claim}", "", result.setting, ""]
    for table in result.tables:
        lines += [*table, ""]
    lines += [*list_contrasts(result.contrasts), "", f"**Here: {result.verdict}.**", ""]
    if result.picture is not None:
        lines += [f"![{result.claim}](../../docs/pictures/{result.picture})", ""]
    taken = f"{len(seeds)} seeds, {time.monotonic() - started:,.0f} s"
    return "\n".join([*lines, f"{taken}, {describe_machine('torch', 'transformers')}.", ""])


def read_sections(file: Path) -> dict[str, str]:
    """What is kept of each claim."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    starts = [*HEADING.finditer(text)]
    ends = [*(start.start() for start in starts[1:]), len(text)]
    return {
        start[1]: text[start.start() : end].rstrip() + "\n"
        for start, end in zip(starts, ends, strict=True)
    }


def summarise(section: str) -> str:
    """A claim's line in the table above all sections."""
    heading, verdict = HEADING.search(section), VERDICT.search(section)
    assert heading is not None
    assert verdict is not None
    return f"| {heading[1]} | {heading[2]} | {verdict[1]} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--claims", nargs="+", choices=CLAIMS, default=list(CLAIMS))
    parser.add_argument("--seeds", type=int, default=NEEDED, choices=range(1, MOST_SEEDS + 1))
    options = parser.parse_args()
    world = describe_world()
    sections = {letter: try_claim(letter, range(options.seeds)) for letter in options.claims}
    kept = options.seeds >= NEEDED
    if kept:
        sections = read_sections(RESULTS / "claims.md") | sections
    lines = [
        "# The lecture's claims in miniature",
        "",
        *world,
        "",
        "| | claim | here |",
        "|---|---|---|",
        *(summarise(sections[letter]) for letter in sorted(sections)),
        "",
        *(sections[letter] for letter in sorted(sections)),
    ]
    if kept:
        write_result("claims", lines)
    else:
        print("\n".join(lines))


if __name__ == "__main__":
    main()
