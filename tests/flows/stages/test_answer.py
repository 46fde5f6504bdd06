"""Who is asked what, and how what comes back is judged."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from filters.sandbox import find_obstacle
from flows.stages.answer import find_answered, judge_failure, judge_outcomes, open_prompts
from flows.stages.check import CheckStage, judge_check
from flows.stages.publish import measure_confidence
from flows.store import Cycle, Manifest, create_run
from flows.work import Context, Job, open_context
from generators.answers import Examples, draft_samples
from generators.clients import Failure, Outcome, Response
from generators.records import (
    Answer,
    Check,
    CodeCase,
    CodeCheck,
    FunctionCall,
    JudgeCheck,
    Prompt,
    ToolCall,
    Usage,
    Verdict,
)
from tests.flows.small_run import describe_run, read_settings
from tests.flows.stages.samples import answer, seed, sum_of, tell, verdict

PROMPTS = [sum_of(1, 2), sum_of(3, 4), sum_of(5, 6)]


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    """An empty run of two samplers: `cheap` draws 2 answers, `dear` 3."""
    settings = describe_run(tmp_path, "http://127.0.0.1:1/v1") | {"evolve": None}
    config = read_settings(tmp_path / "small.yaml", settings)
    begun = Cycle(status="running", started=datetime(2026, 1, 1, tzinfo=UTC))
    manifest = Manifest(name="small", config_digest="", config={}, cycles={"1": begun})
    create_run(config.root, manifest)
    with open_context(config.root, config) as opened:
        yield opened


def commit(context: Context, stage: str, name: str, kind: type, records: list) -> None:
    path = f"cycle-0001/{name}.parquet"
    job = Job(stage=stage, outputs=(path,), rows=1, key="k")
    context.run.commit([context.write_records(job, path, kind, records)])


def commit_answers(context: Context, sampler: str, judged: list[tuple[Answer, str]]) -> None:
    stage = f"answer-{sampler}"
    verdicts = [verdict(a.id, decision) for a, decision in judged]
    commit(context, stage, f"answers-{sampler}-000", Answer, [a for a, _ in judged])
    commit(context, stage, f"verdicts-{sampler}-000", Verdict, verdicts)


def commit_three_prompts(context: Context) -> None:
    """The first is solved by the cheap sampler in one of two tries, the second by the dear one."""
    one, two, three = PROMPTS
    commit(context, "seeds", "prompts-round-0", Prompt, PROMPTS)
    accepted = [verdict(prompt.id, "accept") for prompt in PROMPTS]
    commit(context, "check", "verdicts-check", Verdict, accepted)
    cheap = [
        (answer(one, "3", id="a"), "accept"),
        (answer(one, "4", id="b"), "reject"),
        (answer(two, "8", id="c"), "reject"),
        (answer(two, "9", id="d"), "reject"),
        (answer(three, "11 or 12", id="e"), "quarantine"),
    ]
    dear = [
        (answer(two, "7", id="f"), "accept"),
        (answer(two, "seven", id="g"), "reject"),
        (answer(two, "7!", id="h"), "accept"),
        (answer(three, "12", id="i"), "reject"),
    ]
    commit_answers(context, "cheap", cheap)
    commit_answers(context, "dear", dear)


def test_answered_is_what_has_an_accepted_answer(context: Context) -> None:
    commit_three_prompts(context)
    one, two, _ = PROMPTS
    assert find_answered(context, []) == set()
    assert find_answered(context, ["answer-cheap"]) == {one.id}
    assert find_answered(context, ["answer-cheap", "answer-dear"]) == {one.id, two.id}


def test_sampler_is_asked_for_what_is_still_open(context: Context) -> None:
    commit_three_prompts(context)
    cheap, dear = context.config.answer.samplers
    _, two, three = PROMPTS
    assert {prompt.id for prompt in open_prompts(context, cheap)} == {p.id for p in PROMPTS}
    assert {prompt.id for prompt in open_prompts(context, dear)} == {two.id, three.id}


def test_confidence_is_the_share_of_all_samples_drawn(context: Context) -> None:
    """A sample that never came counts as one that was not accepted."""
    commit_three_prompts(context)
    assert measure_confidence(context) == {
        **dict.fromkeys("ab", 1 / 2),
        **dict.fromkeys("cde", 0.0),
        **dict.fromkeys("fgh", 2 / 3),
        "i": 0.0,
    }


def test_each_outcome_gets_the_verdict_of_whoever_objects_first(context: Context) -> None:
    dear = context.config.answer.samplers[1]
    prompt = PROMPTS[0]
    drafts = draft_samples(prompt, dear, Examples({}, "chat"), run_seed=0, cycle=1)
    drafts += draft_samples(PROMPTS[1], dear, Examples({}, "chat"), run_seed=0, cycle=1)
    failure = Failure(reason="http_400", message="HTTP 400: no", permanent=True)
    outcomes: list[Outcome] = [
        Response(text=" 3 ", finish_reason="stop", usage=Usage(completion_tokens=1)),
        Response(text="4", finish_reason="stop", usage=Usage()),
        failure,
        Response(text="7", finish_reason="length", usage=Usage()),
        Response(text="", finish_reason="stop", usage=Usage()),
        Response(text="7", finish_reason="stop", usage=Usage()),
    ]
    answers, verdicts = judge_outcomes(context, dear, drafts, outcomes)
    told = tell(verdicts)

    assert [a.completion for a in answers] == ["3", "4", "7", "", "7"]
    assert [(a.prompt_id, a.sample_index) for a in answers] == [
        *((prompt.id, i) for i in (0, 1)),
        *((PROMPTS[1].id, i) for i in (0, 1, 2)),
    ]
    assert [told[a.id][:2] for a in answers] == [
        ("accept", "right"),
        ("reject", "wrong"),
        ("quarantine", "truncated"),
        ("quarantine", "empty"),
        ("accept", "right"),
    ]
    failed = judge_failure(drafts[2], dear, failure)
    assert told[failed.subject_id] == ("quarantine", "http_400", "HTTP 400: no")
    assert len(verdicts) == len(drafts)


@pytest.mark.parametrize("check", [PROMPTS[0].check, JudgeCheck(rubric="Is it kind?")])
def test_call_of_a_tool_is_no_answer_whatever_is_said_beside_it(
    context: Context, check: Check
) -> None:
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    prompt = seed("What is 1 + 2?", check).model_copy(update={"tools": (tool,)})
    cheap = context.config.answer.samplers[0]
    call = ToolCall(id="a", function=FunctionCall(name="add", arguments="{}"))
    undeclared = ToolCall(id="a", function=FunctionCall(name="pay", arguments="{}"))
    outcomes: list[Outcome] = [
        Response(text="3", finish_reason="tool_calls", usage=Usage(), tool_calls=(call, call)),
        Response(text="3", finish_reason="tool_calls", usage=Usage(), tool_calls=(undeclared,)),
    ]
    drafts = draft_samples(prompt, cheap, Examples({}, "chat"), run_seed=0, cycle=1)
    answers, verdicts = judge_outcomes(context, cheap, drafts, outcomes)
    told = tell(verdicts)
    assert [told[answer.id][:2] for answer in answers] == [
        ("reject", "calls_tools"),
        ("quarantine", "undeclared_tool_call"),
    ]
    assert told[answers[0].id][2] == "add, add"


def test_code_is_tried_anew_once_there_is_a_sandbox(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [CodeCase(args=(n,), expected=2 * n) for n in (1, 2)]
    code = seed("Double.", CodeCheck(entry_point="f", cases=tuple(cases)))
    keys = []
    for prompts in (PROMPTS, [*PROMPTS, code]):
        commit(context, "seeds", "prompts-round-0", Prompt, prompts)
        with_sandbox = CheckStage().plan(context)[0].key
        told = tell([judge_check(prompts[-1])])[prompts[-1].id][:2]
        with monkeypatch.context() as without:
            without.setenv("PATH", str(tmp_path))
            find_obstacle.cache_clear()
            told_without = tell([judge_check(prompts[-1])])[prompts[-1].id][:2]
            keys.append((with_sandbox, CheckStage().plan(context)[0].key))
        find_obstacle.cache_clear()
    assert told == ("accept", "verifiable")
    assert told_without == ("quarantine", "unverifiable_here")
    assert keys[0][0] == keys[0][1]
    assert keys[1][0] != keys[1][1]


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        (sum_of(1, 2), ("accept", "verifiable", None)),
        (
            seed("Say hello."),
            ("quarantine", "no_check", "nothing says what a right answer is"),
        ),
        (
            seed("Console a friend.", JudgeCheck(rubric="Is it kind?")),
            (
                "quarantine",
                "no_verifier",
                "checks of kind judge need a model that judges: add a judge section",
            ),
        ),
    ],
    ids=["verifiable", "no check", "no verifier"],
)
def test_prompts_that_nothing_verifies_are_not_asked(
    prompt: Prompt, told: tuple[str, str, str | None]
) -> None:
    assert tell([judge_check(prompt)]) == {prompt.id: told}
