"""Claim b: a teacher that was read once and cut to a few tokens teaches as well as one at hand.

All arms are off-policy KD (forward KL) on the same few rows; they differ in what is known of the
teacher's distribution at each token. Of the likeliest tokens the rest is one outcome more (the
tail bucket), or there is no rest (renormalised). Tokens drawn from the teacher estimate the whole
distribution without bias.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import Literal

from claims_lab.evidence import (
    ClaimResult,
    Contrast,
    Figures,
    draw_table,
    is_less,
    is_near,
    tabulate,
)
from claims_lab.kd_against_sft import FEW, FORWARD, describe
from claims_lab.lab import Lesson, Measure, draw_rows, fresh, open_world, read_figures, score, teach
from claims_lab.pictures import draw_arms

from trainers.cached_teacher import report_signal
from trainers.settings import TrainSettings
from trainers.signal_settings import TopSignal

MOST, LEAST = 8, 2
"""Tokens that are kept of each distribution, or draws from it."""
SHARE = 0.2
"""`As good` is within this share of what KD gains over SFT."""
ONLINE, PLAIN = "online", "SFT, no teacher"
MEASURES: dict[str, Measure] = {
    "KL(teacher ‖ student)": lambda score: score.held_out.forward_kl,
    "KL(student ‖ teacher)": lambda score: score.held_out.reverse_kl,
    "calibration error (ECE)": lambda score: score.held_out.ece,
    "held-out NLL": lambda score: score.held_out.nll,
}


BUCKET, DRAWN = f"top {LEAST}, bucket", f"{LEAST} draws"
CUT = f"top {LEAST}, renormalised"
ENOUGH = f"top {MOST}, bucket"


def keep(tokens: int, kept: Literal["top", "sampled"] = "top", **settings: str) -> TrainSettings:
    """Claim a's KD with a cached teacher."""
    signal = TopSignal(kind="cached", top_k=tokens, kept=kept)
    return FORWARD.model_copy(update={"signal": signal, **settings})


WAYS = {
    ENOUGH: keep(MOST),
    BUCKET: keep(LEAST),
    CUT: keep(LEAST, tail="renormalised"),
    DRAWN: keep(LEAST, "sampled"),
}


def name_arm(way: str) -> str:
    return "cached-" + way.replace(", ", "-").replace(" ", "-")


def run(seeds: Sequence[int]) -> ClaimResult:
    lessons = [
        Lesson(name_arm(way), seed, settings, draw_rows(FEW, seed), fresh(seed))
        for way, settings in WAYS.items()
        for seed in seeds
    ]
    both = [each for seed in seeds for each in describe(seed)]
    students = teach([*lessons, *both])
    arms = {f"kd-{FEW}": ONLINE, **{name_arm(way): way for way in WAYS}, f"sft-{FEW}": PLAIN}
    figures = read_figures(score(students), arms, MEASURES, seeds)
    return ClaimResult(
        "A cached teacher is as good as one online, and a tail bucket better than renormalising",
        f"The steps and the {FEW:,} rows of claim a. As good means that the KL(teacher ‖ student)"
        f" is within {SHARE:.0%} of what KD gains over SFT on the same rows.",
        [tabulate(figures), list_costs(seeds[0])],
        list_contrasts(figures),
        draw_arms("claim-b-cached-against-online.svg", "A cached teacher and one online", figures),
    )


def list_contrasts(figures: Figures) -> list[Contrast]:
    kl = figures["KL(teacher ‖ student)"]
    margin = SHARE * (fmean(kl[PLAIN]) - fmean(kl[ONLINE]))
    return [
        is_near(f"{ENOUGH} - {ONLINE}", kl[ENOUGH], kl[ONLINE], max(margin, 0.0)),
        is_less(f"{BUCKET} - {CUT}", kl[BUCKET], kl[CUT]),
        is_less(f"{DRAWN} - {CUT}", kl[DRAWN], kl[CUT]),
    ]


def list_costs(seed: int) -> list[str]:
    """What is on disk of the teacher."""
    rows = {}
    for way in WAYS:
        folder = open_world().folder / "students" / f"{name_arm(way)}-{seed}" / "signal"
        report = report_signal(folder)
        rows[way] = [
            f"{report.kept_per_token:.2f}",
            f"{report.tail_mass:.4f}",
            f"{report.bytes_per_token:.0f}",
        ]
    return draw_table("signal", ["tokens kept", "mass not kept", "bytes per token"], rows)
