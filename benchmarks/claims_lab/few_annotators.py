"""Claim g: where few annotators label each text, their whole count teaches more than its majority.

Texts are points and the classifier is linear, so it can be right. In one world people differ about
a text, and how they differ is the truth. In the other every text has one right label, and an
annotator who slips says any of the others: there a spread of votes is noise, the majority removes
it, and soft labels are expected to lose once there are votes enough. The losses are those of
`trainers.label_losses`. A majority that ties is no label, so the text is left out, as the trainer
of classifiers does. As that costs it texts, there is a third arm, in which a tie is broken by lot;
soft labels must be better than either.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from claims_lab.evidence import (
    ClaimResult,
    Contrast,
    Estimate,
    Figures,
    draw_table,
    estimate,
    is_less,
    is_more,
    subtract,
    tell,
)
from claims_lab.pictures import COLOURS, GREY, draw
from torch import Tensor
from torch.nn import functional

from trainers.label_losses import NO_LABEL, hard_loss, soft_loss

TEXTS, HELD_OUT, FEATURES, LABELS = 200, 1_000, 8, 4
ANNOTATORS = (1, 2, 4, 8, 16)
FEW = (2, 4, 8)
"""With one annotator both losses are the same."""
SLIPS = 0.3
"""How often an annotator of the second world errs."""
SHARPNESS = 2.0
"""The deviation of a label's logit over texts."""
DECAY = 0.01
"""Weight decay, of both losses."""
WORLDS = 32
"""Drawn for each seed; its figure is their mean."""
PICTURE = "claim-g-few-annotators.svg"
SOFT, HARD, LOT = "soft", "hard", "hard, ties by lot"
LOSSES = (SOFT, HARD, LOT)
KL, ACCURACY = "KL(truth ‖ classifier)", "accuracy"


class Setting(NamedTuple):
    """Texts of B worlds: what is true of them, and what an annotator says."""

    points_BND: Tensor
    truth_BNC: Tensor
    said_BNC: Tensor


Make = Callable[[Tensor, Tensor], Setting]
"""Of texts and the true weights [B, D, C]."""


def differ(points_BND: Tensor, weight_BDC: Tensor) -> Setting:
    """People differ, and rightly."""
    truth_BNC = (points_BND @ weight_BDC).softmax(dim=-1)
    return Setting(points_BND, truth_BNC, truth_BNC)


def slip(points_BND: Tensor, weight_BDC: Tensor) -> Setting:
    """One label is right, and people err."""
    right_BN = (points_BND @ weight_BDC).argmax(dim=-1)
    truth_BNC = functional.one_hot(right_BN, LABELS).double()
    wrong_BNC = (1 - truth_BNC) / (LABELS - 1)
    return Setting(points_BND, truth_BNC, (1 - SLIPS) * truth_BNC + SLIPS * wrong_BNC)


MAKES: dict[str, Make] = {"people differ": differ, "people err": slip}


def measure(make: Make, seed: int) -> dict[tuple[str, int], Tensor]:
    """KL and accuracy [2] on held-out texts, by loss and number of annotators."""
    rng = torch.Generator().manual_seed(seed)

    def draw_normal(*shape: int) -> Tensor:
        return torch.randn(WORLDS, *shape, generator=rng, dtype=torch.float64)

    weight_BDC = SHARPNESS * functional.normalize(draw_normal(FEATURES, LABELS), dim=1)
    taught = make(draw_normal(TEXTS, FEATURES), weight_BDC)
    held_out = make(draw_normal(HELD_OUT, FEATURES), weight_BDC)
    said_MC = taught.said_BNC.flatten(0, 1)
    votes_MA = torch.multinomial(said_MC, max(ANNOTATORS), replacement=True, generator=rng)
    lots_MC = torch.rand(said_MC.shape, generator=rng, dtype=torch.float64)
    figures = {}
    for n in ANNOTATORS:
        counts_MC = functional.one_hot(votes_MA[:, :n], LABELS).sum(dim=1)
        for loss in LOSSES:
            seen_MC = counts_MC + lots_MC if loss == LOT else counts_MC
            fitted_BDC = fit(taught.points_BND, seen_MC, loss)
            figures[loss, n] = judge(held_out.points_BND @ fitted_BDC, held_out.truth_BNC)
    return figures


def fit(points_BND: Tensor, counts_MC: Tensor, loss: str) -> Tensor:
    """The weights [B, D, C] of each world's classifier under one of the losses; M = B·N."""
    probs_MC = counts_MC / counts_MC.sum(dim=1, keepdim=True, dtype=torch.float64)
    labels_M = find_majority(counts_MC)
    taken_M = labels_M != NO_LABEL if loss != SOFT else torch.ones_like(labels_M).bool()
    share_B1 = taken_M.view(len(points_BND), -1).sum(dim=1, keepdim=True).double().reciprocal()
    share_M = share_B1.expand(points_BND.shape[:2]).flatten()
    weight_BDC = torch.zeros(
        len(points_BND), FEATURES, LABELS, dtype=torch.float64, requires_grad=True
    )
    optimizer = torch.optim.LBFGS([weight_BDC], max_iter=200, line_search_fn="strong_wolfe")

    def close() -> float:
        optimizer.zero_grad()
        logits_KC = (points_BND @ weight_BDC).flatten(0, 1)[taken_M]
        if loss == SOFT:
            losses_K = soft_loss(logits_KC, probs_MC[taken_M])
        else:
            losses_K = hard_loss(logits_KC, labels_M[taken_M])
        value = (losses_K * share_M[taken_M]).sum() + DECAY / 2 * weight_BDC.square().sum()
        value.backward()
        return value.item()

    optimizer.step(close)
    return weight_BDC.detach()


def find_majority(counts_MC: Tensor) -> Tensor:
    """The first label [M] of each text; none where the first tie."""
    most_M1 = counts_MC.max(dim=1, keepdim=True).values
    ties_M = (counts_MC == most_M1).sum(dim=1) > 1
    return counts_MC.argmax(dim=1).masked_fill(ties_M, NO_LABEL)


def judge(logits_BNC: Tensor, truth_BNC: Tensor) -> Tensor:
    """KL(truth ‖ classifier), and how often the classifier's first label is the truth's [2]."""
    right_BN = logits_BNC.argmax(dim=-1) == truth_BNC.argmax(dim=-1)
    kl_M = soft_loss(logits_BNC.flatten(0, 1), truth_BNC.flatten(0, 1))
    return torch.stack([kl_M.mean(), right_BN.double().mean()])


def run(seeds: Sequence[int]) -> ClaimResult:
    worlds = {name: collect(make, seeds) for name, make in MAKES.items()}
    draw_picture(worlds)
    return ClaimResult(
        "Soft labels beat hard labels where annotators are few",
        f"{TEXTS} texts of {FEATURES} features and {LABELS} labels, each labelled by so many"
        f" annotators, and a linear classifier with weight decay {DECAY}. {HELD_OUT:,} held-out"
        f" texts, whose true distribution is known. A seed's figure is the mean over {WORLDS}"
        f" drawn worlds. People who err do so {SLIPS:.0%} of the time. The claim is judged where"
        " people differ; the other world shows where it ends.",
        [tabulate_losses(name, figures) for name, figures in worlds.items()],
        list_contrasts(worlds["people differ"]),
        PICTURE,
        find_losses(worlds),
    )


def collect(make: Make, seeds: Sequence[int]) -> Figures:
    """By what is measured, and by loss and annotators: a value for each seed."""
    measured = [measure(make, seed) for seed in seeds]
    return {
        title: {
            name_arm(loss, n): [float(figures[loss, n][i]) for figures in measured]
            for loss in LOSSES
            for n in ANNOTATORS
        }
        for i, title in enumerate((KL, ACCURACY))
    }


def name_arm(loss: str, n: int) -> str:
    return f"{loss}, {n}"


def list_contrasts(figures: Figures) -> list[Contrast]:
    return [
        judged(
            f"{title}, {n} annotators: {SOFT} - {rival}",
            values[name_arm(SOFT, n)],
            values[name_arm(rival, n)],
        )
        for title, judged in ((KL, is_less), (ACCURACY, is_more))
        for rival in (HARD, LOT)
        for n in FEW
        for values in [figures[title]]
    ]


def tabulate_losses(world: str, figures: Figures) -> list[str]:
    """A line for each number of annotators."""
    rows = {}
    for n in ANNOTATORS:
        cells = []
        for values in figures.values():
            cells += [tell(estimate(values[name_arm(loss, n)])) for loss in LOSSES]
        rows[str(n)] = cells
    columns = [f"{title}: {loss}" for title in figures for loss in LOSSES]
    return draw_table(f"{world}; annotators", columns, rows)


def find_losses(worlds: dict[str, Figures]) -> str:
    """Where hard labels are the better ones, either way, by the whole interval."""
    lost = []
    for world, figures in worlds.items():
        for title, values in figures.items():
            numbers = [
                str(n)
                for n in ANNOTATORS
                if any(
                    is_worse(subtract(values[name_arm(SOFT, n)], values[name_arm(hard, n)]), title)
                    for hard in (HARD, LOT)
                )
            ]
            if numbers:
                lost.append(f"{title} where {world}, with {', '.join(numbers)} annotators")
    return f"Hard labels are the better ones in {'; '.join(lost) or 'no case'}."


def is_worse(difference: Estimate, title: str) -> bool:
    return difference.low > 0 if title == KL else difference.high < 0


def draw_picture(worlds: dict[str, Figures]) -> None:
    """Both figures over the number of annotators, a world in each row."""
    with draw(PICTURE, "Soft and hard labels of few annotators", height=4.9) as figure:
        axes = figure.subplots(len(worlds), 2, sharex=True, squeeze=False)
        for row, (world, figures) in zip(axes, worlds.items(), strict=True):
            for axis, (title, values) in zip(row, figures.items(), strict=True):
                for loss, colour in zip(LOSSES, COLOURS, strict=False):
                    points = [estimate(values[name_arm(loss, n)]) for n in ANNOTATORS]
                    axis.plot(ANNOTATORS, [p.value for p in points], "o-", color=colour, label=loss)
                    if len(values[name_arm(loss, 1)]) > 1:
                        low, high = ([p[end] for p in points] for end in (1, 2))
                        axis.fill_between(ANNOTATORS, low, high, color=colour, alpha=0.2, lw=0)
                axis.set_xscale("log", base=2)
                axis.set_xticks(ANNOTATORS, [str(n) for n in ANNOTATORS])
                axis.set_title(f"{world}: {title}", loc="left")
                axis.grid(color=GREY, alpha=0.3, linewidth=0.6)
        for axis in axes[-1]:
            axis.set_xlabel("annotators of each text")
        axes[0][1].legend(frameon=False, fontsize=8, loc="upper left")
