import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import TrainerCallback, TrainingArguments

from trainers.distiller import Distiller
from trainers.logits import compute_logits
from trainers.losses import cross_entropy, divergence
from trainers.objectives import TeacherDivergence
from trainers.rows import TokenRow, collate, encode_row
from trainers.settings import Student
from trainers.students import load_student
from trainers.teachers import LocalTeacher, load_teacher


@pytest.fixture
def encoded(rows: list[dict[str, Any]], tokenizer: Any) -> list[TokenRow]:
    return [encode_row(row, tokenizer, max_length=256) for row in rows]


class KeepGradients(TrainerCallback):
    """Copies the gradients of a window just before they are used."""

    def __init__(self) -> None:
        self.gradients: dict[str, Tensor] = {}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        named = given["model"].named_parameters()
        self.gradients = {name: p.grad.clone() for name, p in named if p.grad is not None}


def make_distiller(
    model: Any, encoded: list[TokenRow], folder: Path, *, teacher: Any = None, **options: Any
) -> Distiller:
    objective = options.pop("objective", None if teacher is None else TeacherDivergence("forward"))
    distilling = {k: options.pop(k) for k in ("prefixes", "layout") if k in options}
    arguments = {"per_device_train_batch_size": 8, "max_grad_norm": 0.0, "learning_rate": 1e-3}
    return Distiller(
        objective=objective,
        teacher=teacher,
        vocabulary_size=49152,
        **distilling,
        model=model,
        args=TrainingArguments(
            output_dir=str(folder),
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            save_strategy="no",
            logging_steps=1,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            **(arguments | options),
        ),
        train_dataset=encoded,
        data_collator=functools.partial(collate, pad_id=2),
    )


def test_sft_loss_equals_the_models_own(
    tiny_model: Any, encoded: list[TokenRow], tmp_path: Path
) -> None:
    batch = collate(encoded, pad_id=2)
    ours = make_distiller(tiny_model, encoded, tmp_path).compute_loss(tiny_model, dict(batch))
    plain = {key: batch[key] for key in ("input_ids", "attention_mask", "labels")}
    torch.testing.assert_close(ours, tiny_model(**plain).loss)


@pytest.mark.parametrize("objective", ["sft", "forward"])
def test_padding_does_not_change_loss_or_gradient(
    tiny_model: Any, encoded: list[TokenRow], tmp_path: Path, objective: str
) -> None:
    teacher = None if objective == "sft" else LocalTeacher(make_other(tiny_model), 49152)
    distiller = make_distiller(tiny_model, encoded, tmp_path, teacher=teacher)
    total = sum(len(row.input_ids) - row.prompt_length for row in encoded)

    def run(batches: list[list[TokenRow]]) -> tuple[float, Tensor]:
        tiny_model.zero_grad()
        value = 0.0
        for batch in batches:
            inputs = collate(batch, pad_id=2)
            loss = distiller.compute_loss(tiny_model, inputs, num_items_in_batch=total)
            loss.backward()
            value += loss.item()
        return value, tiny_model.model.layers[0].mlp.up_proj.weight.grad.clone()

    together, gradient = run([encoded])
    alone, gradient_alone = run([[row] for row in encoded])
    assert len({len(row.input_ids) for row in encoded}) > 3
    assert together == pytest.approx(alone, abs=1e-5)
    torch.testing.assert_close(gradient, gradient_alone, atol=1e-5, rtol=1e-5)


def make_other(model: Any) -> Any:
    """The same architecture, other weights."""
    torch.manual_seed(7)
    return type(model)(model.config)


def test_a_window_in_two_batches_has_the_gradients_of_one(
    tiny_model: Any, encoded: list[TokenRow], tmp_path: Path
) -> None:
    initial = {name: tensor.clone() for name, tensor in tiny_model.state_dict().items()}
    kept: list[dict[str, Tensor]] = []
    losses: list[float] = []
    for size, windows in ((8, 1), (4, 2)):
        tiny_model.load_state_dict(initial)
        distiller = make_distiller(
            tiny_model,
            encoded,
            tmp_path,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=windows,
            max_steps=1,
        )
        keeper = KeepGradients()
        distiller.add_callback(keeper)
        losses.append(distiller.train().training_loss)
        kept.append(keeper.gradients)
        total = sum(len(row.input_ids) - row.prompt_length for row in encoded)
        assert distiller.state.log_history[0]["tokens"] == total
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert len(kept[0]) > 10
    for name, gradient in kept[0].items():
        torch.testing.assert_close(gradient, kept[1][name], atol=1e-6, rtol=1e-4, msg=name)


def test_a_rows_weight_multiplies_its_tokens(
    tiny_model: Any, encoded: list[TokenRow], tmp_path: Path
) -> None:
    distiller = make_distiller(tiny_model, encoded, tmp_path)
    first, second = encoded[0]._replace(weight=0.5), encoded[1]._replace(weight=0.0)
    weighted = distiller.compute_loss(
        tiny_model, collate([first, second], pad_id=2), num_items_in_batch=10
    )
    alone = distiller.compute_loss(
        tiny_model, collate([encoded[0]], pad_id=2), num_items_in_batch=10
    )
    torch.testing.assert_close(weighted, alone / 2)


def test_forward_mixes_t_squared_kl_with_cross_entropy(
    tiny_model: Any, encoded: list[TokenRow], tmp_path: Path
) -> None:
    teacher = LocalTeacher(make_other(tiny_model), 49152)
    objective = TeacherDivergence("forward", ce_weight=0.25, temperature=2.0)
    distiller = make_distiller(tiny_model, encoded, tmp_path, teacher=teacher, objective=objective)
    batch = collate(encoded, pad_id=2)
    positions_BT = torch.roll(batch["labels"] != -100, -1, dims=1)
    inputs = (batch["input_ids"], batch["attention_mask"], positions_BT)
    student_NV = compute_logits(tiny_model, *inputs)
    kl_N = divergence(student_NV, teacher.compute_logits(*inputs), "forward", temperature=2.0)
    ce_N = cross_entropy(student_NV, batch["labels"][batch["labels"] != -100])
    expected = (0.25 * ce_N + 0.75 * 4.0 * kl_N).mean()
    torch.testing.assert_close(distiller.compute_loss(tiny_model, batch), expected)


def test_a_student_that_is_its_teacher_has_no_loss(
    tiny_model: Any, encoded: list[TokenRow], tmp_path: Path
) -> None:
    twin = make_other(tiny_model)
    twin.load_state_dict(tiny_model.state_dict())
    distiller = make_distiller(tiny_model, encoded, tmp_path, teacher=LocalTeacher(twin, 49152))
    loss = distiller.compute_loss(tiny_model, collate(encoded, pad_id=2))
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert max(p.grad.abs().max().item() for p in tiny_model.parameters()) < 1e-6


def test_a_wider_student_learns_from_a_teacher_of_the_same_tokenizer(
    tiny_model: Any, encoded: list[TokenRow], tmp_path: Path
) -> None:
    batch = collate(encoded, pad_id=2)
    teacher = LocalTeacher(make_other(tiny_model), 49152)
    narrow = make_distiller(tiny_model, encoded, tmp_path, teacher=teacher).compute_loss(
        tiny_model, dict(batch)
    )
    tiny_model.resize_token_embeddings(49152 + 128, mean_resizing=False)
    wide = make_distiller(tiny_model, encoded, tmp_path, teacher=teacher).compute_loss(
        tiny_model, dict(batch)
    )
    torch.testing.assert_close(wide, narrow)


def test_the_end_of_turn_is_learned_though_it_is_the_padding(
    tiny_model: Any, encoded: list[TokenRow], tokenizer: Any, tmp_path: Path
) -> None:
    encoded = encoded[:4]
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == 2

    def end_probability() -> float:
        with torch.no_grad():
            rows = [torch.tensor([row.input_ids[:-1]]) for row in encoded]
            ends = [tiny_model(input_ids=ids).logits[0, -1].softmax(-1)[2] for ids in rows]
        return torch.stack(ends).min().item()

    assert end_probability() < 1e-3
    distiller = make_distiller(
        tiny_model,
        encoded,
        tmp_path,
        max_steps=50,
        learning_rate=5e-3,
        lr_scheduler_type="constant",
    )
    distiller.train()
    assert end_probability() > 0.5


def test_following_the_teacher_lowers_the_kl(
    small_model_dir: Path, encoded: list[TokenRow], tmp_path: Path
) -> None:
    encoded = encoded[:4]
    student, tokenizer = load_student(Student(model=str(small_model_dir), layers=(0, 29)))
    teacher = load_teacher(str(small_model_dir), student, tokenizer, precision="float32")
    distiller = make_distiller(
        student, encoded, tmp_path, teacher=teacher, max_steps=5, per_device_train_batch_size=2
    )
    batch = collate(encoded, pad_id=2)
    before = distiller.compute_loss(student, dict(batch)).item()
    distiller.train()
    after = distiller.compute_loss(student, dict(batch)).item()
    assert after < 0.8 * before
