"""What a person does about a row on its page: let it out of quarantine, or take it out of the
dataset, with a reason that goes on record."""

import io
from pathlib import Path
from typing import Literal

from flows.console import Console
from flows.disk import find_full_disk
from generators.errors import TutelageError

Act = Literal["release", "reject"]


def carry_out(root: Path, act: Act, row: str, why: str) -> str | None:
    """Do as `tutelage release` and `tutelage reject` do; what went wrong comes back as words."""
    from flows.release import reject, release

    unread = io.StringIO()
    do = {"release": release, "reject": reject}[act]
    try:
        do(root, [row], why, Console(out=unread, err=unread))
    except TutelageError as error:
        return str(error).replace("--why:", "The reason")
    except OSError as error:
        return find_full_disk(error) or f"{error.filename}: {error.strerror}"
    return None
