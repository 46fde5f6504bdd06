"""Hidden-state distillation: layers of the student learn to say what layers of the teacher say.

    L_n = mean over pairs (i, j) of d(W_ij s_i, t_j)        at each token n

with s_i and t_j the outputs of the student's layer i and the teacher's layer j there. W is a
learned projection where the two differ in size, else nothing (FitNets, Romero et al. 2015;
TinyBERT, Jiao et al. 2020). The distance d is one of

    mse      |W s - t|² / |t|²      0 where they agree, 1 for a student that says nothing
    cosine   1 - cos(W s, t)        blind to length

The mean square is relative because a few dimensions of a language model's states are hundreds of
times larger than the rest, and grow from layer to layer. Unlike logits, states need no shared
vocabulary, but both models must read the same tokens.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from generators.errors import ConfigError
from trainers.logits import Layout, compute_hidden, group_by_length

Distance = Literal["mse", "cosine"]
Read = Callable[[Any, Tensor, Tensor, Tensor, Layout], Tensor]
"""`compute_hidden` or `compute_logits` of `trainers.logits`."""


class LayerPair(NamedTuple):
    """A layer of the student and the layer of the teacher that it follows, both counted from 0."""

    student: int
    teacher: int


class LayerStates(NamedTuple):
    """What one forward pass gives at N positions."""

    read_NX: Tensor
    """What the head reads, or its logits."""
    layers: dict[int, Tensor]
    """The output [N, D] of each layer asked for."""


def spread_pairs(student_layers: int, teacher_layers: int) -> list[LayerPair]:
    """Each student layer with the teacher layer at the same share of the depth; last with last.

    The states of a student that kept layers 0, 5, … should be those that the teacher hands on to
    its next kept layer, and these pairs say so.
    """
    return [
        LayerPair(i, -(-(i + 1) * teacher_layers // student_layers) - 1)
        for i in range(student_layers)
    ]


def check_pairs(pairs: Sequence[LayerPair], student_layers: int, teacher_layers: int) -> None:
    """Raise ConfigError if there are none, or a model of so many layers has no such one."""
    if not pairs:
        raise ConfigError("hidden states: give at least one pair of layers, student and teacher")
    for role, count, wanted in (
        ("student", student_layers, [pair.student for pair in pairs]),
        ("teacher", teacher_layers, [pair.teacher for pair in pairs]),
    ):
        for layer in wanted:
            if not 0 <= layer < count:
                raise ConfigError(
                    f"hidden states: the {role} has no layer {layer};"
                    f" its layers are 0 to {count - 1}"
                )


def compute_with_layers(
    model: Any,
    input_ids_BT: Tensor,
    attention_mask_BT: Tensor,
    positions_BT: Tensor,
    layers: Sequence[int],
    *,
    read: Read = compute_hidden,
    layout: Layout = "grouped",
) -> LayerStates:
    """What `read` gives at the N positions that are True, and these layers' outputs there, from
    the same forward pass. Rows are padded on the right; the order is row-major; the layout is as
    for `trainers.logits.compute_logits`.

    Only the layers asked for are kept, and of them only the N positions.
    """
    if layout == "packed":
        with _capture(model, layers) as outputs:
            read_NX = read(model, input_ids_BT, attention_mask_BT, positions_BT, layout)
        chosen_S = positions_BT[attention_mask_BT.bool()]
        return LayerStates(read_NX, {layer: outputs[layer][0][chosen_S] for layer in layers})
    parts = [list(range(len(input_ids_BT)))]
    if not hasattr(model, "module"):
        parts = group_by_length(attention_mask_BT.sum(dim=1).tolist())
    found: list[list[Tensor]] = []
    for rows in parts:
        width = int(attention_mask_BT[rows].sum(dim=1).max())
        ids, mask, chosen = (
            each[rows, :width] for each in (input_ids_BT, attention_mask_BT, positions_BT)
        )
        with _capture(model, layers) as outputs:
            read_NX = read(model, ids, mask, chosen, layout)
        found.append([read_NX, *(outputs[layer][chosen] for layer in layers)])
    counts_B = positions_BT.sum(dim=1)
    order_B = torch.tensor([row for rows in parts for row in rows], device=counts_B.device)
    order_N = order_B.repeat_interleave(counts_B[order_B]).argsort(stable=True)
    read_NX, *states = (torch.cat(pieces)[order_N] for pieces in zip(*found, strict=True))
    return LayerStates(read_NX, dict(zip(layers, states, strict=True)))


@contextmanager
def _capture(model: Any, layers: Sequence[int]) -> Iterator[dict[int, Tensor]]:
    """What these layers give in the forward pass within [B, T, D].

    Nothing is computed inside the hooks: under gradient checkpointing they may run again, or not.
    """
    outputs: dict[int, Tensor] = {}
    decoder = getattr(model, "module", model).get_decoder()

    def keep(layer: int) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            outputs[layer] = output[0] if isinstance(output, tuple) else output

        return hook

    handles = [decoder.layers[layer].register_forward_hook(keep(layer)) for layer in layers]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def state_distance(student_ND: Tensor, teacher_ND: Tensor, kind: Distance = "mse") -> Tensor:
    """Distance of each token's two states: [N, D] and [N, D] to [N]. The teacher's take no
    gradient, and half-precision states are compared in float32."""
    dtype = torch.promote_types(student_ND.dtype, torch.float32)
    student_ND, teacher_ND = student_ND.to(dtype), teacher_ND.detach().to(dtype)
    match kind:
        case "mse":
            norm_N = teacher_ND.square().sum(dim=-1)
            error_N = (student_ND - teacher_ND).square().sum(dim=-1)
            return error_N / norm_N.clamp_min(torch.finfo(dtype).tiny)
        case "cosine":
            return 1 - functional.cosine_similarity(student_ND, teacher_ND, dim=-1)


class Projection(nn.Module):
    """Student states into the teacher's space.

    Where the sizes agree it changes nothing, or, when `learned`, begins so. Where they differ it is
    a linear map that begins with orthonormal rows or columns, drawn by the seed.
    """

    def __init__(
        self, student_dim: int, teacher_dim: int, *, learned: bool = False, seed: int = 0
    ) -> None:
        super().__init__()
        self.weight_TS: nn.Parameter | None = None
        if student_dim != teacher_dim:
            weight_TS = torch.empty(teacher_dim, student_dim)
            nn.init.orthogonal_(weight_TS, generator=torch.Generator().manual_seed(seed))
            self.weight_TS = nn.Parameter(weight_TS)
        elif learned:
            self.weight_TS = nn.Parameter(torch.eye(student_dim))

    def forward(self, student_ND: Tensor) -> Tensor:
        if self.weight_TS is None:
            return student_ND
        return functional.linear(student_ND, self.weight_TS.to(student_ND.dtype))


class HiddenStateMatcher(nn.Module):
    """The loss over some pairs of layers, with a projection of its own for each pair."""

    def __init__(
        self,
        pairs: Sequence[LayerPair],
        student_dim: int,
        teacher_dim: int,
        *,
        kind: Distance = "mse",
        learned: bool = False,
        seed: int = 0,
    ) -> None:
        """`learned`: project even where the sizes agree."""
        super().__init__()
        self.pairs = list(pairs)
        self.kind: Distance = kind
        self.projections = nn.ModuleList(
            Projection(student_dim, teacher_dim, learned=learned, seed=seed + place)
            for place in range(len(self.pairs))
        )

    def forward(self, student: Mapping[int, Tensor], teacher: Mapping[int, Tensor]) -> Tensor:
        """The mean distance of the pairs' states at each token [N], from `LayerStates.layers`."""
        distances = [
            state_distance(project(student[pair.student]), teacher[pair.teacher], self.kind)
            for pair, project in zip(self.pairs, self.projections, strict=True)
        ]
        return torch.stack(distances).mean(dim=0)
