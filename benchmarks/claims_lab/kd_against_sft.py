"""Claim a: on the same tokens, the teacher's distributions teach more than the tokens do.

Two students begin with the same weights and read the same texts in the same order. One learns the
words as they stand (SFT), the other the teacher's whole distribution at each of them (forward KL).
The texts are the language's own, so the words are right and the teacher is not quite.
"""

from collections.abc import Sequence

from claims_lab.evidence import ClaimResult, is_less, is_more, tabulate
from claims_lab.lab import (
    WINDOW,
    Lesson,
    Measure,
    draw_rows,
    fresh,
    read_figures,
    score,
    teach,
)
from claims_lab.pictures import draw_arms

from trainers.settings import TrainSettings

SFT = TrainSettings(
    learning_rate=8e-3,
    schedule="cosine",
    warmup=0.05,
    batch_size=48,
    max_steps=400,
    max_length=WINDOW,
    precision="float32",
    save_steps=1_000_000,
)
FORWARD = SFT.model_copy(update={"objective": "forward"})
SIZES = FEW, MANY = 1_000, 19_200
"""Rows: each is read 19 times, or once."""
MEASURES: dict[str, Measure] = {
    "held-out NLL (nats per token)": lambda score: score.held_out.nll,
    "KL(teacher ‖ student)": lambda score: score.held_out.forward_kl,
    "top-1 agreement": lambda score: score.held_out.agreement,
    "calibration error (ECE)": lambda score: score.held_out.ece,
}
BESIDE: dict[str, Measure] = {
    "thousands of tokens": lambda score: score.tokens / 1_000,
    "sums right": lambda score: score.sums,
    "stories right": lambda score: score.stories,
}


def describe(seed: int, count: int = FEW) -> list[Lesson]:
    """Both arms on so many rows."""
    rows, student = draw_rows(count, seed), fresh(seed)
    return [
        Lesson(f"sft-{count}", seed, SFT, rows, student),
        Lesson(f"kd-{count}", seed, FORWARD, rows, student),
    ]


def run(seeds: Sequence[int]) -> ClaimResult:
    lessons = [each for count in SIZES for seed in seeds for each in describe(seed, count)]
    arms = {
        f"{arm}-{count}": f"{name}, {count:,} rows"
        for count in SIZES
        for arm, name in (("sft", "SFT"), ("kd", "KD"))
    }
    scores = score(teach(lessons))
    figures = read_figures(scores, arms, MEASURES, seeds)
    return ClaimResult(
        "KD beats SFT on the same tokens",
        f"{SFT.max_steps} steps of {SFT.batch_size} rows, from the same untrained student, over"
        f" {FEW:,} rows many times or {MANY:,} rows once. Perplexity is exp(NLL).",
        [tabulate(figures), tabulate(read_figures(scores, arms, BESIDE, seeds))],
        [
            (is_more if "agreement" in title else is_less)(
                f"{title}, {count:,} rows: KD - SFT",
                values[f"KD, {count:,} rows"],
                values[f"SFT, {count:,} rows"],
            )
            for count in SIZES
            for title, values in figures.items()
        ],
        draw_arms("claim-a-kd-against-sft.svg", "KD and SFT on the same tokens", figures),
    )
