"""Claim h: prompts alone are a training set, for a student that writes the answers itself.

From the same untrained student: SFT and off-policy KD on rows of prompt and answer, and on-policy
distillation on the very same prompts, of which it never sees an answer. A prompt without an answer
costs nothing to make, so there is also an arm with many more of them. All have as many updates.
"""

from collections.abc import Sequence

from claims_lab.evidence import ClaimResult, is_less, is_more, tabulate
from claims_lab.exposure_bias import OWN
from claims_lab.kd_against_sft import FEW, FORWARD, MANY, describe
from claims_lab.lab import Lesson, Measure, draw_rows, fresh, read_figures, score, teach
from claims_lab.pictures import draw_arms

ON_POLICY = FORWARD.model_copy(update={"rollouts": OWN})
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
    "seconds": lambda score: score.seconds,
}
SFT_ROWS, KD_ROWS = f"(x, y) of {FEW}: SFT", f"(x, y) of {FEW}: KD"
PROMPTS, MORE = f"x of {FEW}: on-policy", f"x of {MANY:,}: on-policy"


def run(seeds: Sequence[int]) -> ClaimResult:
    lessons = [
        Lesson(f"prompts-{count}", seed, ON_POLICY, draw_rows(count, seed), fresh(seed))
        for count in (FEW, MANY)
        for seed in seeds
    ]
    both = [each for seed in seeds for each in describe(seed)]
    arms = {
        f"sft-{FEW}": SFT_ROWS,
        f"kd-{FEW}": KD_ROWS,
        f"prompts-{FEW}": PROMPTS,
        f"prompts-{MANY}": MORE,
    }
    scores = score(teach([*lessons, *both]))
    figures = read_figures(scores, arms, MEASURES, seeds)
    contrasts = [
        (is_more if title.endswith("right") else is_less)(
            f"{title}: {PROMPTS} - {rival}", values[PROMPTS], values[rival]
        )
        for rival in (SFT_ROWS, KD_ROWS)
        for title, values in figures.items()
    ]
    return ClaimResult(
        "Prompts alone, answered on-policy, teach more than rows of prompt and answer",
        f"{FORWARD.max_steps} steps from the same untrained student.",
        [tabulate(figures), tabulate(read_figures(scores, arms, BESIDE, seeds))],
        contrasts,
        draw_arms("claim-h-prompt-only.svg", figures),
    )
