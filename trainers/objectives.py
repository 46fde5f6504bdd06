"""What is minimised: a loss for each target token, from one reading of a batch.

A divergence compares whole distributions, wherever the tokens come from; the policy gradients of
`trainers.sampled_losses` and `trainers.minillm` learn from tokens that the student drew. Which of
them is minimised and whose tokens they are are two settings.
"""

from typing import NamedTuple, Protocol

from torch import Tensor

from trainers.fused import fused_cross_entropy, fused_distillation
from trainers.losses import Divergence, cross_entropy, divergence
from trainers.mixing import AlphaSchedule
from trainers.sparse import Tail, sparse_divergence
from trainers.targets import ChunkTargets, HeadStates, PairTargets, Targets, TopTokens


class Reading(NamedTuple):
    """A batch as the student reads it, at the N positions whose next token is a target."""

    states_NX: Tensor
    """Hidden states [N, D] where `head_VD` is there, else logits [N, V]."""
    head_VD: Tensor | None
    labels_N: Tensor
    row_N: Tensor
    """The row in the batch that each target belongs to; ascending."""
    vocabulary_size: int
    """Ids that the tokenizer knows; a head may have more rows."""
    teacher: Targets | None = None
    drawn_N: Tensor | None = None
    """Under what log-probability each target was drawn; of rollouts."""
    across: ChunkTargets | PairTargets | None = None
    """What a teacher of another vocabulary says, in the place of `teacher`."""
    distance_N: Tensor | None = None
    """How far the student's layers are from the teacher's, where they are to follow them."""


class Objective(Protocol):
    """Something to minimise."""

    def compute_losses(self, reading: Reading, weights_N: Tensor, step: int) -> Tensor:
        """The loss of each target [N], before its row's weight. `weights_N` are what the losses
        will be multiplied by, up to a constant; `step` counts optimizer steps from 0."""
        ...


class CrossEntropy:
    """The tokens as they stand (SFT, sequence-level distillation, language modelling)."""

    def compute_losses(self, reading: Reading, weights_N: Tensor, step: int) -> Tensor:
        return compute_cross_entropy(reading, weights_N)


class TeacherDivergence(NamedTuple):
    """c·CE + (1-c)·T²·D(p, q), with c given, or one minus the schedule's alpha.

    The T² keeps both terms' gradients of one order at every temperature (Hinton et al. 2015).
    """

    kind: Divergence
    beta: float = 0.5
    alpha: float = 0.1
    temperature: float = 1.0
    tail: Tail = "bucket"
    ce_weight: float = 0.0
    mixing: AlphaSchedule | None = None

    def compute_losses(self, reading: Reading, weights_N: Tensor, step: int) -> Tensor:
        assert reading.teacher is not None
        share = find_ce_share(self.ce_weight, self.mixing, step)
        if reading.head_VD is None:
            return self._compute_dense(reading, share)
        return fused_distillation(
            reading.states_NX,
            reading.head_VD,
            reading.teacher,
            reading.labels_N,
            self.kind,
            ce_weight=share,
            beta=self.beta,
            alpha=self.alpha,
            temperature=self.temperature,
            tail=self.tail,
            weights_N=weights_N,
            vocabulary_size=reading.vocabulary_size,
        )

    def _compute_dense(self, reading: Reading, share: float) -> Tensor:
        """From logits, where something follows the head."""
        assert reading.teacher is not None
        logits_NV = reading.states_NX[:, : reading.vocabulary_size].float()
        options = {"beta": self.beta, "alpha": self.alpha, "temperature": self.temperature}
        teacher = reading.teacher
        if isinstance(teacher, TopTokens):
            loss_N = sparse_divergence(logits_NV, teacher, self.kind, tail=self.tail, **options)
        else:
            loss_N = divergence(logits_NV, make_logits(teacher), self.kind, **options)
        loss_N = (1 - share) * self.temperature**2 * loss_N
        if share > 0:
            loss_N = loss_N + share * cross_entropy(reading.states_NX.float(), reading.labels_N)
        return loss_N


def find_ce_share(ce_weight: float, mixing: AlphaSchedule | None, step: int) -> float:
    """The share of cross-entropy at a step: as given, or one minus the schedule's alpha."""
    return ce_weight if mixing is None else 1 - mixing.alpha_at(step)


def compute_cross_entropy(reading: Reading, weights_N: Tensor | None = None) -> Tensor:
    """-ln q(label) of each target [N]."""
    if reading.head_VD is None:
        return cross_entropy(reading.states_NX.float(), reading.labels_N)
    return fused_cross_entropy(
        reading.states_NX, reading.head_VD, reading.labels_N, weights_N=weights_N
    )


def make_logits(teacher: Tensor | HeadStates) -> Tensor:
    """The teacher's logits over the whole vocabulary [N, V]."""
    if isinstance(teacher, Tensor):
        return teacher.float()
    return (teacher.hidden_ND @ teacher.weight_VD.T).float()
