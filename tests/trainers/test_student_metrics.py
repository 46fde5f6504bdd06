import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from generators.errors import ConfigError
from tests.tiny_model import make_tiny_model
from trainers.logits import compute_logits
from trainers.losses import Divergence, divergence
from trainers.rows import TokenRow
from trainers.student_metrics import (
    SampleScore,
    compute_distinct,
    compute_ece,
    compute_repetition,
    measure_samples,
    measure_student,
)

ROWS = [
    TokenRow([504, 3575, 282, 4649, 314], 2),
    TokenRow([11, 12, 13], 1),
    TokenRow([700, 800, 900, 1000, 1100, 1200, 1300], 3),
]


class TableModel(nn.Module):
    """A model whose logits depend on the last token alone: a row of a table for each."""

    device = torch.device("cpu")

    def __init__(self, table_VV: Tensor) -> None:
        super().__init__()
        self.head = nn.Linear(table_VV.shape[0], table_VV.shape[1], bias=False)
        self.head.weight = nn.Parameter(table_VV.T.clone())

    def get_output_embeddings(self) -> nn.Linear:
        return self.head

    def forward(self, input_ids: Tensor, **_: Any) -> Any:
        one_hot = nn.functional.one_hot(input_ids, self.head.in_features).float()
        return SimpleNamespace(logits=self.head(one_hot))


def make_table(*rows: list[float]) -> TableModel:
    """Probabilities of the next token, by the last."""
    return TableModel(torch.tensor(rows).log())


@pytest.fixture
def student() -> TableModel:
    return make_table([0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.25, 0.5, 0.25])


@pytest.fixture
def teacher() -> TableModel:
    return make_table([0.5, 0.3, 0.2], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1])


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def test_a_student_beside_its_teacher_by_hand(student: TableModel, teacher: TableModel) -> None:
    # the targets are 0 after 0, 2 after 1, 0 after 2; the first token of each row is its prompt
    rows = [TokenRow([0, 0], 1), TokenRow([1, 2, 0], 1, weight=9.0)]
    score = measure_student(student, teacher, rows, vocabulary_size=3, bins=10)
    q = [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.25, 0.5, 0.25]]
    p = [[0.5, 0.3, 0.2], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1]]
    assert score.tokens == 3
    assert score.nll == pytest.approx(-(math.log(0.7) + math.log(0.6) + math.log(0.25)) / 3)
    assert score.forward_kl == pytest.approx(sum(map(kl, p, q)) / 3, rel=1e-5)
    assert score.reverse_kl == pytest.approx(sum(map(kl, q, p)) / 3, rel=1e-5)
    assert score.agreement == pytest.approx(2 / 3)
    # right at 0.7 and 0.6, wrong at 0.5: each in a bin of its own
    assert score.ece == pytest.approx((0.3 + 0.4 + 0.5) / 3, rel=1e-5)


def test_a_student_equal_to_its_teacher(student: TableModel) -> None:
    score = measure_student(student, student, [TokenRow([0, 1, 2], 1)], vocabulary_size=3)
    assert (score.forward_kl, score.reverse_kl, score.agreement) == (0, 0, 1)


def test_ids_that_the_tokenizer_does_not_know_count_nothing(teacher: TableModel) -> None:
    padded = make_table([0.35, 0.1, 0.05, 0.5], [0.05, 0.15, 0.3, 0.5], [0.1, 0.2, 0.1, 0.6])
    plain = make_table([0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.25, 0.5, 0.25])
    rows = [TokenRow([0, 1, 2, 1], 1)]
    scores = [
        measure_student(model, teacher, rows, vocabulary_size=3).model_dump()
        for model in (padded, plain)
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)


def test_batches_and_slices_do_not_matter(tiny_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = make_tiny_model(seed=1)
    whole = measure_student(tiny_model, teacher, ROWS, vocabulary_size=49152)
    monkeypatch.setattr("trainers.student_metrics.BATCH_TARGETS", 1)
    monkeypatch.setattr("trainers.student_metrics.SLICE", 2)
    parts = measure_student(tiny_model, teacher, ROWS, vocabulary_size=49152)
    assert whole.tokens == 9
    assert parts.model_dump() == pytest.approx(whole.model_dump(), rel=1e-4)
    single = [measure_student(tiny_model, teacher, [row], vocabulary_size=49152) for row in ROWS]
    mean = sum(score.forward_kl * score.tokens for score in single) / 9
    assert whole.forward_kl == pytest.approx(mean, rel=1e-4)


def test_the_divergences_are_those_that_are_trained(tiny_model: Any) -> None:
    teacher = make_tiny_model(seed=1)
    row = ROWS[0]
    ids_BT = torch.tensor([row.input_ids])
    mask_BT = torch.ones_like(ids_BT)
    positions_BT = torch.tensor([[False, True, True, True, False]])
    with torch.no_grad():
        student_NV, teacher_NV = (
            compute_logits(model, ids_BT, mask_BT, positions_BT) for model in (tiny_model, teacher)
        )
    score = measure_student(tiny_model, teacher, [row], vocabulary_size=49152)
    expected: dict[Divergence, float] = {
        "forward": score.forward_kl,
        "reverse": score.reverse_kl,
    }
    for kind, value in expected.items():
        assert value == pytest.approx(
            divergence(student_NV, teacher_NV, kind).mean().item(), rel=1e-4
        )


def test_models_are_measured_without_dropout_and_left_as_they_were(
    student: TableModel, teacher: TableModel
) -> None:
    seen: list[bool] = []
    student.head.register_forward_hook(lambda head, *_: seen.append(head.training))
    student.train()
    teacher.eval()
    measure_student(student, teacher, [TokenRow([0, 1], 1)], vocabulary_size=3)
    assert seen == [False]
    assert (student.training, teacher.training) == (True, False)
    assert all(parameter.grad is None for parameter in student.parameters())


def test_rows_without_targets_are_refused(student: TableModel) -> None:
    with pytest.raises(ConfigError) as caught:
        measure_student(student, student, [TokenRow([0, 1], 2)], vocabulary_size=3)
    assert str(caught.value) == (
        "no rows to measure the student on: give at least one with a completion"
    )


def test_calibration_by_hand() -> None:
    confidence_N = torch.tensor([0.95, 0.91, 0.55, 0.52, 0.58, 0.1])
    correct_N = torch.tensor([True, False, True, False, False, True])
    expected = abs(1 - 1.86) + abs(1 - 1.65) + abs(1 - 0.1)  # bins of 10: sums, not means
    assert compute_ece(confidence_N, correct_N, bins=10) == pytest.approx(expected / 6, rel=1e-5)
    assert compute_ece(confidence_N, correct_N, bins=1) == pytest.approx(
        abs(3 - 3.61) / 6, rel=1e-4
    )


def test_the_perfectly_calibrated_and_the_blindly_sure() -> None:
    tenth = torch.arange(10) < 8
    assert compute_ece(torch.full((10,), 0.8), tenth) == pytest.approx(0, abs=1e-7)
    assert compute_ece(torch.ones(10), tenth) == pytest.approx(0.2)
    assert compute_ece(torch.zeros(10), tenth) == pytest.approx(0.8)


def test_a_bin_takes_in_its_upper_end() -> None:
    confidence_N = torch.tensor([0.5, 0.25], dtype=torch.float64)
    correct_N = torch.tensor([True, False])
    assert compute_ece(confidence_N, correct_N, bins=2) == pytest.approx(0.25 / 2)
    assert compute_ece(confidence_N, correct_N, bins=4) == pytest.approx((0.5 + 0.25) / 2)


def test_distinct_and_repeated_grams_by_hand() -> None:
    texts = [[1, 2, 1, 2, 1, 2], [1, 2, 3]]
    assert compute_distinct(texts, 1) == 3 / 9
    assert compute_distinct(texts, 2) == 3 / 7
    assert compute_distinct(texts, 3) == 3 / 5
    assert compute_repetition(texts) == pytest.approx(1 - 2 / 3)  # the second has no 4-gram
    assert compute_repetition([[5] * 8, [1, 2, 3, 4]]) == pytest.approx((4 / 5 + 0) / 2)
    assert compute_distinct([[1], []], 2) == 0
    assert compute_repetition([[1, 2, 3]]) == 0


def measure(teacher: TableModel, *texts: list[int], end: bool = True) -> SampleScore:
    rows = [TokenRow([0, *text, *([2] if end else [])], 1) for text in texts]
    return measure_samples(rows, [end] * len(rows), teacher, vocabulary_size=3)


def test_samples_by_hand(teacher: TableModel) -> None:
    rows = [TokenRow([0, 0, 1, 2], 1), TokenRow([1, 0], 1), TokenRow([2], 1)]
    score = measure_samples(rows, [True, False, False], teacher, vocabulary_size=3)
    nll = -sum(map(math.log, (0.5, 0.3, 0.1, 0.2))) / 4
    assert score.samples == 3
    assert score.teacher_nll == pytest.approx(nll, rel=1e-5)
    assert score.mean_length == pytest.approx(4 / 3)
    assert score.distinct == {1: 2 / 3, 2: 1.0, 3: 0.0}  # of 0 1, 0 and nothing
    assert score.repetition == 0
    assert score.eos_rate == pytest.approx(1 / 3)


def test_a_parrot_pleases_the_teacher_and_is_found_out(teacher: TableModel) -> None:
    parrot = measure(teacher, [1] * 20, end=False)
    writer = measure(teacher, [0, 0, 1, 2, 1, 1])
    assert parrot.teacher_nll is not None
    assert writer.teacher_nll is not None
    assert parrot.teacher_nll < writer.teacher_nll
    assert parrot.repetition > 0.9 > writer.repetition
    assert parrot.distinct[2] < writer.distinct[2]
    assert (parrot.eos_rate, writer.eos_rate) == (0, 1)
    assert (parrot.mean_length, writer.mean_length) == (20, 7)


def test_samples_of_nothing(teacher: TableModel) -> None:
    score = measure_samples([TokenRow([0, 1], 2)], [False], teacher, vocabulary_size=3)
    assert score.teacher_nll is None
    assert (score.mean_length, score.eos_rate) == (0, 0)
    assert SampleScore.model_validate_json(score.model_dump_json()) == score


@pytest.mark.parametrize(
    ("rows", "ended"), [([], []), ([TokenRow([0, 1], 1)], [])], ids=["none", "unequal"]
)
def test_samples_that_cannot_be_measured_are_refused(
    teacher: TableModel, rows: list[TokenRow], ended: list[bool]
) -> None:
    with pytest.raises(ConfigError) as caught:
        measure_samples(rows, ended, teacher, vocabulary_size=3)
    assert str(caught.value) == (
        f"{len(rows)} samples and 0 words on whether they ended: give one for each, and at least"
        " one sample"
    )
