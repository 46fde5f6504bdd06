"""Telling an answer that is meant from one that is hedged, negated, taken back or contradicted.

An answer is what its writer stands by. Whatever leaves two values open (`4 or 5`, `maybe 19`,
`wait, actually it is 20`) is not one, however right one of the values may be.
"""

import re

_OR = r"(?:\bor\b|\\text\s*\{\s*or\s*\}|\\lor\b|\bvs\b\.?)"
_ALTERNATIVES = re.compile(
    rf"(?:\d[^\s,(]{{0,20}}|(?<![\w'])[A-Z])[\s,(]{{0,3}}{_OR}|"
    rf"{_OR}[\s,]{{0,3}}(?:[^\s]{{1,20}}\s{{1,3}}){{0,3}}[-$£€(\\]{{0,3}}(?:\d|[A-Z]\b)"
)
_DOUBT = re.compile(
    r"\b(?:either|maybe|perhaps|possibly|probably|presumably|might|could(?: also| well)? be|may be|"
    r"i(?:'d| would)? (?:guess|suppose)|guess(?:ing)?|or possibly|or so|"
    r"hard to (?:say|tell)|it depends|if i(?:'m| am) not mistaken|i (?:\w+ )?doubt|"
    r"(?:(?:is|was)(?: not|n't) (?:true|correct|right|the case)|"
    r"(?:is|was|'s) (?:false|untrue|wrong|incorrect)) that|"
    r"(?:wrong|incorrect|false) answer (?:is|was|would be)|would be (?:wrong|incorrect))\b",
    re.IGNORECASE,
)
_NO_IDEA = re.compile(
    r"\b(?:not|n't) (?:(?:at all|entirely|completely|quite|totally|really|so|very|too|100%)\s+)?"
    r"(?:sure|certain|confident|positive)\b|\bunsure\b|\buncertain\b|"
    r"\bi (?:do not|don't|cannot|can't) (?:really )?(?:know|tell|say|determine|decide)\b|"
    r"\b(?:cannot|can't) be (?:determined|known)\b|\bno idea\b|"
    r"\banswer(?: is|:) un(?:known|clear)\b",
    re.IGNORECASE,
)
_RETRACTION = re.compile(
    r"\b(?:wait|actually|hold on|hmm+|oops|sorry|correction|scratch that|on second thought|"
    r"my mistake|made an? (?:\w+ )?(?:mistake|error)|(?:is|was|that's|looks) (?:wrong|incorrect)|"
    r"(?:is|was)(?: not|n't) (?:the|my|correct|right)|"
    r"should(?: instead)? be|should have been|let me (?:re\w+|fix|correct)|i meant|rather|instead|"
    r"alternatively|no,)(?!\w)",
    re.IGNORECASE,
)
_FRESH_START = re.compile(
    r"\W*(?:(?:oh|ah|but|and)\W+)?(?:wait|no|oops|sorry|hmm+|correction|actually|hold on|"
    r"scratch that|on second thought|or)\b",
    re.IGNORECASE,
)
_INEXACT = re.compile(
    r"(?:\b(?:about|around|roughly|almost|nearly|at least|at most|up to|"
    r"(?:more|less|fewer|greater|other|bigger|smaller|larger|higher|lower) than|over|under|above|"
    r"below|between|close to|not|cannot|\w*n't|never|(?:any|every)thing but|all but|neither|nor)|"
    r"[<>≤≥~≠]|\\(?:leq?|geq?|neq?|lt|gt))"
    r"(?:\s+(?:be|equal to|the|a|an))*[\s$£€(\\]*$",
    re.IGNORECASE,
)
_OPERATOR_BEFORE = re.compile(
    r"\b(?:minus|negative|plus|times|twice|double|half|triple|over|root|squared|by|"
    r"(?:half|third|quarter|root|power|out|percent|%|fraction|factor|multiple|instead|"
    r"(?:square|cube) root|one) of|the (?:first|last|next|other)|step|chapter|part|"
    r"question|problem|section|figure|equation|example|exercise|page|line|method)[\s$£€(\\]*$|%\s*of[\s$£€(\\]*$",
    re.IGNORECASE,
)
_DENIED_NUMBER = re.compile(
    r"[,;]?\s{0,3}\(?\b(?:but\s+)?(?:not|rather than|instead of)\s+[$£€]?"
    r"(-?\d[\d,]*(?:\.\d+)?)[^\n).!?;,]{0,80}\)?",
    re.IGNORECASE,
)
_BOTH_SOLVE = re.compile(
    r"(?<![\\\w])([a-zA-Z])(?:_\w)?(\s*(?:[=<>≤≥]|\\[lg](?:eq?|t)(?![a-zA-Z]))[^=<>≤≥,;\n]{1,40}?)"
    rf"{_OR}(?=\s*\1(?:_\w)?\s*(?:[=<>≤≥]|\\[lg](?:eq?|t)(?![a-zA-Z])))"
)
_MOST_SOLUTIONS = 8
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+|\n+")


def is_doubtful(text: str) -> bool:
    """Whether a text leaves its answer open: doubt, or alternatives."""
    return bool(_DOUBT.search(text) or _NO_IDEA.search(text) or _ALTERNATIVES.search(text))


def is_question(sentence: str) -> bool:
    """Whether a sentence asks instead of answering."""
    return sentence.rstrip(" \n\"')*").endswith("?")


def admits_ignorance(text: str) -> bool:
    """Whether the writer says, anywhere, that they do not know."""
    return _NO_IDEA.search(text) is not None


def retracts(text: str) -> bool:
    """Whether a text after an answer takes something back."""
    return _RETRACTION.search(text) is not None


def begins_anew(sentence: str) -> bool:
    """Whether a sentence opens by taking back what was said before it."""
    return _FRESH_START.match(sentence) is not None


def is_inexact(before: str) -> bool:
    """Whether the words before a number bound, approximate or deny it (`at least`, `not`)."""
    return _INEXACT.search(before) is not None


def is_operand(before: str) -> bool:
    """Whether the words before a number make it a part of a calculation (`half of`, `minus`)."""
    return _OPERATOR_BEFORE.search(before) is not None


def drop_denied(text: str) -> tuple[str, list[str]]:
    """The text with numbers like `(not 20)` blanked out, and those numbers."""
    denied = [match[1] for match in _DENIED_NUMBER.finditer(text)]
    return _DENIED_NUMBER.sub(lambda match: " " * len(match[0]), text), denied


def hide_solutions(text: str) -> str:
    """The text with the `or` of `x = 1 or x = 2` blanked out: two solutions of one unknown are an
    answer, and not two answers."""
    for _ in range(_MOST_SOLUTIONS):
        shorter = _BOTH_SOLVE.sub(lambda m: m[0][: m.end(2) - m.start()].ljust(len(m[0])), text)
        if shorter == text:
            break
        text = shorter
    return text


def sentences(text: str) -> list[tuple[int, int]]:
    """Where each sentence or line of a text starts and ends."""
    spans, start = [], 0
    for end in _SENTENCE_END.finditer(text):
        spans.append((start, end.start()))
        start = end.end()
    spans.append((start, len(text)))
    return [(a, b) for a, b in spans if text[a:b].strip()]
