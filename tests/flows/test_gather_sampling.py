"""Two samplers of equal cost in a real run, and every figure of their comparison counted again."""

import itertools
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import pytest

from flows.estimate import estimate_run
from flows.facts_sampling import ComparisonFacts, MatchFacts
from flows.gather import gather_facts
from flows.store import RunDirectory
from flows.work import open_context
from tests.flows.small_run import (
    CODE,
    LICENSED,
    conduct_plainly,
    describe_run,
    read_settings,
    rows_of,
    write_lines,
)
from tests.generators.loopback import Call, LoopbackServer

SUM = re.compile(r"What is (\d+) \+ (\d+)\?")
CHAIN = re.compile(r"(\d+) \+ (\d+) = (\d+)\. ")
SKILL = {"weak": 0.3, "strong": 0.6}
OPEN_ENDED = "Advise a friend who wants to learn to swim."
PROGRAM = "Write a function double(n)."


def calculate(call: Call) -> dict[str, Any]:
    """Add two numbers: mostly step by step, sometimes right by luck, sometimes wrong."""
    if call.path.endswith("/models"):
        return {"object": "list", "data": [{"id": "weak"}, {"id": "strong"}]}
    chance = random.Random(f"{call.body['model']} {call.body['seed']} {call.asked}")
    match = SUM.search(call.asked)
    a, b = map(int, match.groups()) if match else (0, 0)
    shown = [a, b, a + b]
    if chance.random() < 0.3:
        shown[chance.randrange(3)] += chance.randint(1, 9)
    if chance.random() < 0.5:
        shown[:2] = shown[1::-1]
    chain = "{} + {} = {}. ".format(*shown) if chance.random() < 0.8 else "By heart. "
    right = chance.random() < SKILL[call.body["model"]]
    text = f"{chain}The answer is {a + b + (not right) * chance.randint(1, 9)}."
    usage = {"prompt_tokens": 9, "completion_tokens": len(text)}
    message = {"role": "assistant", "content": text}
    return {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}


class Run(NamedTuple):
    run: RunDirectory
    calls: list[Call]
    match: MatchFacts
    requests_estimated: int

    @property
    def comparison(self) -> ComparisonFacts:
        assert self.match.comparison is not None
        return self.match.comparison


def describe(folder: Path, url: str, asks: str) -> dict[str, Any]:
    """`cheap` may draw as many as two of `dear` cost: six."""
    settings: dict[str, Any] = describe_run(folder, url)
    del settings["evolve"]
    seeds: list[dict[str, Any]] = [
        {
            "prompt": f"What is {a} + {3 * a + 1}?",
            "check": {"kind": "math", "answer": str(4 * a + 1)},
            "domain": "maths",
        }
        for a in range(12, 52)
    ]
    seeds.append({"prompt": OPEN_ENDED, "domain": "advice"})
    seeds.append({"prompt": PROGRAM, "check": CODE, "domain": "code"})
    write_lines(folder / "seeds.jsonl", [seed | LICENSED for seed in seeds])
    settings["models"]["weak"] |= {"parameters": 0.7}
    settings["models"]["strong"] |= {"parameters": 2.1}
    cheap, dear = settings["answer"]["samplers"]
    del cheap["n"]
    cheap["matched_to"] = "dear"
    dear |= {"n": 2, "asks": asks}
    return settings


def conduct_matched(folder: Path, asks: str) -> Run:
    with LoopbackServer(lambda _: None, rule=calculate) as server:
        config = read_settings(folder / "small.yaml", describe(folder, server.url, asks))
        run, _ = conduct_plainly(config)
        calls = [call for call in server.calls if not call.path.endswith("/models")]
    with open_context(run.root, config) as context:
        (match,) = gather_facts(context).matches
    return Run(run, calls, match, estimate_run(config).requests)


@pytest.fixture(scope="module")
def matched(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return conduct_matched(tmp_path_factory.mktemp("matched"), "all")


class Sample(NamedTuple):
    """One answer as this test understands it: the numbers of its chain, and its last one."""

    text: str
    chain: tuple[int, ...]
    is_right: bool
    is_broken: bool
    tokens: int


def read_samples(run: RunDirectory, name: str) -> dict[str, list[Sample]]:
    """The samples of each prompt, read and judged without any of the house's own code."""
    folder = run.place("cycle-0001")
    prompts = {
        row["id"]: SUM.search(json.loads(row["messages"])[0]["content"])
        for row in rows_of(folder / "prompts-round-0.parquet")
    }
    samples: dict[str, list[Sample]] = {}
    for row in rows_of(*sorted(folder.glob(f"answers-{name}-*.parquet"))):
        asked = prompts[row["prompt_id"]]
        assert asked is not None
        text = json.loads(row["messages"])[0]["content"]
        total, last = sum(map(int, asked.groups())), int(text.split()[-1].rstrip("."))
        found = CHAIN.search(text)
        a, b, c = chain = tuple(map(int, found.groups())) if found else (0, 0, 0)
        is_broken = found is not None and (a + b != c or c != last)
        tokens = json.loads(row["usage"])["completion_tokens"]
        sample = Sample(text, chain if found else (), last == total, is_broken, tokens)
        samples.setdefault(row["prompt_id"], []).append(sample)
    return samples


def list_arms(run: Run) -> Iterator[tuple[Any, dict[str, list[Sample]], int]]:
    for arm, n in ((run.comparison.matched, 6), (run.comparison.reference, 2)):
        yield arm, read_samples(run.run, arm.sampler), n


def test_both_are_asked_the_same_for_the_same_cost(matched: Run) -> None:
    assert (matched.match.basis, matched.match.rate) == ("parameters", pytest.approx(3))
    assert matched.comparison.prompts == 40
    asked = Counter((call.body["model"], call.asked) for call in matched.calls)
    assert asked.total() == matched.requests_estimated == 40 * 6 + 40 * 2
    assert {(model, n) for (model, _), n in asked.items()} == {("weak", 6), ("strong", 2)}
    assert not {OPEN_ENDED, PROGRAM} & {text for _, text in asked}


def test_what_nothing_verifies_waits_in_quarantine(matched: Run) -> None:
    rows = rows_of(matched.run.place("dataset/quarantine.parquet"))
    told = {row["prompt"]: row["reason"] for row in rows if row["stage"] == "check"}
    assert told == {OPEN_ENDED: "no_check", PROGRAM: "constant_passes"}


def test_ledgers_are_counted(matched: Run) -> None:
    reference = read_samples(matched.run, "dear")
    length = fmean(sample.tokens for of in reference.values() for sample in of)
    assert matched.comparison.nominal_tokens == pytest.approx(length)
    for (arm, samples, n), billions in zip(list_arms(matched), (0.7, 2.1), strict=True):
        assert {len(of) for of in samples.values()} == {arm.samples} == {n}
        tokens = fmean(sum(sample.tokens for sample in of) for of in samples.values())
        assert arm.tokens == pytest.approx(tokens)
        assert arm.actual == pytest.approx(2 * billions * 1e9 * tokens)
        assert arm.nominal == pytest.approx(n * 2 * billions * 1e9 * length)


def enumerate_coverage(samples: dict[str, list[Sample]], k: int) -> float:
    """The share of all ways to draw k samples that hold a sound right one; mean over prompts."""
    shares = [
        fmean(
            any(one.is_right and not one.is_broken for one in drawn)
            for drawn in itertools.combinations(of, k)
        )
        for of in samples.values()
    ]
    return fmean(shares)


def test_coverage_is_that_of_all_draws(matched: Run) -> None:
    cheap, dear = (read_samples(matched.run, name) for name in ("cheap", "dear"))
    budgets = matched.comparison.budgets
    assert [(b.matched_samples, b.reference_samples) for b in budgets] == [(3, 1), (6, 2)]
    for budget in budgets:
        ours = enumerate_coverage(cheap, budget.matched_samples)
        theirs = enumerate_coverage(dear, budget.reference_samples)
        assert budget.matched.value == pytest.approx(ours)
        assert budget.reference.value == pytest.approx(theirs)
        assert budget.gain.value == pytest.approx(ours - theirs)
        assert budget.gain.low < budget.gain.value < budget.gain.high


def test_diversity_and_broken_chains_are_counted(matched: Run) -> None:
    for arm, samples, _ in list_arms(matched):
        right = [[one for one in of if one.is_right] for of in samples.values()]
        sound = [[one for one in of if not one.is_broken] for of in right]
        texts = fmean(len({one.text for one in of}) for of in sound)
        chains = fmean(len({one.chain for one in of if one.chain}) for of in sound)
        assert arm.distinct_answers.value == pytest.approx(texts)
        assert arm.distinct_chains.value == pytest.approx(chains)
        calculated = [one for of in right for one in of if one.chain]
        broken = [one for one in calculated if one.is_broken]
        assert (arm.calculated, arm.broken) == (len(calculated), len(broken))
        assert arm.false_positives.value == pytest.approx(len(broken) / len(calculated))
        assert 0 < len(broken) < len(calculated)


def test_broken_chains_are_quarantined_with_their_step(matched: Run) -> None:
    rows = rows_of(matched.run.place("dataset/quarantine.parquet"))
    told = [row for row in rows if row["reason"] == "broken_chain"]
    arms = (matched.comparison.matched, matched.comparison.reference)
    assert len(told) == sum(arm.broken for arm in arms)
    assert {(row["stage"], row["detector"], row["decision"]) for row in told} == {
        ("answer", "chain", "quarantine")
    }
    for row in told:
        step = CHAIN.search(row["completion"])
        assert step is not None
        assert row["evidence"].startswith(step[0].strip(". "))


def test_audit_is_measured_on_this_runs_chains(matched: Run) -> None:
    sound = [
        one
        for _, samples, _ in list_arms(matched)
        for of in samples.values()
        for one in of
        if one.is_right and one.chain and not one.is_broken
    ]
    assert matched.comparison.planted == len(sound)
    assert matched.comparison.detected is not None
    assert matched.comparison.detected.value >= 0.95


def test_report_shows_the_comparison(matched: Run) -> None:
    page = matched.run.place("report.html").read_text(encoding="utf-8")
    section = page.partition('id="matched"')[2].partition("</section>")[0]
    assert "One token of dear is worth 3 of cheap, by their non-embedding parameters." in section
    cheap = matched.comparison.matched
    assert f"{cheap.broken} of {cheap.calculated}" in section
    assert f"{matched.comparison.planted} faults planted into sound chains of this run" in section
    assert '<a href="#matched">Equal cost</a>' in page


def test_no_comparison_where_only_hard_prompts_were_left(tmp_path: Path) -> None:
    run = conduct_matched(tmp_path, "open")
    assert run.match.comparison is None
    assert run.match.absence == (
        "dear was asked only for what cheap had left open, and those prompts are the harder ones. "
        "With `asks: all` for dear both are asked the same."
    )
    page = run.run.place("report.html").read_text(encoding="utf-8")
    assert "There is no comparison: dear was asked only for what cheap had left open" in page
