"""What a teacher says of the next token at N positions, in the forms in which it can be had.

A teacher in this process gives its last hidden states and its head, so that nobody ever holds its
logits over the whole vocabulary for all tokens at once; a cache or a server gives the few tokens
that it thinks most of; a tensor of logits [N, V] is the plainest form.
"""

from typing import Literal, NamedTuple

from torch import Tensor

Kept = Literal["top", "sampled"]
"""How the tokens of `TopTokens` were chosen."""


class HeadStates(NamedTuple):
    """A teacher's last hidden states and its head; logits are `hidden_ND @ weight_VD.T`."""

    hidden_ND: Tensor
    weight_VD: Tensor
    """Cut to the ids that the tokenizer knows."""


class TopTokens(NamedTuple):
    """A few tokens of each distribution, with natural logs of their masses.

    Of `top` tokens the masses are raw, that is those under the whole distribution, so they sum to
    less than 1 and the rest is the tail's. Of `sampled` ones they are an unbiased estimate of the
    distribution and sum to 1. Unused places hold any id and -inf.
    """

    ids_NK: Tensor
    log_probs_NK: Tensor
    kept: Kept = "top"
    temperature: float = 1.0
    """At which the teacher's distribution was taken."""


Targets = Tensor | HeadStates | TopTokens


class ChunkTargets(NamedTuple):
    """What a teacher of another vocabulary gives to C chunks of the N targets' bytes."""

    chunk_N: Tensor
    """The chunk that each target belongs to."""
    last_C: Tensor
    """The last target of each chunk."""
    log_probs_C: Tensor


class PairTargets(NamedTuple):
    """What a teacher of another vocabulary says at P targets of its own reading."""

    target_P: Tensor
    """The student's target that stands at the same place of the same answer."""
    teacher: Tensor | HeadStates
    """At the P targets, over the teacher's vocabulary."""


def count_targets(targets: Targets) -> int:
    """N."""
    if isinstance(targets, HeadStates):
        return len(targets.hidden_ND)
    return len(targets.ids_NK) if isinstance(targets, TopTokens) else len(targets)
