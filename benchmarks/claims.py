"""The lecture's claims about distillation, tried in miniature: which hold here, and which do not.

    python benchmarks/claims.py [--claims a b ...] [--seeds 3]

Each claim is a module of `claims_lab/`. Its students are taught by the project's own trainers in
a small world that the lab makes. A verdict is decided by intervals over the seeds and is printed
whichever way it falls. All claims with three seeds or more are kept in `results/claims.md`; less
is only printed. Pictures are drawn into `docs/pictures/`.
"""

import argparse
import importlib
import os
from pathlib import Path

from claims_lab.evidence import MOST_SEEDS, ClaimResult, list_contrasts
from claims_lab.lab import HELD_OUT, STUDENT_SHAPE, TEACHER_SHAPE, TEACHER_TEXTS, open_world
from claims_lab.language import WORDS
from paired import describe_machine, write_result

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


def run(letter: str, seeds: range) -> ClaimResult:
    return importlib.import_module(f"claims_lab.{CLAIMS[letter]}").run(seeds)


def describe_world() -> list[str]:
    """What all students learn, and from whom."""
    world = open_world()
    return [
        f"A language of {len(WORDS)} words with known probabilities (`claims_lab/language.py`):"
        " worked sums, and stories of who met whom and what was wanted. Teacher:"
        f" {TEACHER_SHAPE['layers']} layers of {TEACHER_SHAPE['width']}, trained on"
        f" {TEACHER_TEXTS:,} texts; on {HELD_OUT} held-out ones it has {world.teacher_nll:.4f} nats"
        f" per token where the language's entropy is {world.entropy:.4f}. Students:"
        f" {STUDENT_SHAPE['layers']} layers of {STUDENT_SHAPE['width']}.",
        "",
        "Seeds draw the rows, the student's first weights, the batches and the samples; arms of"
        " one seed have all of them in common. Figures are means over the seeds with 95 % intervals"
        " (Student's t). A contrast is the difference of two arms seed by seed: it holds where its"
        " whole interval lies on the right side, does not hold where all of it lies on the wrong"
        " one, and is undecided here otherwise. A claim is as its worst contrast is. Intervals are"
        " over seeds: of other teachers and languages they say nothing. Each is of 95 % by itself,"
        " so that one contrast in forty holds by chance where nothing differs.",
    ]


def find_kept() -> int:
    """Students that an earlier run has left in CLAIMS_FOLDER."""
    folder = os.environ.get("CLAIMS_FOLDER")
    return len(list(Path(folder).glob("students/*/model"))) if folder else 0


def describe_claim(letter: str, result: ClaimResult) -> list[str]:
    lines = [f"## ({letter}) {result.claim}", "", result.setting, ""]
    for table in result.tables:
        lines += [*table, ""]
    told = f"**{result.verdict}** {result.remarks}".rstrip()
    lines += [*list_contrasts(result.contrasts), "", told, ""]
    if result.picture is not None:
        lines += [f"![{result.claim}](../../docs/pictures/{result.picture})", ""]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--claims", nargs="+", choices=CLAIMS, default=list(CLAIMS))
    parser.add_argument("--seeds", type=int, default=NEEDED, choices=range(1, MOST_SEEDS + 1))
    options = parser.parse_args()
    seeds = range(options.seeds)
    kept = find_kept()
    results = {letter: run(letter, seeds) for letter in options.claims}
    lines = [
        "# The lecture's claims in miniature",
        "",
        describe_machine("torch", "transformers"),
        "",
        *describe_world(),
        "",
        "| | claim | here |",
        "|---|---|---|",
        *(f"| {letter} | {each.claim} | {each.outcome} |" for letter, each in results.items()),
        "",
        *(line for pair in results.items() for line in describe_claim(*pair)),
        f"{options.seeds} seeds; {kept} students were found taught.",
    ]
    if set(options.claims) == set(CLAIMS) and options.seeds >= NEEDED:
        write_result("claims", lines)
    else:
        print("\n".join(lines))


if __name__ == "__main__":
    main()
