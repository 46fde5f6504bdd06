"""Count, per benchmark, the rows that give away an item of it."""

from collections import Counter
from collections.abc import Iterator

from filters.contamination import WAYS, Contamination, describe_contamination
from flows.facts_contamination import BenchmarkFacts
from flows.stages.decontaminate import DECONTAMINATE, Benchmark
from flows.stages.family import read_stage
from flows.work import Context
from generators.records import Verdict

EXAMPLES = 3


def gather_contamination(context: Context) -> Iterator[BenchmarkFacts]:
    """What was found of each benchmark; nothing where rows were held against none."""
    rows = len(read_stage(context, DECONTAMINATE, "verdicts-", Verdict))
    every = read_stage(context, DECONTAMINATE, "found-", Contamination)
    for benchmark in read_stage(context, DECONTAMINATE, "benchmarks-", Benchmark):
        surest: dict[str, Contamination] = {}
        for found in sorted(every, key=lambda found: WAYS.index(found.way)):
            if found.benchmark == benchmark.name:
                surest.setdefault(found.subject_id, found)
        ways = Counter(found.way for found in surest.values())
        yield BenchmarkFacts(
            name=benchmark.name,
            items=benchmark.n,
            rows=rows,
            contaminated=len(surest),
            exact=ways["exact"],
            contained=ways["contained"],
            covered=ways["covered"],
            near=ways["neighbour"],
            examples=tuple(
                f"{id}: {describe_contamination(found)}"
                for id, found in [*surest.items()][:EXAMPLES]
            ),
        )
