"""A prompt's lineage: the prompts that it came from, up to the seed, and what came of it."""

import sqlite3
from typing import NamedTuple

DEEPEST = 500
"""Generations that are walked."""
MOST = 200
"""Descendants that are shown."""
EXCERPT = 400
_SHOWN = (
    "p.id, p.parent_id, p.kind, p.round, p.operator, p.author, p.decision, p.reason, p.cycle, "
    "substr(p.text, 1, ?) as text, length(p.text) as length, "
    "(select count(*) from answers where prompt_id = p.id) as answers, "
    "(select count(*) from rows where prompt_id = p.id and decision = 'accept') as published"
)


class Node(NamedTuple):
    """A prompt in the tree."""

    prompt: sqlite3.Row
    children: "list[Node]"


class Lineage(NamedTuple):
    """What a prompt came from, and what came of it."""

    line: list[sqlite3.Row]
    """From the seed down to the prompt itself."""
    children: list[Node]
    descendants: int
    """In all; the tree shows so many at most."""

    @property
    def hidden(self) -> int:
        return max(0, self.descendants - MOST)


def read_lineage(connection: sqlite3.Connection, prompt_id: str) -> Lineage:
    """The lineage of a prompt; nothing in it where there is no such prompt."""
    return Lineage(
        line=_read_line(connection, prompt_id),
        children=_read_children(connection, prompt_id),
        descendants=_count_descendants(connection, prompt_id),
    )


def _read_line(connection: sqlite3.Connection, prompt_id: str) -> list[sqlite3.Row]:
    return connection.execute(
        "with recursive up(id, parent_id, height) as ("
        "select id, parent_id, 0 from prompts where id = ? union all "
        "select p.id, p.parent_id, up.height + 1 from prompts p join up on p.id = up.parent_id "
        f"where up.height < ?) select {_SHOWN} from up join prompts p on p.id = up.id "
        "order by up.height desc",
        (prompt_id, DEEPEST, EXCERPT),
    ).fetchall()


_DOWN = (
    "with recursive down(id, depth) as (select id, 0 from prompts where id = ? union all "
    "select p.id, down.depth + 1 from prompts p join down on p.parent_id = down.id "
    "where down.depth < ? {limit}) "
)


def _read_children(connection: sqlite3.Connection, prompt_id: str) -> list[Node]:
    """The tree below a prompt, generation by generation until there are too many."""
    found = connection.execute(
        _DOWN.format(limit="limit ?")
        + f"select {_SHOWN} from down join prompts p on p.id = down.id where down.depth > 0 "
        "order by down.depth, p.round, p.id",
        (prompt_id, DEEPEST, MOST + 1, EXCERPT),
    ).fetchall()
    nodes = {row["id"]: Node(row, []) for row in found}
    top: list[Node] = []
    for node in nodes.values():
        parent = nodes.get(node.prompt["parent_id"])
        (parent.children if parent else top).append(node)
    return top


def _count_descendants(connection: sqlite3.Connection, prompt_id: str) -> int:
    counted = connection.execute(
        _DOWN.format(limit="") + "select count(*) - 1 from down", (prompt_id, DEEPEST)
    )
    return max(0, counted.fetchone()[0])
