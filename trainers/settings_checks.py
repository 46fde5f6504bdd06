"""Which objective reads which setting, and what of a training's settings is refused although each
is right by itself: what nothing would read, and what would end without end.

A value that is the default's says nothing and may stand anywhere.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from trainers.signal_settings import RemoteSignal, TopSignal

if TYPE_CHECKING:
    from trainers.settings import TrainSettings

ACROSS = ("uld", "aligned")
"""Objectives for a teacher of another vocabulary."""
POLICY = ("importance", "reinforce", "minillm")
"""Objectives that learn from tokens that the student drew."""
DIVERGENCES = ("forward", "reverse", "jsd", "skew_forward", "skew_reverse")
"""Objectives that compare whole distributions, token by token."""

READ_BY: Mapping[str, tuple[str, ...]] = {
    "beta": ("jsd",),
    "alpha": ("skew_forward", "skew_reverse"),
    "temperature": (*DIVERGENCES, "uld"),
    "chunk_temperature": ("aligned",),
    "tail": DIVERGENCES,
    "ce_weight": (*DIVERGENCES, *ACROSS),
    "mixing": (*DIVERGENCES, *ACROSS),
    "policy.reward_to_go": ("reinforce",),
    "policy.baseline": ("reinforce",),
    "policy.discount": ("reinforce",),
    "policy.clip": ("importance", "minillm"),
    "policy.length_normalised": ("minillm",),
    "policy.weights": ("minillm",),
}
"""Whose settings they are; what is not here concerns every objective."""
TAUGHT = ("teacher", "signal", "hidden", "rollouts", "corpus")
"""What an objective without a teacher takes no part of."""


def refuse(faults: Iterable[str]) -> None:
    """Raise ValueError for the first fault, where there is one."""
    for fault in faults:
        raise ValueError(fault)


def tell_faults(error: ValidationError) -> str:
    """What a validation has found, in one line."""
    told = []
    for fault in error.errors():
        place = ".".join(map(str, fault["loc"]))
        words = fault["msg"].removeprefix("Value error, ")
        told.append(f"{place}: {words}" if place else words)
    return "; ".join(told)


def hand_down(above: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A phase's settings: its own, and what it reads of those that stand above the phases."""
    objective = own.get("objective", above.get("objective", "sft"))
    taken = {name: value for name, value in above.items() if _reads(objective, name)}
    if "policy" in taken:
        policy = taken["policy"].items()
        taken["policy"] = {n: v for n, v in policy if _reads(objective, f"policy.{n}")}
    if own.get("epochs") is not None and own.get("max_steps") is None:
        taken.pop("max_steps", None)
    whole = {**taken, **own}
    if (whole.get("signal") or {}).get("kind") == "context":  # the student is its own teacher
        whole = {name: value for name, value in whole.items() if name != "teacher"}
    if whole.get("rollouts") is None and "corpus" not in own:  # it stands beside rollouts
        whole.pop("corpus", None)
    return whole


def _reads(objective: str, name: str) -> bool:
    return objective in READ_BY.get(name, (objective,)) and not (
        objective == "sft" and name in TAUGHT
    )


def find_idle(settings: "TrainSettings") -> Iterator[str]:
    """The settings of one training that nothing would read, each with a remedy."""
    yield from _find_unread(settings, [settings.objective], f"objective {settings.objective}")
    if settings.tail != "bucket" and not isinstance(settings.signal, TopSignal | RemoteSignal):
        yield "tail: nothing is cut off of a teacher that is read whole; take it out"
    elif settings.tail != "bucket" and _is_drawn(settings):
        yield "tail: tokens that are drawn have none; take it out, or keep the top ones"
    if (
        settings.objective == "reinforce"
        and settings.policy.baseline == "mean"
        and settings.batch_size == 1
    ):
        yield (
            "policy.baseline: the mean of a batch's other rows, and batch_size 1 has none; raise"
            " batch_size, or set baseline: none"
        )
    yield from _find_idle_buffer(settings)
    yield from _find_idle_measures(settings)


def find_idle_above(settings: "TrainSettings", parts: Sequence["TrainSettings"]) -> Iterator[str]:
    """The settings above phases that none of them would read, each with a remedy; a teacher apart,
    of which others tell."""
    yield from _find_unread(settings, {part.objective for part in parts}, "no phase")
    for name in ("signal", "hidden", "rollouts", "corpus"):
        stands = getattr(settings, name) is not None
        if stands and all(getattr(part, name) is None for part in parts):
            yield f"{name}: no phase has a use for it; take it out"


def _find_unread(settings: "TrainSettings", objectives: Collection[str], who: str) -> Iterator[str]:
    for name, readers in READ_BY.items():
        section, _, field = name.rpartition(".")
        holder = getattr(settings, section) if section else settings
        usual = type(holder).model_fields[field].default
        if getattr(holder, field) == usual or not {*objectives}.isdisjoint(readers):
            continue
        does = "reads" if who == "no phase" else "does not read"
        others = readers[0] if len(readers) == 1 else f"{', '.join(readers[:-1])} and {readers[-1]}"
        yield f"{name}: {who} {does} it; it belongs to {others}: take it out, or choose that"


def _find_idle_buffer(settings: "TrainSettings") -> Iterator[str]:
    rollouts = settings.rollouts
    if rollouts is None:
        return
    if rollouts.buffer and not rollouts.reuse:
        yield "rollouts.buffer: nothing is taken from it; set rollouts.reuse, or take it out"
    for name in ("reuse", "max_age"):
        if getattr(rollouts, name) and not rollouts.buffer:
            yield f"rollouts.{name}: is about a buffer; set rollouts.buffer, or take it out"


def _find_idle_measures(settings: "TrainSettings") -> Iterator[str]:
    measure = settings.measure
    if measure is None:
        return
    if measure.patience is not None and measure.every is None:
        yield "measure.patience: counts looks on the way; set measure.every, or take it out"
    usual = type(measure).model_fields["metric"].default
    if measure.metric != usual and not measure.decides:
        yield (
            "measure.metric: decides nothing; set measure.keep_best or measure.patience, or take it"
            " out"
        )


def find_endless(settings: "TrainSettings") -> Iterator[str]:
    """What nothing good can come of: a divergence that is infinite, as the student gives mass to
    tokens of which nothing is said, and a projection whose gradient nobody averages."""
    if settings.hidden is not None and settings.hidden.learned and settings.processes > 1:
        yield (
            "hidden.learned: each process would learn a projection of its own; set processes to 1,"
            " or take it out"
        )
    kind = settings.objective
    if not (kind == "reverse" or (kind == "skew_reverse" and settings.alpha == 0)):
        return
    others = "choose forward, jsd, or a skew kind with alpha above 0"
    if _is_drawn(settings):
        yield f"signal.kept: {kind} is infinite against drawn tokens; keep top, or {others}"
    if settings.tail == "renormalised":
        yield f"tail: {kind} is infinite without one; set bucket, or {others}"


def _is_drawn(settings: "TrainSettings") -> bool:
    return isinstance(settings.signal, TopSignal) and settings.signal.kept == "sampled"
