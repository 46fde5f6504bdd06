"""What a run has to say of the benchmarks that its rows were held against."""

from typing import Self

from pydantic import NonNegativeInt, model_validator

from generators.records import Record


class BenchmarkFacts(Record):
    """One benchmark."""

    name: str
    items: NonNegativeInt
    rows: NonNegativeInt
    """Accepted answers that were compared, with their prompts."""
    contaminated: NonNegativeInt
    """Rows that give away at least one of its items."""
    exact: NonNegativeInt
    """Rows of which the prompt or the answer is an item."""
    contained: NonNegativeInt
    """Others that contain a short item."""
    covered: NonNegativeInt
    """Others that cover enough of a longer item's n-grams."""
    near: NonNegativeInt = 0
    """Others that say the same as an item in other words, as a model embeds them."""
    examples: tuple[str, ...] = ()
    """A few of the rows, each with what it gives away."""

    @model_validator(mode="after")
    def _check_sum(self) -> Self:
        ways = self.exact + self.contained + self.covered + self.near
        if ways != self.contaminated or self.contaminated > self.rows:
            raise ValueError(
                f"{self.name}: {self.contaminated} of {self.rows} rows give it away, but {ways} "
                "are told by their way"
            )
        return self
