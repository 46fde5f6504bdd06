"""A prompt's lineage reaches up to its seed and down to all that came of it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from flows.store import VIEWER, RunDirectory
from flows.viewer import lineage
from flows.viewer.database import connect
from flows.viewer.lineage import Node, read_lineage
from generators.records import Prompt
from tests.flows.small_run import read_cycle


@pytest.fixture
def db(viewed: RunDirectory) -> Iterator[sqlite3.Connection]:
    with closing(connect(viewed.place(VIEWER))) as connection:
        yield connection


@pytest.fixture
def prompts(viewed: RunDirectory) -> dict[str, Prompt]:
    return {prompt.id: prompt for prompt in read_cycle(viewed, "prompts-", Prompt)}


def walk(nodes: list[Node]) -> Iterator[Node]:
    for node in nodes:
        yield node
        yield from walk(node.children)


def test_line_goes_from_the_seed_to_the_prompt(
    db: sqlite3.Connection, prompts: dict[str, Prompt]
) -> None:
    youngest = next(prompt for prompt in prompts.values() if prompt.round == 2)
    parent = prompts[youngest.parent_id or ""]
    line = [step["id"] for step in read_lineage(db, youngest.id).line]
    expected = [parent.id, youngest.id]
    if parent.parent_id:
        expected.insert(0, parent.parent_id)
    assert line == expected
    assert line[0] == youngest.root_id


def test_tree_holds_every_descendant_below_its_parent(
    db: sqlite3.Connection, prompts: dict[str, Prompt]
) -> None:
    grandparent = next(
        p for p in prompts.values() if p.round == 0 and any(
            prompts[c.parent_id].parent_id == p.id
            for c in prompts.values() if c.parent_id and c.round == 2
        )
    )  # fmt: skip
    tree = read_lineage(db, grandparent.id)
    nodes = [*walk(tree.children)]
    below = {id for id, p in prompts.items() if p.root_id == grandparent.id and p.round > 0}
    assert {n.prompt["id"] for n in nodes if n.prompt["kind"] == "prompt"} == below
    assert all(c.prompt["parent_id"] == n.prompt["id"] for n in nodes for c in n.children)
    assert (tree.descendants, tree.hidden) == (len(nodes), 0)


def test_seed_stands_alone_in_its_line(db: sqlite3.Connection, prompts: dict[str, Prompt]) -> None:
    seed = next(prompt for prompt in prompts.values() if prompt.round == 0)
    assert [step["id"] for step in read_lineage(db, seed.id).line] == [seed.id]


def test_large_tree_tells_how_much_is_left_out(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root,) = db.execute(
        "select root_id from prompts group by 1 order by count(*) desc limit 1"
    ).fetchone()
    whole = read_lineage(db, root)
    monkeypatch.setattr(lineage, "MOST", 1)
    cut = read_lineage(db, root)
    assert whole.descendants > 1
    assert (len([*walk(cut.children)]), cut.hidden) == (1, whole.descendants - 1)


def test_unknown_prompt_has_no_lineage(db: sqlite3.Connection) -> None:
    assert read_lineage(db, "nobody") == ([], [], 0)
