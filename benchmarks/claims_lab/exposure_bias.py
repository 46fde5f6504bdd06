"""Claim c: a student that learns at prefixes of its own is less led astray by them.

A student trained on given prefixes only meets its own mistakes for the first time when it writes
(exposure bias). Its excess error is how much further it is from the teacher at its own prefixes
than at given ones (Arora et al. 2022, "Why Exposure Bias Matters"). Where prefixes come from and
which divergence is minimised there are two settings, so there are four corners. All begin with the
same student, warmed up on the same rows, and go on for as many updates.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from claims_lab.evidence import ClaimResult, is_less, is_more, tabulate
from claims_lab.kd_against_sft import FEW, SFT
from claims_lab.lab import Key, Lesson, Measure, Score, draw_rows, fresh, read_figures, score, teach
from claims_lab.pictures import draw_arms

from trainers.settings import RolloutSettings, Student, TrainSettings

WARM_UP = SFT.model_copy(update={"max_steps": 200})
GO_ON = SFT.model_copy(update={"max_steps": 200, "learning_rate": 4e-3})
OWN = RolloutSettings(max_new_tokens=48)
KINDS = ("forward", "reverse")
CORNERS: dict[str, TrainSettings] = {
    f"{place}, {kind}": GO_ON.model_copy(update={"objective": kind, "rollouts": rollouts})
    for place, rollouts in (("dataset", None), ("student", OWN))
    for kind in KINDS
}
"""Where the prefixes come from, and what is minimised there."""
MEASURES: dict[str, Measure] = {
    "KL(teacher ‖ student), own prefixes": lambda score: score.own.forward_kl,
    "KL(teacher ‖ student), given prefixes": lambda score: score.held_out.forward_kl,
    "excess error": lambda score: score.own.forward_kl - score.held_out.forward_kl,
    "KL(student ‖ teacher), own prefixes": lambda score: score.own.reverse_kl,
    "teacher NLL of own samples": lambda score: score.samples.teacher_nll or 0.0,
    "sums right": lambda score: score.sums,
    "stories right": lambda score: score.stories,
}
BESIDE: dict[str, Measure] = {
    "sample length": lambda score: score.samples.mean_length,
    "distinct 3-grams": lambda score: score.samples.distinct[3],
    "ended": lambda score: score.samples.eos_rate,
    "held-out NLL": lambda score: score.held_out.nll,
}
"""Without which the teacher's NLL says nothing."""


def name_arm(corner: str) -> str:
    return "corner-" + corner.replace(", ", "-")


def warm_up(seeds: Sequence[int]) -> dict[Key, Path]:
    """Students that have begun to speak, by the arm `warm`."""
    return teach(Lesson("warm", seed, WARM_UP, draw_rows(FEW, seed), fresh(seed)) for seed in seeds)


def go_on(arms: Mapping[str, tuple[TrainSettings, int]], seeds: Sequence[int]) -> dict[Key, Path]:
    """The warmed-up students, and what became of them by each arm's settings and count of rows."""
    warm = warm_up(seeds)
    lessons = [
        Lesson(arm, seed, settings, draw_rows(count, seed), Student(model=str(warm["warm", seed])))
        for arm, (settings, count) in arms.items()
        for seed in seeds
    ]
    return warm | teach(lessons)


def teach_corners(seeds: Sequence[int]) -> dict[Key, Score]:
    """The warmed-up students, and what became of them in each corner."""
    arms = {name_arm(corner): (settings, FEW) for corner, settings in CORNERS.items()}
    return score(go_on(arms, seeds))


def run(seeds: Sequence[int]) -> ClaimResult:
    scores = teach_corners(seeds)
    arms = {"warm": "before", **{name_arm(corner): corner for corner in CORNERS}}
    figures = read_figures(scores, arms, MEASURES, seeds)
    beside = read_figures(scores, arms, BESIDE, seeds)
    contrasts = []
    for kind in KINDS:
        own, given = f"student, {kind}", f"dataset, {kind}"
        for title in ("excess error", "KL(student ‖ teacher), own prefixes"):
            values = figures[title]
            contrasts.append(is_less(f"{title}: {own} - {given}", values[own], values[given]))
        values = figures["sums right"]
        contrasts.append(is_more(f"sums right: {own} - {given}", values[own], values[given]))
    return ClaimResult(
        "On-policy distillation lowers exposure bias against off-policy, at equal updates",
        f"{WARM_UP.max_steps} steps of SFT, then {GO_ON.max_steps} in each corner, all on the same"
        f" {FEW:,} rows; of these the student's corners read the prompts only. Excess error is the"
        " KL(teacher ‖ student) at own prefixes minus that at given ones.",
        [tabulate(figures), tabulate(beside)],
        contrasts,
        draw_arms(
            "claim-c-exposure-bias.svg",
            "Where prefixes come from, and which divergence",
            dict(list(figures.items())[:6]),
        ),
    )
