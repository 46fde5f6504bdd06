"""Chains of calculations, sound and broken, and all that only looks like one."""

# ruff: noqa: RUF001 - signs as models write them

import time

import pytest

from filters.chains import ChainAudit, Step, audit_chain

SOUND = [
    ("12 + 7 = 19", "19", 1),
    ("48 / 2 = 24, and 48 + 24 = 72.", "72", 2),
    ("12 red apples + 7 green apples = 19 apples", "19", 1),
    ("He paid $5 × 3 = $15 and got $20 - $15 = $5 back.", "5", 2),
    ("20% of $50 = $10, so it costs $50 - $10 = $40.", "40", 2),
    ("1/2 of 30 = 15", "15", 1),
    ("15 / 60 * 100 = 25%", "25%", 1),
    ("3/4 = 75%", None, 1),
    ("100% - 20% = 80%", None, 1),
    ("100 - 20 = 80%", None, 1),
    ("10 / 3 = 3.33", "3.33", 1),
    ("10 / 3 = 3.33 and 3.33 * 3 = 10", "10", 2),
    ("22 / 7 ≈ 3.14", None, 1),
    ("998 + 4 ≈ 1,000", None, 1),
    ("7 / 2 = 3.5, so 4 buses are needed.", "4", 1),
    ("1,200 - 300 = 900", "900", 1),
    ("12\u202f345 + 5 = 12\u00a0350", None, 1),
    ("2.5 * 4 = 10", "10", 1),
    ("(3 + 4) * 2 = 14", "14", 1),
    ("2(3 + 4) = 14", "14", 1),
    ("2 + 3 * 4 = 14", "14", 1),
    ("2^3 = 8, then 3^{2} = 9 and 5² = 25, so 8 + 9 + 25 = 42", "42", 4),
    ("-5 + 3 = -2", "-2", 1),
    ("5 - (-3) = 8", "8", 1),
    ("3 − 10 = −7", "-7", 1),
    ("3 + 4 = 7 + 5 = 12", "12", 1),
    ("12 + 7 = 7 + 12 = 19", "19", 1),
    ("19 = 12 + 7", "19", 1),
    ("\\frac{48}{2} = 24 and $48 + 24 = \\boxed{72}$", "72", 2),
    ("\\(6 \\times 7 = 42\\)", "42", 1),
    ("\\[12 \\div 4 = 3\\]", "3", 1),
    ("$5 \\cdot 9 = 45 \\text{ apples}$", "45", 1),
    ("48/2 = <<48/2=24>>24 clips\n48+24 = <<48+24=72>>72 clips\n#### 72", "72", 2),
    ("5 1/2 + 2 = 7 1/2", None, 1),
    ("2½ × 2 = 5", "5", 1),
    ("**12 + 7 = 19**", "19", 1),
    ("12 plus 7 equals 19", "19", 1),
    ("60 divided by 4 is equal to 15", "15", 1),
    ("1. 5 + 3 = 8\n2. 8 × 2 = 16", "16", 2),
    ("- 5 + 3 = 8", "8", 1),
    ("Step 1: 12 + 7 = 19", "19", 1),
    ("48 / 2\n= 24", "24", 1),
    ("60 miles/hour × 2 hours = 120 miles", "120", 1),
    ("$5 per hour * 8 hours = $40", "40", 1),
    ("2 × 3.5 kg = 7 kg", "7", 1),
    ("12 boys + 7 girls = 19 children (12 + 7 = 19)", "19", 2),
    ("3.2 × 10^3 + 800 = 4000", "4000", 1),
    ("30 × 105 = 3.15 × 10^3", None, 1),
    ("12 + 7 = 19. Check: 19 - 7 = 12.", "19", 2),
    ("Ann has 3 × 4 = 12, Bo has 2 × 5 = 10. Ann has more: 12.", "12", 2),
    ("2 hours × 60 = 120 minutes. Answer: 2 hours", "2 hours", 1),
    ("15 (seats) - 10 (taken by now) = 5", "5", 1),
    ("x = 7 - 3 = 4", "4", 1),
    ("total = 12 + 7\n= 19", "19", 1),
    ("5 - 8 = -3, so it fell by 3 degrees.", "3", 1),
    ("<think>12 + 7 = 20?</think>12 + 7 = 19", "19", 1),
    ("`12 + 7 = 19`", "19", 1),
    ("The answer is 72. That is 72 / 12 = 6 boxes.", "72", 1),
    ("5 > 3 + 1 = 4", None, 1),
]
"""Text, the answer that was taken from it, and how many calculations can be read."""

BROKEN = [
    ("12 + 7 = 20, so 19.", "19", "12 + 7 = 20"),
    ("12 red apples + 7 green apples = 20 apples", None, "12 red apples + 7 green apples = 20"),
    ("48 / 2 = 26, and 48 + 24 = 72", "72", "48 / 2 = 26"),
    (
        "48 / 2 = 24, and 24 + 47 = 71. The answer is 72.",
        "72",
        "24 + 47 = 71, and the answer is 72",
    ),
    ("3 * 4 = 12. So there are 13.", "13", "3 * 4 = 12, and the answer is 13"),
    ("24 * 3 = 72, and 72 + 5 = 77. Answer: 72", "72", "72 + 5 = 77, and the answer is 72"),
    ("10 / 3 = 3", None, "10 / 3 = 3"),
    ("10 / 3 = 3.4", None, "10 / 3 = 3.4"),
    ("22 / 7 ≈ 3.2", None, "22 / 7 ≈ 3.2"),
    ("2.5 * 3 = 7.4", None, "2.5 * 3 = 7.4"),
    ("20% of $50 = $12", None, "20% of $50 = $12"),
    ("15 / 60 * 100 = 20%", None, "15 / 60 * 100 = 20%"),
    ("1/2 of 30 = 16", None, "1/2 of 30 = 16"),
    ("2 + 3 * 4 = 20", None, "2 + 3 * 4 = 20"),
    ("2(3 + 4) = 15", None, "2(3 + 4) = 15"),
    ("(3 + 4) * 2 = 11", None, "(3 + 4) * 2 = 11"),
    ("3^{2} = 6", None, "3^{2} = 6"),
    ("5 - 8 = 3", None, "5 - 8 = 3"),
    ("1,200 - 300 = 800", None, "1,200 - 300 = 800"),
    ("3 + 4 = 8 + 5 = 13", None, "3 + 4 = 8 + 5 = 13"),
    ("12 + 7 = 7 + 13 = 19", None, "12 + 7 = 7 + 13 = 19"),
    ("19 = 12 + 8", None, "19 = 12 + 8"),
    ("\\frac{48}{2} = 25", None, "((48)/(2)) = 25"),
    ("\\(6 \\times 7 = 43\\)", None, "6 * 7 = 43"),
    ("\\[12 \\div 4 = 4\\]", None, "12 / 4 = 4"),
    ("48/2 = <<48/2=24>>25 clips", None, "48/2 = 25"),
    ("**12 + 7 = 18**", None, "12 + 7 = 18"),
    ("12 plus 7 equals 18", None, "12 plus 7 equals 18"),
    ("60 divided by 4 is equal to 14", None, "60 divided by 4 is equal to 14"),
    ("1. 5 + 3 = 8\n2. 8 × 2 = 17", None, "8 × 2 = 17"),
    ("Step 2: 12 + 7 = 29", None, "12 + 7 = 29"),
    ("48 / 2\n= 25", None, "48 / 2 = 25"),
    ("60 miles/hour × 2 hours = 130 miles", None, "60 miles per hour × 2 hours = 130"),
    ("3 hours × $5 = $16", None, "3 hours × $5 = $16"),
    ("12 boys + 7 girls = 20 children", None, "12 boys + 7 girls = 20"),
    ("10 passengers (first stop) + 7 (second stop) = 8", None, "10 passengers + 7 = 8"),
    ("So 39 ÷ 59 = 5.", None, "39 ÷ 59 = 5"),
    ("x = 7 - 3 = 5", None, "7 - 3 = 5"),
    ("2½ × 2 = 6", None, "2 1/2 × 2 = 6"),
    ("Half of them stay. 24 - 12 = 13.", None, "24 - 12 = 13"),
    ("100% - 20% = 70%", None, "100% - 20% = 70%"),
    ("3.33 * 3 = 10", None, "3.33 * 3 = 10"),
    ("2 x 5 = 12", None, "2 x 5 = 12"),
    ("6 × 10^3 = 600", None, "6 × 10^3 = 600"),
]
"""Text, its answer, and what is held against it."""

SILENT = [
    "It happened on 12/05/2024, not on 2024-05-12.",
    "There are 3-5 apples = some apples.",
    "Version 1.2.3 = the newest, v2.0 + patches = 2.1",
    "x = 5",
    "2x + 3 = 7",
    "x + 3 = 7 and y - 2 = 9",
    "3 + x = 7",
    "12 = 5 + ?",
    "? + 5 = 13",
    "___ + 5 = 13",
    "1 km = 1000 m",
    "1 hour = 60 minutes",
    "2 x 1 km = 2000 m",
    "2 hours + 30 minutes = 150 minutes",
    "12 345 + 5 = 12 350",
    "3 feet + 1 foot = 48 inches",
    "30 cents × 10 = $3",
    "5 + 3 > 7 and 2 + 2 < 5",
    "5 + 3 ≠ 9",
    "5 + 3 == 9",
    "a = b + 3 = 4",
    "```python\ntotal = 5 + 3 = 9\n```",
    "Use `n = 3 + 4 = 8` there.",
    "f(2) = 5",
    "f(2) + 1 = 6",
    "sqrt(16) + 1 = 5",
    "√16 + 1 = 5",
    "log 100 + 1 = 3",
    "sin 30 + 1 = 1.5",
    "5! = 120",
    "5! + 1 = 121",
    "The square of 5 + 3 = 28",
    "half of 10 + 2 = 7",
    "twice 5 + 3 = 13",
    "gcd(12, 18) = 6",
    "2 million + 3 million = 5 million",
    "17 / 5 = 3 remainder 2",
    "17 / 5 = 3 R 2",
    "17 / 5 = 3 with 2 left",
    "15 + 4 = 3 (mod 16)",
    "In base 2 we have 1 + 1 = 10.",
    "11 + 3 = 2 o'clock",
    "3:30 + 2:15 = 5:45",
    "2:3 = 4:6",
    "Is 12 + 7 = 20?",
    "12 + 7 = 20 is wrong.",
    "It is not true that 5 + 5 = 11, of course not 5 + 5 = 11.",
    "If 5 + 3 = 9, pigs fly.",
    "12 + 7 = 20. Wait, that is not right.",
    "Day 3 - 5 x 2 = 10",
    "1/4 = 5 students",
    "50 + 10% = 55",
    "8 / 2(2 + 2) = 1",
    "P(A) = 3/4",
    "(x + 3)(x - 3) = 7",
    "2^1000000 + 1 = 5",
    "1/0 = 5 * 3",
    "Call 555-1234 for 24/7 help",
    "pages 10-12",
    "a 3 x 4 matrix",
    "Room 12 + 7 people",
    "H2O + 2 = 3",
    "1st + 2nd = 4",
    "3,5 + 1 = 4,6",
    "5x3y = 12 * 2",
    "width=100 + 20px = 130",
    "The score was 3-2 = a win",
    "He has 12 apples and 7 pears.",
    "a1 + b2 = 5",
    "R² = 0.9",
    "http://example.com/5+3=9",
    "#5 + 3 = 9",
    "12 (dozen) = 13 + 2",
    "5 - 3(x) = 2 + 1",
    "5 - 3 (x) = 2 + 1",
    "9.30 am + 2 = noon",
]
"""Of these nothing may be called broken, nor be counted as a calculation that holds."""


@pytest.mark.parametrize(("text", "answer", "steps"), SOUND)
def test_sound_chains_hold(text: str, answer: str | None, steps: int) -> None:
    audit = audit_chain(text, answer)
    assert audit.broken is None
    assert [step.state for step in audit.steps] == ["sound"] * steps
    assert audit.unread == ()


@pytest.mark.parametrize(("text", "answer", "evidence"), BROKEN)
def test_broken_chains_are_told_by_their_step(text: str, answer: str | None, evidence: str) -> None:
    assert audit_chain(text, answer).broken == evidence


@pytest.mark.parametrize("text", SILENT)
def test_what_cannot_be_read_is_not_called_broken(text: str) -> None:
    audit = audit_chain(text, None)
    assert (audit.steps, audit.broken) == ((), None)


def test_steps_are_told_in_order_and_spelled_one_way() -> None:
    audit = audit_chain(
        "First 3 × 4 apples = 12 apples, then x + 12 + 1 = 5, then 12 − 2 = 9.", "9"
    )
    assert audit == ChainAudit(
        steps=(
            Step("3 × 4 apples = 12", "sound", "3*4=12"),
            Step("12 - 2 = 9", "broken", "12-2=9"),
        ),
        broken="12 - 2 = 9",
        unread=("+ 12 + 1 = 5",),
    )


def test_prose_and_an_unfinished_thought_have_no_steps() -> None:
    assert audit_chain("The boats came back at dusk, all 12 of them.", "12") == ChainAudit((), None)
    assert audit_chain("<think>12 + 7 = 20", "19") == ChainAudit((), None)


@pytest.mark.parametrize(
    "text",
    [
        "9^64" + "^64" * 50 + " + 1 = 5",
        "(" * 5000 + "1 + 1" + ")" * 5000 + " = 3",
        "1 + " + "-" * 5000 + "1 = 2",
        "((((1/10)^64)^64)^64)^64 + 1 = 5",
        "1 + 1 = 2 " * 5000,
        "12 apples " * 5000 + "= 5 + 7",
        "(" * 50_000 + " + 1 = 3",
    ],
    ids=["towers", "brackets", "minus signs", "small powers", "many steps", "many numbers", "open"],
)
def test_no_text_hangs_the_audit(text: str) -> None:
    assert audit_chain(text, None).broken is None


@pytest.mark.parametrize(
    "text",
    [
        "1.0001^64 * " * 300 + "1 = 5",
        "999^64*" * 300 + "1 = 5",
        "3^-64*" * 300 + "1 = 5",
        "(2^64)" * 300 + " = 5",
        "1 / 9^64 / " * 300 + "3 = 5",
        " + ".join(f"1/({10**39 + i})^64" for i in range(300)) + " = 5",
        " - ".join(f"1/{10**39 + i}" for i in range(300)) + " = 5",
        f"{10**39 + 1}^64 + 1 = 5",
    ],
    ids=[
        *("decimals", "products", "negative powers", "brackets", "quotients"),
        *("sums of powers", "sums", "one power"),
    ],
)
def test_a_value_that_grows_too_long_is_not_worked_out(text: str) -> None:
    """Were it worked out, each would be called broken, some after seconds."""
    audit = audit_chain(text, "5")
    assert (audit.steps, audit.broken, len(audit.unread)) == ((), None, 1)


def test_a_long_value_within_the_bound_is_worked_out() -> None:
    assert audit_chain("2^64 * 2^64 * 2^64 = 4^64 * 2^64", None).steps[0].state == "sound"
    assert audit_chain("(1/999^64) * 999^64 * 7 = 7", None).steps[0].state == "sound"
    assert audit_chain("3^64 * 3^64 = 5", None).broken == "3^64 * 3^64 = 5"


@pytest.mark.parametrize(
    ("step", "start", "answer"),
    [("7+1=8. ", "1*8=8. 3+4=7. ", "7"), ("1 + 1 = 3. ", "", None)],
    ids=["behind the answer", "broken"],
)
def test_the_audit_takes_time_in_proportion_to_the_steps(
    step: str, start: str, answer: str | None
) -> None:
    few, many = (_time_audit(start + step * count, answer) for count in (50, 800))
    assert many < 16 * 4 * few  # in proportion to the square it would be 16 * 16


def _time_audit(text: str, answer: str | None) -> float:
    """The CPU seconds of the quickest of three audits."""
    seconds = []
    for _ in range(3):
        start = time.process_time()
        audit_chain(text, answer)
        seconds.append(time.process_time() - start)
    return min(seconds)
