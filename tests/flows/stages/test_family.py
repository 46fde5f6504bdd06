"""The pool: each line's youngest survivor goes on."""

from flows.stages.family import Elders, Family
from generators.records import Prompt
from tests.flows.stages.samples import child_of, seed, verdict


def family(*judged: tuple[Prompt, str | None]) -> Family:
    """Prompts, each with what was decided about it; seeds are not judged."""
    verdicts = {p.id: verdict(p.id, decision) for p, decision in judged if decision}
    return Family({p.id: p for p, _ in judged}, verdicts)


def test_surviving_child_takes_its_parents_place() -> None:
    parent = seed("a")
    child = child_of(parent, "b")
    made = family((parent, None), (child, "accept"))
    assert made.pool() == [child]
    assert made.survivors() == [parent, child]


def test_parent_stays_where_its_child_falls() -> None:
    parent = seed("a")
    for decision in ("reject", "quarantine"):
        made = family((parent, None), (child_of(parent, "b"), decision))
        assert made.pool() == made.survivors() == [parent]


def test_parent_that_failed_once_and_then_evolved_is_replaced() -> None:
    parent = seed("a")
    fallen, second = child_of(parent, "b"), child_of(parent, "c")
    made = family((parent, None), (fallen, "reject"), (second, "accept"))
    assert made.pool() == [second]
    assert made.survivors() == [parent, second]


def test_line_of_three_keeps_its_youngest() -> None:
    parent = seed("a")
    child = child_of(parent, "b")
    grandchild = child_of(child, "c")
    alive = family((parent, None), (child, "accept"), (grandchild, "accept"))
    fallen = family((parent, None), (child, "accept"), (grandchild, "reject"))
    assert alive.pool() == [grandchild]
    assert fallen.pool() == [child]


def test_survivors_come_by_round_and_id() -> None:
    seeds = [seed(text) for text in "abcde"]
    children = [child_of(parent, "evolved") for parent in seeds]
    judged = [*((c, "accept") for c in children), *((s, None) for s in seeds)]
    by_id = [sorted(group, key=lambda prompt: prompt.id) for group in (seeds, children)]
    assert family(*judged).survivors() == [*by_id[0], *by_id[1]]
    assert family(*judged).pool() == by_id[1]


def test_rounds_count_on_from_the_last_one_though_all_of_it_failed() -> None:
    parent = seed("a")
    child = child_of(parent, "b")
    failed = f"{child.id}:deepen:{child.round + 1}"
    written = "magpie:advice:7"
    verdicts = {id: verdict(id, "quarantine") for id in (failed, written)}
    elders = Elders({p.id: p for p in (parent, child)}, verdicts)
    assert elders.last_round == child.round + 1
    assert Elders().last_round == 0
