"""Hold training and held-out prompts apart, so that an evaluation measures what was learned."""

from collections.abc import Hashable, Iterator, Sequence

from generators.errors import HeldOutError
from generators.procedural import signature
from generators.records import ProceduralCheck, Prompt
from generators.wording import normalise

MAX_NAMED = 5


def check_disjoint(train: Sequence[Prompt], heldout: Sequence[Prompt]) -> None:
    """Raise HeldOutError if a held-out prompt also occurs in training; see `find_shared`."""
    shared = find_shared(heldout, train)
    if not shared:
        return
    named = "; ".join(
        f"{show_prompt(prompt)} is trained on as {twin.id}" for prompt, twin in shared[:MAX_NAMED]
    )
    rest = f"; and {len(shared) - MAX_NAMED} more" if len(shared) > MAX_NAMED else ""
    raise HeldOutError(
        f"{len(shared)} of {len(heldout)} held-out prompts occur in training: {named}{rest}. "
        "Take them out of the seeds, or draw both sets anew with splits 'train' and 'heldout'."
    )


def find_shared(prompts: Sequence[Prompt], others: Sequence[Prompt]) -> list[tuple[Prompt, Prompt]]:
    """The prompts that are among the others too, each with its twin there.

    Two prompts are the same when their conversations are equal after normalising, or when they
    are procedural with one signature (task and operands), however they are worded.
    """
    known = {mark: prompt for prompt in others for mark in _marks(prompt)}
    twins = [next((known[m] for m in _marks(p) if m in known), None) for p in prompts]
    return [(p, twin) for p, twin in zip(prompts, twins, strict=True) if twin is not None]


def _marks(prompt: Prompt) -> Iterator[Hashable]:
    """What a prompt is recognised by."""
    yield tuple((m.role, normalise(m.content)) for m in prompt.messages if m.role != "system")
    if isinstance(prompt.check, ProceduralCheck):
        yield signature(prompt.check)


def show_prompt(prompt: Prompt, limit: int = 60) -> str:
    """A prompt's id and the beginning of its text."""
    text = " ".join(prompt.text.split())
    return f'{prompt.id} ("{text if len(text) <= limit else text[: limit - 1] + "…"}")'
