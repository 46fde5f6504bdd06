"""The command's verbs `versions`, `diff` and `rollback`: a run's dataset as it was and is."""

from pathlib import Path

from flows.printing import Json, make_plain, open_console, print_result


def versions(run: Path, /, *, json: Json = False) -> None:
    """List the versions of a run's dataset.

    Each cycle, release and rejection makes one.

    Example: tutelage versions runs/demo

    Parameters
    ----------
    run
        The run's directory.
    """
    from flows.pipeline import locate_run
    from flows.versions import show_versions

    there = locate_run(run)
    show_versions(there, open_console(json))
    manifest = there.manifest
    print_result({"current": manifest.current, "versions": make_plain(manifest.versions)}, json)


def diff(run: Path, a: int | None = None, b: int | None = None, /, *, json: Json = False) -> None:
    """Tell which rows came and went between two versions.

    Example: tutelage diff runs/demo 1 2

    Parameters
    ----------
    run
        The run's directory.
    a
        The older version; by default the one before B.
    b
        The newer version; by default the newest.
    """
    from flows.pipeline import locate_run
    from flows.versions import choose_pair, compare_versions, show_diff

    there = locate_run(run)
    found = compare_versions(there, *choose_pair(there, a, b))
    show_diff(found, open_console(json))
    print_result(found, json)


def rollback(run: Path, version: int, /, *, json: Json = False) -> None:
    """Make an older version of the dataset the current one.

    The student of its time comes with it. Nothing is lost: later versions stay, and
    can be rolled forward to. The next cycle goes on from the current version.

    Example: tutelage rollback runs/demo 1

    Parameters
    ----------
    run
        The run's directory.
    version
        The number that `tutelage versions` shows.
    """
    from flows.versions import rollback as roll_back

    print_result(roll_back(run, version, open_console(json)), json)
