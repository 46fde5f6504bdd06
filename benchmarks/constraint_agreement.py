"""Whether our constraint verdicts are IFEval's: every difference counted, and explained by kind.

IFEval's own checkers (as lm-eval carries them) and DeepEval's reading of them judge the same
generated pairs of a constraint and a text, each in an environment of its own under the user's cache
directory. Ends with 1 where a difference belongs to no class that is explained here.

    python benchmarks/constraint_agreement.py [--draws 60] [--seed 0]
"""

import argparse
import json
import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from constraint_pairs import Pair, write_pairs
from paired import write_result
from peers import CACHE, check_output, install_peer

from filters.constraints import check_constraints
from generators.constraint_forms import FORMS

HERE = Path(__file__).parent
ORIGINAL, SECOND = "lm-eval 0.4.13", "deepeval 4.3.1"
PACKAGES = {
    ORIGINAL: ("lm-eval==0.4.13", "langdetect==1.0.9", "immutabledict", "nltk>=3.9.1"),
    SECOND: ("deepeval==4.3.1",),
}
DATA = "llama-index-core==0.14.25"
"""Carries the data by which NLTK splits sentences."""
ENGLISH = (
    "IFEval asks a language detector for English, which takes short or capital text for others"
)
WORDS = "part of a longer word (`rain` in `rained`) does not count as the word"
Class = tuple[str, str]
"""The id of a constraint, and whether ours was `stricter` or `laxer`."""
EXPLAINED: Mapping[str, Mapping[Class, str]] = {
    ORIGINAL: {
        ("keywords:existence", "stricter"): WORDS,
        ("keywords:frequency", "stricter"): WORDS,
        ("language:response_language", "laxer"): (
            "IFEval's detector takes capitals for another language; ours reads small letters"
        ),
        ("length_constraints:number_sentences", "laxer"): (
            "a closing fence counts as a sentence there"
        ),
        ("length_constraints:nth_paragraph_first_word", "laxer"): (
            "several blank lines are one break between paragraphs here, an empty paragraph there"
        ),
        ("detectable_content:postscript", "stricter"): (
            "the postscript must have words and stand in the last paragraph"
        ),
        ("detectable_format:multiple_sections", "stricter"): (
            "headings must start their lines and be numbered in order, and each section needs words"
        ),
        (
            "detectable_format:json_format",
            "stricter",
        ): "a bare JSON string is no object and no list",
        ("combination:repeat_prompt", "stricter"): "an answer must follow the repeated request",
        ("change_case:english_capital", "laxer"): ENGLISH,
        ("change_case:english_lowercase", "laxer"): ENGLISH,
    },
    SECOND: {
        ("length_constraints:number_words", "stricter"): (
            "hyphens and marks between letters part words here and in IFEval, only spaces there"
        ),
        ("length_constraints:number_words", "laxer"): (
            "a lone fence or sign counts as a word there; `3.50` is one word there, two in IFEval"
        ),
        ("length_constraints:number_sentences", "laxer"): (
            "every dot ends a sentence there (`Dr.`, `3.50`, `P.S.`), and a fence is one"
        ),
        ("length_constraints:number_sentences", "stricter"): (
            "every dot ends a sentence there (`Dr.`, `3.50`, `P.S.`), and a fence is one"
        ),
        ("detectable_content:postscript", "stricter"): (
            "there the marker may stand anywhere and alone"
        ),
        ("detectable_content:postscript", "laxer"): (
            "there the marker's case matters, in IFEval it does not"
        ),
        ("detectable_format:number_highlighted_sections", "stricter"): (
            "there what stands between the asterisks of two bullet points is highlighted"
        ),
        ("combination:repeat_prompt", "laxer"): "there the case matters, in IFEval it does not",
        ("combination:repeat_prompt", "stricter"): (
            "there the request may be repeated anywhere and nothing need follow"
        ),
    },
}


class Comparison(NamedTuple):
    """Of one peer: pairs that both decided and those judged alike, by id; the differences."""

    judged: Counter[str]
    alike: Counter[str]
    differences: Counter[Class]
    examples: dict[Class, Pair]


def find_python(name: str) -> Path:
    """The peer's interpreter; its environment is made if it is not there."""
    place = CACHE / f"constraints-{name.replace(' ', '-')}"
    # NLTK refuses files that uv links instead of copying.
    bare = [DATA] if name == ORIGINAL else []
    return install_peer(place, PACKAGES[name], bare=bare, copied=True)


def ask_peer(name: str, pairs: Sequence[Pair]) -> list[bool | None]:
    """The peer's verdicts; None for kinds that it does not know."""
    script = HERE / "constraint_peers" / f"run_{name.split()[0].replace('-', '_')}.py"
    lines = "".join(json.dumps(pair._asdict()) + "\n" for pair in pairs)
    quiet = {"DEEPEVAL_TELEMETRY_OPT_OUT": "YES", "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as folder:
        command, env = [find_python(name), script], os.environ | quiet
        output = check_output(command, input=lines, cwd=folder, env=env)
    verdicts = [json.loads(line) for line in output.splitlines()]
    assert len(verdicts) == len(pairs)
    return verdicts


def judge(pair: Pair) -> bool | None:
    """Our own verdict; None where it cannot be told."""
    result = check_constraints([pair.constraint], pair.text)
    return result.passed if result.passed or result.failed else None


def compare(
    pairs: Sequence[Pair], ours: Sequence[bool | None], theirs: Sequence[bool | None]
) -> Comparison:
    found = Comparison(Counter(), Counter(), Counter(), {})
    for pair, own, other in zip(pairs, ours, theirs, strict=True):
        id = pair.constraint["id"]
        if own is None or other is None:
            continue
        found.judged[id] += 1
        found.alike[id] += own == other
        if own != other:
            kind = (id, "stricter" if other else "laxer")
            found.differences[kind] += 1
            found.examples.setdefault(kind, pair)
    return found


def tell(comparisons: Mapping[str, Comparison], ours: Sequence[bool | None]) -> list[str]:
    """The page: a table by kind, and each class of differences with why and an example."""
    lines = ["", f"| kind | {' | '.join(comparisons)} |", f"|---|{'--:|' * len(comparisons)}"]
    for id in FORMS:
        cells = [
            f"{c.alike[id]} / {c.judged[id]}" if c.judged[id] else "not known"
            for c in comparisons.values()
        ]
        lines.append(f"| {id} | {' | '.join(cells)} |")
    totals = [f"{c.alike.total()} / {c.judged.total()}" for c in comparisons.values()]
    lines += [f"| **all** | {' | '.join(totals)} |", ""]
    lines.append(f"Alike / judged by both. Ours left {list(ours).count(None)} pairs undecided.")
    for name, found in comparisons.items():
        lines += ["", f"## Where {name} differs", ""]
        lines += ["| kind | ours | pairs | why | for example |", "|---|---|--:|---|---|"]
        for (id, way), count in found.differences.most_common():
            pair = found.examples[id, way]
            why = EXPLAINED[name].get((id, way), "**not explained**")
            lines.append(f"| {id} | {way} | {count} | {why} | {_show(pair)} |")
    return lines


def _show(pair: Pair) -> str:
    """The parameters, and the beginning and the end of the text, as a cell of a table."""
    asked = ", ".join(f"{k}={v}" for k, v in pair.constraint.items() if k != "id")
    text = pair.text if len(pair.text) < 90 else f"{pair.text[:45]} … {pair.text[-35:]}"
    quoted = json.dumps(text, ensure_ascii=False).replace("|", "\\|")
    return " ".join(part for part in (asked, f"```` {quoted} ````") if part)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    pairs = list(write_pairs(arguments.seed, arguments.draws))
    ours = [judge(pair) for pair in pairs]
    comparisons = {name: compare(pairs, ours, ask_peer(name, pairs)) for name in PACKAGES}
    head = [
        "# Constraint verdicts beside other implementations",
        "",
        f"{len(pairs)} pairs of a constraint and a text over all {len(FORMS)} kinds of IFEval; "
        f"{ours.count(True)} texts meet their constraint by ours and {ours.count(False)} break it. "
        f"{ORIGINAL} carries IFEval's own code; {SECOND} wrote its own, for 9 of the kinds.",
    ]
    write_result("constraint-agreement", head + tell(comparisons, ours))
    if any(c.differences.keys() - EXPLAINED[name].keys() for name, c in comparisons.items()):
        raise SystemExit("constraint_agreement: there are differences that nothing here explains")


if __name__ == "__main__":
    main()
