"""A small language whose distribution is known: worked sums, and stories with preferences.

    add four nine two   two makes 2 then nine makes 11 , four makes 15 . so 15
    tell fox lake       the fox ran to the lake and met the owl who wanted nuts . under log was
                        nothing , under leaf was nuts . they ate nuts

A text is written by a process that yields the distribution of its next word and is sent the word
that was chosen. The same process draws texts, weighs given ones exactly, and tells legal ones from
others. There is entropy in the order of a sum and in what a story's heroes do, and there is
memory: which number comes next and what was made so far, who met whom and what was wanted.
"""

import math
import random
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import NamedTuple

Process = Generator[Mapping[str, float], str, None]
NUMBERS = 4
"""At most so many are added, all different."""
DIGITS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
LARGEST = sum(range(10 - NUMBERS, 10))
ANIMALS = ["fox", "owl", "bear", "hare", "mole", "crow", "goat", "toad"]
PLACES = ["lake", "hill", "wood", "farm", "cave", "barn"]
FOODS = ["nuts", "figs", "corn", "eggs", "peas", "plums"]
THINGS = ["stone", "log", "leaf", "fence", "bush"]
VERBS = ["ran", "went", "crept"]
OTHER = "add makes tell , . so then the to and met who wanted under was nothing done they ate slept"
WORDS = [
    *DIGITS,
    *(str(number) for number in range(1, LARGEST + 1)),
    *ANIMALS,
    *PLACES,
    *FOODS,
    *THINGS,
    *VERBS,
    *OTHER.split(),
]
FOUND = 0.45
"""How often what is wanted lies under the thing that is looked at."""
GIVE_UP = 0.25
"""How often a search ends after a failure."""


class Text(NamedTuple):
    """A prompt and what is said to it, in words."""

    prompt: str
    completion: str


def draw_text(rng: random.Random) -> Text:
    """A sum or a story, as often."""
    if rng.random() < 0.5:
        count = rng.randint(3, NUMBERS)
        prompt = " ".join(["add", *rng.sample(DIGITS, count)])
    else:
        prompt = f"tell {rng.choice(ANIMALS)} {rng.choice(PLACES)}"
    return Text(prompt, " ".join(_draw(answer(prompt), rng)))


def draw_texts(count: int, seed: int) -> list[Text]:
    rng = random.Random(seed)
    return [draw_text(rng) for _ in range(count)]


def answer(prompt: str) -> Process:
    """The process that answers a prompt."""
    kind, *given = prompt.split()
    return _add(given) if kind == "add" else _tell(*given)


def weigh(text: Text) -> float:
    """ln p(completion | prompt), its end included; -inf for what is not of the language."""
    process, words, total = answer(text.prompt), iter(text.completion.split()), 0.0
    try:
        choices = next(process)
        while True:
            word = next(words, None)
            if word is None or choices.get(word, 0.0) == 0:
                return -math.inf
            total += math.log(choices[word])
            choices = process.send(word)
    except StopIteration:
        return total if next(words, None) is None else -math.inf


def is_right(text: Text) -> bool:
    """Whether a sum ends in its result, however it came there; of a story, whether it is legal."""
    kind, *given = text.prompt.split()
    if kind == "tell":
        return weigh(text) > -math.inf
    result = sum(DIGITS.index(word) + 1 for word in given)
    return text.completion.split()[-2:] == ["so", str(result)]


def _draw(process: Process, rng: random.Random) -> Iterable[str]:
    choices = next(process)
    while True:
        (word,) = rng.choices(list(choices), list(choices.values()))
        yield word
        try:
            choices = process.send(word)
        except StopIteration:
            return


def _add(given: Sequence[str]) -> Process:
    """All numbers from the first or from the last on, and what they make so far."""
    total = 0
    first = yield {given[0]: 0.6, given[-1]: 0.4}
    for word in given if first == given[0] else given[::-1]:
        if total:
            yield {",": 0.7, "then": 0.3}
            yield from _say(word)
        total += DIGITS.index(word) + 1
        yield from _say(f"makes {total}")
    yield {".": 0.8, "done": 0.2}
    yield from _say(f"so {total}")


def _tell(hero: str, place: str) -> Process:
    """Somebody is met, wants something, and it is looked for until it is found or given up."""
    yield from _say(f"the {hero}")
    yield _prefer(VERBS, hero)
    yield from _say(f"to the {place} and met the")
    friend = yield _prefer([animal for animal in ANIMALS if animal != hero], hero + place)
    yield from _say("who wanted")
    food = yield _prefer(FOODS, friend)
    yield from _say(".")
    while True:
        yield from _say("under")
        yield _prefer(THINGS, place)
        yield from _say("was")
        found = yield {food: FOUND, "nothing": 1 - FOUND}
        if found == food:
            yield from _say(f". they ate {food}")
            return
        if (yield {".": GIVE_UP, ",": 1 - GIVE_UP}) == ".":
            yield from _say("they slept")
            return


def _say(words: str) -> Process:
    for word in words.split():
        yield {word: 1.0}


def _prefer(words: Sequence[str], by: str) -> dict[str, float]:
    """The words in an order of one's own, each 0.6 times as likely as the one before it."""
    order = random.Random(by).sample(list(words), len(words))
    total = sum(0.6**rank for rank in range(len(order)))
    return {word: 0.6**rank / total for rank, word in enumerate(order)}
