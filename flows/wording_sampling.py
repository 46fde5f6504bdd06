"""What was exchanged between two samplers of equal cost, and what came of it, in words."""

from flows.facts_sampling import BudgetFacts, MatchFacts
from flows.wording import THIN, count_noun, format_points, format_points_range

_PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""))


def tell_rate(match: MatchFacts) -> str:
    """What one completion token of the reference is worth, and by what."""
    by = {
        "parameters": "by their non-embedding parameters",
        "price": "by the price of a completion token",
        "stated": "as the configuration states it",
    }[match.basis]
    return f"One token of {match.reference} is worth {match.rate:.3g} of {match.matched}, {by}."


def tell_cost(value: float, match: MatchFacts) -> str:
    """A cost in the unit of the exchange: `1.2 TFLOP`, `USD 0.0031`, `120 tokens`."""
    if match.basis == "price":
        return f"USD{THIN}{value:.3g}"
    if match.basis == "stated":
        return f"{value:,.3g}{THIN}tokens"
    size, prefix = next((s, p) for s, p in _PREFIXES if value >= s or s == 1)
    return f"{value / size:.3g}{THIN}{prefix}FLOP"


def tell_gain(match: MatchFacts, budget: BudgetFacts) -> str:
    """Which of the two covers more for the same cost, as far as the interval lets one say."""
    gain, reference = budget.gain, count_noun(budget.reference_samples, "sample")
    size = f"{format_points(gain.value)} points (95{THIN}% {format_points_range(gain)})"
    if gain.low > 0 or gain.high < 0:
        verdict = f"{match.matched} covers {'more' if gain.low > 0 else 'less'}"
    else:
        verdict = "that interval includes zero, so neither is shown to cover more"
    return f"For the cost of {reference} of {match.reference}: {size}; {verdict}."
