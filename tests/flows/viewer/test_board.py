"""The dashboard's figures are the report's."""

from contextlib import closing
from typing import TypeVar

import pytest

from flows.config import RunConfig
from flows.facts import Facts, OperatorFacts, StageCount
from flows.gather import gather_facts
from flows.store import VIEWER, RunDirectory
from flows.viewer.board import LARGEST
from flows.viewer.board_facts import Board
from flows.viewer.database import connect
from flows.work import open_context

R = TypeVar("R", StageCount, OperatorFacts)


@pytest.fixture(scope="module")
def board(viewed: RunDirectory) -> Board:
    with closing(connect(viewed.place(VIEWER))) as connection:
        (text,) = connection.execute("select value from about where key = 'board'").fetchone()
    return Board.model_validate_json(text)


@pytest.fixture(scope="module")
def facts(viewed: RunDirectory) -> Facts:
    config = RunConfig.model_validate(viewed.manifest.config)
    with open_context(viewed.root, config) as context:
        return gather_facts(context)


def order(counted: R) -> R:
    """The same with its reasons in the order of their names: equal counts have none."""
    reasons = tuple(sorted(counted.reasons, key=lambda r: (-r.count, r.decision, r.reason)))
    return counted.model_copy(update={"reasons": reasons})


def test_every_stage_sorts_as_in_the_report(board: Board, facts: Facts) -> None:
    assert [*map(order, board.facts.counts)] == [*map(order, facts.counts)]
    assert len(facts.counts) >= 5


def test_operators_fared_as_in_the_report(board: Board, facts: Facts) -> None:
    def strip(rows: tuple[OperatorFacts, ...]) -> list[OperatorFacts]:
        return [order(row.model_copy(update={"median_added_words": None})) for row in rows]

    assert strip(board.facts.operators) == strip(facts.operators)
    assert any(row.published for row in facts.operators)


def test_difficulty_is_as_in_the_report(board: Board, facts: Facts) -> None:
    assert [row.histogram for row in board.facts.difficulty] == [
        row.histogram for row in facts.difficulty
    ]
    assert [row.mean_pass_rate for row in board.facts.difficulty] == pytest.approx(
        [row.mean_pass_rate for row in facts.difficulty]
    )


def test_seeds_are_as_in_the_report(board: Board, facts: Facts) -> None:
    assert board.facts.seeds == facts.seeds
    assert board.facts.seeds.by_domain["<b>hostile</b>"] == 1


def test_answers_cost_what_their_samplers_told(board: Board, facts: Facts) -> None:
    told = [
        (s.name, s.model, s.samples, s.prompt_tokens, s.completion_tokens) for s in facts.samplers
    ]
    found = [
        (s.sampler, s.model, s.answers, s.prompt_tokens, s.completion_tokens)
        for s in board.spending
    ]
    assert found == told
    assert [s.usd for s in board.spending] == [None, None]
    assert facts.dataset
    assert sum(s.published for s in board.spending) == facts.dataset.rows


def test_largest_clusters_come_first(board: Board, facts: Facts, viewed: RunDirectory) -> None:
    with closing(connect(viewed.place(VIEWER))) as connection:
        sizes = connection.execute(
            "select original, count(*) from duplicates group by 1 order by 2 desc, 1"
        ).fetchall()
    assert facts.duplicates
    assert sum(size for _, size in sizes) == sum(facts.duplicates.model_dump().values())
    assert [(c.original, c.repeats) for c in board.clusters] == [*map(tuple, sizes[:LARGEST])]
    assert board.clustered == len(sizes) > LARGEST


def test_poison_is_told_by_its_reason(board: Board) -> None:
    found = {finding.reason: finding for finding in board.found}
    assert found["truncated"].decision == "quarantine"
    assert found["hidden_characters"].number == 5


def test_cycle_is_counted(board: Board, facts: Facts) -> None:
    assert facts.dataset
    (cycle,) = board.cycles
    assert (cycle.number, cycle.status) == (1, "finished")
    assert (cycle.published, cycle.quarantined, cycle.rejected) == (
        facts.dataset.rows,
        facts.dataset.quarantined,
        facts.dataset.rejected,
    )
