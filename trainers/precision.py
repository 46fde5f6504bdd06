"""Which precision `auto` comes to on this machine."""

from typing import Literal

from generators.embedded import Precision, computes_in_bfloat16


def find_precision(precision: Precision) -> Literal["float32", "bfloat16"]:
    """The precision that is meant: `auto` is bfloat16 where the machine computes in it."""
    if precision == "auto":
        return "bfloat16" if computes_in_bfloat16() else "float32"
    return precision
