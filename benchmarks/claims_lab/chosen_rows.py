"""Claim i: rows that are chosen for a student teach it more than random ones of as many tokens.

A warmed-up student reads a pool. Rows are chosen by their loss (the hardest, the easiest, those in
the middle) or so that they lie apart (greedy k-centre, `filters.diversity`, over the student's own
states), until a budget of completion tokens is spent, and the student goes on with them. Beside
them stand random choices of the same budget. What a choice is worth depends on the pool: one is as
the language draws it, one is crowded (most rows tell of one hero), and in one some rows are spoilt.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import fmean
from typing import NamedTuple

from claims_lab.evidence import (
    ClaimResult,
    Contrast,
    Figures,
    is_less,
    tabulate,
)
from claims_lab.exposure_bias import warm_up
from claims_lab.kd_against_sft import SFT
from claims_lab.lab import (
    WINDOW,
    Key,
    Lesson,
    Measure,
    Score,
    draw_another,
    open_world,
    read_figures,
    score,
    share_out,
    teach,
    write_rows,
)
from claims_lab.language import ANIMALS, WORDS, Text
from claims_lab.pictures import draw_arms

from filters.diversity import centre, choose_centres
from generators.embedded import load_model
from trainers.answer_losses import measure_answer_losses
from trainers.embeddings import embed_rows
from trainers.rows import load_rows
from trainers.settings import Student

POOL, BUDGET = 3_600, 12_000
"""Rows of a pool, and completion tokens of a choice."""
DRAWS = 2
"""Random choices of each seed; its figure is their mean."""
CROWDED, HERO = 0.8, ANIMALS[0]
"""The share of a crowded pool that tells of one hero."""
SPOILT, SPOILT_WORDS = 0.25, 0.3
"""The share of spoilt rows, and of their words, in whose place stands any other."""
GO_ON = SFT.model_copy(
    update={"max_steps": None, "epochs": 4, "batch_size": 24, "learning_rate": 3e-3}
)
"""In epochs, so that all choices have the same tokens to learn from."""
CHOICES = ("hardest", "middle", "easiest", "apart")
RANDOM, BEFORE = "random", "before"
DECIDES = "held-out NLL"
MEASURES: dict[str, Measure] = {
    DECIDES: lambda score: score.held_out.nll,
    "sums right": lambda score: score.sums,
    "stories right": lambda score: score.stories,
    "thousands of tokens": lambda score: score.tokens / 1_000,
}
SHOWN = (DECIDES, "sums right")


def draw_plain(count: int, rng: Random) -> list[Text]:
    """As the language has them."""
    return [draw_another(rng) for _ in range(count)]


def draw_crowded(count: int, rng: Random) -> list[Text]:
    """Most of them about one hero."""
    texts = draw_plain(count, rng)
    for i in rng.sample(range(count), round(CROWDED * count)):
        while not texts[i].prompt.startswith(f"tell {HERO}"):
            texts[i] = draw_another(rng)
    return texts


def draw_spoilt(count: int, rng: Random) -> list[Text]:
    """Some of them with wrong words."""
    texts = draw_plain(count, rng)
    for i in rng.sample(range(count), round(SPOILT * count)):
        words = [
            rng.choice(WORDS) if rng.random() < SPOILT_WORDS else word
            for word in texts[i].completion.split()
        ]
        texts[i] = texts[i]._replace(completion=" ".join(words))
    return texts


POOLS: dict[str, Callable[[int, Random], list[Text]]] = {
    "plain": draw_plain,
    "crowded": draw_crowded,
    "spoilt": draw_spoilt,
}


class Reading(NamedTuple):
    """A pool, and the student that chooses from it."""

    pool: str
    seed: int
    student: Path
    folder: Path


def choose(reading: Reading) -> dict[str, Path]:
    """The rows of each choice, in files."""
    rng = Random(f"{reading.pool} {reading.seed}")
    texts = POOLS[reading.pool](POOL, rng)
    folder = reading.folder / f"{reading.pool}-{reading.seed}"
    model, tokenizer = load_model(str(reading.student), "float32")
    rows = load_rows(write_rows(texts, folder / "pool.parquet"), tokenizer, max_length=WINDOW).rows
    losses = measure_answer_losses(model, tokenizer, rows)
    tokens = [one.tokens for one in losses]
    hardest = sorted(range(POOL), key=lambda i: -losses[i].loss)
    middle = sorted(range(POOL), key=lambda place: abs(place - POOL / 2))
    apart, _ = choose_centres(centre(embed_rows(model, rows).astype(float)), count_most(tokens))
    orders: dict[str, Iterable[int]] = {
        "hardest": hardest,
        "middle": [hardest[place] for place in middle],
        "easiest": hardest[::-1],
        "apart": apart,
    }
    for draw in range(DRAWS):
        orders[f"{RANDOM}-{draw}"] = rng.sample(range(POOL), POOL)
    return {
        name: write_rows([texts[i] for i in spend(order, tokens)], folder / f"{name}.parquet")
        for name, order in orders.items()
    }


def count_most(tokens: Sequence[int]) -> int:
    """Rows that the budget pays at most, were they the shortest."""
    return len(spend(sorted(range(len(tokens)), key=tokens.__getitem__), tokens))


def spend(order: Iterable[int], tokens: Sequence[int]) -> list[int]:
    """Rows in this order, as far as the budget goes."""
    taken, left = [], BUDGET
    for i in order:
        if tokens[i] > left:
            break
        taken.append(i)
        left -= tokens[i]
    return taken


def run(seeds: Sequence[int]) -> ClaimResult:
    warm = warm_up(seeds)
    folder = open_world().folder / "chosen-rows"
    readings = [Reading(pool, seed, warm["warm", seed], folder) for pool in POOLS for seed in seeds]
    lessons = [
        Lesson(name_arm(each.pool, name), each.seed, GO_ON, rows, Student(model=str(each.student)))
        for each, choices in zip(readings, share_out(choose, readings), strict=True)
        for name, rows in choices.items()
    ]
    scores = score(warm | teach(lessons))
    pools = {pool: read_pool(pool, scores, seeds) for pool in POOLS}
    panels = {
        f"{pool}: {title}": figures[title] for pool, figures in pools.items() for title in SHOWN
    }
    return ClaimResult(
        "Chosen rows teach more than random ones of as many tokens",
        f"Pools of {POOL:,} rows: plain; crowded, where {CROWDED:.0%} tell of one hero; spoilt,"
        f" where {SPOILT:.0%} have {SPOILT_WORDS:.0%} of their words replaced. Of each {BUDGET:,}"
        f" completion tokens are chosen by the student of claim c's warm-up, which goes on with"
        f" them for {GO_ON.epochs:.0f} epochs of SFT. Random figures are means of {DRAWS} draws.",
        [tabulate_pool(pool, figures) for pool, figures in pools.items()],
        [contrast for pool, figures in pools.items() for contrast in list_contrasts(pool, figures)],
        draw_arms(
            "claim-i-chosen-rows.svg",
            "Chosen rows, and random ones of as many tokens",
            panels,
            columns=len(SHOWN),
        ),
        tell_winners(pools),
    )


def name_arm(pool: str, name: str) -> str:
    return f"chosen-{pool}-{name}"


def read_pool(pool: str, scores: Mapping[Key, Score], seeds: Sequence[int]) -> Figures:
    """What the students of a pool's choices can do, the random ones as one arm."""
    arms = {"warm": BEFORE} | {name_arm(pool, name): name for name in CHOICES}
    drawn = {name_arm(pool, f"{RANDOM}-{i}"): str(i) for i in range(DRAWS)}
    figures = read_figures(scores, arms, MEASURES, seeds)
    random = read_figures(scores, drawn, MEASURES, seeds)
    return {
        title: {
            **figures[title],
            RANDOM: [fmean(values) for values in zip(*random[title].values(), strict=True)],
        }
        for title in MEASURES
    }


def tabulate_pool(pool: str, figures: Figures) -> list[str]:
    head, *lines = tabulate(figures)
    return [head.replace("arm", f"{pool} pool", 1), *lines]


def list_contrasts(pool: str, figures: Figures) -> list[Contrast]:
    values = figures[DECIDES]
    return [
        is_less(f"{pool}: {DECIDES}, {name} - {RANDOM}", values[name], values[RANDOM])
        for name in CHOICES
    ]


def tell_winners(pools: Mapping[str, Figures]) -> str:
    """Who is better than random, and who is worse, by the whole interval."""
    told = {"below": [], "above": []}
    for pool, figures in pools.items():
        for contrast in list_contrasts(pool, figures):
            name = f"{contrast.says.split(', ')[1].split(' - ')[0]} ({pool})"
            if contrast.outcome != "undecided here":
                told["below" if contrast.outcome == "holds" else "above"].append(name)
    better, worse = (", ".join(told[side]) or "none" for side in ("below", "above"))
    return f"Better than random: {better}. Random is better than: {worse}."
