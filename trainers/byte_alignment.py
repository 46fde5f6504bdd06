"""Two tokenisations of one text, cut into chunks at the byte offsets where both have a boundary.

A tokenizer tells the characters each token stands for. That is not enough where a token ends
inside a character, as the pieces of byte-level and byte-fallback vocabularies may; there the
tokens' own bytes are read, and used only if together they are the text's bytes at that place.
Where they are not, tokens that share a character are kept together, so that a boundary is never
guessed. What a tokenizer drops (WordPiece drops spaces) belongs to the token that follows, and at
the end of the text to the last.

Byte offsets are those of the text in UTF-8. A token that ends the answer counts as one byte more.
"""

import functools
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from generators.errors import ConfigError, InputError

Span = tuple[int, int]
"""The first token, and the one behind the last."""


class TokenEnds(NamedTuple):
    """A text's tokens, and the byte offset at which each ends, ascending."""

    ids: list[int]
    ends: list[int]
    """Tokens whose boundary lies inside a character and is not known share an offset."""


class Alignment(NamedTuple):
    """One answer in two vocabularies. Chunk k is the student's tokens `student_spans[k]` and the
    teacher's `teacher_spans[k]`; chunks follow one another and leave no token out."""

    student_ids: list[int]
    teacher_ids: list[int]
    student_spans: list[Span]
    teacher_spans: list[Span]


def align_completion(
    student_tokenizer: Any, teacher_tokenizer: Any, completion: str, *, ended: bool = True
) -> Alignment:
    """Encode an answer with both tokenizers and align their tokens.

    Its text is text throughout: what looks like a control token in it is none. Where it `ended`,
    each side's end token is added, and the two are a chunk. Raises ConfigError for a tokenizer
    that does not tell offsets or has no end token, and InputError for a text of which one of them
    leaves nothing.
    """
    size = len(completion.encode())
    sides = []
    for tokenizer in (student_tokenizer, teacher_tokenizer):
        ids, ends = find_token_ends(tokenizer, completion)
        if ended:
            if tokenizer.eos_token_id is None:
                raise ConfigError(
                    "the tokenizer has no end token, so an answer's end cannot be aligned.\n"
                    "Set eos_token and save it with the model."
                )
            ids, ends = [*ids, tokenizer.eos_token_id], [*ends, size + 1]
        sides.append(TokenEnds(ids, ends))
    student, teacher = sides
    student_spans, teacher_spans = align_ends(student.ends, teacher.ends)
    if not student_spans:
        raise InputError(f"{completion[:60]!r}: one of the tokenizers makes no token of this text")
    return Alignment(student.ids, teacher.ids, student_spans, teacher_spans)


def align_ends(
    student_ends: Sequence[int], teacher_ends: Sequence[int]
) -> tuple[list[Span], list[Span]]:
    """Each side's chunks, between the offsets that both sides' tokens end at.

    A chunk takes in all tokens up to the last that ends at its boundary. The last offsets are
    equal where both sides cover the same text; there are no chunks if either has no tokens.
    """
    common = sorted((set(student_ends) & set(teacher_ends)) - {0})
    return _cut(student_ends, common), _cut(teacher_ends, common)


def find_token_ends(tokenizer: Any, text: str) -> TokenEnds:
    """Encode a text, without control tokens, and find where in its bytes each token ends.

    Raises ConfigError for a tokenizer that does not tell offsets.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ConfigError(
            f"{type(tokenizer).__name__} does not tell which characters a token stands for.\n"
            "Aligning two tokenizers needs fast ones (a tokenizer.json beside the model)."
        )
    encoded = tokenizer(
        text,
        add_special_tokens=False,
        split_special_tokens=True,
        return_offsets_mapping=True,
    )
    ids = encoded["input_ids"]
    tokens = tokenizer.convert_ids_to_tokens(ids)
    byte_at = [0, *itertools.accumulate(len(character.encode()) for character in text)]
    data = text.encode()
    ends: list[int] = []
    for run in _group_overlapping(encoded["offset_mapping"]):
        begin = ends[-1] if ends else 0
        end = max(begin, byte_at[max(encoded["offset_mapping"][i][1] for i in run)])
        ends += _split_run([tokens[i] for i in run], data[begin:end], begin)
    if ends:  # what was dropped at the end of the text
        ends = [len(data) if end == ends[-1] else end for end in ends]
    return TokenEnds(ids, ends)


def _group_overlapping(offsets: Sequence[Span]) -> Iterator[list[int]]:
    """Runs of tokens of which each begins inside a character that the one before ends with."""
    run: list[int] = []
    reached = 0
    for i, (start, end) in enumerate(offsets):
        if run and start >= reached:
            yield run
            run = []
        run.append(i)
        reached = max(reached, end)
    if run:
        yield run


def _split_run(tokens: Sequence[str], data: bytes, begin: int) -> list[int]:
    """Where each of these tokens ends, if their own bytes tell; else all end with the run."""
    if len(tokens) > 1:
        for read in (_read_byte_level, _read_byte_fallback):
            pieces = [read(token) for token in tokens]
            if all(pieces) and b"".join(pieces) == data:
                return [begin + size for size in itertools.accumulate(map(len, pieces))]
    return [begin + len(data)] * len(tokens)


def _read_byte_level(token: str) -> bytes:
    """The bytes of a byte-level vocabulary's token (GPT-2); none if it is not of that alphabet."""
    alphabet = _list_byte_alphabet()
    if not all(character in alphabet for character in token):
        return b""
    return bytes(alphabet[character] for character in token)


def _read_byte_fallback(token: str) -> bytes:
    """The bytes of a SentencePiece token: one byte written <0xE2>, or text with ▁ for a space."""
    if byte := re.fullmatch(r"<0x([0-9A-F]{2})>", token):
        return bytes([int(byte[1], 16)])
    return token.replace("\u2581", " ").encode()


@functools.cache
def _list_byte_alphabet() -> dict[str, int]:
    """GPT-2's characters for bytes: printable ones stand for themselves, the others are numbered
    from U+0100 on in the order of their values."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    own = {chr(byte): byte for byte in printable}
    return own | {chr(0x100 + place): byte for place, byte in enumerate(others)}


def _cut(ends: Sequence[int], boundaries: Sequence[int]) -> list[Span]:
    after: Callable[[int], int] = {end: place + 1 for place, end in enumerate(ends)}.__getitem__
    stops = [after(boundary) for boundary in boundaries]
    return list(zip([0, *stops[:-1]], stops, strict=True)) if stops else []
