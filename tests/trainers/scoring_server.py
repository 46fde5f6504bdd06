"""A tiny model behind a URL, which tells what it thinks of given tokens as vLLM does."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from generators.embedded import load_model
from tests.generators.loopback import Call, LoopbackServer


@contextmanager
def serve_scores(folder: Path, shift: int = 0) -> Iterator[LoopbackServer]:
    """The model of a folder; `shift` spoils its tokenizer."""
    model, tokenizer = load_model(str(folder), "float32")

    @torch.no_grad()
    def score(call: Call) -> dict[str, Any]:
        if "prompt" not in call.body:
            return {"data": []}
        prompt, top = call.body["prompt"], call.body["prompt_logprobs"]
        ids = prompt
        if isinstance(prompt, str):
            ids = [id + shift for id in tokenizer(prompt, add_special_tokens=False)["input_ids"]]
        log_probs_TV = model(torch.tensor([ids])).logits[0].log_softmax(dim=-1)
        places: list[dict[str, Any] | None] = [None]
        for log_probs_V, own in zip(log_probs_TV, ids[1:], strict=False):
            best = log_probs_V.topk(top).indices.tolist()
            told = [*best, own] if own not in best else best
            places.append({str(i): {"logprob": float(log_probs_V[i]), "rank": 1} for i in told})
        choice = {"text": "x", "prompt_token_ids": ids, "prompt_logprobs": places}
        usage = {"prompt_tokens": len(ids), "completion_tokens": 1}
        return {"choices": [choice], "usage": usage}

    with LoopbackServer(rule=score) as server:
        yield server
