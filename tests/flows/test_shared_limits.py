"""A limit that flows keep together, on a real Prefect server."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flows.config import load_config
from flows.shared_limits import SharedLimit, SharedSlots
from generators.clients import Stopped
from generators.errors import ConfigError
from tests.flows.small_run import (
    conduct_plainly,
    describe_run,
    list_seeds,
    read_settings,
    write_config,
)
from tests.flows.teacher import Teacher
from tests.json_lines import write_lines


def limit_run(folder: Path, url: str, name: str, limit: dict[str, Any] | None) -> Path:
    """A run of two shards, four requests each, with a limit or without."""
    folder = folder / name
    folder.mkdir()
    settings = describe_run(folder, url) | {"name": name, "evolve": None, "shard_rows": 4}
    write_lines(folder / "seeds.jsonl", list_seeds()[:8])
    weak = settings["models"]["weak"] | ({"shared_limit": limit} if limit else {})
    sampler = settings["answer"]["samplers"][0] | {"n": 1}
    settings |= {"models": {"weak": weak}, "answer": {"samplers": [sampler]}}
    return write_config(folder / f"{name}.yaml", settings)


@pytest.mark.parametrize(("limited", "most"), [(True, 4), (False, 8)])
def test_two_runs_ask_at_once_no_more_than_the_limit(
    prefect_api: str, tmp_path: Path, limited: bool, most: int
) -> None:
    """Each of them may send four requests at once, and has two shards to ask for."""
    limit = {"name": f"box-{tmp_path.parent.name}", "slots": 1} if limited else None
    with Teacher(delay_s=0.4) as teacher:
        configs = [
            load_config(limit_run(tmp_path, teacher.url, name, limit)) for name in ("one", "two")
        ]
        with ThreadPoolExecutor() as threads:
            runs = [run for run, _ in threads.map(conduct_plainly, configs)]
        assert teacher.most_at_once == most
        assert len(teacher.asked_since(0)) == 2 * 8
    assert [run.manifest.cycles["1"].status for run in runs] == ["finished", "finished"]


def test_limit_is_made_once_and_then_the_servers(prefect_api: str) -> None:
    from prefect.client.orchestration import get_client

    SharedSlots().make([SharedLimit(name="made-once", slots=3)])
    SharedSlots().make([SharedLimit(name="made-once", slots=5)])
    with get_client(sync_client=True) as client:
        found = client.read_global_concurrency_limit_by_name("made-once")
    assert (found.limit, found.active_slots, found.slot_decay_per_second) == (3, 0, 0)


def test_slot_is_given_back_and_a_waiting_run_can_be_stopped(prefect_api: str) -> None:
    from prefect.client.orchestration import get_client

    limit, first, second = SharedLimit(name="one-slot", slots=1), SharedSlots(), SharedSlots()

    def count() -> int:
        with get_client(sync_client=True) as client:
            return client.read_global_concurrency_limit_by_name("one-slot").active_slots

    with first.hold(limit):
        assert count() == 1
        threading.Timer(0.5, second.stop).start()
        begun = time.monotonic()
        with (
            pytest.raises(Stopped) as caught,
            second.hold(limit),
        ):
            raise AssertionError("two hold one slot")
        assert str(caught.value) == "the run was interrupted while it waited for one-slot"
        assert time.monotonic() - begun < 5
    assert count() == 0
    with SharedSlots().hold(None):
        assert count() == 0


def test_limit_without_a_server_ends_the_run_before_it_begins(tmp_path: Path) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with Teacher() as teacher:
        file = limit_run(tmp_path, teacher.url, "one", {"name": "box", "slots": 1})
        config = load_config(file)
        with (
            temporary_settings(restore_defaults={PREFECT_API_URL}),
            pytest.raises(ConfigError) as caught,
        ):
            conduct_plainly(config)
        assert teacher.asked_since(0) == []
    assert str(caught.value) == (
        "the shared limit box needs a Prefect server, and PREFECT_API_URL names none. Start one "
        "with `tutelage up`, and export the line that it prints."
    )
    assert not (config.root / "manifest.json").exists()


def test_limit_decides_nothing_of_what_is_made(tmp_path: Path) -> None:
    files = [
        limit_run(tmp_path, "http://127.0.0.1:1/v1", name, limit)
        for name, limit in (("one", {"name": "box", "slots": 1}), ("two", None))
    ]
    settings = [load_config(file) for file in files]
    seeds = settings[0].seeds
    digests = {s.model_copy(update={"seeds": seeds}).digest for s in settings}
    assert len(digests) == 1


def test_one_limit_has_one_number(tmp_path: Path) -> None:
    settings = describe_run(tmp_path, "http://127.0.0.1:1/v1")
    for name, slots in (("weak", 1), ("strong", 2)):
        settings["models"][name]["shared_limit"] = {"name": "box", "slots": slots}
    with pytest.raises(ConfigError) as caught:
        read_settings(tmp_path / "small.yaml", settings)
    assert str(caught.value).partition(": ")[2] == (
        "models.strong.shared_limit.slots: models.weak gives box another number; state one"
    )
