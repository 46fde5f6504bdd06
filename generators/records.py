"""The records that every room hands to the next, and the JSON Schemas they are held to.

All are frozen pydantic models. Ids are content hashes, so the same input gives the same ids on
every machine. A record's JSON Schema is generated from its class and is what `jsonschema` holds
rows to wherever they cross a file boundary (`rows_to_table`, `rows_from_table` in
`generators.tables`).
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class Record(BaseModel):
    """A frozen record that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FunctionCall(Record):
    name: str
    arguments: str
    """The arguments as the model wrote them: a JSON text, not yet parsed."""


class ToolCall(Record):
    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class Message(Record):
    """One turn of a conversation, in OpenAI's form."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    reasoning_content: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


class MathCheck(Record):
    kind: Literal["math"] = "math"
    answer: str


class ExactCheck(Record):
    kind: Literal["exact"] = "exact"
    answer: str


class ChoiceCheck(Record):
    kind: Literal["choice"] = "choice"
    answer: str
    options: dict[str, str]


class JsonSchemaCheck(Record):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    kind: Literal["json_schema"] = "json_schema"
    schema_: dict[str, Any] = Field(alias="schema")


class ConstraintCheck(Record):
    kind: Literal["constraint"] = "constraint"
    constraints: tuple[dict[str, Any], ...] = Field(min_length=1)
    """Each has an IFEval `id` and that instruction's parameters."""


class CodeCase(Record):
    """A call and what it must come to; a tag such as `$set` says what JSON has no words for."""

    args: tuple[Any, ...]
    expected: Any


class CodeCheck(Record):
    kind: Literal["code"] = "code"
    entry_point: str
    """The name of the function that is called."""
    cases: tuple[CodeCase, ...] = Field(min_length=1)
    solution: str | None = Field(default=None, exclude_if=lambda value: value is None)
    """A right program, if there is one: the cases are tried on it and on its mutants."""


class ProceduralCheck(Record):
    kind: Literal["procedural"] = "procedural"
    task: str
    entry: dict[str, Any]
    """The generator's own entry: question, answer and metadata."""


class ConsensusCheck(Record):
    kind: Literal["consensus"] = "consensus"
    votes: dict[str, int]
    n: int
    threshold: float


class JudgeCheck(Record):
    kind: Literal["judge"] = "judge"
    rubric: str
    reference: str | None = Field(
        default=None, min_length=1, exclude_if=lambda value: value is None
    )
    """An answer that meets the rubric, if there is one: the judge sees it beside the answer."""


Check = Annotated[
    MathCheck
    | ExactCheck
    | ChoiceCheck
    | JsonSchemaCheck
    | ConstraintCheck
    | CodeCheck
    | ProceduralCheck
    | ConsensusCheck
    | JudgeCheck,
    Field(discriminator="kind"),
]
CHECK: TypeAdapter[Check] = TypeAdapter(Check)

VerifiedBy = Literal["program", "constraint", "reference", "consensus", "judge", "person", "none"]
VERIFIED_BY: dict[str, VerifiedBy] = {
    "math": "reference",
    "exact": "reference",
    "choice": "reference",
    "json_schema": "constraint",
    "constraint": "constraint",
    "code": "program",
    "procedural": "program",
    "consensus": "consensus",
    "judge": "judge",
}
"""How a row counts as verified, by the kind of its check; `person` is what one released from
quarantine, `none` what has no check."""


class Prompt(Record):
    """A task for a model, and where it came from."""

    id: str
    root_id: str
    """The seed this prompt descends from; a seed is its own root."""
    parent_id: str | None
    round: int
    """0 for a seed, else the round of evolution that made it."""
    operator: str
    """`seed`, or the operator that made it out of its parent."""
    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()
    check: Check | None
    domain: str
    licence: str
    source: str
    """The file a seed was read from; a child keeps its seed's."""
    author: str
    """Who or which model wrote it."""
    template_hash: str | None = None
    """The prompt template that an LLM operator used."""

    @property
    def text(self) -> str:
        """The last user turn: what is being asked."""
        return next(m.content for m in reversed(self.messages) if m.role == "user")

    @property
    def conversation(self) -> str:
        """All turns, one below the other."""
        return "\n".join(message.content for message in self.messages)

    @classmethod
    def seed(
        cls,
        messages: Iterable[Message],
        *,
        check: Check | None,
        domain: str,
        licence: str,
        source: str,
        author: str,
        tools: Iterable[dict[str, Any]] = (),
        occurrence: int = 0,
    ) -> Self:
        """A prompt of round 0; `occurrence` counts exact repeats, which keep ids of their own."""
        messages, tools = tuple(messages), tuple(tools)
        id = digest("prompt", messages, tools, check, *([occurrence] if occurrence else []))
        return cls(
            id=id,
            root_id=id,
            parent_id=None,
            round=0,
            operator="seed",
            messages=messages,
            tools=tools,
            check=check,
            domain=domain,
            licence=licence,
            source=source,
            author=author,
        )

    def child(
        self,
        messages: Iterable[Message],
        *,
        operator: str,
        round: int,
        check: Check | None,
        author: str,
        template_hash: str | None = None,
        tools: Iterable[dict[str, Any]] = (),
    ) -> Self:
        """A prompt evolved out of this one. Its check is its own: nothing is inherited."""
        messages, tools = tuple(messages), tuple(tools)
        id = digest("prompt", messages, tools, check, self.id, operator, round)
        return type(self)(
            id=id,
            root_id=self.root_id,
            parent_id=self.id,
            round=round,
            operator=operator,
            messages=messages,
            tools=tools,
            check=check,
            domain=self.domain,
            licence=self.licence,
            source=self.source,
            author=author,
            template_hash=template_hash,
        )


class Usage(Record):
    """Tokens of one request."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
        )


FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class Answer(Record):
    """One sampled answer to one prompt."""

    id: str
    prompt_id: str
    sample_index: int
    sampler: str
    """The name of the sampler in the configuration."""
    model: str
    """The model's id: its name and revision, never its URL."""
    messages: tuple[Message, ...]
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason
    usage: Usage
    params: dict[str, Any]
    request_key: str
    logprobs: tuple[float, ...] | None = None
    """Log-probability of each completion token, in nats."""

    @property
    def completion(self) -> str:
        """The text of the last assistant turn."""
        return self.messages[-1].content


Decision = Literal["accept", "quarantine", "reject"]


class Verdict(Record):
    """What one detector decided about one subject, and on what evidence."""

    subject_id: str
    stage: str
    detector: str
    version: str
    decision: Decision
    reason: str
    """A short code, the same for every subject that fell for the same cause."""
    evidence: str | None = None
    score: float | None = None


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: the same text for the same value everywhere."""
    return json.dumps(
        value, default=_plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )


def digest(*parts: Any, length: int = 16) -> str:
    """The first `length` hex digits of the SHA-256 of the parts' canonical JSON."""
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()[:length]


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    raise TypeError(f"{type(value).__name__} has no canonical JSON form")
