"""A run sets aside what says the same in other words: as another row, or as an item of a
benchmark."""

import copy
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from filters.contamination import Contamination
from flows.config import RunConfig
from flows.console import Console
from flows.facts import Facts
from flows.gather import gather_facts
from flows.release import release
from flows.report import render_report
from flows.store import RunDirectory
from flows.work import open_context
from generators.errors import ConfigError
from generators.records import Prompt, Verdict
from tests.flows.small_run import (
    LICENSED,
    TOPICS,
    conduct_plainly,
    describe_run,
    read_cycle,
    read_settings,
    rows_of,
)
from tests.flows.teacher import Teacher
from tests.json_lines import write_lines
from tests.tiny_encoder import save_tiny_encoder

FORMS: tuple[str, str] = ("Answer with the number only.", "Reply with the figure alone.")
"""To the tiny encoder these are the same."""


class Compared(NamedTuple):
    settings: dict[str, Any]
    run: RunDirectory
    facts: Facts


def sum_of(a: int, b: int, form: str) -> dict[str, Any]:
    check = {"kind": "exact", "answer": str(a + b)}
    return {"prompt": f"What is {a} + {b}? {form}", "check": check, "domain": "maths"} | LICENSED


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="module")
def compared(teacher: Teacher, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Compared:
    """Eight sums, four of them asked in two ways, and a benchmark that holds one more in other
    words."""
    folder = tmp_path_factory.mktemp("semantic")
    settings = describe_run(folder, teacher.url)
    lines = [sum_of(n, n + 9, form) for n in range(11, 15) for form in FORMS]
    lines += [sum_of(n, 2 * n, FORMS[0]) for n in range(21, 25)]
    write_lines(Path(settings["seeds"]["paths"][0]), lines)
    benchmark = write_lines(
        folder / "sums.jsonl",
        [{"question": f"What is 22 + 44? {FORMS[1]}"}, {"question": TOPICS[0]}],
    )
    del settings["evolve"]
    meaning = {"model": str(encoder), "threshold": 0.999}
    settings["dedup"] = {"semantic": meaning}
    settings["decontaminate"] = {"benchmarks": [str(benchmark)], "neighbours": meaning}
    settings["decontaminate"]["coverage"] = 1.0
    return conduct_and_gather(settings, folder)


def conduct_and_gather(settings: dict[str, Any], folder: Path, **how: bool) -> Compared:
    config = read_settings(folder / "small.yaml", settings)
    run, _ = conduct_plainly(config, **how)
    with open_context(run.root, config) as context:
        return Compared(settings, run, gather_facts(context))


def test_what_asks_the_same_in_other_words_is_quarantined(compared: Compared) -> None:
    prompts = {p.id: p.text for p in read_cycle(compared.run, "prompts-round", Prompt)}
    rows = rows_of(compared.run.place("dataset/quarantine.parquet"))
    restated = [row for row in rows if row["reason"] == "semantic_duplicate_prompt"]
    assert len({row["prompt"] for row in restated}) >= 3
    for row in restated:
        twin = prompts[row["evidence"].removeprefix("repeats ")]
        forms = dict(zip(FORMS, FORMS[::-1], strict=True))
        text, form = re.split(r"(?<=\?) ", row["prompt"])
        assert twin == f"{text} {forms[form]}"
        assert (row["stage"], row["detector"]) == ("dedup", "embeddings")
        assert row["score"] == pytest.approx(1, abs=1e-4)
    rejected = rows_of(compared.run.place("dataset/rejected.parquet"))
    assert not any(row["reason"].startswith("semantic") for row in rejected)


def test_each_answer_has_one_verdict_and_the_report_counts_them(compared: Compared) -> None:
    verdicts = read_cycle(compared.run, "verdicts-dedup", Verdict)
    count, duplicates = compared.facts.count("dedup"), compared.facts.duplicates
    assert count is not None
    assert duplicates is not None
    restated = [v for v in verdicts if v.reason == "semantic_duplicate_prompt"]
    assert len({v.subject_id for v in verdicts}) == len(verdicts) == count.total
    assert count.quarantined == duplicates.semantic_prompts == len(restated) > 0
    assert duplicates.semantic_answers == 0
    page = render_report(compared.facts)
    assert "says the same in other words, as a model embeds both" in page
    assert f"in other words {len(restated)} among prompts and 0 among answers" in page


def test_a_benchmarks_item_in_other_words_is_found(compared: Compared) -> None:
    (path,) = compared.settings["decontaminate"]["benchmarks"]
    found = read_cycle(compared.run, "found-decontaminate", Contamination)
    assert {(f.way, f.part, f.item) for f in found} == {("neighbour", "prompt", f"{path}:1")}
    rows = rows_of(compared.run.place("dataset/quarantine.parquet"))
    near = [row for row in rows if row["reason"] == "contaminated"]
    assert {row["id"] for row in near} == {f.subject_id for f in found}
    assert {row["prompt"] for row in near} == {f"What is 22 + 44? {FORMS[0]}"}
    assert re.fullmatch(
        rf"the prompt says nearly \(1\.000\) the same as {re.escape(path)}:1", near[0]["evidence"]
    )
    assert near[0]["detector"] == "embeddings"
    (facts,) = compared.facts.contamination
    assert (facts.near, facts.contaminated, facts.covered) == (len(near), len(near), 0)
    assert "say the same" in render_report(compared.facts)


def read_keys(run: RunDirectory) -> dict[str, str]:
    return {entry.stage: entry.key for entry in run.manifest.files.values()}


@pytest.fixture
def own(compared: Compared, tmp_path: Path) -> tuple[dict[str, Any], Path]:
    """Settings of the same run in a folder of its own, which finds all answers in the journal."""
    settings = copy.deepcopy(compared.settings)
    settings["journal"] = str(Path(settings["runs_dir"]) / "journal.sqlite")
    return settings | {"runs_dir": str(tmp_path / "runs")}, tmp_path


def test_another_model_embeds_anew_and_the_same_does_not(own: Any, encoder: Path) -> None:
    settings, folder = own
    model = save_tiny_encoder(folder / "tiny")
    for section in (settings["dedup"]["semantic"], settings["decontaminate"]["neighbours"]):
        section["model"] = str(model)
    first = read_keys(conduct_and_gather(settings, folder).run)
    again = conduct_and_gather(settings, folder, update=True)
    assert read_keys(again.run) == first
    save_tiny_encoder(folder / "other", same=(), seed=1)
    for name in ("model.safetensors", "config.json", "tokenizer.json", "vocab.txt"):
        if (folder / "other" / name).exists():
            (model / name).write_bytes((folder / "other" / name).read_bytes())
    later = conduct_and_gather(settings, folder, update=True)
    after = read_keys(later.run)
    changed = {stage for stage in first if after[stage] != first[stage]}
    assert changed == {"decontaminate", "dedup", "publish", "report", "versions"}
    assert read_cycle(later.run, "found-decontaminate", Contamination) == []
    reasons = {v.reason for v in read_cycle(later.run, "verdicts-dedup", Verdict)}
    assert "semantic_duplicate_prompt" not in reasons


def test_the_same_rows_fall_again_whatever_the_order_of_the_seeds(
    own: Any, compared: Compared
) -> None:
    settings, folder = own
    lines = Path(settings["seeds"]["paths"][0]).read_text().splitlines()
    backward = folder / "backward.jsonl"
    backward.write_text("\n".join(lines[::-1]) + "\n")
    settings["seeds"] = {"paths": [str(backward)]}

    def tell(run: RunDirectory) -> set[tuple[str, str, str | None]]:
        verdicts = read_cycle(run, "verdicts-dedup", Verdict)
        return {(v.subject_id, v.reason, v.evidence) for v in verdicts}

    assert tell(conduct_and_gather(settings, folder).run) == tell(compared.run) != set()


def test_a_person_may_release_what_was_restated(own: Any) -> None:
    settings, folder = own
    run = conduct_and_gather(settings, folder).run
    rows = rows_of(run.place("dataset/quarantine.parquet"))
    row = min(r["id"] for r in rows if r["reason"] == "semantic_duplicate_prompt")
    (released,) = release(run.root, [row], "another task after all", Console(json=True))
    assert (released.overruled, released.decision) == ("semantic_duplicate_prompt", "accept")
    assert row in {r["id"] for r in rows_of(run.place("dataset/train.parquet"))}


@pytest.mark.parametrize("section", ["dedup.semantic", "decontaminate.neighbours"])
def test_a_model_that_is_not_there_is_told_before_the_run(section: str, own: Any) -> None:
    settings, folder = own
    outer, inner = section.split(".")
    settings[outer][inner]["model"] = "./nowhere"
    with pytest.raises(ConfigError) as caught:
        read_settings(folder / "small.yaml", settings)
    missing = (
        "./nowhere: no such model folder, nor a Hugging Face id (owner/name), nor"
        " 'smollm2-135m-instruct'."
    )
    assert [line.partition(": ")[2] for line in str(caught.value).splitlines()] == [
        f"{section}.model: {missing}" for section in ("dedup.semantic", "decontaminate.neighbours")
    ]


def test_the_settings_of_a_run_say_what_they_are(own: Any) -> None:
    settings, folder = own
    config = read_settings(folder / "small.yaml", settings)
    assert isinstance(config, RunConfig)
    settings["dedup"]["semantic"] = {"model": "owner/name"}
    semantic = read_settings(folder / "small.yaml", settings).dedup.semantic
    assert semantic is not None
    assert semantic.threshold == 0.92
