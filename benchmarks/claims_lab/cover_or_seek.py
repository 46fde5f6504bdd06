"""Claim d: the forward divergence covers all that the teacher does, the reverse one seeks a mode.

On a line: the teacher has two humps, drawn by the seed, and the student is one bell over the same
cells, so it cannot be right; mean and width are fitted by `trainers.losses`. In language: the
corners of claim c at given prefixes, where seeking shows as samples that the teacher finds likely,
and not covering as texts that the student finds unlikely.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from claims_lab.evidence import ClaimResult, Contrast, Figures, is_less, is_more, is_near, tabulate
from claims_lab.exposure_bias import CORNERS, name_arm, teach_corners
from claims_lab.lab import Measure, read_figures
from claims_lab.pictures import COLOURS, GREY, draw
from torch import Tensor

from trainers.losses import Divergence, divergence

LINE_V = torch.linspace(-7, 7, 281, dtype=torch.float64)
KINDS: tuple[Divergence, ...] = ("forward", "skew_forward", "jsd", "skew_reverse", "reverse")
STEPS = 1_500
STARTS = (-3.0, -1.0, 0.0, 1.0, 3.0)
"""A fit begins from each; reverse has an optimum at every hump."""
EXACT = 0.01
"""How near a fit is to what mathematics says of it."""
PICTURE = "claim-d-cover-or-seek.svg"


class Humps(NamedTuple):
    """A teacher of two modes."""

    centres: tuple[float, float]
    widths: tuple[float, float]
    weight: float
    """Of the first."""

    def make_logits(self) -> Tensor:
        first_V, second_V = (
            torch.distributions.Normal(c, w).log_prob(LINE_V)
            for c, w in zip(self.centres, self.widths, strict=True)
        )
        weights = torch.tensor([self.weight, 1 - self.weight], dtype=torch.float64).log()
        return torch.logaddexp(first_V + weights[0], second_V + weights[1])


def draw_humps(seed: int) -> Humps:
    rng = random.Random(seed)
    return Humps(
        (-rng.uniform(2.5, 3.5), rng.uniform(2.5, 3.5)),
        (rng.uniform(0.5, 0.7), rng.uniform(0.5, 0.7)),
        rng.uniform(0.4, 0.6),
    )


def fit(teacher_V: Tensor, kind: Divergence, starts: Sequence[float] = STARTS) -> Tensor:
    """The student's distribution [V]: the best of those that began with their means at `starts`."""
    place_S2 = torch.tensor([(start, 0.0) for start in starts], dtype=torch.float64)
    place_S2.requires_grad_(True)
    optimizer = torch.optim.Adam([place_S2], lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        optimizer.zero_grad()
        divergence(make_bells(place_S2), teacher_V, kind).sum().backward()
        optimizer.step()
        schedule.step()
    logits_SV = make_bells(place_S2.detach())
    return logits_SV[divergence(logits_SV, teacher_V, kind).argmin()].softmax(dim=0)


def make_bells(place_S2: Tensor) -> Tensor:
    """Logits [S, V] of normal distributions, given their means and the logs of their widths."""
    mean_S1, log_width_S1 = place_S2[:, :1], place_S2[:, 1:]
    return -0.5 * ((LINE_V - mean_S1) * torch.exp(-log_width_S1)) ** 2


def measure_fits(seeds: Sequence[int]) -> Figures:
    """What the fits are like, by kind, and the teacher itself."""
    figures: dict[str, dict[str, list[float]]] = {}
    for seed in seeds:
        humps = draw_humps(seed)
        teacher_V = humps.make_logits()
        fits = {kind: fit(teacher_V, kind) for kind in KINDS}
        for arm, q_V in {"teacher": teacher_V.softmax(dim=0), **fits}.items():
            for title, value in _describe(q_V, teacher_V, humps).items():
                figures.setdefault(title, {}).setdefault(arm, []).append(value)
    return figures


def _describe(q_V: Tensor, teacher_V: Tensor, humps: Humps) -> dict[str, float]:
    mean = float(q_V @ LINE_V)
    left = float(q_V[LINE_V < 0].sum())
    between_V = (humps.centres[0] + 2 * humps.widths[0] < LINE_V) & (
        humps.centres[1] - 2 * humps.widths[1] > LINE_V
    )
    return {
        "width (standard deviation)": float(q_V @ (LINE_V - mean) ** 2) ** 0.5,
        "mass on the lesser side": min(left, 1 - left),
        "mass between the humps": float(q_V[between_V].sum()),
        "KL(teacher ‖ student)": float(divergence(q_V.log(), teacher_V, "forward")),
        "KL(student ‖ teacher)": float(divergence(q_V.log(), teacher_V, "reverse")),
    }


LANGUAGE: dict[str, Measure] = {
    "held-out NLL": lambda score: score.held_out.nll,
    "teacher NLL of own samples": lambda score: score.samples.teacher_nll or 0.0,
    "distinct 3-grams": lambda score: score.samples.distinct[3],
}


def run(seeds: Sequence[int]) -> ClaimResult:
    line = measure_fits(seeds)
    arms = {name_arm(corner): corner for corner in CORNERS}
    language = read_figures(teach_corners(seeds), arms, LANGUAGE, seeds)
    draw_picture(seeds[0], language)
    return ClaimResult(
        "Forward covers, reverse seeks",
        "A bell fitted to two humps, and the students of claim c's corners.",
        [tabulate(line), tabulate(language)],
        list_contrasts(line, language),
        PICTURE,
    )


def list_contrasts(line: Figures, language: Figures) -> list[Contrast]:
    width = line["width (standard deviation)"]
    contrasts = [
        is_near("line: width, forward - teacher", width["forward"], width["teacher"], EXACT)
    ]
    for title in ("mass on the lesser side", "mass between the humps"):
        values = line[title]
        contrasts.append(
            is_more(f"line: {title}, forward - reverse", values["forward"], values["reverse"])
        )
    unlikely, likely = language["held-out NLL"], language["teacher NLL of own samples"]
    forward, reverse = "dataset, forward", "dataset, reverse"
    return [
        *contrasts,
        is_less("language: held-out NLL, forward - reverse", unlikely[forward], unlikely[reverse]),
        is_more(
            "language: teacher NLL of own samples, forward - reverse",
            likely[forward],
            likely[reverse],
        ),
    ]


def draw_picture(seed: int, language: Figures) -> None:
    """The fits to one teacher, and the students as points."""
    teacher_V = draw_humps(seed).make_logits()
    with draw(PICTURE, "Forward covers, reverse seeks", height=3.7) as figure:
        line, points = figure.subplots(1, 2, width_ratios=(1, 1))
        line.fill_between(LINE_V, teacher_V.softmax(dim=0), color=GREY, alpha=0.4, lw=0)
        line.annotate("teacher", (0, 0), (-7.2, 0.021), color=GREY, fontsize=8)
        curves: dict[str, tuple[Divergence, Sequence[float]]] = {
            "forward": ("forward", STARTS),
            "reverse, from the right": ("reverse", (3.0,)),
            "reverse, from the left": ("reverse", (-3.0,)),
        }
        for (name, (kind, starts)), colour in zip(curves.items(), COLOURS, strict=False):
            line.plot(LINE_V, fit(teacher_V, kind, starts), color=colour, label=name, lw=1.8)
        line.set_title("one bell fitted to two humps", loc="left")
        line.set_yticks([])
        line.set_ylim(top=1.5 * line.get_ylim()[1])  # room for the legend
        line.legend(frameon=False, fontsize=8, loc="upper left")
        for corner, colour in zip(CORNERS, COLOURS, strict=False):
            x, y = language["teacher NLL of own samples"], language["held-out NLL"]
            points.plot(x[corner], y[corner], "o", color=colour, label=corner)
        points.set_title("in language (prefixes, divergence)", loc="left")
        points.set_xlabel("teacher NLL of own samples (less: seeks)")
        points.set_ylabel("held-out NLL (less: covers)")
        points.legend(frameon=False, fontsize=8)
