"""Where a journal lies: a SQLite file, or a PostgreSQL database by its URL.

A URL is kept in manifests and told in messages, so no password is ever shown, and a
configuration's must not hold one: PostgreSQL takes it from PGPASSWORD, PGPASSFILE or ~/.pgpass,
on every machine that a run's workers are on.
"""

import re
from pathlib import Path

from generators.database_journal import DatabaseJournal
from generators.errors import ConfigError, RunError

FILE = "journal.sqlite"
"""The journal's name in a folder of runs."""
POSTGRES = ("postgresql://", "postgres://")
_HOST = r"(?:\[[\da-fA-F:.]+\]|[^:@/?,]*)(?::\d+)?"
# A password that was not written as a URL wants it may hold an @ or a slash, so it is taken to go
# on to the last @ there is; unless what stands there reads as hosts, a database and parameters.
_PASSWORDS = re.compile(
    rf"(?<=://)(?!{_HOST}(?:,{_HOST})*/[^@/?]*\?\w+=)(?P<user>[^:@/?]*):.*@"
    r"|(?<=[?&])(?P<name>(?:ssl)?password)=[^&]*"
)


def is_postgres(place: str) -> bool:
    """Whether a place is PostgreSQL's."""
    return place.startswith(POSTGRES)


def mask_passwords(url: str) -> str:
    """The URL with stars for every password in it."""
    return _PASSWORDS.sub(lambda m: f"{m['name']}=***" if m["name"] else f"{m['user']}:***@", url)


def find_fault(place: str) -> str | None:
    """What is wrong with a place that a configuration names, if anything."""
    if not is_postgres(place):
        if "://" not in place:
            return None
        scheme = place.partition("://")[0]
        return f"{scheme}:// is no place for a journal; name a file, or a postgresql:// URL"
    if (masked := mask_passwords(place)) != place:
        return (
            f"{masked}: a run's directory keeps this URL, so no password may be in it; take it "
            "out, and set PGPASSWORD or write the password into ~/.pgpass"
        )
    return None


def make_journal(place: str, *, run: str = "", must_exist: bool = False) -> DatabaseJournal:
    """The journal in a file or at a URL, not yet opened. With `must_exist` none is made where
    there is none, and a folder of runs stands for the file in it. Raises RunError."""
    if is_postgres(place):
        try:
            from generators.journal_postgres import PostgresJournal
        except ImportError as error:
            raise ConfigError(
                f"{mask_passwords(place)}: a journal on PostgreSQL needs psycopg ({error}). "
                "Please install it: pip install 'psycopg[binary]'"
            ) from error
        return PostgresJournal(place, run=run, must_exist=must_exist)
    from generators.journal import SqliteJournal

    if must_exist:
        place = str(_find_file(Path(place)))
    return SqliteJournal(place, run=run)


def _find_file(path: Path) -> Path:
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise RunError(
            f"{file}: no such journal; name a folder of runs, a journal's file or its URL"
        )
    return file
