"""Claim h: prompts alone are a training set, for a student that writes the answers itself.

The student of claim c's warm-up goes on with rows of prompt and answer, by SFT or by off-policy KD,
or with the very same prompts on-policy, of which it never sees an answer. A prompt without an
answer costs nothing to make, so there is also an arm with many more of them. All have as many
updates.
"""

from collections.abc import Sequence
from pathlib import Path

from claims_lab.evidence import ClaimResult, is_less, is_more, tabulate
from claims_lab.exposure_bias import CORNERS, GO_ON, WARM_UP, go_on, name_arm
from claims_lab.kd_against_sft import FEW, MANY
from claims_lab.lab import Key, Measure, read_figures, score
from claims_lab.pictures import draw_arms

KD, ON_POLICY = "dataset, forward", "student, forward"
"""The corners of claim c."""
MEASURES: dict[str, Measure] = {
    "KL(teacher ‖ student), given prefixes": lambda score: score.held_out.forward_kl,
    "KL(teacher ‖ student), own prefixes": lambda score: score.own.forward_kl,
    "sums right": lambda score: score.sums,
    "stories right": lambda score: score.stories,
}
BESIDE: dict[str, Measure] = {
    "held-out NLL": lambda score: score.held_out.nll,
    "teacher NLL of own samples": lambda score: score.samples.teacher_nll or 0.0,
    "sample length": lambda score: score.samples.mean_length,
    "ended": lambda score: score.samples.eos_rate,
    "thousands of tokens": lambda score: score.tokens / 1_000,
}
SFT_ROWS, KD_ROWS = f"(x, y) of {FEW:,}: SFT", f"(x, y) of {FEW:,}: KD"
PROMPTS, MORE = f"x of {FEW:,}: on-policy", f"x of {MANY:,}: on-policy"
ARMS = {
    "warm": "before",
    "warm-sft": SFT_ROWS,
    name_arm(KD): KD_ROWS,
    name_arm(ON_POLICY): PROMPTS,
    "warm-prompts": MORE,
}


def run(seeds: Sequence[int]) -> ClaimResult:
    scores = score(teach_arms(seeds))
    figures = read_figures(scores, ARMS, MEASURES, seeds)
    contrasts = [
        (is_more if title.endswith("right") else is_less)(
            f"{title}: {PROMPTS} - {rival}", values[PROMPTS], values[rival]
        )
        for rival in (SFT_ROWS, KD_ROWS)
        for title, values in figures.items()
    ]
    return ClaimResult(
        "Prompts alone, answered on-policy, teach more than rows of prompt and answer",
        f"{WARM_UP.max_steps} steps of SFT on {FEW:,} rows, then {GO_ON.max_steps} more of each"
        f" arm, on the same {FEW:,} rows or on {MANY:,} prompts.",
        [tabulate(figures), tabulate(read_figures(scores, ARMS, BESIDE, seeds))],
        contrasts,
        draw_arms("claim-h-prompt-only.svg", "Prompts alone, and prompts with answers", figures),
    )


def teach_arms(seeds: Sequence[int]) -> dict[Key, Path]:
    """The warmed-up students, and what became of them in each arm."""
    settings = {
        "warm-sft": (GO_ON, FEW),
        name_arm(KD): (CORNERS[KD], FEW),
        name_arm(ON_POLICY): (CORNERS[ON_POLICY], FEW),
        "warm-prompts": (CORNERS[ON_POLICY], MANY),
    }
    return go_on(settings, seeds)
