"""The laws of a whole run: nothing is lost, nothing is published unverified, all is traced."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from filters.verify import verify
from flows.config import load_config
from flows.store import RunDirectory
from generators.constraints import state
from generators.records import Answer, ConstraintCheck, ProceduralCheck, Prompt, Verdict
from tests.flows.conftest import Finished
from tests.flows.small_run import conduct_plainly, read_cycle, rows_of

COLUMNS = [
    *("id", "prompt", "completion", "root_id", "parent_id", "prompt_id", "cycle", "round"),
    *("operator", "domain", "check", "verified_by", "confidence", "weight", "student_pass_rate"),
    *("student_loss", "ifd", "teacher", "author", "source", "licence", "tools", "tags"),
]
ARMS = {"accept", "quarantine", "reject"}


def read_prompts(run: RunDirectory) -> dict[str, Prompt]:
    prompts = read_cycle(run, "prompts-", Prompt)
    assert len({prompt.id for prompt in prompts}) == len(prompts)
    return {prompt.id: prompt for prompt in prompts}


def read_answers(run: RunDirectory, sampler: str) -> list[Answer]:
    return read_cycle(run, f"answers-{sampler}-", Answer)


def read_verdicts(run: RunDirectory, stage: str) -> list[Verdict]:
    return read_cycle(run, f"verdicts-{stage}", Verdict)


def read_accepted(run: RunDirectory, stage: str) -> set[str]:
    return {v.subject_id for v in read_verdicts(run, stage) if v.decision == "accept"}


def read_dataset(run: RunDirectory, name: str = "train") -> list[dict[str, Any]]:
    return rows_of(run.place(f"dataset/{name}.parquet"))


def count_arrivals(run: RunDirectory) -> dict[str, int]:
    """How many subjects came to each stage, counted from what the stages before it let on."""
    prompts = read_prompts(run).values()
    seeds = sum(prompt.round == 0 for prompt in prompts)
    children = sum(len(read_accepted(run, f"evolve-{r}")) for r in (1, 2))
    checked = read_accepted(run, "check")
    cheap, dear = read_accepted(run, "cheap"), read_accepted(run, "dear")
    solved = {answer.prompt_id for answer in read_answers(run, "cheap") if answer.id in cheap}
    return {
        "evolve-1": seeds,
        "evolve-2": seeds,
        "check": seeds + children,
        "cheap": 2 * len(checked),
        "dear": 3 * len(checked - solved),
        "dedup": len(cheap) + len(dear),
        "publish": len(read_accepted(run, "dedup")),
    }


@pytest.mark.parametrize(
    "stage", ["evolve-1", "evolve-2", "check", "cheap", "dear", "dedup", "publish"]
)
def test_every_arrival_gets_one_verdict(finished: Finished, stage: str) -> None:
    verdicts = read_verdicts(finished.run, stage)
    decisions = Counter(verdict.decision for verdict in verdicts)

    assert len(verdicts) == count_arrivals(finished.run)[stage] > 0
    assert len({verdict.subject_id for verdict in verdicts}) == len(verdicts)
    assert sum(decisions[decision] for decision in ARMS) == len(verdicts)


def test_children_are_judged_and_answers_too(finished: Finished) -> None:
    """The verdicts are about what is in the files beside them."""
    run = finished.run
    children = {p.id for p in read_prompts(run).values() if p.round == 1}
    assert children == {v.subject_id for v in read_verdicts(run, "evolve-1")}
    for sampler in ("cheap", "dear"):
        answers = {answer.id for answer in read_answers(run, sampler)}
        assert answers == {v.subject_id for v in read_verdicts(run, sampler)}


def test_what_is_not_published_is_set_aside_with_its_reason(finished: Finished) -> None:
    stages = ["evolve-", "check", "cheap", "dear", "dedup", "publish"]
    fallen = [
        (verdict.subject_id, verdict.stage, verdict.decision, verdict.reason)
        for stage in stages
        for verdict in read_verdicts(finished.run, stage)
        if verdict.decision != "accept"
    ]
    aside = [
        (row["id"], row["stage"], row["decision"], row["reason"])
        for name in ("quarantine", "rejected")
        for row in read_dataset(finished.run, name)
    ]

    assert Counter(aside) == Counter(fallen)
    assert {row["decision"] for row in read_dataset(finished.run, "quarantine")} == {"quarantine"}
    published = {row["id"] for row in read_dataset(finished.run)}
    assert published == read_accepted(finished.run, "publish")


def test_the_teacher_failed_in_all_its_ways(finished: Finished) -> None:
    """So that the laws above are not held by an easy run."""
    aside = [r for n in ("quarantine", "rejected") for r in read_dataset(finished.run, n)]
    reasons = {(row["stage"], row["reason"]) for row in aside}
    expected = {
        *(("evolve", r) for r in ("unchanged", "template_leak", "unfinished", "no_check")),
        *(("verify", r) for r in ("wrong", "constraint_broken")),
        *(("dedup", f"exact_duplicate_{what}") for what in ("prompt", "answer")),
        *{("check", "no_check"), ("check", "constant_passes"), ("structure", "truncated")},
    }
    assert expected <= reasons


def test_every_row_passes_its_own_check(finished: Finished) -> None:
    rows = read_dataset(finished.run)
    prompts = read_prompts(finished.run)
    for row in rows:
        (said,) = row["completion"]
        assert verify(json.loads(row["check"]), said["content"]).decision == "accept"
        assert row["prompt"][-1]["content"] == prompts[row["prompt_id"]].text
        assert row["verified_by"] in {"reference", "program", "constraint"}
    assert len(rows) > 25
    assert {row["operator"] for row in rows} >= {"seed", "procedural", "constraint"}


def test_every_lineage_reaches_a_seed(finished: Finished) -> None:
    prompts = read_prompts(finished.run)
    aside = [r for n in ("quarantine", "rejected") for r in read_dataset(finished.run, n)]
    for row in [*read_dataset(finished.run), *aside]:
        prompt = prompts[row["prompt_id"]]
        rounds = [prompt.round]
        while prompt.parent_id is not None:
            prompt = prompts[prompt.parent_id]
            rounds.append(prompt.round)
        assert (prompt.operator, prompt.id, prompt.round) == ("seed", row["root_id"], 0)
        assert rounds == sorted(set(rounds), reverse=True)


def test_no_child_carries_its_parents_check(finished: Finished) -> None:
    """A check is one that the child's own words ask for, or there is none."""
    prompts = read_prompts(finished.run)
    pairs = [(p, prompts[p.parent_id]) for p in prompts.values() if p.parent_id is not None]
    for child, parent in pairs:
        match child.check:
            case ConstraintCheck(constraints=own):
                assert child.text.endswith(f"\n\n{state(own)}")
                assert parent.domain == "writing"
            case ProceduralCheck(entry=entry):
                assert child.text == entry["question"] != parent.text
            case _:
                assert child.check is None
    kinds = Counter(child.check.kind if child.check else None for child, _ in pairs)
    assert kinds["constraint"] > 5
    assert kinds["procedural"] == 12
    assert kinds[None] > 5


def test_dataset_opens_as_people_open_it(finished: Finished, tmp_path: Path) -> None:
    from datasets import Dataset, load_dataset

    file = str(finished.run.place("dataset/train.parquet"))
    loaded = load_dataset("parquet", data_files=file, split="train", cache_dir=str(tmp_path))

    assert isinstance(loaded, Dataset)
    assert loaded.column_names == COLUMNS
    assert loaded.to_list() == read_dataset(finished.run)
    first = loaded[0]
    assert [turn["role"] for turn in first["prompt"] + first["completion"]] == ["user", "assistant"]


def test_finished_run_is_left_as_it_is(finished: Finished) -> None:
    root = finished.run.root
    before = {file: file.stat().st_mtime_ns for file in root.rglob("*") if file.name != ".lock"}

    run, printed = conduct_plainly(finished.config)

    assert printed == f"{root}: this run is finished; nothing is left to do.\n"
    assert before == {
        file: file.stat().st_mtime_ns for file in root.rglob("*") if file.name != ".lock"
    }
    assert run.manifest.cycles["1"].status == "finished"


def test_progress_is_told_stage_by_stage(finished: Finished) -> None:
    ends = [line.split(":")[0] for line in finished.printed.splitlines() if "\u202fs" in line]
    assert ends == [
        *("seeds", "calibrate", "evolve-1", "evolve-2", "check", "answer-cheap", "answer-dear"),
        *("dedup", "publish", "report"),
    ]
    assert list(finished.run.manifest.seconds) == ends


def test_cheap_sampler_spares_the_dear_one(finished: Finished) -> None:
    """What the first sampler has solved is not put to the second."""
    run = finished.run
    cheap = read_accepted(run, "cheap")
    solved = {answer.prompt_id for answer in read_answers(run, "cheap") if answer.id in cheap}
    asked = {answer.prompt_id for answer in read_answers(run, "dear")}

    assert len(solved) > 5
    assert len(asked) > 5
    assert solved & asked == set()


def test_no_request_is_sent_twice(finished: Finished) -> None:
    """Probing a child and answering it ask the same thing, which is paid for once."""
    sent = Counter(json.dumps([call.path, call.body], sort_keys=True) for call in finished.requests)
    assert [body for body, count in sent.items() if count > 1] == []


def test_resolved_configuration_lies_in_the_run(finished: Finished) -> None:
    """Defaults included, and as good as the file that the run was begun with."""
    written = finished.run.place("config.yaml")
    assert "dedup:\n  threshold: 0.7\n" in written.read_text(encoding="utf-8")
    assert load_config(written) == finished.config
