"""Prompts that an aligned model writes itself (Magpie, Xu et al. 2024, arXiv:2406.08464).

A chat model has read so many conversations that, given its chat template up to where a user's turn
begins and nothing else, it writes the user's turn. A system turn may steer the topic, and say who
is asking; neither goes into the prompt that is kept.

How a user's turn begins is read off the tokenizer's own chat template. The template of a model
behind a URL cannot be seen, so there the settings state it.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Annotated, Any, NamedTuple, Self

import jinja2
from pydantic import Field

from generators.clients import Request, Sampling, draw_seed
from generators.errors import ModelError
from generators.records import Message, Prompt, Record, digest

SYSTEM = "{system}"
"""The place for the system turn in a stated `user_turn`."""
_MARK = "TUTELAGE-MARKS-A-TURN"
"""Stands for what the user says while a chat template is taken apart."""


class TurnSampling(Sampling):
    """How to sample a user's turn: warmly, for every draw has the same prompt."""

    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=0.95, gt=0, le=1)
    max_tokens: int = Field(default=96, ge=1)


class SynthesisSettings(Record):
    """Prompts of one domain that a model writes itself."""

    model: str
    """The model that writes them: a name under `models`."""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """What its draws are called; the model's name without it."""
    count: int = Field(ge=1)
    """Prompts wanted."""
    draws: int | None = Field(default=None, ge=1)
    """At most so many are drawn to get them; twice as many as wanted without it."""
    domain: str = Field(min_length=1)
    licence: str = Field(min_length=1)
    """Of the prompts."""
    system: str | None = Field(default=None, min_length=1)
    """A system turn that steers the topic."""
    personas: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Who is asking (`a nurse on night shifts`); each draw takes the next one."""
    user_turn: str | None = Field(default=None, min_length=1)
    """The raw text with which a user's turn begins, `{system}` where a system turn goes. Needed for
    models behind a URL; for one in this process its chat template tells."""
    sampling: TurnSampling = TurnSampling()

    @property
    def label(self) -> str:
        """What the draws are called."""
        return self.name or self.model

    @property
    def most_draws(self) -> int:
        return 2 * self.count if self.draws is None else self.draws

    def limit(self, count: int) -> Self:
        """The same for at most so many prompts."""
        count = min(count, self.count)
        return self.model_copy(update={"count": count, "draws": min(2 * count, self.most_draws)})


class UserTurn(NamedTuple):
    """Where a user's turn begins, and what ends it."""

    opening: str
    """All of the conversation before the user's first word."""
    end: str | None
    """None where only the model's own end token ends it."""


OpenTurn = Callable[[str | None], UserTurn]
"""Opens a user's turn behind a system turn, or behind none."""


def derive_user_turn(tokenizer: Any, model: str, system: str | None) -> UserTurn:
    """Read off a chat template how a user's turn begins and ends.

    Raises ModelError, naming the model, where there is no template or it takes no system turn.
    """
    turns = [{"role": "system", "content": system}] if system else []
    turns.append({"role": "user", "content": _MARK})
    if not tokenizer.chat_template:
        raise ModelError(
            f"{model}: has no chat template, so nothing tells how a user's turn begins; "
            "state it as user_turn, or take an aligned model"
        )
    try:
        text = tokenizer.apply_chat_template(turns, tokenize=False)
    except jinja2.TemplateError as error:
        remedy = "; leave out system and personas" if system else "; state user_turn"
        raise ModelError(f"{model}: its chat template refuses the turns: {error}{remedy}") from None
    opening, mark, rest = text.partition(_MARK)
    if not mark:
        raise ModelError(f"{model}: its chat template drops the user's turn; state user_turn")
    return UserTurn(opening, rest.strip().partition("\n")[0].strip() or None)


def state_user_turn(stated: str, system: str | None) -> UserTurn:
    """Open a user's turn as the settings state it."""
    return UserTurn(stated.replace(SYSTEM, system or ""), None)


def describe_asker(settings: SynthesisSettings, index: int) -> str | None:
    """The system turn of a draw: the topic, then who is asking."""
    said = [settings.system] if settings.system else []
    if settings.personas:
        persona = settings.personas[index % len(settings.personas)]
        said.append(f"You are talking to {persona.rstrip('.')}.")
    return " ".join(said) or None


def draft_turns(
    settings: SynthesisSettings,
    indices: Sequence[int],
    open_turn: OpenTurn,
    *,
    run_seed: int,
    cycle: int,
) -> list[Request]:
    """The raw completions that ask for the draws of these indices."""
    requests = []
    for index in indices:
        opening, end = open_turn(describe_asker(settings, index))
        stops = settings.sampling.stop
        sampling = Sampling(**settings.sampling.model_dump(exclude={"stop"}), stop=stops)
        if end is not None and end not in stops:
            sampling = sampling.model_copy(update={"stop": (*stops, end)})
        seed = draw_seed(run_seed, cycle, "synthesise", settings.label, index)
        requests.append(Request(text=opening, sampling=sampling, seed=seed))
    return requests


def make_prompt(
    settings: SynthesisSettings, text: str, opening: str, *, model: str, occurrence: int = 0
) -> Prompt:
    """The prompt of a turn that was written behind `opening`; exact repeats count up.

    Only the user's turn is kept: what steered it is told by the template hash, which is the
    opening's.
    """
    prompt = Prompt.seed(
        (Message(role="user", content=text),),
        check=None,
        domain=settings.domain,
        licence=settings.licence,
        source=f"magpie:{model}",
        author=model,
        occurrence=occurrence,
    )
    return prompt.model_copy(update={"operator": "magpie", "template_hash": digest(opening)})


def find_synthesis_problems(
    entries: Sequence[SynthesisSettings], behind_url: Collection[str]
) -> Iterator[tuple[str, str]]:
    """What is wrong with settings that are each in good form: the setting, and the trouble.

    `behind_url` are the names of the models whose chat template cannot be seen.
    """
    labels = [entry.label for entry in entries]
    for label in sorted({label for label in labels if labels.count(label) > 1}):
        yield "synthesise", f"two entries are called {label!r}; give each a name of its own"
    for i, entry in enumerate(entries):
        place = f"synthesise.{i}"
        if entry.most_draws < entry.count:
            message = f"{entry.draws} draws cannot bring {entry.count} prompts; raise it"
            yield f"{place}.draws", message
        has_place = SYSTEM in (entry.user_turn or "")
        steered = bool(entry.system or entry.personas)
        if entry.user_turn is None and entry.model in behind_url:
            yield (
                f"{place}.user_turn",
                f"models.{entry.model} is behind a URL, where its chat template cannot be seen: "
                'write the raw text before a user\'s first word, such as "<|im_start|>user\\n"',
            )
        elif entry.user_turn is not None and steered and not has_place:
            message = f"has no place for the system turn: write {SYSTEM} where it goes"
            yield f"{place}.user_turn", message
        elif has_place and not steered:
            message = f"has a place for {SYSTEM}, but there is neither system nor personas"
            yield f"{place}.user_turn", message
