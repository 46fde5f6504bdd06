"""Several teachers, each for its own domain: one for maths, one for code, one for all else.

A batch holds rows of any domain. Each teacher reads the rows of its own, and what they say is put
together again in the batch's order. A row's domain is looked up by its prompt's tokens, so that
completions which the student has just written are routed like the dataset's.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from generators.errors import ConfigError, InputError, nearest
from trainers.row_keys import PromptIds, ReadRow, strip_padding
from trainers.rows import TokenRow
from trainers.targets import HeadStates, Targets, TopTokens
from trainers.teachers import TeacherSignal

DEFAULT = "default"
"""The name of the teacher that reads rows of all domains that no other is named for."""


class RoutedTeacher:
    """A `trainers.teachers.TeacherSignal` made of others, by domain."""

    def __init__(
        self, teachers: Mapping[str, TeacherSignal], domains: Mapping[PromptIds, str]
    ) -> None:
        """`domains` is what `map_domains` gives. Raises ConfigError for a domain without a
        teacher."""
        for domain in sorted(set(domains.values()) - set(teachers)):
            raise ConfigError(
                f"domain {domain!r}: has no teacher{nearest(domain, teachers)};"
                f" there are teachers for {', '.join(sorted(teachers))}"
            )
        self.teachers = {domain: teachers[domain] for domain in sorted(teachers)}
        self._domains = domains
        self._heads: dict[tuple[int, ...], Tensor] = {}

    def read(
        self, input_ids_BT: Tensor, attention_mask_BT: Tensor, positions_BT: Tensor
    ) -> Targets:
        """What each row's own teacher says at its positions, in the batch's row-major order.

        Raises InputError for a prompt whose domain is not known, and ConfigError where one teacher
        tells a whole distribution and another a few tokens, or they are cut otherwise.
        """
        rows = strip_padding(input_ids_BT, attention_mask_BT, positions_BT)
        routes = self._route(rows)
        parts = [
            teacher.read(input_ids_BT[at], attention_mask_BT[at], positions_BT[at])
            for teacher, at in routes
        ]
        if len(parts) == 1:
            return parts[0]
        rows_N = torch.tensor([b for _, at in routes for b in at for _ in rows[b].positions])
        return self._merge(parts, rows_N.argsort(stable=True).to(input_ids_BT.device))

    def _route(self, rows: Sequence[ReadRow]) -> list[tuple[TeacherSignal, list[int]]]:
        """Which rows each teacher reads; the teachers' order is always the same."""
        domains = [self._find_domain(row.prompt) if row.positions else None for row in rows]
        routes: dict[int, tuple[TeacherSignal, list[int]]] = {}
        for domain, teacher in self.teachers.items():
            if at := [b for b, each in enumerate(domains) if each == domain]:
                routes.setdefault(id(teacher), (teacher, []))[1].extend(at)
        return [(teacher, sorted(at)) for teacher, at in routes.values()]

    def _find_domain(self, prompt: PromptIds) -> str:
        domain = self._domains.get(prompt)
        if domain is None:
            raise InputError(
                f"a prompt of {len(prompt)} tokens has no domain, so no teacher reads it.\n"
                "Give the domains of all prompts that are trained on (map_domains)."
            )
        return domain

    def _merge(self, parts: Sequence[Targets], order_N: Tensor) -> Targets:
        few = [part for part in parts if isinstance(part, TopTokens)]
        if len(few) == len(parts):
            return _merge_tokens(few, order_N)
        if few:
            raise ConfigError(
                "teachers: one tells its whole distribution and another only some tokens; cache"
                " the signal of all of them, or of none"
            )
        states = [part for part in parts if isinstance(part, HeadStates)]
        if len(states) == len(parts):
            return self._merge_states(states, order_N)
        logits = [
            part.hidden_ND @ part.weight_VD.T if isinstance(part, HeadStates) else part
            for part in parts
        ]
        return torch.cat([each.float() for each in logits if isinstance(each, Tensor)])[order_N]

    def _merge_states(self, parts: Sequence[HeadStates], order_N: Tensor) -> HeadStates:
        """All heads side by side, and zeros where a row's states belong to another's head: the
        same logits, and still nobody holds them for all tokens at once."""
        weights = [part.weight_VD for part in parts]
        dtype = weights[0].dtype
        for weight in weights[1:]:
            dtype = torch.promote_types(dtype, weight.dtype)
        key = tuple(n for weight in weights for n in (weight.data_ptr(), weight._version))
        if key not in self._heads:
            self._heads = {key: torch.cat([weight.to(dtype) for weight in weights], dim=1)}
        hidden_ND = torch.block_diag(*(part.hidden_ND.to(dtype) for part in parts))
        return HeadStates(hidden_ND[order_N], self._heads[key])


def map_domains(rows: Iterable[TokenRow], domains: Iterable[str]) -> dict[PromptIds, str]:
    """The domain of each row's prompt. Raises InputError where one prompt is in two domains."""
    found: dict[PromptIds, str] = {}
    for row, domain in zip(rows, domains, strict=True):
        earlier = found.setdefault(tuple(row.input_ids[: row.prompt_length]), domain)
        if earlier != domain:
            raise InputError(
                f"one prompt is in two domains, {earlier} and {domain}, so its teacher is not"
                " known.\nGive equal prompts one domain."
            )
    return found


def choose_teachers(domains: Iterable[str | None], teachers: Iterable[str]) -> list[str]:
    """Under which of the teachers' names each row is read: its domain, or else `default`.

    Raises InputError for a row without a domain where there is no default."""
    names, chosen = set(teachers), []
    for domain in domains:
        if domain is None and DEFAULT not in names:
            raise InputError(
                "some rows have no domain, so which teacher reads them is not known.\n"
                f"Give rows a column domain, or name a teacher for {DEFAULT!r}."
            )
        named = domain is not None and (domain in names or DEFAULT not in names)
        chosen.append(domain if named else DEFAULT)
    return chosen


def _merge_tokens(parts: Sequence[TopTokens], order_N: Tensor) -> TopTokens:
    kinds = {(part.kept, part.temperature) for part in parts}
    if len(kinds) > 1:
        told = " and ".join(f"{kept} at temperature {at:g}" for kept, at in sorted(kinds))
        raise ConfigError(f"teachers: they are cut in different ways ({told}); cut all alike")
    width = max(part.ids_NK.shape[1] for part in parts)
    ids = [_widen(part.ids_NK, width, 0) for part in parts]
    log_probs = [_widen(part.log_probs_NK, width, -torch.inf) for part in parts]
    merged = parts[0]._replace(ids_NK=torch.cat(ids), log_probs_NK=torch.cat(log_probs))
    return merged._replace(ids_NK=merged.ids_NK[order_N], log_probs_NK=merged.log_probs_NK[order_N])


def _widen(each_NK: Tensor, width: int, filler: float) -> Tensor:
    missing = width - each_NK.shape[1]
    return torch.nn.functional.pad(each_NK, (0, missing), value=filler)
