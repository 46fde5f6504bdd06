"""Quarantine answers whose form is broken, before anyone reads what they say."""

import re

from filters.rules import Objection, Rules, find_objection
from generators.records import Answer, Prompt, Verdict

MARKUP = re.compile(
    r"<\|[\w-]+\|>"  # <|im_start|>, <|endoftext|>, <|eot_id|>
    r"|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>"
    r"|^#{2,}[ \t]*(?:instruction|input|response|system|user|human|assistant)[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)


def judge_structure(answer: Answer, prompt: Prompt) -> Verdict:
    """Accept an answer's form, or quarantine it for the first thing wrong with it."""
    return _decide(answer, find_objection(_RULES, answer, prompt))


def _decide(answer: Answer, objection: Objection | None) -> Verdict:
    return Verdict(
        subject_id=answer.id,
        stage="structure",
        detector="answer_form",
        version="1",
        decision="accept" if objection is None else "quarantine",
        reason="well_formed" if objection is None else objection.reason,
        evidence=None if objection is None else objection.evidence,
    )


def _find_truncation(answer: Answer, prompt: Prompt) -> str | None:
    """The model did not end the answer itself; its last words are the evidence."""
    return answer.completion[-80:] if answer.finish_reason == "length" else None


def _find_emptiness(answer: Answer, prompt: Prompt) -> str | None:
    return None if answer.completion.strip() or answer.tool_calls else answer.completion


def _find_undeclared_tool(answer: Answer, prompt: Prompt) -> str | None:
    declared = {tool.get("function", tool).get("name") for tool in prompt.tools}
    called = (call.function.name for call in answer.tool_calls)
    return next((name for name in called if name not in declared), None)


def _find_special_token(answer: Answer, prompt: Prompt) -> str | None:
    """Chat markup in the answer that the prompt does not speak of."""
    asked = "\n".join(message.content for message in prompt.messages)
    return next((m[0] for m in MARKUP.finditer(answer.completion) if m[0] not in asked), None)


_RULES: Rules = {
    "truncated": _find_truncation,
    "empty": _find_emptiness,
    "undeclared_tool_call": _find_undeclared_tool,
    "special_token": _find_special_token,
}
