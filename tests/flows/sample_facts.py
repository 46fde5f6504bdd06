"""A run as the demo leaves it: numbers that fit together, for the tests of what is shown."""

import math
from datetime import UTC, datetime

from flows.facts import (
    DatasetFacts,
    DifficultyFacts,
    DuplicateFacts,
    Facts,
    Lineage,
    LineageStep,
    ModelFacts,
    OperatorFacts,
    ReasonCount,
    RunFacts,
    SamplerFacts,
    SeedFacts,
    StageCount,
    StageTime,
)
from flows.facts_learning import Arm, EvaluationFacts, LossPoint, PassAtK, TaskScore, TrainingFacts
from flows.intervals import Interval

SMOL = "SmolLM2-135M-Instruct"


def wilson(passed: int, n: int) -> Interval:
    """Wilson's 95 % interval of a share."""
    z, p = 1.959964, passed / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Interval(value=p, low=centre - half, high=centre + half)


def reject(reason: str, count: int) -> ReasonCount:
    return ReasonCount(decision="reject", reason=reason, count=count)


def quarantine(reason: str, count: int) -> ReasonCount:
    return ReasonCount(decision="quarantine", reason=reason, count=count)


def accepted_step(round: int, operator: str, text: str, author: str) -> LineageStep:
    decided = {"decision": "accept", "reason": "information_gain"}
    fields = {"round": round, "operator": operator, "text": text, "author": author}
    return LineageStep.model_validate({**fields, **decided})


def make_arm(when: str, prompting: str, passed: int, **fields: object) -> Arm:
    """An arm over the 228 held-out prompts, by three tasks of 76."""
    third = passed // 3
    tasks = {"sums": passed - 2 * third + 6, "products": third, "gcd": third - 6}
    values = {
        "model": SMOL if when == "before" else f"{SMOL}, trained",
        "prompts": 228,
        "pass_at_1": wilson(passed, 228),
        "by_task": tuple(
            TaskScore(task=t, prompts=76, score=wilson(n, 76)) for t, n in tasks.items()
        ),
    }
    return Arm.model_validate({"when": when, "prompting": prompting, **values, **fields})


RUN = RunFacts(
    name="demo",
    started=datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC),
    finished=datetime(2026, 3, 14, 9, 35, 31, tzinfo=UTC),
    stages=tuple(
        StageTime(stage=stage, seconds=seconds)
        for stage, seconds in {
            **{"seeds": 0.4, "evolve": 96.2, "answer": 148.7, "verify": 11.3, "dedup": 0.9},
            **{"publish": 0.6, "train": 187.5, "evaluate": 72.4},
        }.items()
    ),
    config_digest="5f0c1de2a94b7730",
    config_path="flows/configs/demo.yaml",
    command="tutelage run flows/configs/demo.yaml",
    machine="x86-64, 2 cores, 8 GB",
    versions={
        **{"tutelage": "0.1.0", "python": "3.11.7", "torch": "2.13.0"},
        **{"transformers": "5.23.0", "prefect": "3.8.8"},
    },
)
MODELS = (
    ModelFacts(
        id="HuggingFaceTB/SmolLM2-135M-Instruct@4.1",
        role="teacher and sampler",
        licence="Apache-2.0",
        outputs_may_train="yes",
        terms="Apache-2.0 sets no condition on the outputs.",
    ),
    ModelFacts(
        id="HuggingFaceTB/SmolLM2-135M-Instruct@4.1",
        role="student",
        licence="Apache-2.0",
        outputs_may_train=None,
    ),
)
COUNTS = (
    StageCount(
        stage="eliminate",
        unit="evolved prompts",
        total=500,
        accepted=318,
        quarantined=46,
        rejected=136,
        reasons=(
            quarantine("no_check", 46),
            reject("no_gain", 71),
            reject("unchanged", 28),
            reject("template_leak", 22),
            reject("refusal", 9),
            reject("empty_answer", 6),
        ),
        note="two rounds of evolution, one child per prompt picked",
    ),
    StageCount(
        stage="verify",
        unit="answers",
        total=2590,
        accepted=1096,
        quarantined=214,
        rejected=1280,
        reasons=(
            reject("wrong", 902),
            reject("constraint_broken", 309),
            reject("no_answer", 69),
            quarantine("several_answers", 41),
            quarantine("disagreement", 7),
            quarantine("truncated", 166),
        ),
        note="318 survivors join the 250 seeds; 4 samples each, 318 more from the teacher",
    ),
    StageCount(
        stage="dedup",
        unit="answers",
        total=1096,
        accepted=962,
        quarantined=27,
        rejected=107,
        reasons=(
            reject("exact_duplicate_answer", 88),
            reject("near_duplicate_answer", 19),
            quarantine("near_duplicate_prompt", 27),
        ),
    ),
    StageCount(
        stage="publish",
        unit="rows",
        total=962,
        accepted=948,
        quarantined=14,
        rejected=0,
        reasons=(quarantine("code_of_a_new_detector", 14),),
    ),
)
OPERATORS = tuple(
    OperatorFacts(
        round=round,
        operator=operator,
        tried=tried,
        survived=survived,
        published=published,
        median_added_words=words,
        reasons=(
            *([quarantine("no_check", no_check)] if no_check else []),
            *([reject("no_gain", fell)] if (fell := tried - survived - no_check) else []),
        ),
    )
    for round, operator, tried, survived, published, words, no_check in (
        (1, "add_constraints", 31, 14, 6, 8.0, 4),
        (1, "deepen", 30, 12, 5, 6.0, 5),
        (1, "concretise", 33, 15, 6, 5.5, 4),
        (1, "increase_reasoning", 29, 11, 3, 9.0, 6),
        (1, "complicate_input", 32, 7, 1, 14.0, 4),
        (1, "breadth", 30, 22, 11, -1.0, 3),
        (1, "constraint", 33, 33, 24, 11.0, 0),
        (1, "procedural", 32, 32, 21, 0.0, 0),
        (2, "add_constraints", 30, 13, 5, 9.0, 3),
        (2, "deepen", 32, 14, 4, 7.0, 4),
        (2, "concretise", 29, 13, 5, 6.0, 2),
        (2, "increase_reasoning", 31, 12, 2, 10.0, 3),
        (2, "complicate_input", 33, 8, 1, 17.0, 5),
        (2, "breadth", 31, 22, 10, 0.0, 3),
        (2, "constraint", 32, 32, 19, 12.0, 0),
        (2, "procedural", 32, 32, 17, 1.0, 0),
    )
)
SAMPLERS = (
    SamplerFacts(
        name="weak",
        model=SMOL,
        form="complete",
        examples=4,
        prompts=568,
        samples=2272,
        prompt_tokens=181_760,
        completion_tokens=97_331,
        accepted=1013,
        draws=4,
        coverage=wilson(341, 568),
        distinct_correct=1.31,
    ),
    SamplerFacts(
        name="strong",
        model=SMOL,
        form="chat",
        prompts=227,
        samples=318,
        prompt_tokens=18_160,
        completion_tokens=21_940,
        accepted=83,
        draws=1,
        coverage=wilson(61, 227),
        distinct_correct=1.0,
    ),
)
DIFFICULTY = (
    DifficultyFacts(round=0, prompts=250, mean_pass_rate=0.52, histogram=(58, 31, 40, 44, 0, 77)),
    DifficultyFacts(round=1, prompts=146, mean_pass_rate=0.41, histogram=(52, 22, 21, 19, 0, 32)),
    DifficultyFacts(round=2, prompts=172, mean_pass_rate=0.34, histogram=(76, 29, 22, 18, 0, 27)),
)
LINEAGES = (
    Lineage(
        row_id="9b0ac41de2f7c553",
        domain="writing",
        steps=(
            accepted_step(
                0,
                "seed",
                "Write a short note that thanks a neighbour for watering the plants.",
                "tutelage contributors",
            ),
            accepted_step(
                1,
                "concretise",
                (
                    "Write a short note that thanks your neighbour Ines for watering the "
                    "tomatoes on the balcony during the two hottest weeks of July."
                ),
                SMOL,
            ),
            accepted_step(
                2,
                "constraint",
                (
                    "Write a short note that thanks your neighbour Ines for watering the "
                    "tomatoes on the balcony during the two hottest weeks of July.\n\n"
                    "Use at most 60 words. Include the word \u201cshade\u201d. "
                    "Do not use any commas."
                ),
                "tutelage 0.1.0",
            ),
        ),
        check="At most 60 words; contains \u201cshade\u201d; no commas.",
        answer=(
            "Dear Ines\n\nThank you for keeping the tomatoes alive through July. Every evening "
            "I pictured them in the shade of your kindness and the first ripe ones are yours.\n\n"
            "Warmly"
        ),
        teacher=SMOL,
        verified_by="constraint",
    ),
    Lineage(
        row_id="41de77aa0c9b1f20",
        domain="arithmetic",
        steps=(
            accepted_step(
                0,
                "seed",
                "What is 7 + 5?",
                "tutelage contributors",
            ),
            accepted_step(
                1,
                "procedural",
                "What is 24 + 17?",
                "reasoning-gym 0.1.25",
            ),
        ),
        check="The generator of chain_sum scores the answer 1.0 (it is 41).",
        answer="41",
        teacher=SMOL,
        verified_by="program",
    ),
)
DATASET = DatasetFacts(
    path="runs/demo/dataset/train.parquet",
    hash="c0ffee5e1b7a9d20" * 4,
    rows=948,
    prompts=402,
    evolved=61,
    by_domain={
        "arithmetic": 702,
        "writing": 98,
        "extraction": 61,
        "classification": 48,
        "reasoning": 39,
    },
    by_verified_by={"program": 655, "constraint": 204, "reference": 89},
    by_operator={"seed": 533, "procedural": 211, "constraint": 143, "breadth": 37, "deepen": 24},
    by_round={0: 533, 1: 228, 2: 187},
    by_licence={"Apache-2.0": 948},
    mean_completion_tokens=19.4,
    quarantined=301,
    rejected=1523,
    licence="apache-2.0",
)
TRAINING = TrainingFacts(
    objective="sft",
    base_model=SMOL,
    path="runs/demo/student",
    steps=60,
    rows=934,
    skipped=14,
    skip_reasons={"longer_than_window": 14},
    seconds=187.5,
    batch_sizes=(16,),
    learning_rates=(2e-5,),
    precision="bf16 autocast",
    losses=tuple(
        LossPoint(step=s, loss=0.34 + 2.1 * math.exp(-s / 9) + 0.09 * math.sin(2.3 * s))
        for s in range(1, 61)
    ),
)
EVALUATION = EvaluationFacts(
    held_out="228 sums, products and gcds whose numbers never occur in the training set.",
    arms=(
        make_arm(
            "before",
            "zero-shot",
            40,
            pass_at_k=PassAtK(k=4, prompts=50, score=wilson(21, 50)),
            truncated=0.31,
            mean_tokens=33.8,
            perplexity=6.41,
        ),
        make_arm(
            "before",
            "few-shot",
            84,
            pass_at_k=PassAtK(k=4, prompts=50, score=wilson(34, 50)),
            truncated=0.02,
            mean_tokens=4.2,
        ),
        make_arm(
            "after",
            "zero-shot",
            120,
            pass_at_k=PassAtK(k=4, prompts=50, score=wilson(38, 50)),
            truncated=0.0,
            mean_tokens=4.6,
            perplexity=6.52,
            kl_to_teacher=0.118,
            top1_agreement=0.914,
        ),
    ),
)
FACTS = Facts(
    run=RUN,
    seeds=SeedFacts(
        total=250,
        by_domain={"arithmetic": 100, "writing": 60, "extraction": 40, "reasoning": 50},
        licences=("Apache-2.0",),
        path="seeds/demo.jsonl",
    ),
    rounds=2,
    pool=568,
    models=MODELS,
    counts=COUNTS,
    operators=OPERATORS,
    samplers=SAMPLERS,
    difficulty=DIFFICULTY,
    lineages=LINEAGES,
    duplicates=DuplicateFacts(exact_prompts=0, near_prompts=27, exact_answers=88, near_answers=19),
    dataset=DATASET,
    training=TRAINING,
    evaluation=EVALUATION,
    warnings=(
        "Teacher and student share one lineage: traits that text does not show could pass on.",
    ),
)
# The same run before it trained, and one of which nothing but the seeds is there yet.
UNTRAINED = FACTS.model_copy(update={"training": None, "evaluation": None})
BARE = Facts(run=RUN, seeds=FACTS.seeds, rounds=0)
