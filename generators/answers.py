"""Sampling answers: which requests a sampler sends for a prompt, and the answers they become.

A small model answers far better when it continues a few worked examples than when it is asked
outright, so a sampler may carry examples by task: a prompt of such a task is put as a raw
completion (or as earlier turns of a chat) behind them, and every other prompt as a chat.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from generators.clients import Request, Response, Sampling, draw_seed
from generators.prompting import Form, render_request
from generators.records import (
    Answer,
    ChoiceCheck,
    JsonSchemaCheck,
    Message,
    ProceduralCheck,
    Prompt,
    Record,
    digest,
)
from generators.seeds import Example


class SamplerSettings(Record):
    """One sampler of answers. Samplers are asked in their order, each only for the prompts
    that have no verified answer yet, unless it says otherwise."""

    name: str
    model: str
    """A name under `models`."""
    n: int = Field(default=4, ge=1)
    """Answers drawn for each prompt. Left out where `matched_to` decides it."""
    matched_to: str | None = None
    """Another sampler: as many answers are drawn as cost what that one's do."""
    exchange: (
        Literal["parameters", "price"] | Annotated[float, Field(gt=0, allow_inf_nan=False)]
    ) = "parameters"
    """By what the two are compared: non-embedding parameters, the price of a completion token, or
    how many of this one's tokens one of the other's is worth."""
    asks: Literal["open", "all"] = "open"
    """`all`: it is asked also for what an earlier sampler has answered, so that the two can be
    compared."""
    sampling: Sampling = Sampling()
    examples: str | None = None
    """A JSONL file of worked examples by task."""
    structured: bool = False
    """Whether a prompt whose check is a JSON Schema is asked for an answer in that schema, and
    vLLM for one of the labels where the check is a choice; for models behind a URL."""
    examples_max_tokens: int = Field(default=16, ge=1)
    """The longest answer to a prompt that has examples, in tokens."""

    @model_serializer(mode="wrap")
    def _leave_out_open_n(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """An n that `matched_to` is yet to decide is not written down as if it were the default."""
        settings = dump(self)
        if self.matched_to is not None and "n" not in self.model_fields_set:
            settings.pop("n", None)
        return settings


class Draft(NamedTuple):
    """A request for one sample of one prompt."""

    prompt: Prompt
    sample: int
    request: Request


class Examples(NamedTuple):
    """Worked examples by task, and how a model takes them and the prompts."""

    by_task: Mapping[str, Sequence[Example]]
    form: Form
    guided: bool = False
    """Whether it can be held to one of several texts."""


def group_examples(examples: Sequence[Example], form: Form, *, guided: bool = False) -> Examples:
    """Sort examples under the task that they show."""
    by_task: dict[str, list[Example]] = {}
    for example in examples:
        by_task.setdefault(example.task, []).append(example)
    return Examples(by_task, form, guided)


def draft_samples(
    prompt: Prompt,
    sampler: SamplerSettings,
    examples: Examples,
    *,
    run_seed: int,
    cycle: int,
    indices: Sequence[int] | None = None,
) -> list[Draft]:
    """Draft the sampler's requests for one prompt: all n of them, or those of `indices`."""
    wanted = range(sampler.n) if indices is None else indices
    seeds = [draw_seed(run_seed, cycle, "answer", prompt.id, sampler.name, i) for i in wanted]
    return [
        Draft(prompt, i, put_prompt(prompt, sampler, examples, seed))
        for i, seed in zip(wanted, seeds, strict=True)
    ]


def put_prompt(prompt: Prompt, sampler: SamplerSettings, examples: Examples, seed: int) -> Request:
    """Put a prompt to the model: behind its task's examples where there are any."""
    shots = _shots(prompt, examples)
    if not shots:
        return Request(
            messages=prompt.messages,
            tools=prompt.tools,
            sampling=sampler.sampling,
            seed=seed,
            json_schema=_find_schema(prompt) if sampler.structured else None,
            choices=_find_labels(prompt) if sampler.structured and examples.guided else (),
        )
    sampling = sampler.sampling.model_copy(update={"max_tokens": sampler.examples_max_tokens})
    if examples.form == "complete":
        return render_request(
            "complete", "answer", sampling, seed, task=prompt.text, examples=shots
        )
    turns = [
        turn
        for shot in shots
        for turn in (
            Message(role="user", content=shot.prompt),
            Message(role="assistant", content=shot.completion.strip()),
        )
    ]
    system = [turn for turn in prompt.messages if turn.role == "system"]
    rest = [turn for turn in prompt.messages if turn.role != "system"]
    return Request(
        messages=(*system, *turns, *rest), tools=prompt.tools, sampling=sampling, seed=seed
    )


def _find_schema(prompt: Prompt) -> dict[str, Any] | None:
    return prompt.check.schema_ if isinstance(prompt.check, JsonSchemaCheck) else None


def _find_labels(prompt: Prompt) -> tuple[str, ...]:
    return tuple(prompt.check.options) if isinstance(prompt.check, ChoiceCheck) else ()


def _shots(prompt: Prompt, examples: Examples) -> Sequence[Example]:
    if isinstance(prompt.check, ProceduralCheck):
        return examples.by_task.get(prompt.check.task, ())
    return ()


def to_answer(
    draft: Draft, response: Response, *, sampler: str, model: str, request_key: str
) -> Answer:
    """The answer that a response is, to the prompt it was drafted for."""
    turn = Message(role="assistant", content=response.text.strip(), tool_calls=response.tool_calls)
    return Answer(
        id=digest("answer", draft.prompt.id, sampler, draft.sample, response.text),
        prompt_id=draft.prompt.id,
        sample_index=draft.sample,
        sampler=sampler,
        model=model,
        messages=(turn,),
        reasoning=response.reasoning,
        tool_calls=response.tool_calls,
        finish_reason=response.finish_reason,
        usage=response.usage,
        params=draft.request.sampling.model_dump(mode="json"),
        request_key=request_key,
        logprobs=response.logprobs,
    )
