import math
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from generators.errors import ConfigError, InputError
from tests.trainers.two_tokenizers import make_byte_level, make_word_piece
from trainers.byte_alignment import Alignment
from trainers.cross_tokenizer import (
    CERTAIN,
    align_row,
    align_rows,
    chunk_divergence,
    index_chunks,
    pair_targets,
    sum_chunks,
    universal_logit_distance,
)
from trainers.logits import compute_logits, find_predicting_positions
from trainers.losses import cross_entropy
from trainers.rows import TokenRow, UnusableRow, collate, encode_row

ALIGNMENTS = [
    Alignment([1, 2, 3], [7, 8], [(0, 2), (2, 3)], [(0, 1), (1, 2)]),
    Alignment([4, 5], [9, 9, 9], [(0, 1), (1, 2)], [(0, 1), (1, 3)]),
]


@pytest.fixture(scope="module")
def byte_level() -> Any:
    return make_byte_level()


def log_probs(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).log()


def make_row(answer: str, **extra: Any) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": "Where did the cat sit?"}],
        "completion": [{"role": "assistant", "content": answer, **extra}],
        "weight": 0.5,
    }


def test_uld_by_hand_with_the_shorter_vocabulary_filled_up() -> None:
    student_PV = log_probs(0.2, 0.8).unsqueeze(0)
    teacher_PW = log_probs(0.1, 0.6, 0.3).unsqueeze(0)
    value = universal_logit_distance(student_PV, teacher_PW).item()
    assert value == pytest.approx(abs(0.8 - 0.6) + abs(0.2 - 0.3) + 0.1)
    assert universal_logit_distance(teacher_PW, student_PV).item() == pytest.approx(value)


def test_uld_sees_the_shape_of_a_distribution_only() -> None:
    logits_PV = torch.randn(5, 11, generator=torch.Generator().manual_seed(0))
    shuffled_PV = logits_PV[:, torch.randperm(11, generator=torch.Generator().manual_seed(1))]
    longer_PW = torch.cat([logits_PV, torch.full((5, 4), -math.inf)], dim=1)
    zero = torch.zeros(5)
    torch.testing.assert_close(universal_logit_distance(logits_PV, logits_PV), zero)
    torch.testing.assert_close(universal_logit_distance(logits_PV, shuffled_PV), zero)
    torch.testing.assert_close(universal_logit_distance(logits_PV, longer_PW), zero)
    sure_PV, unsure_PV = torch.tensor([[50.0, 0.0]]), torch.zeros(1, 1000)
    assert universal_logit_distance(sure_PV, unsure_PV).item() == pytest.approx(2, abs=0.01)


def test_uld_temperature_softens_both() -> None:
    student_PV, teacher_PV = torch.tensor([[2.0, 0.0]]), torch.tensor([[6.0, 0.0]])
    value = universal_logit_distance(student_PV, teacher_PV, temperature=2.0).item()
    assert value == pytest.approx(2 * (1 / (1 + math.exp(-3)) - 1 / (1 + math.exp(-1))))
    with pytest.raises(ConfigError) as caught:
        universal_logit_distance(student_PV, teacher_PV, temperature=0)
    assert str(caught.value) == "temperature 0: must be above 0 and finite"


def test_uld_gradient_goes_into_the_student_only() -> None:
    student_PV = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    teacher_PW = torch.randn(3, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda logits: universal_logit_distance(logits, teacher_PW.detach()), (student_PV,)
    )
    universal_logit_distance(student_PV, teacher_PW).sum().backward()
    assert student_PV.grad is not None
    assert teacher_PW.grad is None


@pytest.mark.parametrize("temperature", [1.0, 10.0, 100.0])
def test_chunks_of_one_likelihood_cost_nothing_and_no_chunk_less(temperature: float) -> None:
    grid = torch.tensor([-80.0, -20.0, -3.0, -1.0, -0.1, -1e-4, 0.0])
    student_C, teacher_C = torch.cartesian_prod(grid, grid).unbind(dim=1)
    for dtype, slack in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        value_C = chunk_divergence(
            student_C.to(dtype), teacher_C.to(dtype), temperature=temperature
        )
        assert value_C.dtype == dtype
        assert value_C.isfinite().all()
        assert (value_C >= -slack).all()
        assert (value_C[student_C == teacher_C] == 0).all()
    apart_C = (student_C - teacher_C).abs() >= 0.05
    double_C = chunk_divergence(student_C.double(), teacher_C.double(), temperature=temperature)
    likely_C = torch.maximum(student_C, teacher_C) > -20
    assert (double_C[apart_C & likely_C] > 1e-5).all()


def test_at_temperature_one_it_is_the_kl_of_two_coins() -> None:
    value = chunk_divergence(log_probs(0.5), log_probs(0.2), temperature=1.0).item()
    assert value == pytest.approx(0.2 * math.log(0.2 / 0.5) + 0.8 * math.log(0.8 / 0.5))


def test_at_a_large_temperature_it_compares_surprisals() -> None:
    a, b = 7.0, 3.0
    student_C = torch.tensor([-b], dtype=torch.float64)
    teacher_C = torch.tensor([-a], dtype=torch.float64)
    limit = a * math.log(a / b) - a + b
    values = [
        chunk_divergence(student_C, teacher_C, temperature=temperature).item()
        for temperature in (10.0, 100.0, 10_000.0)
    ]
    errors = [abs(value - limit) for value in values]
    assert errors == sorted(errors, reverse=True)
    assert values[-1] == pytest.approx(limit, rel=1e-3)


def test_an_unlikely_chunk_teaches_at_a_large_temperature_only() -> None:
    gradients = []
    for temperature in (1.0, 100.0):
        student_C = torch.tensor([-30.0], dtype=torch.float64, requires_grad=True)
        teacher_C = torch.tensor([-15.0], dtype=torch.float64)
        chunk_divergence(student_C, teacher_C, temperature=temperature).sum().backward()
        assert student_C.grad is not None
        gradients.append(student_C.grad.item())
    assert abs(gradients[0]) < 1e-6
    assert gradients[1] == pytest.approx(-0.5, abs=0.1)  # a/b - 1 in the limit


def test_chunk_gradient_is_right_and_goes_into_the_student_only() -> None:
    student_C = log_probs(0.5, 0.01, 0.9).requires_grad_()
    teacher_C = log_probs(0.2, 0.3, 0.95).requires_grad_()
    for temperature in (1.0, 100.0):
        assert torch.autograd.gradcheck(
            lambda given, t=temperature: chunk_divergence(given, teacher_C, temperature=t),
            (student_C,),
        )
    chunk_divergence(student_C, teacher_C, temperature=1.0).sum().backward()
    q, p = student_C.detach().exp(), teacher_C.detach().exp()
    torch.testing.assert_close(student_C.grad, (q - p) / (1 - q))
    assert teacher_C.grad is None


def test_certainty_has_a_floor() -> None:
    certain_C, near_C = torch.tensor([0.0]), torch.tensor([-CERTAIN / 2])
    assert chunk_divergence(certain_C, near_C).item() == 0
    assert chunk_divergence(certain_C, torch.tensor([-1.0])).isfinite().item()


def test_chunks_are_numbered_through_the_batch_and_summed() -> None:
    index = index_chunks(ALIGNMENTS)
    assert index.student_N.tolist() == [0, 0, 1, 2, 3]
    assert index.teacher_M.tolist() == [0, 1, 2, 3, 3]
    assert index.row_C.tolist() == [0, 0, 1, 1]
    token_N = log_probs(0.5, 0.5, 0.3, 0.2, 0.1).requires_grad_()
    chunk_C = sum_chunks(token_N, index.student_N, len(index.row_C))
    torch.testing.assert_close(chunk_C, log_probs(0.25, 0.3, 0.2, 0.1))
    chunk_C[0].backward()
    assert token_N.grad is not None
    assert token_N.grad.tolist() == [1, 1, 0, 0, 0]


def test_tokens_that_are_cut_otherwise_but_as_likely_cost_nothing() -> None:
    index = index_chunks(ALIGNMENTS)
    student_C = sum_chunks(log_probs(0.5, 0.4, 0.3, 0.6, 0.1), index.student_N, 4)
    teacher_C = sum_chunks(log_probs(0.2, 0.3, 0.6, 0.2, 0.5), index.teacher_M, 4)
    torch.testing.assert_close(
        chunk_divergence(student_C, teacher_C), torch.zeros(4, dtype=torch.float64)
    )


def test_with_one_tokenizer_chunks_are_tokens(byte_level: Any) -> None:
    row = align_row(make_row("On the mat, naïve 😀."), byte_level, byte_level, max_length=200)
    index = index_chunks([row.alignment])
    count = len(row.alignment.student_ids)
    assert index.student_N.tolist() == index.teacher_M.tolist() == list(range(count))
    token_N = -torch.rand(count, generator=torch.Generator().manual_seed(0))
    assert torch.equal(sum_chunks(token_N, index.student_N, count), token_N)
    pairs = pair_targets([row.alignment])
    assert pairs.student_P.tolist() == pairs.teacher_P.tolist() == list(range(count))


def test_targets_are_paired_by_count() -> None:
    pairs = pair_targets(ALIGNMENTS)
    assert pairs.student_P.tolist() == [0, 1, 3, 4]
    assert pairs.teacher_P.tolist() == [0, 1, 2, 3]
    assert pairs.row_P.tolist() == [0, 0, 1, 1]


def test_a_row_is_written_out_for_both_models(tokenizer: Any, byte_level: Any) -> None:
    row = make_row("On the mat.")
    aligned = align_row(row, tokenizer, byte_level, max_length=200)
    assert aligned.student == encode_row(row, tokenizer, max_length=200)
    teacher = aligned.teacher
    prompt = teacher.input_ids[: teacher.prompt_length]
    assert byte_level.decode(prompt) == "<user>Where did the cat sit?</s><assistant>"
    assert teacher.input_ids[teacher.prompt_length :] == aligned.alignment.teacher_ids
    assert byte_level.decode(aligned.alignment.teacher_ids) == "On the mat.</s>"
    assert (aligned.student.weight, teacher.weight) == (0.5, 0.5)


def test_rows_that_cannot_be_aligned_are_counted(tokenizer: Any, byte_level: Any) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "sit", "arguments": "{}"}}
    rows = [
        make_row("On the mat."),
        make_row("On the mat, " * 40),
        make_row("I look.", tool_calls=[call]),
        make_row("On it.", reasoning_content="Cats like mats."),
        make_row(" "),
    ]
    aligned = align_rows(rows, tokenizer, byte_level, max_length=120)
    assert len(aligned.rows) == 1
    assert aligned.skipped == {
        "longer_than_window": 1,
        "completion_is_not_plain_text": 2,
        "empty_completion": 1,
    }
    with pytest.raises(InputError) as caught:
        align_rows(rows[4:], tokenizer, byte_level, max_length=120)
    assert str(caught.value) == (
        "no row to align (1 empty_completion); give rows with a prompt and an answer"
    )


def test_the_window_holds_on_each_side(tokenizer: Any, byte_level: Any) -> None:
    row = make_row("On the mat.")
    aligned = align_row(row, tokenizer, byte_level, max_length=200)
    longest = max(len(aligned.student.input_ids), len(aligned.teacher.input_ids))
    assert align_row(row, tokenizer, byte_level, max_length=longest) == aligned
    with pytest.raises(UnusableRow) as caught:
        align_row(row, tokenizer, byte_level, max_length=longest - 1)
    assert str(caught.value) == "longer_than_window"


def test_a_model_without_a_chat_template_is_refused(byte_level: Any) -> None:
    bare = make_word_piece()
    bare.chat_template = None
    with pytest.raises(ConfigError) as caught:
        align_rows([make_row("On the mat.")], byte_level, bare, max_length=50)
    assert str(caught.value) == (
        "the teacher's tokenizer has no chat template, so prompts cannot be written out.\n"
        "Choose an instruction-tuned model, or save a template with its tokenizer."
    )


def make_model(vocabulary_size: int, seed: int) -> Any:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    return LlamaForCausalLM(config)


def read_targets(model: Any, rows: list[TokenRow]) -> tuple[Tensor, Tensor]:
    """Logits and log-probabilities of the rows' targets."""
    batch = collate(rows, pad_id=0)
    positions_BT = find_predicting_positions(batch["labels"])
    logits_NV = compute_logits(model, batch["input_ids"], batch["attention_mask"], positions_BT)
    labels_N = batch["labels"][:, 1:][positions_BT[:, :-1]]
    return logits_NV, -cross_entropy(logits_NV, labels_N)


def test_a_student_of_another_vocabulary_follows_its_teacher(byte_level: Any) -> None:
    word_piece = make_word_piece()
    answers = ("On the mat by the door.", "What you have sown.")
    data = align_rows(map(make_row, answers), byte_level, word_piece, max_length=99)
    rows = data.rows
    student, teacher = make_model(300, 0), make_model(90, 1)
    index = index_chunks([row.alignment for row in rows])
    pairs = pair_targets([row.alignment for row in rows])
    count = len(index.row_C)
    with torch.no_grad():
        teacher_MW, teacher_M = read_targets(teacher, [row.teacher for row in rows])
        teacher_C = sum_chunks(teacher_M, index.teacher_M, count)
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-2)
    losses = []
    for _ in range(25):
        student_NV, student_N = read_targets(student, [row.student for row in rows])
        chunk_C = chunk_divergence(sum_chunks(student_N, index.student_N, count), teacher_C)
        uld_P = universal_logit_distance(student_NV[pairs.student_P], teacher_MW[pairs.teacher_P])
        optimizer.zero_grad()
        (chunk_C.mean() + 0.1 * uld_P.mean()).backward()
        optimizer.step()
        losses.append(chunk_C.mean().item())
    assert count < len(index.student_N)  # some chunks are of several tokens
    assert losses[-1] < 0.1 * losses[0]
    assert all(parameter.grad is None for parameter in teacher.parameters())
