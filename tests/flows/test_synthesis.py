"""Prompts that a model writes itself in a whole run: counted, judged, evolved, made again."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flows import verbs
from flows.card import render_card
from flows.config import RunConfig
from flows.estimate import estimate_run
from flows.gather import gather_facts
from flows.stages.publish import hash_dataset
from flows.store import RunDirectory
from flows.work import open_context
from generators.clients import draw_seed
from generators.errors import ConfigError
from generators.records import Prompt, Verdict
from generators.tables import read_records
from tests.flows.kills import run_to_its_end, run_until
from tests.flows.small_run import (
    conduct_plainly,
    describe_run,
    read_cycle,
    read_settings,
    rows_of,
    write_config,
)
from tests.flows.teacher import teach
from tests.flows.test_refusals import change
from tests.flows.test_verbs import listen
from tests.generators.loopback import Call, Fault, LoopbackServer

TEMPLATE = "<|system|>{system}<|end|><|user|>"
BARE = "<|user|>"
SYSTEM = "Somebody writes to you about the seaside."
PERSONAS = ("a fisherman", "a child of nine")
LOST = {draw_seed(0, 1, "synthesise", "seaside", i) for i in (1, 4)}
"""Seeds of draws that the server refuses for good."""
THINGS = ("boat", "lighthouse", "gull", "ferry", "dune", "net", "harbour", "storm", "crab", "pier")
MISHAPS = (
    ("", "stop"),
    ("Sure, here is what I know.", "stop"),
    ("Tell me about the", "length"),
    ("Hello there!", "stop"),
    ("What is a tide?<|end|>", "stop"),
    ("What is a tide?\nAssistant: The sea moves.", "stop"),
    ("Describe a quiet harbour early in the morning.", "stop"),
)
"""The last repeats a seed; the first may come twice."""


def write_turn(call: Call) -> tuple[str, str]:
    """What the model writes where a user's turn begins, good three times in five."""
    chance = random.Random(f"{call.body['model']} {call.body['seed']} {call.asked}")
    if chance.random() < 0.4:
        return chance.choice(MISHAPS)
    what, thing = chance.choice(("Write about", "Tell of", "Describe")), chance.choice(THINGS)
    return f'"{what} a {thing} that {chance.randint(1, 99)} people remember."', "stop"


def answer_or_ask(call: Call) -> dict[str, Any]:
    if not call.path.endswith("/completions") or "prompt" not in call.body:
        return teach(call)
    text, finish = write_turn(call)
    usage = {"prompt_tokens": 9, "completion_tokens": len(text.split())}
    return {"choices": [{"text": text, "finish_reason": finish}], "usage": usage}


def lose_some(call: Call) -> Fault | None:
    if call.body.get("seed") in LOST:
        return Fault(status=400, body='{"error": {"message": "no"}}')
    return None


def asked_for_turns(server: LoopbackServer, since: int = 0) -> list[Call]:
    return [call for call in server.calls[since:] if "prompt" in call.body]


def describe_synthesis(folder: Path, url: str) -> dict[str, Any]:
    """A small run whose prompts are in part its models' own."""
    settings = describe_run(folder, url)
    seaside = {
        "model": "strong",
        "name": "seaside",
        "count": 9,
        "draws": 60,
        "domain": "writing",
        "licence": "CC-BY-4.0",
        "system": SYSTEM,
        "personas": PERSONAS,
        "user_turn": TEMPLATE,
    }
    advice = {"model": "weak", "count": 30, "draws": 32, "domain": "advice", "licence": "CC0-1.0"}
    settings["seeds"]["synthesise"] = [seaside, advice | {"user_turn": BARE}]
    settings["evolve"]["rounds"] = 1
    return settings


class Synthesised(NamedTuple):
    """A finished run and what it took."""

    settings: dict[str, Any]
    config: RunConfig
    run: RunDirectory
    calls: list[Call]

    def read(self, name: str, kind: Any) -> list[Any]:
        return read_records(self.run.place(f"cycle-0001/{name}.parquet"), kind)

    def prompts(self) -> list[Prompt]:
        return self.read("prompts-synthesised", Prompt)

    def verdicts(self) -> dict[str, Verdict]:
        verdicts = self.read("verdicts-synthesised", Verdict)
        assert len({verdict.subject_id for verdict in verdicts}) == len(verdicts)
        return {verdict.subject_id: verdict for verdict in verdicts}

    def accepted(self) -> list[Prompt]:
        verdicts = self.verdicts()
        return [p for p in self.prompts() if verdicts[p.id].decision == "accept"]


@pytest.fixture(scope="module")
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer(lose_some, rule=answer_or_ask) as server:
        yield server


@pytest.fixture(scope="module")
def made(server: LoopbackServer, tmp_path_factory: pytest.TempPathFactory) -> Synthesised:
    folder = tmp_path_factory.mktemp("synthesised")
    settings = describe_synthesis(folder, server.url)
    config = read_settings(folder / "small.yaml", settings)
    run, _ = conduct_plainly(config)
    return Synthesised(settings, config, run, asked_for_turns(server))


def test_every_draw_is_kept_and_judged_once(made: Synthesised) -> None:
    prompts, verdicts = made.prompts(), made.verdicts()
    failed = {f"magpie:seaside:{i}" for i in (1, 4)}
    assert set(verdicts) == {prompt.id for prompt in prompts} | failed
    assert len(verdicts) == len(made.calls) == len(prompts) + 2
    assert {(v.decision, v.reason) for v in verdicts.values()} == {
        ("accept", "request"),
        ("quarantine", "http_400"),
        *(("reject", reason) for reason in ("empty_prompt", "unfinished", "role_marker")),
        *(("reject", reason) for reason in ("several_turns", "too_short", "assistant_speaks")),
        ("reject", "repeated_prompt"),
    }
    assert sum(verdict.reason == "http_400" for verdict in verdicts.values()) == 2


def test_draws_end_when_enough_are_accepted(made: Synthesised) -> None:
    """Nine of the seaside were wanted and came; for thirty of advice 32 draws were too few."""
    drawn = Counter(call.body["model"] for call in made.calls)
    taken = Counter(prompt.domain for prompt in made.accepted())
    assert taken["writing"] == 9 < drawn["strong"] < 60
    assert taken["advice"] < 30
    assert drawn["weak"] == 32


def test_requests_are_raw_and_say_who_asks(made: Synthesised) -> None:
    seaside = {call.body["seed"]: call for call in made.calls if call.body["model"] == "strong"}
    for i in range(len(seaside)):
        asker = f"{SYSTEM} You are talking to {PERSONAS[i % 2]}."
        call = seaside[draw_seed(0, 1, "synthesise", "seaside", i)]
        assert call.asked == f"<|system|>{asker}<|end|><|user|>"
        assert (call.body["temperature"], call.body["top_p"]) == (1.0, 0.95)
        assert call.body["max_tokens"] == 96
    assert {call.asked for call in made.calls if call.body["model"] == "weak"} == {BARE}


def test_accepted_prompts_are_seeds_like_others(made: Synthesised) -> None:
    """They are checked with the seeds, and evolution builds on those of an open domain."""
    accepted = {prompt.id: prompt for prompt in made.accepted()}
    seeds = made.read("prompts-round-0", Prompt)
    checked = {v.subject_id: v.reason for v in made.read("verdicts-check", Verdict)}
    children = read_cycle(made.run, "prompts-round-1-", Prompt)
    dropped = {prompt.id for prompt in made.prompts()} - accepted.keys()

    assert {prompt.id for prompt in seeds} | accepted.keys() <= checked.keys()
    assert {checked[id] for id in accepted} == {"no_check"}
    assert dropped & (checked.keys() | {child.parent_id for child in children}) == set()
    evolved = {child.parent_id for child in children if child.check is not None}
    assert {p.id for p in accepted.values() if p.domain == "writing"} & evolved
    for prompt in accepted.values():
        assert (prompt.operator, prompt.round, len(prompt.messages)) == ("magpie", 0, 1)
        assert not prompt.text.startswith('"')
        model = "strong" if prompt.domain == "writing" else "weak"
        assert (prompt.author, prompt.source) == (model, f"magpie:{model}")
        assert prompt.licence == ("CC-BY-4.0" if model == "strong" else "CC0-1.0")


def test_rows_and_what_fell_name_where_they_come_from(made: Synthesised) -> None:
    rows = rows_of(made.run.place("dataset/train.parquet"))
    own = [row for row in rows if row["source"] == "magpie:strong"]
    roots = {prompt.id for prompt in made.accepted()}
    assert len(own) >= 3
    assert {row["root_id"] for row in own} <= roots
    assert {row["verified_by"] for row in own} == {"constraint"}

    names = [made.run.place(f"dataset/{name}.parquet") for name in ("quarantine", "rejected")]
    aside = [row for row in rows_of(*names) if row["stage"] == "synthesise"]
    fallen = [v for v in made.verdicts().values() if v.decision != "accept"]
    assert Counter((r["id"], r["reason"]) for r in aside) == Counter(
        (v.subject_id, v.reason) for v in fallen
    )


def test_report_and_card_tell(made: Synthesised) -> None:
    with open_context(made.config.root, made.config) as context:
        facts = gather_facts(context)
    count, accepted = facts.count("synthesise"), made.accepted()
    assert count is not None
    assert (count.unit, count.total) == ("synthesised prompts", len(made.calls))
    assert (count.accepted, count.quarantined) == (len(accepted), 2)
    by_model = Counter(prompt.author for prompt in accepted)
    assert facts.seeds.synthesised == by_model
    assert facts.seeds.total == len(made.read("prompts-round-0", Prompt)) + len(accepted)
    assert facts.seeds.path.endswith("seeds.jsonl, magpie:strong, magpie:weak")
    assert facts.seeds.licences == ("CC-BY-4.0", "CC0-1.0")
    assert {m.id: m.role for m in facts.models} == {
        "weak": "writes prompts, sampler cheap",
        "strong": "writes prompts, evolves prompts, sampler dear",
    }
    told = "9 seeds written by strong itself, where a user's turn begins (Magpie, arXiv:2406.08464)"
    assert f"\n{told}.\n" in render_card(facts)
    report = made.run.place("report.html").read_text(encoding="utf-8")
    assert "9 seeds written by strong itself, where a user's turn begins (Magpie)." in report


def test_kills_change_nothing(made: Synthesised, tmp_path: Path) -> None:
    with LoopbackServer(lose_some, rule=answer_or_ask, delay_s=0.1) as server:
        config = write_config(tmp_path / "small.yaml", describe_synthesis(tmp_path, server.url))
        for count in (4, 15, 30):
            ended = run_until(config, lambda n=count: len(asked_for_turns(server)) >= n)
            assert ended.was_killed
        assert run_to_its_end(config).code == 0
        extra = len(asked_for_turns(server)) - len(made.calls)
    assert 0 <= extra <= 3 * 4
    run = RunDirectory(tmp_path / "runs" / "small")
    for name in ("cycle-0001/prompts-synthesised", "cycle-0001/verdicts-synthesised"):
        hashes = [r.manifest.files[f"{name}.parquet"].sha256 for r in (run, made.run)]
        assert hashes[0] == hashes[1]
    train = "dataset/train.parquet"
    assert hash_dataset(run.place(train)) == hash_dataset(made.run.place(train))


def test_run_asks_no_more_than_was_estimated(made: Synthesised) -> None:
    stages = [s for s in estimate_run(made.config).stages if s.stage == "synthesise"]
    assert [(s.model, s.requests, s.completion_tokens) for s in stages] == [
        ("strong", 60, 60 * 96),
        ("weak", 32, 32 * 96),
    ]


def test_prompts_that_may_come_are_estimated_as_parents(tmp_path: Path) -> None:
    """Each of nine more may be rewritten and judged, and its child answered by both samplers."""
    settings = describe_synthesis(tmp_path, "http://127.0.0.1:9/v1")
    settings["seeds"]["synthesise"] = settings["seeds"]["synthesise"][:1]
    settings["evolve"]["operators"] = ["deepen"]
    more = estimate_run(read_settings(tmp_path / "small.yaml", settings))
    settings["seeds"]["synthesise"] = []
    less = estimate_run(read_settings(tmp_path / "small.yaml", settings))
    counts = [{s.stage: s.requests for s in e.stages} for e in (more, less)]
    grown = {stage: n - counts[1].get(stage, 0) for stage, n in counts[0].items()}
    assert {stage: n for stage, n in grown.items() if n} == {
        "synthesise": 60,
        "evolve-1": 2 * 9,
        "answer-cheap": 2 * 9,
        "answer-dear": 3 * 9,
    }


def test_seeds_may_all_be_the_models_own(server: LoopbackServer, tmp_path: Path) -> None:
    settings = describe_synthesis(tmp_path, server.url)
    settings["seeds"]["paths"] = []
    run, _ = conduct_plainly(read_settings(tmp_path / "small.yaml", settings))
    rows = rows_of(run.place("dataset/train.parquet"))
    assert rows
    assert {row["source"] for row in rows} == {"magpie:strong"}


def test_run_of_which_nothing_comes_ends(server: LoopbackServer, tmp_path: Path) -> None:
    """Every draw is refused: an empty dataset, with the reason beside it."""
    settings = describe_synthesis(tmp_path, server.url)
    settings["seeds"] = {"paths": [], "synthesise": settings["seeds"]["synthesise"][:1]}
    settings["seeds"]["synthesise"][0] |= {"count": 1, "draws": 3}
    with LoopbackServer(
        lambda call: Fault(status=400) if "prompt" in call.body else None, rule=teach
    ) as refusing:
        for model in settings["models"].values():
            model["base_url"] = refusing.url
        config = read_settings(tmp_path / "small.yaml", settings)
        run, _ = conduct_plainly(config)
        aside = rows_of(run.place("dataset/quarantine.parquet"))
        conduct_plainly(config, new_cycle=True)
    assert rows_of(run.place("dataset/train.parquet")) == []
    assert [(row["id"], row["reason"]) for row in aside] == [
        (f"magpie:seaside:{i}", "http_400") for i in range(3)
    ]
    both = rows_of(run.place("dataset/quarantine.parquet"))
    assert [row["id"] for row in both[3:]] == [f"magpie:seaside:2.{i}" for i in range(3)]
    assert run.place("report.html").is_file()


def test_preview_draws_a_few(server: LoopbackServer, tmp_path: Path) -> None:
    config = read_settings(tmp_path / "small.yaml", describe_synthesis(tmp_path, server.url))
    before = len(server.calls)
    rows = verbs.preview(config, 2, listen()[0])
    assert 2 * 2 <= len(asked_for_turns(server, before)) <= 2 * 4
    assert {row.operator for row in rows if row.stage == "synthesise"} == {"magpie"}


ENTRY = {"model": "weak", "count": 2, "domain": "advice", "licence": "CC0-1.0", "user_turn": BARE}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param(
            {},
            "seeds: brings no prompts: name files in paths, or let a model write some (synthesise)",
            id="neither",
        ),
        pytest.param(
            {"synthesise": [ENTRY | {"model": "weka"}]},
            "seeds.synthesise.0.model: no model is called 'weka' (did you mean weak?) "
            "(models: weak, strong)",
            id="unknown model",
        ),
        pytest.param(
            {"synthesise": [ENTRY, ENTRY]},
            "seeds.synthesise: two entries are called 'weak'; give each a name of its own",
            id="twins",
        ),
        pytest.param(
            {"synthesise": [ENTRY | {"draws": 1}]},
            "seeds.synthesise.0.draws: 1 draws cannot bring 2 prompts; raise it",
            id="too few draws",
        ),
        pytest.param(
            {"synthesise": [ENTRY | {"user_turn": None}]},
            "seeds.synthesise.0.user_turn: models.weak is behind a URL, where its chat template "
            "cannot be seen: write the raw text before a user's first word, such as "
            '"<|im_start|>user\\n"',
            id="no user turn",
        ),
        pytest.param(
            {"synthesise": [ENTRY | {"personas": ["a nurse"]}]},
            "seeds.synthesise.0.user_turn: has no place for the system turn: write {system} where "
            "it goes",
            id="no place for personas",
        ),
        pytest.param(
            {"synthesise": [ENTRY | {"user_turn": TEMPLATE}]},
            "seeds.synthesise.0.user_turn: has a place for {system}, but there is neither system "
            "nor personas",
            id="nothing to put there",
        ),
    ],
)
def test_faults_of_settings_are_told(tmp_path: Path, value: Any, message: str) -> None:
    settings = describe_run(tmp_path, "http://127.0.0.1:9/v1")
    with pytest.raises(ConfigError) as caught:
        read_settings(tmp_path / "small.yaml", change(settings, "seeds", value))
    assert str(caught.value).partition(": ")[2] == message


def test_greedy_draws_are_refused(tmp_path: Path) -> None:
    settings = describe_run(tmp_path, "http://127.0.0.1:9/v1")
    settings["seeds"]["synthesise"] = [ENTRY | {"sampling": {"temperature": 0}}]
    with pytest.raises(ConfigError) as caught:
        read_settings(tmp_path / "small.yaml", settings)
    assert str(caught.value).partition(": ")[2] == (
        "seeds.synthesise.0.sampling.temperature: must be greater than 0.0, got 0"
    )
