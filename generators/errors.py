"""The errors a person may meet. Each message says what went wrong, where, and what to do."""

import difflib
from collections.abc import Iterable


class TutelageError(Exception):
    """The base of every expected failure; the command prints it without a traceback."""

    exit_code = 1


class ConfigError(TutelageError, ValueError):
    """The configuration, or an argument of the command, cannot be used as it is written."""

    exit_code = 2


class InputError(TutelageError, ValueError):
    """A file of rows (seeds, examples, completions to verify) has lines that cannot be used."""


class LicenceError(TutelageError, PermissionError):
    """A teacher's terms do not let its outputs train a model."""


class ModelError(TutelageError, OSError):
    """A model cannot be found, loaded or converted."""


class EndpointError(TutelageError, ConnectionError):
    """A model server cannot be reached, or refuses us altogether."""


class BudgetReached(TutelageError, RuntimeError):
    """The run has spent its budget; everything it paid for is in the journal."""


class RunError(TutelageError, RuntimeError):
    """A run directory belongs to another configuration, is damaged, or is in use."""


class HeldOutError(TutelageError, ValueError):
    """Held-out prompts share their parameters with the training set."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """A question in brackets that offers the nearest choice, or nothing when none is near."""
    matches = difflib.get_close_matches(name, list(choices), n=1)
    return f" (did you mean {matches[0]}?)" if matches else ""
