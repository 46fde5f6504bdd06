"""The `judge` section: which model judges what no program can check, and how far it is trusted.

A judge can be fooled: a colon or the word "Solution" in the place of an answer passes many of them
("One Token to Fool LLM-as-a-Judge", Zhao et al. 2025, arXiv:2507.08794), and many prefer the text
that stands first (Zheng et al. 2023, arXiv:2306.05685). So it is asked in both orders, tried on
such keys before each use, and accepts nothing alone unless the configuration says so.
"""

from collections.abc import Container, Iterator, Mapping

from pydantic import Field

from generators.records import Record


class JudgeSettings(Record):
    """A model that judges the answers to prompts with a check of kind `judge`."""

    model: str
    """A model under `models` that answers no prompt of this run itself."""
    master_keys_accepted: float = Field(default=0.0, ge=0, lt=1)
    """The share of master keys that may pass for right; beyond it the judge is disabled."""
    battery_prompts: int = Field(default=20, ge=1)
    """The master keys are tried on at most so many prompts."""
    accepts_alone: bool = False
    """Whether its word is enough; else what it calls right waits for a person."""


def find_judge_problems(
    settings: JudgeSettings | None,
    samplers: Mapping[str, str],
    weights: Mapping[str, str],
    published: Container[str],
) -> Iterator[tuple[str, str]]:
    """What is wrong with the judge: the setting, and the trouble. A model is no judge of its own
    answers, for it prefers them.

    `samplers` says which model under `models` each asks, `weights` what each of those loads, and
    `published` which ways of verification are published.
    """
    if settings is None:
        return
    judge = weights.get(settings.model)
    own = [name for name, model in samplers.items() if judge and weights.get(model) == judge]
    if own:
        what = f"{settings.model} also answers, as sampler {own[0]}, and would judge itself"
        yield "judge.model", f"{what}; name another model"
    if settings.accepts_alone and "judge" not in published:
        what = "what it accepts would not be published"
        yield "judge.accepts_alone", f"{what}; add judge to publish.accept, or take this out"
