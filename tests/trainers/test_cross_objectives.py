from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from generators.embedded import load_tokenizer
from generators.errors import ConfigError, InputError
from tests.trainers.two_tokenizers import make_byte_level, make_word_piece
from trainers import cross_objectives
from trainers.cross_objectives import ChunkObjective, SortedObjective
from trainers.cross_teacher import CrossTeacher, Form, load_aligned_rows
from trainers.cross_tokenizer import (
    AlignedRow,
    align_row,
    chunk_divergence,
    universal_logit_distance,
)
from trainers.logits import compute_logits, find_predicting_positions
from trainers.losses import cross_entropy
from trainers.mixing import AlphaSchedule
from trainers.objectives import Reading
from trainers.rows import TokenRow, collate
from trainers.targets import ChunkTargets, HeadStates, PairTargets
from trainers.teachers import LocalTeacher, count_ids

N, D, V, W = 7, 5, 11, 9
KNOWN = 10
"""Ids that the student's tokenizer knows; its head has one row more."""
CHUNK_N = torch.tensor([0, 0, 1, 2, 2, 2, 3])
LAST_C = torch.tensor([1, 2, 5, 6])
TARGET_P = torch.tensor([0, 1, 3, 4, 5])
WEIGHTS_N = torch.tensor([2.0, 2.0, 2.0, 0.5, 0.5, 0.5, 0.5], dtype=torch.float64)
FIRST = AlphaSchedule(kind="linear", alpha=0.6, steps=1)


def draw(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def make_reading(across: Any, *, dense: bool) -> tuple[Reading, Tensor, Tensor]:
    states_ND, head_VD = draw(N, D, seed=0).requires_grad_(), draw(V, D, seed=1).requires_grad_()
    labels_N = torch.tensor([3, 1, 4, 1, 5, 9, 2])
    states_NX = states_ND @ head_VD.T if dense else states_ND
    row_N = torch.tensor([0, 0, 0, 1, 1, 1, 1])
    reading = Reading(states_NX, None if dense else head_VD, labels_N, row_N, KNOWN, across=across)
    return reading, states_ND, head_VD


CHUNKS = ChunkTargets(CHUNK_N, LAST_C, -draw(4, seed=2).abs())
HEADED = PairTargets(TARGET_P, HeadStates(draw(5, D, seed=3), draw(W, D, seed=4)))
PLAIN = PairTargets(TARGET_P, draw(5, D, seed=3) @ draw(W, D, seed=4).T)
SHARES: dict[str, tuple[dict[str, Any], float]] = {
    "none": ({"ce_weight": 0.0}, 0.0),
    "some": ({"ce_weight": 0.3}, 0.3),
    "all": ({"ce_weight": 1.0}, 1.0),
    "mixing": ({"ce_weight": 0.0, "mixing": FIRST}, 1 - FIRST.alpha_at(2)),
}


def check_against_formula(objective: Any, across: Any, *, dense: bool, expect: Any) -> None:
    """Values and weighted gradients beside those of the formula on all logits."""
    reading, states_ND, head_VD = make_reading(across, dense=dense)
    loss_N = objective.compute_losses(reading, WEIGHTS_N, 2)
    found = torch.autograd.grad((loss_N * WEIGHTS_N).sum(), (states_ND, head_VD))
    logits_NV = states_ND @ head_VD.T
    expected_N = expect(logits_NV, cross_entropy(logits_NV, reading.labels_N))
    wanted = torch.autograd.grad((expected_N * WEIGHTS_N).sum(), (states_ND, head_VD))
    torch.testing.assert_close(loss_N, expected_N, check_dtype=False)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dense", [False, True], ids=["fused", "dense"])
@pytest.mark.parametrize(("options", "share"), SHARES.values(), ids=SHARES)
def test_aligned_is_its_formula(options: dict[str, Any], share: float, dense: bool) -> None:
    def expect(logits_NV: Tensor, ce_N: Tensor) -> Tensor:
        log_q_C = torch.stack([-ce_N[c == CHUNK_N].sum() for c in range(4)])
        loss_C = chunk_divergence(log_q_C, CHUNKS.log_probs_C, temperature=20.0)
        at_last_N = torch.zeros(N, dtype=ce_N.dtype).index_add(0, LAST_C, loss_C)
        return share * ce_N + (1 - share) * at_last_N

    check_against_formula(
        ChunkObjective(temperature=20.0, **options), CHUNKS, dense=dense, expect=expect
    )


@pytest.mark.parametrize("across", [HEADED, PLAIN], ids=["hidden", "logits"])
@pytest.mark.parametrize("dense", [False, True], ids=["fused", "dense"])
@pytest.mark.parametrize(("options", "share"), SHARES.values(), ids=SHARES)
def test_uld_is_its_formula(
    options: dict[str, Any],
    share: float,
    dense: bool,
    across: PairTargets,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cross_objectives, "CHUNK_TOKENS", 2)  # three chunks, the last shorter
    assert isinstance(PLAIN.teacher, Tensor)
    teacher_PW = PLAIN.teacher

    def expect(logits_NV: Tensor, ce_N: Tensor) -> Tensor:
        student_PV = logits_NV[TARGET_P, :KNOWN]
        loss_P = universal_logit_distance(student_PV, teacher_PW, temperature=2.0)
        at_token_N = torch.zeros(N, dtype=ce_N.dtype).index_add(0, TARGET_P, loss_P)
        return share * ce_N + (1 - share) * at_token_N

    objective = SortedObjective(temperature=2.0, **options)
    check_against_formula(objective, across, dense=dense, expect=expect)


def make_row(answer: str) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": "Where did the cat sit?"}],
        "completion": [{"role": "assistant", "content": answer}],
    }


ANSWERS = ("On the mat by the door.", "What you have sown.", "It is four.")


@pytest.fixture(scope="module")
def aligned() -> list[AlignedRow]:
    student, teacher = make_byte_level(), make_word_piece()
    return [align_row(make_row(text), student, teacher, max_length=99) for text in ANSWERS]


@pytest.fixture(scope="module")
def teacher() -> LocalTeacher:
    torch.manual_seed(5)
    size = count_ids(make_word_piece())
    config = LlamaConfig(
        vocab_size=size + 3,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    return LocalTeacher(LlamaForCausalLM(config), size)


def ask(signal: CrossTeacher, rows: list[TokenRow]) -> Any:
    batch = collate(rows, pad_id=7)
    positions_BT = find_predicting_positions(batch["labels"])
    return signal.read(batch["input_ids"], batch["attention_mask"], positions_BT)


def read_alone(teacher: LocalTeacher, row: TokenRow) -> tuple[Tensor, Tensor]:
    """The teacher's logits at its own targets, and the targets."""
    batch = collate([row], pad_id=0)
    positions_BT = find_predicting_positions(batch["labels"])
    logits_MW = compute_logits(
        teacher.model, batch["input_ids"], batch["attention_mask"], positions_BT
    )
    return logits_MW[:, : teacher.vocabulary_size], torch.tensor(row.input_ids[row.prompt_length :])


@torch.no_grad()
def test_a_teacher_reads_chunks_of_its_own_tokens(
    teacher: LocalTeacher, aligned: list[AlignedRow]
) -> None:
    signal = CrossTeacher(teacher, aligned, "chunks")
    order = [2, 0, 1]
    chunks = ask(signal, [aligned[i].student for i in order])
    expected, n = [], 0
    for i in order:
        logits_MW, labels_M = read_alone(teacher, aligned[i].teacher)
        log_p_M = logits_MW.log_softmax(dim=-1).gather(1, labels_M[:, None])[:, 0]
        expected += [log_p_M[a:b].sum() for a, b in aligned[i].alignment.teacher_spans]
    torch.testing.assert_close(chunks.log_probs_C, torch.stack(expected), atol=1e-5, rtol=1e-5)
    spans = [span for i in order for span in aligned[i].alignment.student_spans]
    for c, (start, stop) in enumerate(spans):
        assert (chunks.chunk_N[n : n + stop - start] == c).all()
        n += stop - start
        assert chunks.last_C[c] == n - 1
    assert n == len(chunks.chunk_N)


@torch.no_grad()
def test_a_teacher_reads_pairs_of_equal_places(
    teacher: LocalTeacher, aligned: list[AlignedRow]
) -> None:
    pairs = ask(CrossTeacher(teacher, aligned, "pairs"), [aligned[i].student for i in (1, 0)])
    assert isinstance(pairs.teacher, HeadStates)
    logits_PW = pairs.teacher.hidden_ND @ pairs.teacher.weight_VD.T
    shared = [min(len(r.alignment.student_ids), len(r.alignment.teacher_ids)) for r in aligned]
    expected = [read_alone(teacher, aligned[i].teacher)[0][: shared[i]] for i in (1, 0)]
    torch.testing.assert_close(logits_PW, torch.cat(expected), atol=1e-5, rtol=1e-5)
    first = len(aligned[1].alignment.student_ids)
    assert pairs.target_P.tolist() == [*range(shared[1]), *range(first, first + shared[0])]


@pytest.mark.parametrize("form", ["chunks", "pairs"])
def test_a_row_that_was_not_aligned_is_refused(
    form: Form, teacher: LocalTeacher, aligned: list[AlignedRow]
) -> None:
    signal = CrossTeacher(teacher, aligned[:2], form)
    with pytest.raises(InputError) as caught:
        ask(signal, [aligned[0].student, aligned[2].student])
    assert str(caught.value) == (
        "a row of 36 tokens is not aligned with its teacher's reading.\n"
        "Train on the rows that were aligned (load_aligned_rows)."
    )


def test_rows_are_read_for_both_vocabularies_and_left_out_by_reason(tmp_path: Path) -> None:
    rows = [make_row(text) for text in (*ANSWERS, " ", "On the mat, " * 30)]
    rows = [{**row, "check": None if i else '{"task": "sit"}'} for i, row in enumerate(rows)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    make_word_piece().save_pretrained(tmp_path / "teacher")
    LlamaConfig().save_pretrained(tmp_path / "teacher")
    name = str(tmp_path / "teacher")
    found = load_aligned_rows(tmp_path / "train.parquet", make_byte_level(), name, max_length=99)
    assert found.data.rows == [row.student for row in found.aligned]
    assert len(found.data.rows) == 3
    assert found.data.skipped == {"empty_completion": 1, "longer_than_window": 1}
    assert found.data.checks == ['{"task": "sit"}', None, None]
    with pytest.raises(ConfigError) as caught:
        load_aligned_rows(tmp_path / "train.parquet", load_tokenizer(name), name, max_length=99)
    assert str(caught.value) == (
        "teacher and student share a vocabulary, in which distributions can be compared token by "
        "token.\n"
        "Choose objective forward, reverse, jsd or a skew divergence: they are exact there."
    )
    with pytest.raises(InputError) as caught:
        load_aligned_rows(tmp_path / "train.parquet", make_byte_level(), name, max_length=9)
    assert str(caught.value) == (
        f"{tmp_path}/train.parquet: no row to align (4 longer_than_window, 1 empty_completion); "
        "give rows with a prompt and an answer"
    )
