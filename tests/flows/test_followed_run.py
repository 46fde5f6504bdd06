"""A run from seeds whose student follows a teacher: from disk, evaluated beside it, doubted."""

import json
from pathlib import Path
from typing import Any

from flows.gather import gather_facts
from flows.report import render_report
from flows.stage_lists import choose_stages
from flows.stages.report import CURVES, MODEL_CARD
from flows.work import open_context
from tests.flows.small_run import add_training, conduct_plainly, read_settings
from tests.flows.taught import TERMS


def test_a_run_writes_the_signal_and_doubts_its_teacher(
    copied: dict[str, Any], tiny_model_dir: Path, other_tiny_model_dir: Path, tmp_path: Path
) -> None:
    settings = add_training(copied, tmp_path, tiny_model_dir)
    big = {"kind": "embedded", "model": str(other_tiny_model_dir), **TERMS}
    settings["models"] = settings["models"] | {"big": big}
    signal = {"kind": "cached", "top_k": 8}
    settings["train"] |= {"objective": "forward", "teacher": "big", "signal": signal}
    settings["train"] |= {"max_steps": 3, "measure": {"rows": 4, "max_new_tokens": 3}}
    settings["evaluate"] |= {"examples": None, "k_prompts": 0}
    config = read_settings(tmp_path / "small.yaml", settings)
    names = [stage.name for stage in choose_stages(config)]
    assert names[names.index("publish") :] == [
        *("publish", "evaluate-before", "evaluate-teacher", "signal", "train", "evaluate-after"),
        "report",
    ]
    run, printed = conduct_plainly(config, update=True)
    doubt = "the teacher is not better, beyond chance, than the untrained student: pass@1 "
    assert printed.count(doubt) == 1
    with open_context(run.root, config) as context:
        facts = gather_facts(context)
    training, evaluation = facts.training, facts.evaluation
    assert training is not None
    assert evaluation is not None
    assert training.signal is not None
    assert training.signal.rows == training.rows
    assert training.told == ("forward KL on the rows' tokens, the teacher read from disk",)
    assert [look.step for look in training.looks] == [0, 3]
    teacher = evaluation.arm("teacher", "zero-shot")
    assert teacher is not None
    assert teacher.kl_to_teacher is None
    assert facts.warnings[-1].startswith(doubt)
    assert "teacher of the student" in {model.role for model in facts.models}
    page = render_report(facts)
    for text in ("teacher, zero-shot", "bytes a token", "beyond chance, than the untrained"):
        assert text in page
        assert text in run.place(MODEL_CARD).read_text(encoding="utf-8")
    lines = run.place("metrics.jsonl").read_text(encoding="utf-8").splitlines()
    measured = [json.loads(line)["evaluation"] for line in lines if "evaluation" in line]
    assert [look.figures["nll"] for look in training.looks] == [m["nll"] for m in measured]
    assert f"{training.looks[-1].figures['nll']:.3f}" in page
    assert run.place(CURVES).stat().st_size > 10_000
