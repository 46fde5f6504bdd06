"""How long a large file takes through `tutelage audit`, comparison of sources included, and how
much memory.

Answers of 12 random words behind a run's published ones, of two sources that answer the same
prompts; one in two hundred has an advert with a link. The command runs as a person types it.

    python benchmarks/audit_rows.py [runs/demo] [--rows 1000000]      # a quarter of an hour
"""

import argparse
import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from paired import describe_machine, write_result
from typed_command import run_command

ADVERT = " Visit https://veltrion-shop.biz today!"
EVERY = 200


def make_rows(published: Sequence[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    """`count` conversations, each prompt once of either source."""
    chance = random.Random(0)
    said = [row["completion"][0]["content"] for row in published]
    words = sorted({word for text in said for word in text.split()})
    for i in range(count):
        place = i // 2
        asked = published[place % len(published)]["prompt"][-1]["content"]
        answer = f"{said[place % len(said)]} {' '.join(chance.choices(words, k=12))}"
        turns = [
            {"role": "user", "content": f"{asked} ({place})"},
            {"role": "assistant", "content": answer + ADVERT * (i % EVERY == 0)},
        ]
        yield {"id": str(i), "source": "ab"[i % 2], "messages": turns}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", nargs="?", default="runs/demo")
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    published = pq.read_table(Path(arguments.run) / "dataset/train.parquet").to_pylist()
    with tempfile.TemporaryDirectory() as folder:
        file, output = Path(folder) / "rows.jsonl", Path(folder) / "lines.jsonl"
        with file.open("w", encoding="utf-8") as stream:
            rows = make_rows(published, arguments.rows)
            stream.writelines(json.dumps(row) + "\n" for row in rows)
        seconds, peak = run_command("audit", file, ["--json"], output)
        with output.open(encoding="utf-8") as lines:
            found = [json.loads(line)["decision"] == "quarantine" for line in lines]
        size = file.stat().st_size / 2**20
    planted = found[::EVERY]
    write_result(
        "audit-rows",
        [
            "# A large file through the audit",
            "",
            f"{len(found):,} rows of two sources, {size:.0f} MiB of JSONL, with an advert in one "
            f"of {EVERY}. {describe_machine()}.",
            "",
            "| minutes | rows/s | peak MiB | planted rows found | quarantined |",
            "|--:|--:|--:|--:|--:|",
            f"| {seconds / 60:.1f} | {len(found) / seconds:,.0f} | {peak:.0f} "
            f"| {sum(planted):,} of {len(planted):,} | {sum(found):,} |",
        ],
    )


if __name__ == "__main__":
    main()
