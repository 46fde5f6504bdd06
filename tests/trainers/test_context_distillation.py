"""A student that learns to say unasked what it says when it is shown how (SPEC S12).

The language has questions, and for each an answer in either of two alphabets. Within a text all
answers are of one alphabet, so the examples before a question tell which is wanted; without any,
both are as likely.
"""

import copy
import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback, TrainingArguments

from trainers.context_teacher import ContextTeacher
from trainers.distiller import Distiller
from trainers.objectives import TeacherDivergence
from trainers.rows import TokenRow, collate
from trainers.signal_settings import Refresh
from trainers.train import _PartsKeeper

QUESTIONS = 6
SECOND = 2 * QUESTIONS
"""Answers of the first alphabet begin behind the questions, those of the second here."""
VOCABULARY = 3 * QUESTIONS
SHOWN = (0, SECOND, 1, SECOND + 1)
"""Two questions with answers of the second alphabet."""
ROWS = [TokenRow([question, QUESTIONS + question], 1) for question in range(QUESTIONS)]
CONTEXTS = {(question,): (*SHOWN, question) for question in range(QUESTIONS)}


@pytest.fixture(scope="module")
def speaker() -> LlamaForCausalLM:
    """Who has learned the language."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(120):
        asked_BQ = torch.randint(QUESTIONS, (64, 3))
        alphabet_B1 = torch.randint(1, 3, (64, 1))
        texts_BT = torch.stack([asked_BQ, asked_BQ + QUESTIONS * alphabet_B1], dim=2).flatten(1)
        labels_BT = texts_BT.masked_fill(torch.arange(6) % 2 == 0, -100)
        model(input_ids=texts_BT, labels=labels_BT).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def make_distiller(
    student: Any, teacher: ContextTeacher, objective: TeacherDivergence, folder: Path, steps: int
) -> Distiller:
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=len(ROWS),
        learning_rate=1e-3,
        max_steps=steps,
        lr_scheduler_type="constant",
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    distiller = Distiller(
        objective=objective,
        teacher=teacher,
        vocabulary_size=VOCABULARY,
        model=student,
        args=arguments,
        train_dataset=ROWS,
        data_collator=functools.partial(collate, pad_id=0),
    )
    distiller.add_callback(_PartsKeeper(distiller))
    return distiller


@torch.no_grad()
def score(model: Any, shown: tuple[int, ...] = ()) -> float:
    """The mean chance of the second alphabet's answers."""
    texts_BT = torch.tensor([[*shown, question] for question in range(QUESTIONS)])
    chances_BV = model(input_ids=texts_BT).logits[:, -1].softmax(dim=-1)
    return float(chances_BV[range(QUESTIONS), range(SECOND, VOCABULARY)].mean())


@pytest.mark.parametrize(
    "refresh", [Refresh(mode="fixed"), Refresh(every=10)], ids=["fixed", "copy"]
)
def test_the_zero_shot_score_moves_to_the_few_shot_score(
    refresh: Refresh, speaker: LlamaForCausalLM, tmp_path: Path
) -> None:
    student = copy.deepcopy(speaker)
    few_shot, zero_shot = score(speaker, SHOWN), score(speaker)
    assert few_shot > 0.95
    assert 0.3 < zero_shot < 0.7
    teacher = ContextTeacher(student, VOCABULARY, CONTEXTS, refresh)
    make_distiller(student, teacher, TeacherDivergence("reverse"), tmp_path, steps=20).train()
    assert few_shot - score(student) < 0.2 * (few_shot - zero_shot)


class KeepDistances(TrainerCallback):
    """How far the teacher's weights are from the student's after each step."""

    def __init__(self, teacher: ContextTeacher) -> None:
        self.teacher, self.found = teacher, list[float]()

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        own, followed = self.teacher._teacher.model.lm_head, given["model"].lm_head
        self.found.append((followed.weight - own.weight).abs().max().item())


def test_a_training_refreshes_its_teacher_every_so_many_steps(
    speaker: LlamaForCausalLM, tmp_path: Path
) -> None:
    student = copy.deepcopy(speaker)
    no_examples = {prompt: prompt for prompt in CONTEXTS}
    teacher = ContextTeacher(student, VOCABULARY, no_examples, Refresh(every=3))
    objective = TeacherDivergence("reverse", ce_weight=0.5)  # which alone moves it at first
    distiller = make_distiller(student, teacher, objective, tmp_path, steps=7)
    keeper = KeepDistances(teacher)
    distiller.add_callback(keeper)
    distiller.train()
    assert [distance == 0 for distance in keeper.found] == [
        *(False, False, True, False, False, True, False)
    ]
