"""Errors of the teacher cost exactly the rows they are about, and what is known is not asked."""

from pathlib import Path

import pytest

from flows.stages.publish import hash_dataset
from flows.store import RunDirectory
from tests.flows.faults import (
    TABLES,
    FaultyTeacher,
    describe_long_run,
    find_differences,
    read_tables,
)
from tests.flows.small_run import conduct_plainly, read_settings

SUMS = 500


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """The run whose teacher makes no trouble."""
    folder = tmp_path_factory.mktemp("whole")
    with FaultyTeacher() as teacher:
        settings = describe_long_run(folder, teacher.url, sums=SUMS)
        return conduct_plainly(read_settings(folder / "long.yaml", settings))[0]


def test_refused_requests_are_missing_and_nothing_else(whole: RunDirectory, tmp_path: Path) -> None:
    """1 % of the requests are refused for good, 5 % of the tries fail and pass at the next."""
    with FaultyTeacher(refused=0.01, failed=0.05) as teacher:
        settings = describe_long_run(tmp_path, teacher.url, sums=SUMS)
        run, _ = conduct_plainly(read_settings(tmp_path / "long.yaml", settings))
        tries = len(teacher.asked_since(0))
        refused = teacher.refusals()
        again, _ = conduct_plainly(
            read_settings(tmp_path / "again.yaml", settings | {"name": "again"})
        )

    assert SUMS * 0.005 < len(refused) < SUMS * 0.02
    assert len(teacher.settled()) == SUMS
    assert SUMS * 0.03 < tries - SUMS < SUMS * 0.08
    assert find_differences(whole, run, refused) == []
    assert {
        row["prompt"]: (row["stage"], row["decision"], row["reason"], row["evidence"])
        for row in read_tables(run)["quarantine"]
        if row["domain"] == "maths"
    } == {prompt: ("answer", "quarantine", "http_400", said) for prompt, said in refused.items()}
    assert len(teacher.asked_since(0)) == tries, "a run from the journal alone asked something"
    for name in TABLES:
        paths = [r.place(f"dataset/{name}.parquet") for r in (run, again)]
        assert hash_dataset(paths[0]) == hash_dataset(paths[1])
