"""Did evolving a task fail? Told from its text and from the answer that it gets.

Auto-Evol (Zeng et al. 2024, arXiv:2406.00770) counts the failures of an evolving method by reading
responses: evolution that stagnates, or that loses what the task needs, makes the responder talk
about the task instead of doing it. Before these rules come those of elimination, which read the
text. A rule returns the span that it objects to, or None. They look at short answers only, since a
long one has done something; and where a task asks for thanks, an apology or a request, these are
the answer and no failure.
"""

import re

from filters.eliminate import (
    RULES,
    SHORT_ANSWER_WORDS,
    Evolved,
    find_empty_answer,
    find_refusal,
)
from filters.rules import Objection, find_objection
from generators.wording import normalise

STAGNANT, ASKS, REFUSES = "stagnant", "asks_for_input", "refusal"


def find_failure(parent: str, child: str, answer: str | None) -> Objection | None:
    """The first rule that an evolved task breaks; None where it does not fail. Without an answer
    only its text is judged."""
    return find_objection(_TEXT_RULES | _ANSWER_RULES, Evolved(parent, child, answer, None))


_TASK = r"(?:question|task|request|message|prompt|instruction)s?"
_THANKED = re.compile(
    r"(?:thanks|thank you)(?: (?:so|very) much)?"
    rf"(?: for (?:(?:sharing|providing)\b[^:]*|(?:your|the|this|these)\b[^:]*?\b{_TASK}\b[^:]*))?"
)
_ACKNOWLEDGED = re.compile(
    r"understood|noted|got it|ok(?:ay)?|all ?right|sounds good|will do|clear"
    r"|i(?:'ve| have)? (?:see|noted|get it|got it)"
    r"|i(?: have)? (?:understand|understood)(?: (?:the|your|this|these|that|what|all) [^:]+)?"
    r"|(?:that is|that's|it is|it's) (?:clear|understood|noted)"
    r"|i(?:'ll| will) (?:keep|bear|take) (?:it|this|that|these|them|your [^:]+) in(?:to)? \w+"
    r"|i(?:'ll| will) (?:wait for|follow) (?:this|these|your)\b[^:]*"
    r"|i(?: am|'m|'ll be| will be) (?:ready|here|happy|glad) to (?:help|assist|start|begin)\b[^:]*"
)
_OFFERED = re.compile(
    r"(?:please |just )?let me know\b[^:]*|(?:please )?feel free\b[^:]*"
    r"|(?:please )?(?:do not|don't) hesitate\b[^:]*"
    r"|(?:how|what)(?: else)? (?:can|may|could|should|shall) i (?:help(?! but\b)|assist|do)\b.*"
    r"|what (?:would|do) you (?:like|want)\b.*|would you like me to\b.*|shall i\b.*"
    r"|what is your (?:question|request|task)|is there anything\b.*|if you (?:have|need)\b[^:]*"
)
_FILLER = re.compile(r"sure(?: thing)?|certainly|of course|absolutely|great|perfect|hello|hi|yes")
_NOTHING_ASKED = re.compile(
    r"(?:there (?:is|was|seems to be) no|i (?:do not|don't) see any|i see no)\b"
    r"[^.!?\n]{0,40}\b(?:question|task|request|instruction)s?\b(?! that\b)"
    r"|\byou (?:have not|haven't|did not|didn't) (?:actually |yet )?"
    r"(?:ask(?:ed)?|stated?|give|given|posed?|made?)\b"
    r"[^.!?\n]{0,30}\b(?:question|task|request|instruction|anything)s?\b"
    r"|\bno (?:specific |actual |clear |further )?(?:question|task|request|instruction)s?"
    r"(?: (?:was|were|is|has been|have been))? (?:asked|given|stated|posed|made)\b",
    re.IGNORECASE,
)


_TO_THANK = re.compile(r"\b(?:thank|grat(?:itude|eful)|appreciat)", re.IGNORECASE)


def find_stagnation(evolved: Evolved) -> str | None:
    """The answer acknowledges and offers help, or says that nothing was asked, and no more. Thanks
    acknowledge nothing where the task is to thank somebody."""
    answer = _short_answer(evolved)
    if answer is None:
        return None
    if match := _NOTHING_ASKED.search(answer):
        return _sentence(answer, match)
    clauses = [normalise(clause) for clause in re.split(r"[.,;!?\n]+", answer)]
    clauses = [clause for clause in clauses if clause]
    talk = [_ACKNOWLEDGED, _OFFERED] + [_THANKED] * (not _TO_THANK.search(evolved.child))
    says_so = any(p.fullmatch(clause) for clause in clauses for p in talk)
    is_talk = all(any(p.fullmatch(clause) for p in (*talk, _FILLER)) for clause in clauses)
    return answer.strip() if says_so and is_talk else None


_INPUT = (
    r"(?:text|passage|paragraph|sentence|article|document|file|image|picture|table|data|dataset|"
    r"code|snippet|function|formula|equation|list|input|example|context|content|question|task|"
    r"prompt|problem|information|info|details?|numbers?|values?|figures?|description)s?"
)
_ASKING = r"(?:please|kindly|(?:could|can|would) you(?: please| kindly)?)"
_SPAN = r"[^.!?\n]{0,60}"
_PLEA = re.compile(
    rf"\b{_ASKING} (?:provide|share|supply|send|paste|upload|attach|specify|clarify)\b"
    rf"{_SPAN}\b{_INPUT}\b"
    rf"|\b{_ASKING} (?:specify|clarify) (?:which|what|who|how)\b"
    r"|\bi(?:'d| would|'ll| will)? (?:also )?(?:need|require) "
    rf"(?:to (?:know|see)|(?:some )?(?:more|further|additional)) {_SPAN}\b{_INPUT}\b"
    rf"|\bwithout (?:the|any|more|further|a) {_SPAN}\b{_INPUT}\b{_SPAN}"
    r"\bi (?:cannot|can't|am unable|am not able)\b",
    re.IGNORECASE,
)
_LETTER = re.compile(r"^[^\w\n]*(?:dear|subject:|to whom)\b", re.IGNORECASE | re.MULTILINE)
_START = r"(?:^|[.!?\n])\W{0,8}"
_POLITELY = r"(?:(?:please|kindly|politely) ){0,2}"
_WRITE = r"\b(?:write|draft|compose|send|make|phrase)\b"
_TO_REQUEST = re.compile(
    rf"(?:{_START}|, |\b(?:and|to|then|please) ){_POLITELY}(?:[ei]nquire\b"
    rf"|ask\b(?! yourself){_SPAN}\b(?:for|to|whether|if|about|what|which|when|how)\b)"
    rf"|{_START}{_POLITELY}request (?!for\b|from\b|by\b)"
    rf"|{_WRITE}{_SPAN}\b(?:asking|requesting|[ei]nquiring"
    rf"|(?:that|which) {_POLITELY}(?:asks|requests|[ei]nquires)|(?:and|to) {_POLITELY}request)\b"
    rf"|{_WRITE} (?:(?!(?:about|for|from|of|on|to)\b)[\w-]+,? ){{1,4}}(?:request|[ei]nquiry)\b",
    re.IGNORECASE,
)
"""An instruction to ask; a task that only mentions asking or a request is none."""
_TO_DO_THE_TASK = re.compile(
    r"\b(?:help|assist) you\b|\bi(?: can|'ll| will| could| may)?(?:not|'t)? (?:better )?"
    r"(?:help|assist|answer|complete|write|draft|compose|create|start|begin)\b",
    re.IGNORECASE,
)


def find_plea(evolved: Evolved) -> str | None:
    """The answer asks for something that the task does not hold. A letter may ask for it, and so
    may any answer to the task of asking, unless it says that it needs it for the task."""
    answer = _short_answer(evolved)
    if answer is None or _LETTER.search(answer):
        return None
    if _TO_REQUEST.search(evolved.child) and not _TO_DO_THE_TASK.search(answer):
        return None
    match = _PLEA.search(answer)
    return _sentence(answer, match) if match else None


_REGRET = (
    r"(?:unfortunately,? |i(?:'m| am) afraid(?: that)? |i apologi[sz]e,?(?: but)? "
    r"|(?:i(?:'m| am) )?sorry,?(?: but)? )?"
)
_CANNOT = r"i(?: cannot| can't| can not| won't| will not|(?: am|'m)(?: unable| not able) to)"
_SERVICE = (
    r"(?:help(?! but\b)|assist|comply|fulfil|do (?:that|this)|answer|complete|carry out|create|"
    r"generate|write|provide|process|access)"
)
_DECLINED = re.compile(
    rf"\W*{_REGRET}(?:as an ai\b|{_CANNOT} {_SERVICE}\b)[^.!?\n]*", re.IGNORECASE
)


_TO_BE_SORRY = re.compile(
    r"\b(?:apolog(?:y|ies|i[sz])|sorry\b|regret|condolence|sympath|declin(?:e|ing)\b"
    r"|refus(?:e|al|ing)\b|turn(?:s|ing)? down\b)",
    re.IGNORECASE,
)


def find_decline(evolved: Evolved) -> str | None:
    """The answer begins by declining the task, or says "sorry" where the task is not to say so."""
    answer = _short_answer(evolved)
    if answer is None:
        return None
    if match := _DECLINED.match(answer):
        return match[0].strip()
    return None if _TO_BE_SORRY.search(evolved.child) else find_refusal(evolved)


def _short_answer(evolved: Evolved) -> str | None:
    """The answer, with plain apostrophes, if it is short enough to say nothing."""
    if evolved.answer is None or len(evolved.answer.split()) >= SHORT_ANSWER_WORDS:
        return None
    return evolved.answer.replace("\u2019", "'")


def _sentence(answer: str, match: re.Match[str]) -> str:
    """The sentence in which a match begins."""
    start = max(answer.rfind(mark, 0, match.start()) for mark in ".!?\n") + 1
    rest = re.match(r"[^.!?\n]*[.!?]?", answer[match.end() :])
    return (answer[start : match.end()] + (rest[0] if rest else "")).strip()


_TEXT_RULES = {
    reason: find for reason, find in RULES.items() if find not in (find_refusal, find_empty_answer)
}
_ANSWER_RULES = {
    "empty_answer": find_empty_answer,
    ASKS: find_plea,
    STAGNANT: find_stagnation,
    REFUSES: find_decline,
}
