"""Batched sampling: `generators.decoding.decode_batch` against `transformers.generate`.

Sixteen word problems behind four worked examples, four samples of each, as the demo's few-shot
sampler asks them. `generate(num_return_sequences=4)` reads the examples once for every sample;
`decode_batch` reads them once in all. The same in float32 and bfloat16, to show what `precision:
auto` decides about.

    python benchmarks/decoding.py [--rounds 5]
"""

import argparse
from functools import partial
from typing import Any

import torch
from paired import describe_machine, take_turns, write_result

from generators.clients import Sampling
from generators.decoding import decode_batch
from generators.embedded import BUNDLED, load_model, locate_model

EXAMPLES = "".join(
    f"Question: Ida has {a} boxes with {b} apples in each. How many apples has she?\n"
    f"Answer: {a} * {b} = {a * b}\n\n"
    for a, b in ((3, 4), (2, 9), (5, 6), (7, 3))
)
PROMPTS = [
    EXAMPLES + f"Question: Ola has {a} bags with {b} nuts in each. How many nuts has she?\nAnswer:"
    for a in (2, 4, 6, 8)
    for b in (3, 5, 7, 9)
]
SAMPLES, NEW_TOKENS = 4, 16


def sample_here(model: Any, tokenizer: Any) -> int:
    """Sample with `decode_batch`; return the tokens that came."""
    ids = [tokenizer(prompt)["input_ids"] for prompt in PROMPTS for _ in range(SAMPLES)]
    sampling = Sampling(temperature=0.7, max_tokens=NEW_TOKENS)
    rows = decode_batch(model, tokenizer, ids, list(range(len(ids))), sampling, frozenset())
    return sum(row.tokens for row in rows)


def sample_there(model: Any, tokenizer: Any) -> int:
    """Sample with `transformers.generate`; return the tokens that came."""
    batch = tokenizer(PROMPTS, return_tensors="pt", padding=True, padding_side="left")
    torch.manual_seed(0)
    with torch.inference_mode():
        ids_BT = model.generate(
            **batch,
            do_sample=True,
            temperature=0.7,
            top_k=0,
            max_new_tokens=NEW_TOKENS,
            min_new_tokens=NEW_TOKENS,
            num_return_sequences=SAMPLES,
            pad_token_id=tokenizer.pad_token_id,
        )
    return (ids_BT.shape[1] - batch["input_ids"].shape[1]) * len(ids_BT)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    lines = [
        "# Batched sampling",
        "",
        f"{len(PROMPTS)} few-shot prompts, {SAMPLES} samples of {NEW_TOKENS} new tokens each, "
        f"{BUNDLED}; median of {rounds} rounds.",
        f"Measured on {describe_machine('torch', 'transformers')}.",
        "",
        "| precision | method | seconds | tokens/s | ratio |",
        "|---|---|--:|--:|--:|",
    ]
    for precision in ("float32", "bfloat16"):
        model, tokenizer = load_model(locate_model(BUNDLED), precision)
        rivals = {
            "transformers.generate": partial(sample_there, model, tokenizer),
            "decode_batch": partial(sample_here, model, tokenizer),
        }
        tokens = {name: sample() for name, sample in rivals.items()}
        assert len(set(tokens.values())) == 1, tokens
        for name, timing in take_turns(rivals, rounds).items():
            rate = tokens[name] / timing.median_s
            lines.append(
                f"| {precision} | {name} | {timing.median_s:.2f} | {rate:.0f} "
                f"| {timing.ratio:.2f} |"
            )
    write_result("decoding", lines)


if __name__ == "__main__":
    main()
