"""What Prefect's pages are given of a run, and that nothing in it can act."""

from pathlib import Path

from flows.facts import Lineage, LineageStep
from flows.store import TRAIN
from tests.flows.conftest import Finished

HOSTILE = "</code>\n```\n<script>alert(1)</script>\n\n[click](javascript:alert(1)) \u202eevil"


def lineage(text: str) -> Lineage:
    steps = [
        LineageStep(round=0, operator="seed", text=text, decision="accept", reason="seed"),
        LineageStep(
            round=1, operator="deepen", text="Say it.", decision="accept", reason="", author=text
        ),
    ]
    return Lineage(
        row_id="1f0c9a",
        domain="writing",
        steps=tuple(steps),
        check="the number 18",
        answer=text,
        teacher="strong",
        verified_by="reference",
    )


def test_lineage_goes_from_the_seed_to_the_check() -> None:
    from flows.run_artifacts import tell_lineage

    assert tell_lineage(lineage("What is 9 + 9?")).splitlines() == [
        *("The published row `1f0c9a` (`writing`):", ""),
        *("Seed:", "", "```text", "What is 9 + 9?", "```", ""),
        *("Round 1, `deepen`, by `What is 9 + 9?`:", "", "```text", "Say it.", "```", ""),
        *("Answer, by `strong`:", "", "```text", "What is 9 + 9?", "```", ""),
        *("Accepted by reference:", "", "```text", "the number 18", "```"),
    ]


def test_hostile_text_stays_in_its_fence() -> None:
    from flows.run_artifacts import tell_lineage

    lines = tell_lineage(lineage(HOSTILE)).splitlines()
    fences = [i for i, line in enumerate(lines) if line.startswith("````")]
    script = [i for i, line in enumerate(lines) if "<script>" in line and not line.startswith("R")]
    assert [lines[i] for i in fences] == ["````text", "````"] * 2
    assert all(fences[2 * n] < i < fences[2 * n + 1] for n, i in enumerate(script))
    (inline,) = [line for line in lines if line.startswith("Round 1")]
    assert inline.count("`") == 4
    assert "\u202e" not in "".join(lines)
    assert "[U+202E]" in "".join(lines)


def test_links_lead_to_what_there_is(finished: Finished) -> None:
    from flows.run_artifacts import tell_links

    run, root = finished.run, finished.run.root.resolve()
    version = run.manifest.versions[-1]
    assert tell_links(run).splitlines() == [
        "- cycle 1, finished",
        f"- version 1 of the dataset: {version.rows} rows ({version.why})",
        f"- [dataset]({(root / TRAIN).as_uri()})",
        f"- [card]({(root / 'dataset/README.md').as_uri()})",
        f"- [report]({(root / 'report.html').as_uri()})",
        f"- to look into it: `tutelage inspect {root}`",
    ]
    assert Path(root / TRAIN).exists()
