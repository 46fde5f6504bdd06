"""What a run may spend: prices, a budget, and the meter that holds the run to it.

What was spent is read from the journal, from the rows that name the run, so it is exact after any
kill. A request is sent only if its worst case still fits; near the limit requests wait for those
under way, whose real usage is mostly less. When nothing is under way and the next one does not
fit, the run ends, and nothing paid for is lost.

Only models behind a URL are metered. What a server charges for without telling (attempts that
timed out, replies cut off by a kill) cannot be counted. Answers that broke their schema are
counted while the process runs, but are not in the journal, so not by the next one.
"""

import asyncio
from collections.abc import Mapping, Sequence

from pydantic import Field

from generators.clients import Client, Outcome, Request
from generators.database_journal import DatabaseJournal
from generators.errors import BudgetReached
from generators.journal_rows import decode
from generators.records import Record, Usage, canonical_json

BYTES_PER_TOKEN = 3
"""Fewer than real tokenizers need for most texts, so that prompts are rather over-estimated."""


class Price(Record):
    """What a model's tokens cost."""

    input_usd_per_million: float = Field(ge=0)
    output_usd_per_million: float = Field(ge=0)

    def cost(self, usage: Usage) -> float:
        """US dollars."""
        prompt = self.input_usd_per_million * usage.prompt_tokens
        return (prompt + self.output_usd_per_million * usage.completion_tokens) / 1e6


FREE = Price(input_usd_per_million=0, output_usd_per_million=0)


class Budget(Record):
    """What all requests of a run to model servers may cost together."""

    max_cost_usd: float | None = Field(default=None, gt=0)
    max_tokens: int | None = Field(default=None, ge=1)
    """Of prompts and completions together."""


def bound_usage(requests: Sequence[Request]) -> Usage:
    """The worst case of requests. One with a schema may be sent twice, the second time with its
    first answer and what is wrong with it in the prompt."""
    prompt = completion = 0
    for request in requests:
        asked = canonical_json([request.messages, request.text, request.tools])
        tokens = -(-len(asked.encode()) // BYTES_PER_TOKEN)
        longest = request.sampling.max_tokens
        prompt += tokens
        completion += longest
        if request.json_schema is not None:
            rules = len(canonical_json(request.json_schema).encode())
            prompt += tokens + longest + 2 * rules
            completion += longest
    return Usage(prompt_tokens=prompt, completion_tokens=completion)


def read_spending(journal: DatabaseJournal, run: str) -> dict[str, Usage]:
    """What a run has used so far, by model: the usage of every outcome that names the run."""
    return {
        decode(model): Usage(prompt_tokens=prompt or 0, completion_tokens=completion or 0)
        for model, prompt, completion in journal.use(lambda table: list(table.sum_usage(run)))
    }


class Meter:
    """What a run has spent and has under way. Its requests belong to one event loop."""

    def __init__(
        self, budget: Budget, prices: Mapping[str, Price], spent: Mapping[str, Usage]
    ) -> None:
        """`prices` names the metered models; `spent` may hold others, which do not count."""
        self.spent = {model: spent.get(model, Usage()) for model in prices}
        self._budget = budget
        self._prices = prices
        self._under_way: list[tuple[str, Usage]] = []
        self._settled = asyncio.Event()
        self._reached = ""

    async def reserve(self, model: str, worst: Usage) -> None:
        """Wait until the worst case fits beside what is under way. Raises BudgetReached when
        nothing is under way and it does not fit; from then on for everybody."""
        while objection := self._reached or self._object(model, worst):
            if not self._under_way:
                self._reached = objection
                self._settled.set()
                raise BudgetReached(objection)
            self._settled.clear()
            await self._settled.wait()
        self._under_way.append((model, worst))

    def settle(self, model: str, worst: Usage, outcomes: Sequence[Outcome]) -> None:
        """Put what came in the place of what was reserved."""
        self._under_way.remove((model, worst))
        self.spent[model] = sum((o.usage for o in outcomes), self.spent[model])
        self._settled.set()

    def count_tokens(self) -> int:
        """The tokens spent."""
        return sum(usage.tokens for usage in self.spent.values())

    def cost(self) -> float:
        """The US dollars spent."""
        return sum(self._prices[model].cost(usage) for model, usage in self.spent.items())

    def _object(self, model: str, worst: Usage) -> str:
        """What to say if this request must not be sent now; nothing if it may."""
        coming = [*self._under_way, (model, worst)]
        limit, spent = self._budget.max_cost_usd, self.cost()
        cost = spent + sum(self._prices[name].cost(usage) for name, usage in coming)
        if limit is not None and cost > limit:
            return _tell("max_cost_usd", f"${spent:.6g}", f"${limit:g}", f"${cost:.6g}")
        most, tokens = self._budget.max_tokens, self.count_tokens()
        total = tokens + sum(usage.tokens for _, usage in coming)
        if most is not None and total > most:
            return _tell("max_tokens", f"{tokens:,} tokens", f"{most:,}", f"{total:,}")
        return ""


def _tell(setting: str, spent: str, limit: str, total: str) -> str:
    return (
        f"the run has spent {spent} of budget.{setting} ({limit}), and the next request could "
        f"make it {total}: raise budget.{setting} and type the same command again; no answer "
        "is paid for twice"
    )


class MeteredClient:
    """A client whose requests are sent only as far as a budget allows."""

    def __init__(self, client: Client, meter: Meter) -> None:
        self.id = client.id
        self.concurrency = client.concurrency
        self._client = client
        self._meter = meter

    def plan(self, requests: Sequence[Request]) -> list[list[int]]:
        return self._client.plan(requests)

    async def generate(self, requests: Sequence[Request]) -> list[Outcome]:
        worst, outcomes = bound_usage(requests), []
        await self._meter.reserve(self.id, worst)
        try:
            outcomes = await self._client.generate(requests)
        finally:
            # Nothing is awaited from here to the journal, so what came is recorded even if
            # another request finds the budget spent and ends the run.
            self._meter.settle(self.id, worst, outcomes)
        return outcomes

    async def close(self) -> None:
        await self._client.close()
