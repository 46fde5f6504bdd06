"""A weak sampler against a strong one at equal compute, on real input and with real models.

The strong sampler is the bundled model behind four worked examples. The weak one is a layer cut of
it (15 of 30 layers), taught beforehand on verified answers of the whole one. Both answer the same
evolved prompts, the weak one with as many samples as the strong one's cost by non-embedding
parameters. Told are how the operators' children fared, and what each sampler covers, how unlike its
right answers are, and how often a right one stands behind a broken calculation.

    python benchmarks/weak_strong.py      # about 20 minutes on 2 cores; runs are kept in runs/
"""

from collections.abc import Sequence
from pathlib import Path

from paired import describe_machine, write_result

from flows.conduct import PlainConductor
from flows.config import load_config
from flows.console import Console
from flows.facts import Facts
from flows.facts_sampling import ComparisonFacts
from flows.gather import gather_facts
from flows.intervals import Interval
from flows.pipeline import conduct
from flows.work import open_context
from trainers.settings import Student
from trainers.students import save_cut

HERE = Path(__file__).parent / "weak_strong"
LAYERS = (0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 29)
UNTAUGHT = Path("runs/weak-untaught")


def run(file: Path) -> Facts:
    """Begin or finish the run of a configuration, and gather what it has to say."""
    config = load_config(file)
    directory = conduct(config, Console(), PlainConductor())
    with open_context(directory.root, config) as context:
        return gather_facts(context)


def tell(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def list_operators(facts: Facts) -> list[str]:
    rows = [
        "| operator | domain | tried | survived | share | verified | share of the survivors |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    rows += [
        f"| {c.operator} | {c.domain} | {c.tried} | {c.survived} | {tell(c.survival)} "
        f"| {c.verified} | {tell(c.verification)} |"
        for c in facts.credit
    ]
    return rows


def list_arms(comparison: ComparisonFacts) -> list[str]:
    """Both samplers side by side."""
    arms = (comparison.matched, comparison.reference)

    def row(name: str, show: list[str]) -> str:
        return f"| {name} | {' | '.join(show)} |"

    def each(name: str, figures: Sequence[Interval | None]) -> str:
        return row(name, [tell(interval) for interval in figures])

    rows = [
        f"| | {arms[0].sampler} (half) | {arms[1].sampler} (whole) |",
        "|---|--:|--:|",
        row("samples per prompt", [str(arm.samples) for arm in arms]),
        row("nominal cost per prompt", [f"{arm.nominal:.3g}" for arm in arms]),
        row("tokens really taken per prompt", [f"{arm.tokens:.1f}" for arm in arms]),
        row("what those cost", [f"{arm.actual:.3g}" for arm in arms]),
    ]
    for budget in comparison.budgets:
        counts = f"pass@{budget.matched_samples} against pass@{budget.reference_samples}"
        rows.append(each(f"coverage, {counts}", [budget.matched, budget.reference]))
        rows.append(row("the difference, prompt by prompt", [tell(budget.gain), ""]))
    rows += [
        each("distinct right answers per prompt", [arm.distinct_answers for arm in arms]),
        each("distinct chains per prompt", [arm.distinct_chains for arm in arms]),
        row("right answers that calculate", [str(arm.calculated) for arm in arms]),
        each("of them behind a broken chain", [arm.false_positives for arm in arms]),
    ]
    return rows


def main() -> None:
    if not UNTAUGHT.exists():
        save_cut(Student(model="smollm2-135m-instruct", layers=LAYERS), UNTAUGHT)
    weak, equal = run(HERE / "weak.yaml"), run(HERE / "equal_cost.yaml")
    match = equal.matches[0]
    assert match.comparison is not None, match.absence
    comparison, evaluation = match.comparison, weak.evaluation
    before, after = (
        evaluation.arm(when, "zero-shot") if evaluation else None for when in ("before", "after")
    )
    rows = weak.dataset.rows if weak.dataset else 0
    taught = " -> ".join(tell(arm.pass_at_1) for arm in (before, after) if arm is not None)
    write_result(
        "weak-strong",
        [
            "# A weak sampler against a strong one at equal compute",
            "",
            describe_machine("torch", "transformers"),
            "",
            f"The weak one keeps {len(LAYERS)} of 30 layers and was taught on {rows} rows; "
            f"zero-shot pass@1 on held-out prompts: {taught}. One token of the strong one costs "
            f"{match.rate:.3f} of its own, by non-embedding parameters. 95 % intervals.",
            "",
            f"## Samplers, over {comparison.prompts} prompts",
            "",
            *list_arms(comparison),
            "",
            f"Of {comparison.planted} faults planted into sound chains of this run the audit found "
            f"{tell(comparison.detected)}.",
            "",
            "## Operators",
            "",
            *list_operators(equal),
        ],
    )


if __name__ == "__main__":
    main()
