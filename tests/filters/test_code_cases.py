"""When a returned value is the expected one, and how a value is shown."""

from typing import Any

import pytest

from filters.code_cases import is_same, show_value
from filters.code_runner import decode, encode

NAN = float("nan")


@pytest.mark.parametrize(
    ("expected", "returned"),
    [
        (2, 2),
        (2, 2.0),
        (2.0, 2),
        (0.3, 0.1 + 0.2),
        (1e300, 1e300 * (1 + 5e-10)),
        (0, 1e-13),
        ({"$float": "nan"}, NAN),
        ({"$float": "-inf"}, float("-inf")),
        (10**30, 10**30),
        ({"$int": "-0x10000000000000000"}, -(2**64)),
        (True, True),
        (None, None),
        ("ä\ud800", "ä\ud800"),
        ([1, [2]], [1, [2]]),
        ([1, 2], (1, 2)),
        ([[1, 2]], [(1, 2)]),
        ({"$tuple": [1]}, (1,)),
        ({"$set": [2, 1]}, {1, 2}),
        ({"$set": [1]}, frozenset({1})),
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}),
        ({"$dict": [[1, "a"], [{"$tuple": [2]}, "b"]]}, {(2,): "b", 1: "a"}),
        ({"$dict": [[1, "a"]]}, {1.0: "a"}),
        ({"$dict": [["$set", 1]]}, {"$set": 1}),
        ({"$bytes": "00ff"}, b"\x00\xff"),
        ([], []),
        ({}, {}),
    ],
    ids=repr,
)
def test_equal_values(expected: Any, returned: Any) -> None:
    assert is_same(expected, encode(returned))


@pytest.mark.parametrize(
    ("expected", "returned"),
    [
        (2, 3),
        (2, "2"),
        (1, True),
        (True, 1),
        (0, False),
        (0, None),
        ("", None),
        (1.0, 1.0 + 1e-8),
        (1e-15, 0),
        (0, 1e-11),
        (10**30, 10**30 + 1),
        (1.5, 10**400),
        (10**400, 1.5),
        (1, NAN),
        ({"$float": "nan"}, 1),
        ({"$float": "inf"}, 1e308),
        ([1], [1, 1]),
        ([1, 2], [2, 1]),
        ([1], {1}),
        ([1], "1"),
        (["a", "b"], {"a": 1, "b": 2}),
        ({"$tuple": [1]}, [1]),
        ({"$set": [1, 2]}, {1, 3}),
        ({"$set": [1]}, {True}),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"1": "a"}, {1: "a"}),
        ({"$dict": [[1, "a"]]}, {True: "a"}),
        ({"$bytes": "61"}, "a"),
        ("a", b"a"),
        ([1], iter([1])),
        ([0, 1], range(2)),
    ],
    ids=lambda value: repr(value).partition(" at 0x")[0],  # an address is another every time
)
def test_different_values(expected: Any, returned: Any) -> None:
    assert not is_same(expected, encode(returned))


@pytest.mark.parametrize(
    "forged",
    [
        {"$other": "int"},
        {"$set": [1, 1]},
        {"$dict": [["a", 1], ["a", 1]]},
    ],
    ids=repr,
)
def test_what_no_value_gives_equals_nothing(forged: Any) -> None:
    for expected in (1, {"$set": [1, 2]}, {"a": 1, "b": 1}, {"a": 1}, {"$set": [1]}):
        assert not is_same(expected, forged)


@pytest.mark.parametrize(
    "forged",
    [{"$set": 1}, {"$dict": [[1]]}, {"$int": "x"}, {"$float": "1"}, {"$x": 1}, {"$raises": "E"}],
    ids=repr,
)
def test_what_is_no_notation_cannot_be_read(forged: Any) -> None:
    (tag,) = forged
    with pytest.raises(ValueError) as caught:
        is_same([1], forged)
    assert str(caught.value) == (
        "invalid literal for int() with base 16: 'x'"
        if tag == "$int"
        else f"{tag} holds nothing that can be read"
    )


@pytest.mark.parametrize(
    "value",
    [None, -1, 2**70, 0.1, "x", [1, (2, {3})], {"a": {1: b"\x00"}}, {"$set": 1}, float("inf")],
    ids=repr,
)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    again = decode(encode(value))
    assert (again, type(again)) == (value, type(value))


def test_a_stand_in_for_a_plain_value_is_known_by_its_type() -> None:
    class Sly(int):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = int.__hash__

    assert encode([Sly(3)]) == [{"$other": "Sly"}]
    assert not is_same([4], encode([Sly(3)]))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1, "a", None], "[1, 'a', None]"),
        ((1,), "(1,)"),
        ({1: True}, "{1: True}"),
        (set(), "set()"),
        ({5}, "{5}"),
        (b"\x00", "b'\\x00'"),
        (2**64, "0x10000000000000000"),
        (NAN, "nan"),
        (range(2), "an object of type 'range'"),
        ("x" * 100, "'" + "x" * 58 + "…"),
        ("\ud800", "'\\ud800'"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_value_is_shown_as_python_writes_it(value: Any, text: str) -> None:
    assert show_value(encode(value)) == text
