"""A teacher that was read once: its few tokens of each distribution are kept on disk.

`write_signal` reads any `TeacherSignal` (a model in this process, or a vLLM server by
`trainers.remote_teacher`) at every predicting position of every row; `CachedTeacher` gives the
result back. What is kept is top-p, then top-k of the teacher's raw masses (Peng et al. 2024,
"Pre-training Distillation for Large Language Models"), or tokens drawn from the teacher
(random-sampling KD, Anshumann et al. 2025). Rows are found by the hash of their own tokens
(`trainers.row_keys`), never by their place in a dataset.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from generators.errors import ConfigError, InputError, ModelError
from generators.records import Record
from trainers.logits import batch_by_length, find_predicting_positions
from trainers.row_keys import hash_row, read_row, strip_padding
from trainers.rows import TokenRow, collate
from trainers.signal_store import (
    Cut,
    RowSignal,
    SampledCut,
    SignalHeader,
    SignalStore,
    Source,
    TopCut,
    check_header,
    describe_source,
    open_for_writing,
    write_shard,
)
from trainers.sparse import draw_tokens, keep_top, truncate
from trainers.targets import HeadStates, Targets, TopTokens, count_targets
from trainers.teachers import TeacherSignal

CHUNK_TOKENS = 256
"""The logits of so many tokens are held at once while a signal is written."""
Plan = Callable[[Sequence[int]], list[list[int]]]


class SignalReport(Record):
    """What a signal holds and costs."""

    rows: int
    tokens: int
    """Positions at which the teacher's distribution is kept."""
    kept_per_token: float
    """Entries of a distribution, on average."""
    tail_mass: float
    """What is not kept of a distribution, on average; 0 where tokens were drawn."""
    bytes: int
    """On disk, with the index."""
    bytes_per_token: float


class CachedTeacher:
    """A `trainers.teachers.TeacherSignal` that reads its distributions from a folder."""

    def __init__(self, folder: Path, source: Source) -> None:
        """Raises InputError where there is no signal, and RunError, naming the difference, where
        it is of another teacher, template or vocabulary than `source`."""
        self.store = SignalStore(folder)
        check_header(folder, self.store.header.source.model_dump(), source.model_dump())
        self._source = describe_source(source)

    def check_rows(self, rows: Sequence[TokenRow]) -> None:
        """Raise InputError if any of these rows has no signal; worth a call before training."""
        keys = {hash_row(row, self._source) for row in map(read_row, rows) if row.positions}
        missing = sum(key not in self.store for key in keys)
        if missing:
            self._miss(missing, len(keys))

    def read(
        self, input_ids_BT: Tensor, attention_mask_BT: Tensor, positions_BT: Tensor
    ) -> TopTokens:
        """What is kept at the N positions that are True, row-major.

        Raises InputError where a row is not the one that was written, token for token.
        """
        rows = [
            row
            for row in strip_padding(input_ids_BT, attention_mask_BT, positions_BT)
            if row.positions
        ]
        found = [self.store.find(hash_row(row, self._source)) for row in rows]
        signals = [signal for signal in found if signal is not None]
        if len(signals) < len(rows):
            self._miss(len(rows) - len(signals), len(rows))
        return self._join(signals, input_ids_BT.device)

    def _join(self, signals: Sequence[RowSignal], device: torch.device) -> TopTokens:
        cut, size = self.store.header.cut, self.store.header.source.vocabulary_size
        counts_N = np.concatenate([signal.counts_N for signal in signals])
        used_NK = np.arange(counts_N.max()) < counts_N[:, None]
        ids_NK = np.zeros(used_NK.shape, dtype=np.int64)
        log_probs_NK = np.full(used_NK.shape, -np.inf, dtype=np.float32)
        ids_NK[used_NK] = np.concatenate([signal.ids_M for signal in signals])
        log_probs_NK[used_NK] = np.concatenate([signal.log_probs_M for signal in signals])
        whole_N = (counts_N == size) | (cut.kept == "sampled")
        mended_NK = _mend_rounding(torch.from_numpy(log_probs_NK), torch.from_numpy(whole_N))
        ids = torch.from_numpy(ids_NK).to(device)
        return TopTokens(ids, mended_NK.to(device), cut.kept, cut.temperature)

    def _miss(self, missing: int, asked: int) -> None:
        raise InputError(
            f"{self.store.folder}: {missing:,} of {asked:,} rows have no teacher's signal here"
            f" (it holds {len(self.store):,} rows).\n"
            "A row is found by its tokens, so one that was edited, encoded anew or added since is"
            " missing: write the signal again for this dataset (what is there is kept)."
        )


def write_signal(
    teacher: TeacherSignal,
    rows: Sequence[TokenRow],
    folder: Path,
    header: SignalHeader,
    *,
    shard_rows: int = 1_024,
    plan: Plan = batch_by_length,
    device: torch.device | str = "cpu",
    on_progress: Callable[[int], None] | None = None,
) -> SignalReport:
    """Read the teacher at every predicting position of the rows, and keep what the cut says.

    Called again, it goes on after the last whole shard, with the same bytes as a run that was
    never interrupted; rows that are there already are not asked again. `plan` batches rows by
    their lengths; `on_progress` is told how many rows have come to be there. Raises RunError where
    the folder holds a signal of another header, ConfigError where the teacher cannot give what
    the cut asks, and ModelError where its logits are not finite.
    """
    store, source = open_for_writing(folder, header), describe_source(header.source)
    keyed = {hash_row(read_row(row), source): row for row in rows if read_row(row).positions}
    waiting = [key for key in keyed if key not in store]
    if on_progress is not None and len(waiting) < len(keyed):
        on_progress(len(keyed) - len(waiting))
    for start in range(0, len(waiting), shard_rows):
        keys = waiting[start : start + shard_rows]
        signals: dict[bytes, RowSignal] = {}
        for batch in plan([len(keyed[key].input_ids) for key in keys]):
            chosen = {keys[i]: keyed[keys[i]] for i in batch}
            signals |= _read_signals(teacher, chosen, header, device)
        write_shard(folder, {key: signals[key] for key in keys}, header.source.vocabulary_size)
        if on_progress is not None:
            on_progress(len(keys))
    return report_signal(folder)


def report_signal(folder: Path) -> SignalReport:
    """What the signal in a folder holds and costs. Raises InputError where there is none."""
    size = SignalStore(folder).measure()
    tokens = max(size.tokens, 1)
    return SignalReport(
        rows=size.rows,
        tokens=size.tokens,
        kept_per_token=size.entries / tokens,
        tail_mass=size.tail / tokens,
        bytes=size.bytes,
        bytes_per_token=size.bytes / tokens,
    )


def _read_signals(
    teacher: TeacherSignal,
    rows: Mapping[bytes, TokenRow],
    header: SignalHeader,
    device: torch.device | str,
) -> dict[bytes, RowSignal]:
    """Read one batch."""
    batch = {name: each.to(device) for name, each in collate([*rows.values()], pad_id=0).items()}
    positions_BT = find_predicting_positions(batch["labels"])
    with torch.no_grad():
        targets = teacher.read(batch["input_ids"], batch["attention_mask"], positions_BT)
        chunks = list(_cut(targets, header.cut, list(rows)))
    counts_N, ids_M, log_probs_M = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    if not counts_N.all():
        raise ModelError(
            f"{header.source.teacher}: its logits are not finite at {int((counts_N == 0).sum()):,}"
            f" of {len(counts_N):,} tokens.\nLoad the teacher in float32 or bfloat16."
        )
    tokens = np.cumsum(positions_BT.sum(dim=1).tolist())[:-1]
    masses_N = np.add.reduceat(np.exp(log_probs_M), np.cumsum(counts_N) - counts_N)
    entries = np.cumsum(counts_N)[tokens - 1]
    parts = (
        np.split(counts_N, tokens),
        np.split(ids_M, entries),
        np.split(log_probs_M.astype(np.float16), entries),
        np.split((1 - masses_N).clip(min=0), tokens),
    )
    return {
        key: RowSignal(counts, ids, log_probs, float(tails.sum()))
        for key, counts, ids, log_probs, tails in zip(rows, *parts, strict=True)
    }


Chunk = tuple[np.ndarray, np.ndarray, np.ndarray]
"""How many entries each token has, and their ids and log-probabilities one after another."""


def _cut(targets: Targets, cut: Cut, keys: Sequence[bytes]) -> Iterator[Chunk]:
    """What the cut keeps, for some tokens at a time."""
    if isinstance(targets, TopTokens):
        yield _flatten(cut_top(targets, cut))
        return
    generator = None
    if isinstance(cut, SampledCut):
        # drawn anew for every batch, so that a resumed run draws what it would have drawn
        seed = hashlib.sha256(b"".join([str(cut.seed).encode(), *keys])).digest()
        device = (targets.hidden_ND if isinstance(targets, HeadStates) else targets).device
        generator = torch.Generator(device).manual_seed(int.from_bytes(seed[:8]) >> 1)
    for start in range(0, count_targets(targets), CHUNK_TOKENS):
        logits_NV = _compute_chunk(targets, slice(start, start + CHUNK_TOKENS))
        yield _flatten(_keep(logits_NV, cut, generator))


def _compute_chunk(targets: Tensor | HeadStates, chunk: slice) -> Tensor:
    if isinstance(targets, HeadStates):
        return (targets.hidden_ND[chunk].to(targets.weight_VD.dtype) @ targets.weight_VD.T).float()
    return targets[chunk].float()


def _keep(logits_NV: Tensor, cut: Cut, generator: torch.Generator | None) -> TopTokens:
    if isinstance(cut, TopCut):
        return keep_top(logits_NV, top_p=cut.top_p, top_k=cut.top_k, temperature=cut.temperature)
    return draw_tokens(
        logits_NV,
        draws=cut.draws,
        temperature=cut.temperature,
        proposal=cut.proposal,
        generator=generator,
    )


def cut_top(given: TopTokens, cut: Cut) -> TopTokens:
    """Cut what is cut already (by a server), by the raw masses, so that nothing is cut twice.

    Raises ConfigError where the cut asks for what is no longer there.
    """
    if cut.kept != "top" or given.kept != "top":
        raise ConfigError(
            "kept: of a teacher that tells only its likeliest tokens none can be drawn; keep top"
        )
    if cut.temperature != given.temperature:
        raise ConfigError(
            f"temperature {cut.temperature:g}: this teacher tells its likeliest tokens at"
            f" {given.temperature:g}, and without the others they cannot be softened; write"
            f" the signal at temperature {given.temperature:g}"
        )
    told_N = given.log_probs_NK.isfinite().sum(dim=1)
    lacking_N = (told_N < cut.top_k) & (given.log_probs_NK.exp().sum(dim=1) < cut.top_p)
    if lacking_N.any():
        raise ConfigError(
            f"top_k {cut.top_k}: this teacher tells only {int(told_N.min())} tokens of a place;"
            " ask it for more (top; vLLM serves up to --max-logprobs), or lower top_k or top_p"
        )
    return truncate(given, top_p=cut.top_p, top_k=cut.top_k)


def _flatten(kept: TopTokens) -> Chunk:
    ids_NK, log_probs_NK = kept.ids_NK.cpu().numpy(), kept.log_probs_NK.float().cpu().numpy()
    used_NK = np.isfinite(log_probs_NK)
    return used_NK.sum(axis=1), ids_NK[used_NK], log_probs_NK[used_NK]


def _mend_rounding(log_probs_NK: Tensor, whole_N: Tensor) -> Tensor:
    """Masses that rounding has brought above 1 are scaled back, and to 1 where nothing is cut."""
    excess_N1 = log_probs_NK.logsumexp(dim=1, keepdim=True)
    return log_probs_NK - torch.where(whole_N[:, None], excess_N1, excess_N1.clamp(min=0))
