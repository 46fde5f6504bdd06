"""How well rows chosen by k-centre cover a set, beside as many that are drawn at random.

The bundled student reads the rows that a run has published, and distances are those of its own
vectors (`trainers.embeddings`). Told is how far the farthest row and the mean row lie from their
nearest chosen one, and how many rows fall at each least distance. Whether a student learns more
from such rows, this does not tell.

    python benchmarks/spread_rows.py [runs/demo]      # half a minute
"""

import random
import statistics
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from paired import describe_machine, write_result

from filters.diversity import Vectors, centre, choose_centres, find_near
from generators.embedded import BUNDLED, EmbeddedClient, EmbeddedSettings
from trainers.embeddings import embed_rows
from trainers.rows import encode_row

DRAWS = 20
COUNTS = (50, 100, 200)
LIMITS = (0.005, 0.02, 0.05, 0.1)


def read_vectors(run: Path) -> Vectors:
    """The student's vectors of a run's rows, centred and at length 1."""
    rows = pq.read_table(run / "dataset/train.parquet").to_pylist()
    model, tokenizer = EmbeddedClient(EmbeddedSettings(model=BUNDLED)).loaded
    window = model.config.max_position_embeddings
    encoded = [encode_row(row, tokenizer, max_length=window) for row in rows]
    return centre(embed_rows(model, encoded).astype(np.float64))


def measure_draw(unit_ND: Vectors, count: int, seed: int) -> tuple[float, float]:
    """The farthest and the mean distance from the nearest of `count` rows drawn at random."""
    drawn = random.Random(seed).sample(range(len(unit_ND)), count)
    nearest_N = (1 - unit_ND @ unit_ND[drawn].T).min(axis=1)
    return float(nearest_N.max()), float(nearest_N.mean())


def main() -> None:
    unit_ND = read_vectors(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo"))
    lines = [
        "# Rows that lie apart",
        "",
        f"{len(unit_ND)} published rows, read by {BUNDLED}; distances are 1 - cosine of the mean "
        f"last hidden states without their mean. At random: means of {DRAWS} draws. "
        f"{describe_machine('torch', 'transformers')}.",
        "",
        "| rows | farthest, k-centre | farthest, at random | mean, k-centre | mean, at random |",
        "|--:|--:|--:|--:|--:|",
    ]
    for count in (count for count in COUNTS if count < len(unit_ND)):
        _, nearest_N = choose_centres(unit_ND, count)
        draws = [measure_draw(unit_ND, count, seed) for seed in range(DRAWS)]
        farthest, mean = (statistics.fmean(values) for values in zip(*draws, strict=True))
        cells = (nearest_N.max(), farthest, nearest_N.mean(), mean)
        lines.append(f"| {count} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |")
    lines += ["", "| `min_distance` | rows that fall |", "|--:|--:|"]
    for limit in LIMITS:
        lines.append(f"| {limit} | {len(find_near(unit_ND, range(len(unit_ND)), limit))} |")
    write_result("spread-rows", lines)


if __name__ == "__main__":
    main()
