"""Runs that are killed at random and teachers that fail: is anything lost, doubled or paid twice?

A run is killed (SIGKILL, its whole process group) several times at drawn moments, each time begun
again by the same command, and at last left to finish. Then its tables must be those of a run that
nobody disturbed, row by row; the server must have been asked the same, and what was in flight at a
kill once more at most; and the journal must be whole. Where one of this is not so, the script names
the run with its kills, keeps its folder and ends with 1. Only 200 kills and more are kept as a
result.

    python benchmarks/chaos_generation.py [--kills 200] [--fault-kills 20] [--seed 0]
"""

import argparse
import platform
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from killed_runs import (
    AT_ONCE,
    LATENCY_S,
    Campaign,
    Survived,
    Trial,
    Whole,
    hash_tables,
    prepare,
    run_whole,
)
from paired import describe_machine, write_result

from flows.store import RunDirectory
from tests.flows.faults import describe_long_run, find_differences
from tests.flows.kills import KINDS, run_to_its_end
from tests.flows.small_run import describe_run

FULL = 200
"""So many kills make a result that is kept."""
REFUSED, FAILED, SUMS = 0.01, 0.05, 1200
SMALL = Trial(
    "small",
    describe_run,
    concurrency=4,
    most={"requests": 100, "seconds": 6, "journal writes": 60, "file writes": 40},
)
LONG = Trial(
    "long",
    partial(describe_long_run, sums=SUMS, concurrency=16),
    concurrency=16,
    most={"requests": 400, "seconds": 8, "journal writes": 100, "file writes": 20},
)
FAULTY = LONG._replace(name="faulty", refused=REFUSED, failed=FAILED)


def ask_again(trial: Trial, whole: Whole, folder: Path) -> tuple[int, list[str]]:
    """The requests of the same command typed again and of the same run under another name, which
    have only the run directory and the journal to go by; and what is wrong with them."""
    problems = []
    with trial.serve(1) as teacher:
        for name in (whole.run.root.name, "again"):
            config, root = prepare(trial, folder, teacher.url, name=name)
            ended = run_to_its_end(config)
            if ended.code:
                problems.append(f"{name}: ended with {ended.code}: {ended.said[-2000:]}")
            elif hash_tables(RunDirectory(root)) != whole.hashes:
                problems.append(f"{name}: not the same rows")
    if asked := len(teacher.asked_since(0)):
        problems.append(f"{asked} requests for what was known")
    return asked, problems


def tell_kills(trial: Trial, survived: Sequence[Survived]) -> str:
    """A row of the table of kills."""
    kills = sum(len(run.kills) for run in survived)
    equal = sum(not run.problems for run in survived)
    return (
        f"| {trial.name} | {kills} | {len(survived)} | {sum(run.lost for run in survived)} "
        f"| {sum(run.doubled for run in survived)} | {equal} of {len(survived)} "
        f"| {sum(run.extra for run in survived)} | {kills * trial.concurrency} |"
    )


def tell_moments(survived: Sequence[Survived]) -> list[str]:
    """The table of what the kills hit, by the kind of their moments."""
    lines = []
    for kind in KINDS:
        hit = [strike for run in survived for moment, strike in run.kills if moment.kind == kind]
        starting = sum(not strike.requests for strike in hit)
        writing = sum(strike.half_written for strike in hit)
        lines.append(f"| {kind} | {len(hit)} | {starting} | {writing} |")
    return lines


def tell_stages(survived: Sequence[Survived]) -> str:
    """After which stage's commit the kills came."""
    counted = Counter(strike.committed or "none" for run in survived for _, strike in run.kills)
    return ", ".join(f"{stage} {number}" for stage, number in counted.most_common())


def tell_campaigns(survived: Sequence[Sequence[Survived]], requests: int) -> list[str]:
    """What came of the kills, of the small trial and of the faulty one."""
    return [
        "SIGKILL to the process group at drawn moments, up to 8 times a run. `small` evolves and "
        f"answers ({requests} requests, {SMALL.concurrency} in flight); `faulty` answers {SUMS} "
        f"prompts ({FAULTY.concurrency} in flight) while the server makes the faults told below. "
        "Equal runs have the hashes of the undisturbed run (train, quarantine and rejected), asked "
        "the same, and have a journal that passes SQLite's integrity check and its own checksums, "
        "with a row for each request.",
        "",
        "| run | kills | runs | rows lost | rows doubled | equal | extra requests | at most |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
        *map(tell_kills, (SMALL, FAULTY), survived),
        "",
        "At most: kills times requests in flight. What the kills of `small` hit:",
        "",
        "| moment counted in | kills | before the first request | a file half written |",
        "|---|--:|--:|--:|",
        *tell_moments(survived[0]),
        "",
        f"The stage that had committed last: {tell_stages(survived[0])}.",
    ]


def tell_faults(plain: Whole, faulty: Whole, asked_again: int) -> list[str]:
    """The runs with and without faults."""
    rows = [
        f"| {name} | {len(whole.settled)} | {whole.failures} | {len(whole.refusals)} "
        f"| {whole.ids['train'].total()} | {whole.ids['quarantine'].total()} "
        f"| {whole.ids['rejected'].total()} |"
        for name, whole in (("without faults", plain), ("with faults", faulty))
    ]
    return [
        f"{REFUSED:.0%} of the requests get a permanent 400, chosen by a hash of the request; "
        f"{FAILED:.0%} of the tries a 500, by chance. Each refused sample lies in quarantine with "
        "its reason, and every other row is the same; the same command again, and the same run "
        f"under another name with only the journal to go by, sent {asked_again} requests.",
        "",
        "| run | requests settled | 500s | refused | train | quarantine | rejected |",
        "|---|--:|--:|--:|--:|--:|--:|",
        *rows,
    ]


def tell_problems(trial: Trial, survived: Sequence[Survived]) -> list[str]:
    return [
        f"{trial.name}, run {run.number}, killed after {', '.join(str(m) for m, _ in run.kills)}: "
        f"{problem}"
        for run in survived
        for problem in run.problems
    ]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=FULL)
    parser.add_argument("--fault-kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    folder = Path(tempfile.mkdtemp(prefix="chaos-generation-"))
    started = time.monotonic()
    small, plain, faulty = (run_whole(t, folder / f"{t.name}-whole") for t in (SMALL, LONG, FAULTY))
    problems = find_differences(plain.run, faulty.run, faulty.refusals)
    asked, wrong = ask_again(FAULTY, faulty, folder / "faulty-whole")
    problems += wrong
    print(f"faults: {len(faulty.refusals)} refused, {'; '.join(problems) or 'as it must be'}")
    survived: list[list[Survived]] = []
    for trial, whole, kills in (
        (SMALL, small, arguments.kills),
        (FAULTY, faulty, arguments.fault_kills),
    ):
        campaign = Campaign(trial, whole, folder / trial.name, kills, arguments.seed)
        survived.append(campaign.carry_out())
        problems += tell_problems(trial, survived[-1])
    minutes = (time.monotonic() - started) / 60
    lines = [
        "# Random kills and faults",
        "",
        "`tutelage run CONFIG --no-prefect` against a server on this machine whose answers depend "
        f"on the request alone ({LATENCY_S * 1000:.0f} ms each), {AT_ONCE} runs at a time; seed "
        f"{arguments.seed}; {minutes:.0f} minutes.",
        f"On {describe_machine('tutelage', 'openai', 'aiohttp', 'pyarrow')}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}.",
        *("", "## Kills", ""),
        *tell_campaigns(survived, requests=len(small.settled)),
        *("", "## Faults", ""),
        *tell_faults(plain, faulty, asked_again=asked),
    ]
    if problems:
        print("\n".join(lines), f"\n{folder} is kept:", *problems, sep="\n")
        sys.exit(1)
    shutil.rmtree(folder)
    if arguments.kills >= FULL:
        write_result("chaos-generation", lines)
    else:
        print("\n".join(lines))


if __name__ == "__main__":
    main()
