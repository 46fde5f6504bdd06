"""Every figure of the report, counted a second time from the files of a real run."""

import json
from collections import Counter
from collections.abc import Iterator
from statistics import fmean
from typing import Any

import pytest

from flows.facts import Facts
from flows.gather import gather_facts
from flows.stages.publish import hash_dataset
from flows.work import open_context
from tests.flows.conftest import Finished
from tests.flows.small_run import rows_of
from trainers.metrics import read_metrics

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def facts(trained: Finished) -> Iterator[Facts]:
    with open_context(trained.run.root, trained.config) as context:
        yield gather_facts(context)


@pytest.fixture(scope="module")
def files(trained: Finished) -> dict[str, Rows]:
    """The rows of the run's files, by the beginning of their names."""
    names = ["prompts-round-0", "prompts-round", "verdicts-evolve", "verdicts-check"]
    names += ["verdicts-dedup", "verdicts-publish"]
    names += [f"{kind}-{name}" for kind in ("answers", "verdicts") for name in ("cheap", "dear")]
    folder = trained.run.place("cycle-0001")
    return {name: rows_of(*sorted(folder.glob(f"{name}*.parquet"))) for name in names}


def accepted(rows: Rows) -> set[str]:
    return {row["subject_id"] for row in rows if row["decision"] == "accept"}


def test_stages_are_counted(facts: Facts, files: dict[str, Rows]) -> None:
    by_stage = {
        "evolve": files["verdicts-evolve"],
        "check": files["verdicts-check"],
        "answer": files["verdicts-cheap"] + files["verdicts-dear"],
        "dedup": files["verdicts-dedup"],
        "publish": files["verdicts-publish"],
    }
    assert [count.stage for count in facts.counts] == list(by_stage)
    for count in facts.counts:
        rows = by_stage[count.stage]
        decisions = Counter(row["decision"] for row in rows)
        assert (count.total, count.accepted) == (len(rows), decisions["accept"])
        fallen = Counter((row["decision"], row["reason"]) for row in rows)
        assert {(r.decision, r.reason): r.count for r in count.reasons} == {
            key: number for key, number in fallen.items() if key[0] != "accept"
        }


def test_seeds_and_pool_are_counted(facts: Facts, files: dict[str, Rows]) -> None:
    seeds = files["prompts-round-0"]
    assert (facts.seeds.total, facts.rounds) == (len(seeds), 2)
    assert facts.seeds.by_domain == Counter(row["domain"] for row in seeds)
    assert facts.pool == len(seeds) + len(accepted(files["verdicts-evolve"]))


def test_operators_are_counted(facts: Facts, files: dict[str, Rows], trained: Finished) -> None:
    children = [row for row in files["prompts-round"] if row["round"] > 0]
    alive = [row for row in children if row["id"] in accepted(files["verdicts-evolve"])]
    published = {row["prompt_id"] for row in trained.rows()}

    def count(rows: Rows) -> Counter:
        return Counter((row["round"], row["operator"]) for row in rows)

    told = {(o.round, o.operator): o for o in facts.operators}
    assert {key: o.tried for key, o in told.items()} == count(children)
    assert +Counter({key: o.survived for key, o in told.items()}) == count(alive)
    assert +Counter({key: o.published for key, o in told.items()}) == count(
        [row for row in alive if row["id"] in published]
    )
    assert told[1, "procedural"].reasons == ()


@pytest.mark.parametrize(("name", "n"), [("cheap", 2), ("dear", 3)])
def test_samplers_are_counted(facts: Facts, files: dict[str, Rows], name: str, n: int) -> None:
    (told,) = [sampler for sampler in facts.samplers if sampler.name == name]
    answers, right = files[f"answers-{name}"], accepted(files[f"verdicts-{name}"])
    usage = [json.loads(row["usage"]) for row in answers]
    solved = {row["prompt_id"] for row in answers if row["id"] in right}
    assert (told.samples, told.draws, told.accepted) == (len(answers), n, len(right))
    assert told.prompts == len(answers) / n == len({row["prompt_id"] for row in answers})
    assert told.completion_tokens == sum(tokens["completion_tokens"] for tokens in usage)
    assert told.prompt_tokens == sum(tokens["prompt_tokens"] for tokens in usage)
    assert told.coverage is not None
    assert told.coverage.value == pytest.approx(len(solved) / told.prompts)


def test_difficulty_is_the_first_samplers(facts: Facts, files: dict[str, Rows]) -> None:
    rounds = {row["id"]: row["round"] for row in files["prompts-round"]}
    right = accepted(files["verdicts-cheap"])
    rates: dict[int, list[float]] = {}
    by_prompt: dict[str, list[bool]] = {}
    for row in files["answers-cheap"]:
        by_prompt.setdefault(row["prompt_id"], []).append(row["id"] in right)
    for id, passed in by_prompt.items():
        rates.setdefault(rounds[id], []).append(fmean(passed))
    assert [(d.round, d.prompts) for d in facts.difficulty] == [
        (round, len(rates[round])) for round in (0, 1, 2)
    ]
    for told in facts.difficulty:
        assert told.mean_pass_rate == pytest.approx(fmean(rates[told.round]))
        bins = Counter(rates[told.round])
        assert told.histogram == (bins[0.0], 0, bins[0.5], 0, 0, bins[1.0])


def test_dataset_is_counted(facts: Facts, trained: Finished) -> None:
    rows, dataset = trained.rows(), facts.dataset
    assert dataset is not None
    assert (dataset.rows, dataset.prompts) == (len(rows), len({r["prompt_id"] for r in rows}))
    for name in ("domain", "verified_by", "operator", "round", "licence"):
        assert getattr(dataset, f"by_{name}") == Counter(row[name] for row in rows)
    assert dataset.hash == hash_dataset(trained.run.place("dataset/train.parquet"))
    rewritten = [r for r in rows if r["operator"] not in ("seed", "procedural", "constraint")]
    assert len(rewritten) <= dataset.evolved < len(rows)


def test_duplicates_are_counted(facts: Facts, files: dict[str, Rows]) -> None:
    reasons = Counter(row["reason"] for row in files["verdicts-dedup"])
    assert facts.duplicates is not None
    assert facts.duplicates.model_dump() == {
        f"{kind}_{what}s": reasons[f"{kind}_duplicate_{what}"]
        for kind in ("exact", "near", "semantic")
        for what in ("prompt", "answer")
    }
    assert facts.duplicates.exact_prompts > 0
    assert facts.duplicates.exact_answers > 0


def test_lineages_lead_from_a_seed_to_the_row(facts: Facts, trained: Finished) -> None:
    rows = {row["id"]: row for row in trained.rows()}
    assert len(facts.lineages) == 6
    assert len({tuple(step.operator for step in line.steps) for line in facts.lineages}) == 6
    for line in facts.lineages:
        row = rows[line.row_id]
        first, last = line.steps[0], line.steps[-1]
        assert (first.operator, first.round, first.decision) == ("seed", 0, "accept")
        assert (last.text, last.operator) == (row["prompt"][-1]["content"], row["operator"])
        assert [step.round for step in line.steps] == sorted({step.round for step in line.steps})
        assert line.answer == row["completion"][-1]["content"]


def test_training_is_told(facts: Facts, trained: Finished) -> None:
    lines = read_metrics(trained.run.place("metrics.jsonl"))
    training = facts.training
    assert training is not None
    assert (training.steps, training.rows, training.skipped) == (40, len(trained.rows()), 0)
    assert [(p.step, p.loss) for p in training.losses] == [(e["step"], e["loss"]) for e in lines]
    assert training.losses[-1].loss < training.losses[0].loss
    assert (training.batch_sizes, training.learning_rates) == ((4,), (1e-3,))
    assert training.precision == "float32"


def test_evaluation_is_told(facts: Facts, trained: Finished) -> None:
    assert facts.evaluation is not None
    assert [arm.name for arm in facts.evaluation.arms] == [
        *("before, zero-shot", "before, few-shot", "after, zero-shot"),
    ]
    assert facts.evaluation.attribution is not None
    for name, arm in zip(("before", "few-shot", "after"), facts.evaluation.arms, strict=True):
        result = json.loads(trained.run.place(f"evaluation/{name}.json").read_bytes())
        right = sum(result["pass_1"]["correct"].values())
        assert (arm.prompts, arm.pass_at_1.value) == (10, right / 10)
        assert arm.pass_at_k is not None
        assert (arm.pass_at_k.k, arm.pass_at_k.prompts) == (2, 3)
        assert arm.perplexity == (result["text"][1] if result["text"] else None)
    before, _, after = facts.evaluation.arms
    assert before.perplexity is not None
    assert after.perplexity is not None
    assert before.perplexity != after.perplexity


def test_run_and_models_are_told(facts: Facts, trained: Finished) -> None:
    manifest = trained.run.manifest
    assert facts.run.config_digest == trained.config.digest == manifest.config_digest
    assert {t.stage: t.seconds for t in facts.run.stages} == manifest.seconds
    assert [(m.id, m.role, m.licence) for m in facts.models] == [
        ("weak", "sampler cheap", "apache-2.0"),
        ("strong", "evolves prompts, sampler dear", "apache-2.0"),
        (str(trained.config.train and trained.config.train.student), "student", "its own model's"),
    ]
