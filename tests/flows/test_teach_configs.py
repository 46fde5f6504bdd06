"""Every way of teaching that has a configuration of its own, for two steps."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.conduct import PlainConductor
from flows.console import Console
from flows.pipeline import conduct
from flows.run_settings import VllmModel
from flows.stage_lists import choose_stages
from flows.stages.report import CURVES, MODEL_CARD
from flows.stages.teach import read_figures
from flows.teach_settings import TeachConfig, load_teaching
from tests.flows.small_run import ROOT
from tests.flows.taught import shrink
from tests.generators.loopback import LoopbackServer
from tests.trainers.scoring_server import serve_scores
from trainers.settings import Objective

CONFIGS = sorted(
    file
    for file in (ROOT / "flows/configs").glob("teach-*.yaml")
    if file.stem != "teach-vllm-rollouts"  # wants a server: tests/vllm
)
OWN = "reverse KL on its own tokens"
HOW = {
    "teach-forward": "forward KL on the rows' tokens, at temperature 2, with 20",
    "teach-cached": "forward KL on the rows' tokens, the teacher read from disk",
    "teach-on-policy": "reverse KL on tokens that the student writes itself",
    "teach-gkd": "(\u03b2 = 0.5) on tokens that the student writes itself in 50",
    "teach-minillm": "on tokens that the student and its teacher write together, beside plain text",
    "teach-context": "the student behind worked examples as its own teacher",
    "teach-hidden": "forward KL on the rows' tokens, its layers following the teacher's",
    "teach-uld": "distance of sorted probabilities (ULD) on the rows' tokens, with 50",
    "teach-aligned": "divergence of chunks of the same bytes on the rows' tokens",
    "teach-remote": "writes itself, the teacher's 20 likeliest tokens asked of its server",
    "teach-cached-vllm": "forward KL on the rows' tokens, the teacher read from disk",
    "teach-domains": "a teacher for each domain (maths, default)",
    "teach-lora": "cross-entropy on the rows' tokens, by adapters of rank 16",
    "teach-pretraining": "mixed with cross-entropy step by step (wsd)",
    "teach-strong-to-weak": "reverse KL on tokens that the student writes itself",
}


def test_every_objective_has_a_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    parts = [part for file in CONFIGS for part in load_teaching(file).train.split()]
    assert {part.objective for part in parts} == {*Objective.__args__}


@pytest.fixture(scope="module")
def scores(other_tiny_model_dir: Path) -> Iterator[LoopbackServer]:
    """The teacher of those whose teacher is behind a server."""
    with serve_scores(other_tiny_model_dir) as server:
        yield server


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_each_way_teaches_and_tells(
    file: Path,
    tmp_path: Path,
    tiny_model_dir: Path,
    other_tiny_model_dir: Path,
    scores: LoopbackServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    config = shrink(file, tmp_path, tiny_model_dir, other_tiny_model_dir, scores.url)
    asked = len(scores.calls)
    run = conduct(config, Console(json=True), PlainConductor())
    figures = read_figures(run)
    served = any(isinstance(model, VllmModel) for model in config.models.values())
    assert any("prompt_logprobs" in call.body for call in scores.calls[asked:]) == served
    parts = config.train.split()
    lines = [json.loads(line) for line in run.place("metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if "loss" in line]
    assert steps == [*range(1, 2 * len(parts) + 1)] == [p.step for p in figures.training.losses]
    assert HOW.get(file.stem, "KL") in figures.training.told[-1]
    assert (figures.training.teacher is not None) == config.train.follows_teacher
    assert run.place(f"{figures.training.path}/model.safetensors").is_file()
    card = " ".join(run.place(MODEL_CARD).read_text(encoding="utf-8").split())
    assert all(" ".join(told.split()) in card for told in figures.training.told)
    assert run.place(CURVES).read_text(encoding="utf-8").startswith("<?xml")
    signal = figures.training.signal
    assert (signal is not None) == ("signal" in [stage.name for stage in choose_stages(config)])
    if config.train.measure is not None:
        looks = [(look.phase, look.step) for look in figures.training.looks]
        assert looks == [(n + 1, 2 * n + step) for n in range(len(parts)) for step in (0, 2)]


def test_phases_tell_the_reverse_kl_on_own_tokens(
    tmp_path: Path,
    tiny_model_dir: Path,
    other_tiny_model_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before and after the second phase, in figures and card."""
    monkeypatch.chdir(ROOT)
    file = ROOT / "flows/configs/teach-strong-to-weak.yaml"
    config = shrink(file, tmp_path, tiny_model_dir, other_tiny_model_dir)
    run = conduct(faster(config), Console(json=True), PlainConductor())
    training = read_figures(run).training
    looks = training.looks
    before, after = (look.figures["reverse_kl_own"] for look in looks if look.phase == 2)
    assert after < before
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in run.place(MODEL_CARD).read_text(encoding="utf-8").splitlines()
        if line.startswith("| ")
    ]
    (column,) = (row.index(OWN) for row in rows if OWN in row)
    told = {(row[0], row[1]): row[column] for row in rows if len(row) > column and row[1] == "2"}
    assert (training.batch_sizes, training.learning_rates) == ((4,), (3e-3, 2e-3))
    assert ["learning rate", "0.003, then 0.002"] in [row[:2] for row in rows]
    assert told == {("1", "2"): f"{before:.3f}", ("9", "2"): f"{after:.3f}"}


def faster(config: TeachConfig) -> TeachConfig:
    """The same training at a rate at which a few steps of a tiny model show."""
    phases = [
        phase.model_copy(update={"learning_rate": rate, "max_steps": steps})
        for phase, rate, steps in zip(config.train.phases, (3e-3, 2e-3), (1, 8), strict=True)
    ]
    train = config.train.model_copy(update={"phases": tuple(phases), "warmup": 0.0})
    return config.model_copy(update={"train": train})
