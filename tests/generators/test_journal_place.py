import pytest

from generators.journal_place import find_fault, mask_passwords


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:secret@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("postgres://me:s:e@c/r?et@host/db", "postgres://me:***@host/db"),
        ("postgresql://:secret@/db", "postgresql://:***@/db"),
        ("postgresql://host/db?password=secret", "postgresql://host/db?password=***"),
        (
            "postgresql://host:5432/db?application_name=a@b&password=secret",
            "postgresql://host:5432/db?application_name=a@b&password=***",
        ),
        # Without a slash PostgreSQL itself takes what stands before the @ for a user's.
        ("postgresql://me:5432?name=a@host", "postgresql://me:***@host"),
        (
            "postgresql://me@host/db?user=a&password=se%40cret&sslpassword=too&sslmode=require",
            "postgresql://me@host/db?user=a&password=***&sslpassword=***&sslmode=require",
        ),
    ],
)
def test_no_password_is_shown(url: str, shown: str) -> None:
    assert mask_passwords(url) == shown
    assert find_fault(url) == (
        f"{shown}: a run's directory keeps this URL, so no password may be in it; take it out, "
        "and set PGPASSWORD or write the password into ~/.pgpass"
    )


@pytest.mark.parametrize(
    "place",
    [
        "postgresql://me@host:5432/db",
        "postgresql://host:5432/db",
        "postgresql://one:5432,two:5432/db?target_session_attrs=read-write",
        "postgresql:///db?host=/var/run/postgresql&user=me",
        "postgresql://me@[::1]:5432/db?application_name=a%40b",
        "postgresql://host:5432/db?application_name=a@b",
        "postgresql://one:5432,two:5433/?application_name=a@b",
        "postgresql://[::1]:5432/db?application_name=a@b",
        "runs/journal.sqlite",
    ],
)
def test_place_without_a_password_is_shown_as_it_is(place: str) -> None:
    assert mask_passwords(place) == place
    assert find_fault(place) is None


def test_other_databases_are_no_place() -> None:
    told = "mysql:// is no place for a journal; name a file, or a postgresql:// URL"
    assert find_fault("mysql://host/db") == told
