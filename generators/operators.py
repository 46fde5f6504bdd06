"""Evolution operators: how one prompt becomes another (Evol-Instruct, Xu et al. 2023).

Most operators ask a language model to rewrite the task; which ones is a matter of its domain
(`generators.operator_sets`). What comes back has lost its answer key, and a child never inherits
its parent's: a rewritten question with the old answer is poison. Two operators give the child a key
of its own: `constraint` attaches machine-checkable constraints and states them in the prompt,
`procedural` draws a new entry at another difficulty from the prompt's generator, which computes the
answer. A rewritten task of an open domain gets a constraint as well, one of a domain that votes is
put to the vote of all samplers (`generators.consensus`); any other stays without a check and is
quarantined.
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from generators import constraints, procedural
from generators.clients import Failure, Outcome, Request, Sampling, draw_seed
from generators.consensus import ConsensusSettings, open_vote
from generators.credit import Credits, draw_operator
from generators.operator_sets import METHOD, OPERATORS, list_operators
from generators.prompting import Form, Template, hash_template, render_request
from generators.records import (
    Check,
    ConsensusCheck,
    ConstraintCheck,
    Message,
    ProceduralCheck,
    Prompt,
    Record,
)
from generators.steering import Weights, draw_weighted, share_parents


class EvolveSettings(Record):
    """How prompts evolve."""

    model: str
    """The model that rewrites: a name under `models`."""
    rounds: int = 4
    operators: tuple[str, ...] | None = None
    """One of these that fits the prompt is chosen. Where none is named, each domain has a set of
    its own."""
    method: str | None = None
    """A method file, found by `tutelage optimise` or written by hand: the template of the operator
    `method`, which joins every domain's set."""
    choice: Literal["uniform", "thompson"] = "uniform"
    """How one of them is chosen: each alike, or by what they earned in an earlier run."""
    credit: str | None = None
    """The `credit.json` of that run, for `thompson`."""
    parents: dict[str, int] | None = None
    """At most so many parents of a domain in each round; domains left out do not evolve.
    Without it every prompt evolves."""
    open_domains: tuple[str, ...] = ("writing", "explaining")
    """Where meeting constraints is a fair test of an answer, because no single answer is right."""
    constraints: tuple[str, ...] | None = None
    """Ids of the constraints to draw from; all of the catalogue without it."""
    constraints_per_prompt: int = 1
    sampling: Sampling = Sampling(temperature=0.7, max_tokens=80)
    equality_judge: bool = True
    """Whether the model is asked if a child equals its parent."""
    calibration: str = "seeds/calibration/equality.jsonl"
    """JSONL of labelled pairs. The model is asked about these first, and not asked further where
    it is no better than chance + 0.2."""

    @property
    def asks_judge(self) -> bool:
        """Whether children are to be judged by the model: only those that it wrote are."""
        named = OPERATORS if self.operators is None else self.operators
        kinds = (OPERATORS[name].kind for name in named if name in OPERATORS)
        return self.equality_judge and any(kind != "key" for kind in kinds)

    def list_templates(self) -> list[Template]:
        """The templates of all operators by which a model may be asked to write."""
        named = OPERATORS if self.operators is None else self.operators
        written = [name for name in named if OPERATORS[name].kind != "key"]
        return [self.find_template(n) for n in written if n != METHOD or self.method is not None]

    def find_template(self, operator: str) -> Template:
        """An operator's template: its own name, but for `method` the file that is given."""
        return Path(self.method) if operator == METHOD and self.method else operator


class Attempt(NamedTuple):
    """One parent, the operator chosen for it, and what came of it."""

    parent: Prompt
    operator: str
    round: int
    child: Prompt | None = None
    failure: Failure | None = None
    ended: bool = True
    """Whether the model ended the rewritten task itself."""

    @property
    def id(self) -> str:
        """The child's id. A child that did not come to be is named after what it was to come
        from: `PARENT:OPERATOR:ROUND`."""
        if self.child is not None:
            return self.child.id
        return f"{self.parent.id}:{self.operator}:{self.round}"


class Draw(NamedTuple):
    """What decides every random choice of one round."""

    run_seed: int
    cycle: int
    round: int

    def seed(self, *parts: str | int) -> int:
        return draw_seed(self.run_seed, self.cycle, self.round, *parts)


def pick_parents(
    pool: Sequence[Prompt], settings: EvolveSettings, draw: Draw, weights: Weights | None = None
) -> list[Prompt]:
    """Draw this round's parents out of the pool, domain by domain, in the pool's order; with
    `weights` more of those kinds of prompt that weigh more."""
    wanted = settings.parents
    if wanted is None:
        chosen = {prompt.id for prompt in pool}
    else:
        chosen = set()
        for domain, count in (share_parents(wanted, pool, weights) if weights else wanted).items():
            own = sorted((p for p in pool if p.domain == domain), key=lambda prompt: prompt.id)
            rng = random.Random(draw.seed("parents", domain))
            if weights:
                drawn = draw_weighted(own, count, weights, rng)
            else:
                drawn = rng.sample(own, min(count, len(own)))
            chosen.update(prompt.id for prompt in drawn)
    return [p for p in pool if p.id in chosen and fitting_operators(p, settings)]


def fitting_operators(prompt: Prompt, settings: EvolveSettings) -> list[str]:
    """The operators of the settings, or of the domain's set, that can work on this prompt."""
    named = settings.operators
    names = list_operators(prompt.domain) if named is None else named
    if named is None and settings.method is not None:
        names = (*names, METHOD)
    unkeyed = prompt.check is None or isinstance(prompt.check, ConstraintCheck)
    is_procedural = isinstance(prompt.check, ProceduralCheck)
    fits = {
        "procedural": is_procedural,
        "constraint": unkeyed and prompt.domain in settings.open_domains,
        "follow_up": prompt.check is not None and not isinstance(prompt.check, ConsensusCheck),
    }
    return [name for name in names if fits.get(name, not is_procedural)]


def choose_operator(
    prompt: Prompt, settings: EvolveSettings, draw: Draw, credits: Credits | None = None
) -> str:
    """Choose among the fitting operators by the prompt's own seed: by their credit where there is
    any, else uniformly."""
    rng = random.Random(draw.seed(prompt.id, "operator"))
    names = fitting_operators(prompt, settings)
    if credits is None:
        return rng.choice(names)
    return draw_operator(names, prompt.domain, credits, rng)


def build_rewrite(
    parent: Prompt,
    operator: str,
    form: Form,
    settings: EvolveSettings,
    draw: Draw,
    answer: str | None = None,
) -> Request:
    """The request that asks the model to rewrite the parent's task, or to ask on after an
    `answer` to it, the whole conversation in view."""
    seed, slots = draw.seed(parent.id, operator, 0), {"task": bare_text(parent)}
    if answer is not None:
        slots |= {"answer": answer, "earlier": _list_earlier_turns(parent)}
    return render_request(form, settings.find_template(operator), settings.sampling, seed, **slots)


def read_rewrite(
    parent: Prompt,
    operator: str,
    outcome: Outcome,
    *,
    form: Form,
    model: str,
    settings: EvolveSettings,
    draw: Draw,
    consensus: ConsensusSettings | None = None,
    answer: str | None = None,
) -> Attempt:
    """Make the child out of what the model wrote, with a constraint where the domain is open and
    an open vote where it votes. With an `answer` the child is the parent's conversation, carried
    on by a turn."""
    if isinstance(outcome, Failure):
        return Attempt(parent, operator, draw.round, failure=outcome)
    text = clean_rewrite(outcome.text)
    check = open_vote(parent.domain, consensus)
    if check is None and text and parent.domain in settings.open_domains:
        check = draw_check(text, settings, draw.seed(parent.id, operator, "constraint"))
    child = parent.child(
        carry_on(parent, answer, state_check(text, check)),
        operator=operator,
        round=draw.round,
        check=check,
        author=model,
        template_hash=hash_template(form, settings.find_template(operator)),
        tools=parent.tools,
    )
    return Attempt(parent, operator, draw.round, child, ended=outcome.finish_reason != "length")


def evolve_by_key(parent: Prompt, operator: str, settings: EvolveSettings, draw: Draw) -> Attempt:
    """Apply `constraint` or `procedural`: no model is asked, and the child has its own key."""
    evolve = _evolve_constraint if operator == "constraint" else _evolve_procedural
    return evolve(parent, operator, settings, draw)


def _evolve_constraint(
    parent: Prompt, operator: str, settings: EvolveSettings, draw: Draw
) -> Attempt:
    text = bare_text(parent)
    existing = parent.check.constraints if isinstance(parent.check, ConstraintCheck) else ()
    check = draw_check(text, settings, draw.seed(parent.id, operator), existing=existing)
    if check is None or len(check.constraints) == len(existing):
        message = "no constraint fits that demands something and is not settled already"
        failure = Failure(reason="no_constraint_fits", message=message, permanent=True)
        return Attempt(parent, operator, draw.round, failure=failure)
    child = parent.child(
        turns_with(parent, state_check(text, check)),
        operator=operator,
        round=draw.round,
        check=check,
        author="tutelage",
        tools=parent.tools,
    )
    return Attempt(parent, operator, draw.round, child)


def _evolve_procedural(
    parent: Prompt, operator: str, settings: EvolveSettings, draw: Draw
) -> Attempt:
    assert isinstance(parent.check, ProceduralCheck)
    seed = draw.seed(parent.id, operator)
    harder = random.Random(seed).random() < 0.5
    for direction in (harder, not harder):
        evolved = procedural.evolve_entry(parent.check, harder=direction, seed=seed, split="train")
        if evolved is not None:
            check = evolved.check
            child = parent.child(
                turns_with(parent, procedural.prompt_of(check)),
                operator=operator,
                round=draw.round,
                check=check,
                author=f"the generator of {check.task}",
            )
            return Attempt(parent, operator, draw.round, child)
    message = f"{parent.check.task} has neither a harder nor an easier step"
    failure = Failure(reason="no_other_difficulty", message=message, permanent=True)
    return Attempt(parent, operator, draw.round, failure=failure)


def draw_check(
    text: str, settings: EvolveSettings, seed: int, *, existing: Sequence[dict] = ()
) -> ConstraintCheck | None:
    """Draw constraints for a task; those that it already has stay. None where none fits."""
    drawn = constraints.draw_constraints(
        text,
        random.Random(seed),
        count=settings.constraints_per_prompt,
        existing=existing,
        ids=settings.constraints,
    )
    together = (*existing, *drawn)
    return ConstraintCheck(constraints=together) if together else None


def state_check(text: str, check: Check | None) -> str:
    """The task with its constraints, if it has any, stated below it."""
    if not isinstance(check, ConstraintCheck):
        return text
    return f"{text}\n\n{constraints.state(check.constraints)}"


def bare_text(prompt: Prompt) -> str:
    """What the prompt asks, without the constraints that evolution stated below it."""
    if isinstance(prompt.check, ConstraintCheck):
        return constraints.without_statement(prompt.text, prompt.check.constraints)
    return prompt.text


def _list_earlier_turns(parent: Prompt) -> list[Message]:
    """What user and assistant said before the last user turn."""
    return [m for m in turns_with(parent, "")[:-1] if m.role in ("user", "assistant")]


def turns_with(parent: Prompt, text: str) -> tuple[Message, ...]:
    """The parent's conversation with its last user turn replaced."""
    last = max(i for i, m in enumerate(parent.messages) if m.role == "user")
    turn = parent.messages[last].model_copy(update={"content": text})
    return (*parent.messages[:last], turn)


def carry_on(parent: Prompt, answer: str | None, text: str) -> tuple[Message, ...]:
    """The parent's conversation with the answer to it and one more user turn; without an answer,
    with its last user turn replaced."""
    if answer is None:
        return turns_with(parent, text)
    reply = Message(role="assistant", content=answer)
    return (*parent.messages, reply, Message(role="user", content=text))


def clean_rewrite(text: str) -> str:
    """Drop the quotation marks and rules that models like to set around a rewritten task."""
    lines = text.strip().split("\n")
    for end in (0, -1):
        while lines and not lines[end].strip("- \t\r"):
            del lines[end]
    text = "\n".join(lines).strip()
    for left, right in (('"', '"'), ("“", "”")):
        inner = text[1:-1]
        if len(text) > 1 and text[0] == left and text[-1] == right and left not in inner:
            text = inner.strip()
    return text
