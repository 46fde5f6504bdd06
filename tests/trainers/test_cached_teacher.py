"""What is read once and kept, against what the teacher says."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from generators.errors import ConfigError, InputError, ModelError, RunError
from tests.trainers.bigram_teacher import BigramTeacher, draw_rows, make_batch
from trainers.cached_teacher import CachedTeacher, SignalReport, report_signal, write_signal
from trainers.losses import divergence
from trainers.rows import TokenRow
from trainers.signal_store import Cut, SampledCut, SignalHeader, Source, TopCut
from trainers.sparse import keep_top
from trainers.targets import HeadStates, TopTokens

VOCABULARY = 40
SOURCE = Source(teacher="t@1", template="a", vocabulary="b", vocabulary_size=VOCABULARY)
TEACHER = BigramTeacher(VOCABULARY)
ROWS = draw_rows(30, VOCABULARY)


def write(folder: Path, cut: Cut, rows: list[TokenRow] = ROWS, **options: Any) -> SignalReport:
    header = SignalHeader(source=SOURCE, cut=cut)
    return write_signal(options.pop("teacher", TEACHER), rows, folder, header, **options)


def spread(tokens: TopTokens) -> Tensor:
    """Masses [N, V]."""
    masses_NV = torch.zeros(len(tokens.ids_NK), VOCABULARY)
    return masses_NV.scatter_add_(1, tokens.ids_NK, tokens.log_probs_NK.exp())


def list_files(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_shuffled_rows_find_their_own_signal(tmp_path: Path) -> None:
    cut = TopCut(top_p=0.9, top_k=12, temperature=2.0)
    write(tmp_path, cut)
    shuffled = [ROWS[i] for i in (17, 3, 29, 0, 8)]
    batch = make_batch(shuffled)
    found = CachedTeacher(tmp_path, SOURCE).read(*batch)
    expected = keep_top(TEACHER.read(*batch), top_p=0.9, top_k=12, temperature=2.0)
    assert torch.equal(found.ids_NK, expected.ids_NK)
    torch.testing.assert_close(found.log_probs_NK, expected.log_probs_NK, rtol=2**-11, atol=1e-6)
    assert (found.kept, found.temperature) == ("top", 2.0)


def test_keeping_every_token_gives_the_whole_distribution(tmp_path: Path) -> None:
    write(tmp_path, TopCut(top_p=1.0, top_k=VOCABULARY))
    batch = make_batch(ROWS)
    found = CachedTeacher(tmp_path, SOURCE).read(*batch)
    logits_NV = TEACHER.read(*batch)
    torch.testing.assert_close(spread(found), logits_NV.softmax(dim=-1), rtol=1e-2, atol=1e-6)
    torch.testing.assert_close(spread(found).sum(dim=1), torch.ones(len(logits_NV)))
    kept_NV = torch.full_like(logits_NV, -torch.inf)
    kept_NV.scatter_(1, found.ids_NK, found.log_probs_NK)
    assert float(divergence(kept_NV, logits_NV, "forward").max()) < 1e-5


def test_rounding_is_bounded_and_never_makes_more_than_one(tmp_path: Path) -> None:
    peaked = BigramTeacher(VOCABULARY, spread=12.0)
    for name, teacher in (("flat", TEACHER), ("peaked", peaked)):
        write(tmp_path / name, TopCut(top_p=1.0, top_k=VOCABULARY - 1), teacher=teacher)
        batch = make_batch(ROWS)
        found = CachedTeacher(tmp_path / name, SOURCE).read(*batch)
        exact = keep_top(teacher.read(*batch), top_k=VOCABULARY - 1)
        off_NK = (found.log_probs_NK - exact.log_probs_NK).abs()
        masses_NK = exact.log_probs_NK.exp()
        entropy_N = -(masses_NK * exact.log_probs_NK).sum(dim=1)
        mended_N1 = 2**-11 * entropy_N[:, None]  # what may be scaled back
        assert (off_NK <= 2**-11 * exact.log_probs_NK.abs() + mended_N1 + 1e-6).all()
        tail_N = 1 - found.log_probs_NK.exp().sum(dim=1)
        assert (tail_N >= -1e-6).all()
        assert (tail_N - (1 - masses_NK.sum(dim=1))).abs().le(2**-11 * entropy_N + 1e-6).all()


def test_the_report_counts_what_is_on_disk(tmp_path: Path) -> None:
    report = write(tmp_path, TopCut(top_p=1.0, top_k=8), shard_rows=20)
    batch = make_batch(ROWS)
    kept = keep_top(TEACHER.read(*batch), top_k=8)
    tokens = sum(len(row.input_ids) - row.prompt_length for row in ROWS)
    shards = [file for file in tmp_path.glob("shard-*/*") if file.is_file()]
    assert (report.rows, report.tokens, report.kept_per_token) == (30, tokens, 8.0)
    assert report.bytes == sum(file.stat().st_size for file in shards)
    assert report.bytes_per_token == report.bytes / tokens
    tail = float((1 - kept.log_probs_NK.exp().sum(dim=1)).mean())
    assert report.tail_mass == pytest.approx(tail, abs=1e-6)
    assert report_signal(tmp_path) == report


def test_a_token_costs_four_bytes_an_entry_and_two(tmp_path: Path) -> None:
    rows = [TokenRow([i % VOCABULARY for i in range(n, n + 2_000)], 1) for n in range(4)]
    report = write(tmp_path, TopCut(top_p=1.0, top_k=8))  # short rows: the index weighs more
    long = write(tmp_path / "long", TopCut(top_p=1.0, top_k=8), rows)
    assert 8 * 4 + 2 < long.bytes_per_token < 8 * 4 + 2.3
    assert report.bytes_per_token > long.bytes_per_token


@pytest.mark.parametrize("edited", ["token", "prompt length", "one more token"])
def test_an_edited_row_is_refused(tmp_path: Path, edited: str) -> None:
    write(tmp_path, TopCut())
    teacher, row = CachedTeacher(tmp_path, SOURCE), ROWS[4]
    ids = list(row.input_ids)
    if edited == "token":
        ids[-1] = (ids[-1] + 1) % VOCABULARY
    elif edited == "one more token":
        ids.append(3)
    changed = TokenRow(ids, row.prompt_length + (edited == "prompt length"))
    with pytest.raises(InputError) as caught:
        teacher.read(*make_batch([ROWS[0], changed, ROWS[9]]))
    assert str(caught.value) == (
        f"{tmp_path}: 1 of 3 rows have no teacher's signal here (it holds 30 rows).\n"
        "A row is found by its tokens, so one that was edited, encoded anew or added since is "
        "missing: write the signal again for this dataset (what is there is kept)."
    )
    with pytest.raises(InputError) as caught:
        teacher.check_rows([*ROWS, changed])
    assert str(caught.value) == (
        f"{tmp_path}: 1 of 31 rows have no teacher's signal here (it holds 30 rows).\n"
        "A row is found by its tokens, so one that was edited, encoded anew or added since is "
        "missing: write the signal again for this dataset (what is there is kept)."
    )
    teacher.check_rows(ROWS)


def test_padding_and_company_do_not_matter(tmp_path: Path) -> None:
    write(tmp_path, TopCut())
    teacher = CachedTeacher(tmp_path, SOURCE)
    together, first = teacher.read(*make_batch(ROWS[:6])), teacher.read(*make_batch(ROWS[:1]))
    count, width = first.ids_NK.shape
    assert torch.equal(together.ids_NK[:count, :width], first.ids_NK)
    assert torch.equal(together.log_probs_NK[:count, :width], first.log_probs_NK)


class Killed(BaseException):
    """What ends a process at a place of the test's choosing."""


@pytest.mark.parametrize(
    "cut", [TopCut(top_k=8), SampledCut(draws=6, seed=3)], ids=["top", "drawn"]
)
def test_a_killed_writer_goes_on_between_shards(tmp_path: Path, cut: Cut) -> None:
    write(tmp_path / "whole", cut, shard_rows=8)

    class Dying(BigramTeacher):
        def read(
            self, input_ids_BT: Tensor, attention_mask_BT: Tensor, positions_BT: Tensor
        ) -> Tensor:
            if len(list((tmp_path / "killed").glob("shard-*"))) == 2:
                raise Killed
            return super().read(input_ids_BT, attention_mask_BT, positions_BT)

    with pytest.raises(Killed):
        write(tmp_path / "killed", cut, shard_rows=8, teacher=Dying(VOCABULARY))
    assert report_signal(tmp_path / "killed").rows == 16
    after, steps = BigramTeacher(VOCABULARY), list[int]()
    write(tmp_path / "killed", cut, shard_rows=8, teacher=after, on_progress=steps.append)
    assert (after.asked, steps) == (14, [16, 8, 6])
    assert list_files(tmp_path / "killed") == list_files(tmp_path / "whole")


def test_rows_that_are_added_are_the_only_ones_asked(tmp_path: Path) -> None:
    write(tmp_path, TopCut(), ROWS[:20])
    teacher = BigramTeacher(VOCABULARY)
    report = write(tmp_path, TopCut(), [*ROWS, ROWS[3]], teacher=teacher)
    assert (teacher.asked, report.rows) == (10, 30)


@pytest.mark.parametrize(
    ("field", "value"),
    [("teacher", "t@2"), ("template", "z"), ("vocabulary", "y"), ("vocabulary_size", 41)],
)
def test_a_signal_of_something_else_is_refused(tmp_path: Path, field: str, value: Any) -> None:
    write(tmp_path, TopCut())
    other = SOURCE.model_copy(update={field: value})
    with pytest.raises(RunError) as refusal:
        CachedTeacher(tmp_path, other)
    assert str(refusal.value) == (
        f"{tmp_path}: holds the signal of something else ({field} {getattr(SOURCE, field)} →"
        f" {value}).\n"
        "Go back to what it was written with, or write the signal into another folder."
    )


def test_drawn_tokens_estimate_the_distribution(tmp_path: Path) -> None:
    report = write(tmp_path, SampledCut(draws=3_000, temperature=1.5))
    batch = make_batch(ROWS)
    found = CachedTeacher(tmp_path, SOURCE).read(*batch)
    assert (found.kept, found.temperature) == ("sampled", 1.5)
    masses_NV = spread(found)
    torch.testing.assert_close(masses_NV.sum(dim=1), torch.ones(len(masses_NV)))
    wanted_NV = (TEACHER.read(*batch) / 1.5).softmax(dim=-1)
    deviation_NV = (wanted_NV * (1 - wanted_NV) / 3_000).sqrt()
    assert ((masses_NV - wanted_NV).abs() <= 5 * deviation_NV + 1e-3).all()
    assert report.tail_mass < 1e-5


def test_hidden_states_are_read_as_their_logits(tmp_path: Path) -> None:
    weight_VD = torch.randn(VOCABULARY, 6, generator=torch.Generator().manual_seed(5))

    class Headed:
        def read(self, ids_BT: Tensor, mask_BT: Tensor, positions_BT: Tensor) -> HeadStates:
            return HeadStates(weight_VD[ids_BT[positions_BT]], weight_VD)

    write(tmp_path, TopCut(top_p=1.0, top_k=5), teacher=Headed())
    batch = make_batch(ROWS[:9])
    found = CachedTeacher(tmp_path, SOURCE).read(*batch)
    states = Headed().read(*batch)
    expected = keep_top(states.hidden_ND @ weight_VD.T, top_k=5)
    assert torch.equal(found.ids_NK, expected.ids_NK)
    torch.testing.assert_close(found.log_probs_NK, expected.log_probs_NK, rtol=2**-11, atol=1e-5)


class Listing:
    """A teacher that tells a few of its tokens, as a server does."""

    def __init__(self, top: int) -> None:
        self.top = top

    def read(self, *batch: Tensor) -> TopTokens:
        return keep_top(TEACHER.read(*batch), top_k=self.top)


def test_a_list_of_tokens_is_cut_as_the_logits_are(tmp_path: Path) -> None:
    cut = TopCut(top_p=0.8, top_k=6)
    write(tmp_path / "logits", cut)
    write(tmp_path / "list", cut, teacher=Listing(10))
    assert list_files(tmp_path / "list") == list_files(tmp_path / "logits")


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (
            TopCut(top_p=1.0, top_k=11),
            (
                "top_k 11: this teacher tells only 10 tokens of a place; ask it for more (top; "
                "vLLM "
                "serves up to --max-logprobs), or lower top_k or top_p"
            ),
        ),
        (
            TopCut(top_k=5, temperature=2.0),
            (
                "temperature 2: this teacher tells its likeliest tokens at 1, and without the "
                "others "
                "they cannot be softened; write the signal at temperature 1"
            ),
        ),
        (
            SampledCut(),
            ("kept: of a teacher that tells only its likeliest tokens none can be drawn; keep top"),
        ),
    ],
    ids=["too few", "temperature", "drawn"],
)
def test_what_a_list_cannot_give_is_refused(tmp_path: Path, cut: Cut, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        write(tmp_path, cut, teacher=Listing(10))
    assert str(caught.value) == message


def test_logits_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    broken = BigramTeacher(VOCABULARY)
    broken.table_VV[7] = torch.nan
    with pytest.raises(ModelError) as caught:
        write(tmp_path, TopCut(), [TokenRow([7, 7, 5, 9], 1)], teacher=broken)
    assert str(caught.value) == (
        "t@1: its logits are not finite at 2 of 3 tokens.\nLoad the teacher in float32 or bfloat16."
    )
    assert report_signal(tmp_path).rows == 0
