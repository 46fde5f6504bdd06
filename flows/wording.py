"""Numbers and results as a reader meets them: one spelling in the report, the cards, the picture.

The sentences claim no more than the intervals allow: where two overlap, they say so.
"""

from flows.facts import Facts
from flows.facts_evolution import JudgeFacts
from flows.facts_learning import Attribution, EvaluationFacts, RandomFacts
from flows.intervals import Interval

MINUS = "\u2212"
THIN = "\u202f"
"""A narrow space that does not break: between a number and its sign."""


def format_count(n: int) -> str:
    return f"{n:,}"


def format_share(share: float) -> str:
    """`52.6 %`; a share that rounds to 0 or 100 without being it keeps a sign that it is not."""
    percent = 100 * share
    if 0 < percent < 0.05:
        return f"< 0.1{THIN}%"
    if 99.95 <= percent < 100:
        return f"> 99.9{THIN}%"
    return f"{percent:.1f}".removesuffix(".0") + f"{THIN}%"


def format_range(interval: Interval) -> str:
    """`46.1 to 59.0 %`, the interval of a share."""
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f}{THIN}%"


def format_points(difference: float) -> str:
    """`+19.3`, in percentage points."""
    points = round(100 * difference, 1)
    return f"{MINUS if points < 0 else '+'}{abs(points):.1f}"


def format_points_range(interval: Interval) -> str:
    return f"{format_points(interval.low)} to {format_points(interval.high)}"


def format_signed(value: float) -> str:
    """`+11`, `+2.5`, `0`: a signed difference, to one decimal."""
    sign = MINUS if value < 0 else "+" if value > 0 else ""
    return f"{sign}{abs(value):.1f}".removesuffix(".0")


def format_seconds(seconds: float) -> str:
    """`0.4 s`, `11 s`, `3 min 8 s`, `2 h 5 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f}{THIN}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{THIN}s"
    if whole < 3600:
        return f"{whole // 60}{THIN}min {whole % 60}{THIN}s"
    return f"{whole // 3600}{THIN}h {whole % 3600 // 60}{THIN}min"


def count_noun(n: int, one: str, many: str | None = None) -> str:
    """`1 round`, `2 rounds`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def join_words(words: list[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def tell_making(facts: Facts) -> str:
    """What was made, and from what."""
    start = count_noun(facts.seeds.total, "seed prompt")
    if facts.rounds:
        start += f" and {count_noun(facts.rounds, 'round')} of evolution"
    if facts.dataset is None:
        return f"{start}; no dataset has been published yet."
    made = count_noun(facts.dataset.rows, "verified row")
    if facts.run.cycle > 1:
        return f"{made} of {facts.run.cycle} cycles, the last of them out of {start}."
    return f"{made} out of {start}."


def tell_verification(facts: Facts) -> str:
    """How the rows were verified."""
    dataset = facts.dataset
    if dataset is None or not dataset.rows:
        return ""
    ways = {
        "program": "by a program",
        "constraint": "against machine-checkable constraints",
        "reference": "against a reference answer",
        "consensus": "by a vote of independent samplers",
        "judge": "by a judging model alone",
        "person": "by a person, who let them out of quarantine",
        "none": "by nothing",
    }
    counted = sorted(dataset.by_verified_by.items(), key=lambda item: -item[1])
    parts = [f"{n:,} {ways.get(way, way)}" for way, n in counted if n]
    return f"Every answer was checked: {join_words(parts)}."


def tell_judge(judge: JudgeFacts) -> str:
    """How the equality judge did and what followed from it, as it goes on after its name."""
    kappa = f"{judge.kappa:.2f}".replace("-", MINUS)
    told = (
        f"agreed with {judge.pairs:,} hand-labelled pairs in {format_share(judge.agreed.value)} of "
        f"cases (95{THIN}% {format_range(judge.agreed)}; Cohen's kappa {kappa})."
    )
    if judge.unread:
        told += f" {count_noun(judge.unread, 'answer')} that could not be read counted as wrong."
    told += f" Its balanced accuracy is {format_share(judge.balanced_accuracy)},"
    limit = f"more than 20 points above chance ({format_share(judge.chance)})"
    if judge.trusted:
        told += f" {limit}, so it was asked."
        if judge.unjudged:
            count = count_noun(judge.unjudged, "evolved prompt")
            told += f" {count} stayed without its judgement, or without an answer to look at."
        return told
    return f"{told} not {limit}, so it was not asked and the textual rules decided alone."


def tell_learning(evaluation: EvaluationFacts) -> str:
    """Whether the student learned, as far as the intervals let one say."""
    before, after = evaluation.arm("before", "zero-shot"), evaluation.arm("after", "zero-shot")
    if after is None or before is None:
        return "The student was not evaluated both before and after."
    a, b = after.pass_at_1, before.pass_at_1
    moved = f"from {format_share(b.value)} to {format_share(a.value)}"
    where = f"of {count_noun(after.prompts, 'held-out prompt')}"
    if a.overlaps(b):
        return (
            f"Asked without examples, the student went {moved} {where}; the 95{THIN}% intervals "
            "overlap, so this run does not show that it learned."
        )
    verb = "rose" if a.value > b.value else "fell"
    return (
        f"Asked without examples, the student {verb} {moved} {where}; the 95{THIN}% intervals "
        "do not overlap."
    )


def tell_format(attribution: Attribution) -> str:
    """The part of the gain that examples alone unlock."""
    part = attribution.format
    size = f"{format_points(part.value)} points (95{THIN}% {format_points_range(part)})"
    if part.low > 0:
        return (
            f"Before any training, worked examples in the prompt alone are worth {size}: the model "
            "could already do this much and only had to be shown the form. Training that adds "
            "this part has taught format."
        )
    return (
        f"Before any training, worked examples in the prompt are worth {size}: no part of the gain "
        "can be put down to format."
    )


def tell_skill(attribution: Attribution) -> str:
    """The part that even examples did not unlock."""
    part = attribution.skill
    size = f"{format_points(part.value)} points (95{THIN}% {format_points_range(part)})"
    if part.low > 0:
        return (
            f"The trained student, shown no examples, stands {size} above what the untrained one "
            "reached with them. Examples do not explain this part: it is skill."
        )
    if part.high < 0:
        return (
            f"The trained student, shown no examples, stays {size} from what the untrained one "
            "reached with them: it learned part of the format and no skill beyond it."
        )
    return (
        f"The trained student, shown no examples, differs by {size} from what the untrained one "
        "reached with them: that interval includes zero, so no skill beyond the format is shown."
    )


def tell_selection(random: RandomFacts) -> str:
    """Whether selection helped, beside rows drawn at random."""
    part = random.gain
    size = f"{format_points(part.value)} points (95{THIN}% {format_points_range(part)})"
    told = (
        f"A second student was taught in the same way for {count_noun(random.steps, 'step')}, on "
        f"{count_noun(random.rows, 'row')} with {random.tokens:,} completion tokens, drawn at "
        f"random from the {random.looked_at:,} that selection looked at; the first one's "
        f"{count_noun(random.selected_rows, 'selected row')} have {random.selected_tokens:,}, and "
        f"{random.shared:,} rows are in both. Asked the same prompts, the student of selected rows "
        f"differs from it by {size}:"
    )
    if part.low > 0:
        return f"{told} selection helped beyond chance."
    if part.high < 0:
        return f"{told} selection did harm beyond chance."
    return f"{told} that interval includes zero, so it is not shown that selection did anything."
