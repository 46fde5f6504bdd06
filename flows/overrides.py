"""What a person decided against a verdict: which row, why, who and when. A release lets an answer
out of quarantine, a rejection takes a row out of the dataset.

`overrides.jsonl` in the run directory is the log, a line for each act in the order in which they
were done. It is committed as every file of a run is, and no stage ever takes a line away.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal

from flows.store import FileEntry, RunDirectory, write_file
from generators.records import Record, Verdict, digest

OVERRIDES, OVERRIDES_FILE = "overrides", "overrides.jsonl"
"""The log's place, and the stage under whose name it is committed."""
PERSON, RELEASED, REJECTED_BY_PERSON = "person", "released", "rejected_by_person"
VERSION = "1"


class Override(Record):
    """One row's release from the quarantine that one stage put on it, or its rejection."""

    row: str
    decision: Literal["accept", "reject"] = "accept"
    why: str
    by: str
    """The name of the account that did it."""
    at: datetime
    overruled: Verdict


Key = tuple[str, str, str]
Overrides = Mapping[Key, Override]
"""By row, by the stage whose quarantine was lifted, and by its reason."""


def read_log(run: RunDirectory) -> list[Override]:
    """All acts, in the order in which they were done."""
    if OVERRIDES_FILE not in run.manifest.files:
        return []
    lines = run.place(OVERRIDES_FILE).read_text(encoding="utf-8").split("\n")
    return [Override.model_validate_json(line) for line in lines if line]


def read_overrides(run: RunDirectory) -> dict[Key, Override]:
    """The last release of each verdict, as far as it stands: one that took a rejection back is
    over when the row is rejected again."""
    log = read_log(run)
    rejected = list_rejected(log)
    return {
        key_of(override.overruled): override
        for override in log
        if override.decision == "accept"
        and (override.row not in rejected or override.overruled.reason != REJECTED_BY_PERSON)
    }


def list_rejected(log: Iterable[Override]) -> dict[str, Override]:
    """The rows that stand rejected by a person, with the act that did it; one may be taken back."""
    rejected: dict[str, Override] = {}
    for override in log:
        if override.decision == "reject":
            rejected[override.row] = override
        elif override.overruled.reason == REJECTED_BY_PERSON:
            rejected.pop(override.row, None)
    return rejected


def key_of(verdict: Verdict) -> Key:
    """What an override of this verdict is found by."""
    return verdict.subject_id, verdict.stage, verdict.reason


def write_log(run: RunDirectory, log: Sequence[Override]) -> FileEntry:
    """Put the whole log into place; the caller commits it."""
    text = "".join(f"{override.model_dump_json()}\n" for override in log)
    return write_file(
        run.root,
        OVERRIDES_FILE,
        lambda path: path.write_text(text, encoding="utf-8"),
        stage=OVERRIDES,
        key=digest(text),
    )


def may_lift(verdict: Verdict) -> bool:
    """Whether a person may release what this verdict holds back."""
    return verdict.decision == "quarantine" or verdict.reason == REJECTED_BY_PERSON


def overrule(verdict: Verdict, overrides: Overrides) -> Verdict:
    """The verdict, or in the place of a quarantine (or of a person's rejection) the release that a
    person recorded.

    Only what the person saw is lifted: a quarantine of another stage, or for another reason, stays.
    """
    override = overrides.get(key_of(verdict))
    if override is None or not may_lift(verdict):
        return verdict
    return Verdict(
        subject_id=override.row,
        stage=verdict.stage,
        detector=PERSON,
        version=VERSION,
        decision=override.decision,
        reason=RELEASED,
        evidence=override.why,
    )


def reject_row(override: Override) -> Verdict:
    """The verdict on a row that a person took out of the dataset."""
    return Verdict(
        subject_id=override.row,
        stage=override.overruled.stage,
        detector=PERSON,
        version=VERSION,
        decision="reject",
        reason=REJECTED_BY_PERSON,
        evidence=override.why,
    )
