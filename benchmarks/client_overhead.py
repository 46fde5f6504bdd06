"""What a request costs: tutelage with its journal, a bare loop, distilabel and DataDesigner.

One loopback server on a core of its own, the clients on another, one at a time and in turns, each
in a fresh process: the same chain of distinct prompts, one answer each, 64 requests in flight.
Peers are installed into environments of their own under the user's cache directory; one that
cannot be installed or does not get through is told with the reason.

    python benchmarks/client_overhead.py [--peers none] [--prompts 1000] [--rounds 3]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from overhead_peers.chain import IN_FLIGHT
from paired import describe_machine, write_result
from peers import CACHE, Unavailable, check_output, install_peer

HERE = Path(__file__).parent
PEERS = {
    # distilabel imports requests, which the newer packages it asks for no longer bring along.
    "distilabel": ("distilabel[openai]==1.5.3", "requests"),
    "data_designer": ("data-designer==0.9.6",),
}
LATENCIES = {"steady": "200 ms", "lognormal": "log-normal, median 200 ms, sigma 0.5"}
CLIENT_TIMEOUT_S = 600


class Cost(NamedTuple):
    """What one client's way through the chain took; see `overhead_peers.chain.take_cost`."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    answered: int
    version: str
    """The package's name and version."""


@contextmanager
def serve(core: int) -> Iterator[str]:
    """Have the server running on one core; gives its URL."""
    command = [sys.executable, str(HERE / "overhead_server.py")]
    pin = partial(os.sched_setaffinity, 0, {core})
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=pin
    ) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        # Leaving the block closes the server's input, which ends it.


def run_client(python: Path, name: str, url: str, latency: str, prompts: int, core: int) -> Cost:
    """One client's way through the chain, in a new process and an empty folder on disk."""
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        output = check_output(
            [python, HERE / "overhead_peers" / f"run_{name}.py", url, latency, str(prompts)],
            cwd=folder,
            env=os.environ | {"HOME": folder, "HF_HUB_OFFLINE": "1"},
            timeout=CLIENT_TIMEOUT_S,
            preexec_fn=partial(os.sched_setaffinity, 0, {core}),
        )
    return Cost(**json.loads(output.splitlines()[-1]))


def take_turns(
    clients: Mapping[str, Path], url: str, latency: str, prompts: int, rounds: int, core: int
) -> tuple[dict[str, list[Cost]], dict[str, str]]:
    """Each client's costs by round, in an order that turns; and why some could not be measured."""
    costs: dict[str, list[Cost]] = {name: [] for name in clients}
    unavailable: dict[str, str] = {}
    for round in range(rounds):
        names = list(costs)
        turn = round % len(names)
        for name in [*names[turn:], *names[:turn]]:
            try:
                cost = run_client(clients[name], name, url, latency, prompts, core)
                costs[name].append(cost)
            except Unavailable as error:
                if name not in PEERS:
                    raise
                unavailable[name] = str(error)
                del costs[name]
    return costs, unavailable


def tell_costs(costs: Mapping[str, Sequence[Cost]], prompts: int) -> list[str]:
    """The table's rows; a ratio is the median of the rounds' own ratios."""
    rows = []
    for name, own in costs.items():
        rate = compare(costs, "bare_loop", name, "wall_s")
        share = compare(costs, name, "distilabel", "cpu_s") if "distilabel" in costs else None
        rows.append(
            f"| {name} | {own[0].version} | {min(cost.answered for cost in own)} "
            f"| {median(own, 'wall_s'):.2f} | {rate:.3f} "
            f"| {median(own, 'cpu_s') / prompts * 1000:.2f} "
            f"| {'-' if share is None else f'{share:.2f}'} | {median(own, 'peak_mib'):.0f} |"
        )
    return rows


def compare(costs: Mapping[str, Sequence[Cost]], one: str, other: str, figure: str) -> float:
    """The first client's figure over the other's."""
    return statistics.median(
        getattr(a, figure) / getattr(b, figure)
        for a, b in zip(costs[one], costs[other], strict=True)
    )


def median(costs: Sequence[Cost], figure: str) -> float:
    return statistics.median(getattr(cost, figure) for cost in costs)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", choices=("none", "all"), default="all")
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def find_clients(peers: str) -> tuple[dict[str, Path], dict[str, str]]:
    """Each client's interpreter, and why a peer could not be installed."""
    own = Path(sys.executable)
    clients, unavailable = {"bare_loop": own, "tutelage": own}, {}
    for name in PEERS if peers == "all" else ():
        try:
            place = CACHE / f"{name}-{PEERS[name][0].split('==')[1]}"
            clients[name] = install_peer(place, PEERS[name])
        except Unavailable as error:
            unavailable[name] = str(error)
    return clients, unavailable


def main() -> None:
    arguments = parse_arguments()
    prompts, rounds = arguments.prompts, arguments.rounds
    CACHE.mkdir(parents=True, exist_ok=True)
    cores = sorted(os.sched_getaffinity(0))
    clients, missing = find_clients(arguments.peers)
    lines = [
        "# What a request costs",
        "",
        f"{prompts} distinct prompts, one answer each, {IN_FLIGHT} in flight, against one server "
        "on this machine; client and server on a core each; "
        f"median of {rounds} rounds in which the clients take turns.",
        f"Measured on {describe_machine('aiohttp', 'openai')}.",
        "",
        "Seconds run from before the first request is made until the last answer is at hand, CPU "
        "seconds likewise: imports before them do not count, threads and child processes do. "
        "tutelage's include its journal on disk, the peers' what they store. The peak is the "
        "largest resident set of one process, imports included.",
    ]
    with serve(cores[-1]) as url:
        for latency, meaning in LATENCIES.items():
            costs, unavailable = take_turns(clients, url, latency, prompts, rounds, cores[0])
            missing |= unavailable
            lines += [
                *("", f"## Latency: {meaning}", ""),
                "| client | version | answered | seconds | throughput, of the bare loop's "
                "| CPU s per 1,000 requests | CPU, of distilabel's | peak MiB |",
                "|---|---|--:|--:|--:|--:|--:|--:|",
                *tell_costs(costs, prompts),
            ]
        lines += [
            *("", "## With ten times the prompts", ""),
            "| client | latency | prompts | seconds | throughput, of the bare loop's "
            "| CPU ms a request | peak MiB |",
            "|---|---|--:|--:|--:|--:|--:|",
        ]
        own = {name: clients[name] for name in ("bare_loop", "tutelage")}
        for latency in LATENCIES:
            for count in (prompts, 10 * prompts):
                costs, _ = take_turns(own, url, latency, count, rounds, cores[0])
                for name, taken in costs.items():
                    lines.append(
                        f"| {name} | {latency} | {count} | {median(taken, 'wall_s'):.2f} "
                        f"| {compare(costs, 'bare_loop', name, 'wall_s'):.3f} "
                        f"| {median(taken, 'cpu_s') / count * 1000:.3f} "
                        f"| {median(taken, 'peak_mib'):.0f} |"
                    )
    lines += [f"\n{name} could not be measured: {reason}" for name, reason in missing.items()]
    write_result("client-overhead", lines)


if __name__ == "__main__":
    main()
