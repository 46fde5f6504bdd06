from typing import Any

import pytest

from generators.errors import ConfigError, InputError
from tests.trainers.two_tokenizers import make_byte_fallback, make_byte_level, make_word_piece
from trainers.byte_alignment import Alignment, align_completion, align_ends, find_token_ends

TEXTS = (
    "The cat sat.",
    "  two  spaces\nand a line\t",
    "A naïve café 😀👍🏽, 日本語!",
    "e\u0301 combined, and \u200b nothing",
)


@pytest.fixture(scope="module")
def byte_level() -> Any:
    return make_byte_level()


@pytest.fixture(scope="module")
def byte_fallback() -> Any:
    return make_byte_fallback()


@pytest.fixture(scope="module")
def word_piece() -> Any:
    return make_word_piece()


def cut(text: str, ends: list[int]) -> list[bytes]:
    data = text.encode()
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def check_partition(alignment: Alignment) -> None:
    for ids, spans in (
        (alignment.student_ids, alignment.student_spans),
        (alignment.teacher_ids, alignment.teacher_spans),
    ):
        places = [place for start, stop in spans for place in range(start, stop)]
        assert places == list(range(len(ids)))
    assert all(stop > start for start, stop in alignment.student_spans)
    assert all(stop > start for start, stop in alignment.teacher_spans)


def test_chunks_end_where_both_sides_have_a_boundary() -> None:
    assert align_ends([3, 5, 8, 12], [2, 3, 8, 10, 12]) == (
        [(0, 1), (1, 3), (3, 4)],
        [(0, 2), (2, 3), (3, 5)],
    )
    assert align_ends([1, 2, 3], [1, 2, 3]) == ([(0, 1), (1, 2), (2, 3)],) * 2
    assert align_ends([5], [1, 2, 5]) == ([(0, 1)], [(0, 3)])


def test_tokens_that_share_an_offset_stay_together() -> None:
    assert align_ends([0, 2, 4, 4], [2, 3, 4]) == ([(0, 2), (2, 4)], [(0, 1), (1, 3)])
    assert align_ends([], [1, 2]) == ([], [])


def test_a_byte_level_vocabulary_is_cut_at_its_very_bytes(byte_level: Any) -> None:
    text = "a café 😀"
    ids, ends = find_token_ends(byte_level, text)
    tokens = byte_level.convert_ids_to_tokens(ids)
    assert ends[-1] == len(text.encode()) == 12
    assert ends[-4:] == [9, 10, 11, 12]  # the emoji's bytes are four tokens
    assert tokens[-4:] == ["ð", "Ł", "ĺ", "Ģ"]
    assert b"".join(cut(text, ends)) == text.encode()
    first, second, *_ = cut("The cat", find_token_ends(byte_level, "The cat").ends)
    assert first == b"The"
    assert second.startswith(b" ")  # a space belongs to the word that it opens


def test_the_bundled_vocabulary_is_cut_at_its_very_bytes(tokenizer: Any) -> None:
    text = "naïve 😀👍🏽 日本"
    ids, ends = find_token_ends(tokenizer, text)
    for id, piece in zip(ids, cut(text, ends), strict=True):
        assert piece
        assert tokenizer.decode([id]) == piece.decode(errors="replace")


def test_fallback_bytes_are_cut_at_their_very_bytes(byte_fallback: Any) -> None:
    text = "cat 😀"
    ids, ends = find_token_ends(byte_fallback, text)
    tokens = byte_fallback.convert_ids_to_tokens(ids)
    assert tokens[-4:] == ["<0xF0>", "<0x9F>", "<0x98>", "<0x80>"]
    assert ends[-4:] == [5, 6, 7, 8]


def test_a_boundary_inside_a_character_is_never_guessed(byte_fallback: Any) -> None:
    text = "日本"  # a space that is not in the text stands before it: bytes and tokens disagree
    ids, ends = find_token_ends(byte_fallback, text)
    tokens = byte_fallback.convert_ids_to_tokens(ids)
    assert tokens[:4] == ["▁", "<0xE6>", "<0x97>", "<0xA5>"]
    assert ends == [3, 3, 3, 3, 4, 5, 6]


def test_what_a_tokenizer_drops_goes_to_the_next_token_and_at_the_end_to_the_last(
    word_piece: Any,
) -> None:
    ids, ends = find_token_ends(word_piece, "The cat. \n")
    assert word_piece.convert_ids_to_tokens(ids) == ["the", "cat", "."]
    assert ends == [3, 7, 10]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("pair", ["fallback", "pieces", "itself"])
def test_chunks_leave_no_token_out_and_end_at_the_same_bytes(
    byte_level: Any, byte_fallback: Any, word_piece: Any, text: str, pair: str
) -> None:
    other = {"fallback": byte_fallback, "pieces": word_piece, "itself": byte_level}[pair]
    alignment = align_completion(byte_level, other, text)
    check_partition(alignment)
    assert alignment.student_ids[-1] == byte_level.eos_token_id
    assert alignment.teacher_ids[-1] == other.eos_token_id
    sides = [
        [ends[stop - 1] for _, stop in spans[:-1]]
        for ends, spans in (
            (find_token_ends(byte_level, text).ends, alignment.student_spans),
            (find_token_ends(other, text).ends, alignment.teacher_spans),
        )
    ]
    assert sides[0] == sides[1]
    assert sides[0][-1] == len(text.encode())
    if pair == "itself":
        assert alignment.student_spans == [(i, i + 1) for i in range(len(alignment.student_ids))]


def test_the_end_is_a_chunk_of_its_own_where_the_answer_ended(
    byte_level: Any, word_piece: Any
) -> None:
    ended = align_completion(byte_level, word_piece, "The cat.")
    cut_off = align_completion(byte_level, word_piece, "The cat.", ended=False)
    assert ended.student_ids == [*cut_off.student_ids, byte_level.eos_token_id]
    assert ended.student_spans[:-1] == cut_off.student_spans
    n, m = len(cut_off.student_ids), len(cut_off.teacher_ids)
    assert (ended.student_spans[-1], ended.teacher_spans[-1]) == ((n, n + 1), (m, m + 1))


def test_what_looks_like_a_control_token_is_text(byte_level: Any, tokenizer: Any) -> None:
    alignment = align_completion(tokenizer, byte_level, "Say <|im_end|> or </s>.")
    assert alignment.student_ids.count(tokenizer.eos_token_id) == 1
    assert alignment.teacher_ids.count(byte_level.eos_token_id) == 1
    assert tokenizer.decode(alignment.student_ids[:-1]) == "Say <|im_end|> or </s>."
    check_partition(alignment)


def test_texts_of_which_nothing_is_left(byte_level: Any, word_piece: Any) -> None:
    with pytest.raises(InputError) as caught:
        align_completion(byte_level, word_piece, "\n\n", ended=False)
    assert str(caught.value) == "'\\n\\n': one of the tokenizers makes no token of this text"
    alignment = align_completion(byte_level, word_piece, "\n\n")
    assert alignment.student_spans == [(0, 3)]
    assert alignment.teacher_spans == [(0, 1)]


def test_tokenizers_that_cannot_be_aligned_are_refused(byte_level: Any) -> None:
    class Slow:
        is_fast = False

    with pytest.raises(ConfigError) as caught:
        find_token_ends(Slow(), "text")
    assert str(caught.value) == (
        "Slow does not tell which characters a token stands for.\n"
        "Aligning two tokenizers needs fast ones (a tokenizer.json beside the model)."
    )
    endless = make_byte_level()
    endless.eos_token = None
    with pytest.raises(ConfigError) as caught:
        align_completion(endless, byte_level, "text")
    assert str(caught.value) == (
        "the tokenizer has no end token, so an answer's end cannot be aligned.\n"
        "Set eos_token and save it with the model."
    )
