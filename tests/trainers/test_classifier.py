"""Classifiers taught end to end: objectives, windows, resumption, teachers of other tokenizers."""

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

from generators.embedded import load_classifier
from generators.errors import ConfigError, InputError, ModelError, RunError
from tests.trainers.label_data import list_rows, make_row, write_rows
from trainers.classifier import ClassTrainer, encode_training_rows, train_classifier
from trainers.classifier_model import (
    list_labels,
    load_class_student,
    load_trained_classifier,
    predict_logits,
)
from trainers.classifier_rows import ClassRow, collate_classes, encode_rows
from trainers.classifier_settings import ClassifierResult, ClassifierSettings
from trainers.label_rows import read_label_rows
from trainers.metrics import read_metrics
from trainers.settings import Student
from trainers.training_folder import make_arguments

SETTINGS = ClassifierSettings(
    learning_rate=3e-3,
    batch_size=4,
    accumulation=2,
    max_steps=12,
    max_length=64,
    save_steps=5,
    precision="float32",
    seed=3,
)
LABELS = ("joy", "sadness")


class Finished:
    """A training and what it told."""

    def __init__(self, folder: Path, dataset: Path, student: Path, **changes: Any) -> None:
        self.lines: list[dict[str, Any]] = []
        self.metrics = folder / "metrics.jsonl"
        self.result: ClassifierResult = train_classifier(
            SETTINGS.model_copy(update=changes),
            dataset,
            Student(model=str(student)),
            folder / "out",
            on_log=self.lines.append,
            metrics=self.metrics,
        )


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [*list_rows(), make_row("The band packs up.", 5, reason="tie")]
    return write_rows(tmp_path_factory.mktemp("labelled") / "train.parquet", rows)


@pytest.fixture(scope="module")
def soft(
    labelled: Path, tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    return Finished(tmp_path_factory.mktemp("soft"), labelled, tiny_model_dir)


def predict(folder: Path, dataset: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """A trained classifier's q, and the annotators' p̂ [N, C]."""
    model, tokenizer = load_trained_classifier(str(folder))
    read = read_label_rows([dataset])
    rows = encode_rows(read, tokenizer, list_labels(model), max_length=64, wants_label=False).rows
    q_NC = predict_logits(model, tokenizer, rows).softmax(dim=-1)
    return q_NC, torch.tensor([row.probs for row in rows])


def test_soft_labels_are_learned_with_their_doubts(soft: Finished, labelled: Path) -> None:
    assert [line["step"] for line in soft.lines] == list(range(1, 13))
    assert read_metrics(soft.metrics) == soft.lines
    assert {line["rows"] for line in soft.lines} == {8, 1}  # 25 rows: windows of 8, 8, 8 and 1
    assert soft.result.rows == 25  # the tie's distribution is one like any other
    assert soft.result.skipped == {}
    assert soft.result.train_loss == pytest.approx(sum(m["loss"] for m in soft.lines) / 12)
    assert soft.lines[-2]["loss"] < 0.5 * soft.lines[0]["loss"]
    q_NC, p_NC = predict(soft.result.output, labelled)
    assert ((q_NC > 0.5) == (p_NC > 0.5)).float().mean() > 0.9
    assert q_NC.max() < 0.97  # no more sure than the annotators, who never all agreed


def test_hard_labels_leave_ties_out_and_count_them(
    labelled: Path, tiny_model_dir: Path, tmp_path: Path, soft: Finished
) -> None:
    hard = Finished(tmp_path, labelled, tiny_model_dir, objective="hard")
    assert (hard.result.rows, hard.result.skipped) == (24, {"tie": 1})
    sure, doubting = (
        predict(hard.result.output, labelled)[0],
        predict(soft.result.output, labelled)[0],
    )
    assert sure.max(dim=-1).values.mean() > doubting.max(dim=-1).values.mean()


def test_the_finished_classifier_knows_its_labels(soft: Finished) -> None:
    folder = soft.result.output
    assert sorted(path.name for path in folder.parent.iterdir()) == ["model", "training.json"]
    model, tokenizer = load_trained_classifier(str(folder))
    assert list_labels(model) == soft.result.labels == LABELS
    assert model.config.pad_token_id == tokenizer.pad_token_id
    assert {t.dtype for t in load_file(folder / "model.safetensors").values()} == {torch.float32}


def test_transformers_own_pipeline_gives_the_same_probabilities(
    soft: Finished, labelled: Path
) -> None:
    from transformers import pipeline

    own_NC, _ = predict(soft.result.output, labelled)
    classify: Any = pipeline("text-classification", model=str(soft.result.output), top_k=None)
    text = read_label_rows([labelled]).rows[0].text
    (scores,) = classify([f"Text: {text}\nLabel:"])
    told = {one["label"]: one["score"] for one in scores}
    assert told == pytest.approx(dict(zip(LABELS, own_NC[0].tolist(), strict=True)), abs=1e-5)


def make_trainer(model: Any, rows: list[ClassRow], folder: Path, **changes: Any) -> ClassTrainer:
    settings = SETTINGS.model_copy(update=changes)
    return ClassTrainer(
        settings=settings,
        model=model,
        args=make_arguments(settings, folder),
        train_dataset=rows,
        data_collator=functools.partial(collate_classes, pad_id=2),
    )


@pytest.mark.parametrize("objective", ["soft", "hard"])
def test_a_window_cut_into_other_batches_gives_the_same_gradients(
    objective: str, labelled: Path, tiny_model_dir: Path, tokenizer: Any, tmp_path: Path
) -> None:
    """Unequal batches too: 5 rows in one batch, or in batches of 2, 2 and 1."""
    read = read_label_rows([labelled])
    rows = encode_rows(read, tokenizer, LABELS, max_length=64, wants_label=True).rows[:5]
    rows = [row._replace(weight=0.5 + i) for i, row in enumerate(rows)]
    gradients = []
    for size in (5, 2):
        model, _ = load_class_student(Student(model=str(tiny_model_dir)), LABELS)
        trainer = make_trainer(model, rows, tmp_path, objective=objective)
        batches = [collate_classes(rows[i : i + size], pad_id=2) for i in range(0, len(rows), size)]
        count, device = sum(batch["labels"].numel() for batch in batches), trainer.args.device
        assert trainer._get_num_items_in_batch(batches, device) == count
        model.train()
        losses = [
            trainer.compute_loss(model, batch, num_items_in_batch=torch.tensor(count))
            for batch in batches
        ]
        torch.stack(losses).sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_hinton_is_its_formula_row_by_row(
    labelled: Path, tiny_model_dir: Path, tokenizer: Any, tmp_path: Path
) -> None:
    """Share, temperature and the rows' weights, in a window of two batches."""
    alpha, heat = 0.3, 3.0
    read = read_label_rows([labelled])
    rows = encode_rows(read, tokenizer, LABELS, max_length=64, wants_label=True).rows[:3]
    said = [[1.5, -0.5], [-2.0, 1.0], [0.3, 0.1]]
    rows = [
        row._replace(weight=0.5 + i, teacher_logits=logits)
        for i, (row, logits) in enumerate(zip(rows, said, strict=True))
    ]
    model, _ = load_class_student(Student(model=str(tiny_model_dir)), LABELS)
    torch.nn.init.normal_(model.score.weight, std=0.5, generator=torch.Generator().manual_seed(0))
    hinton = {"objective": "hinton", "teacher": "t", "alpha": alpha, "temperature": heat}
    trainer = make_trainer(model, rows, tmp_path, **hinton)
    found = sum(
        trainer.compute_loss(
            model, collate_classes(part, pad_id=2), num_items_in_batch=torch.tensor(3 * len(LABELS))
        ).item()
        for part in (rows[:2], rows[2:])
    )
    expected = 0.0
    for row, logits in zip(rows, said, strict=True):
        q_C = model(input_ids=torch.tensor([row.input_ids])).logits[0].double()
        p_C = (torch.tensor(logits).double() / heat).softmax(dim=-1)
        kl = (p_C * (p_C.log() - (q_C / heat).log_softmax(dim=-1))).sum()
        majority = -q_C.log_softmax(dim=-1)[row.label]
        expected += row.weight * (alpha * heat**2 * kl + (1 - alpha) * majority).item() / 3
    assert found == pytest.approx(expected, rel=1e-5)


def test_padding_changes_no_prediction(soft: Finished, labelled: Path) -> None:
    """Also where the padding's own token stands in a text."""
    model, tokenizer = load_trained_classifier(str(soft.result.output))
    read = read_label_rows([labelled])
    rows = encode_rows(read, tokenizer, LABELS, max_length=64, wants_label=False).rows
    first = rows[0].input_ids
    odd = rows[0]._replace(input_ids=[*first[:3], tokenizer.pad_token_id, *first[3:]])
    together = predict_logits(model, tokenizer, [*rows, odd])
    alone = torch.cat([predict_logits(model, tokenizer, [row]) for row in [*rows, odd]])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_a_training_goes_on_as_if_it_had_not_been_interrupted(
    labelled: Path, tiny_model_dir: Path, tmp_path: Path, soft: Finished
) -> None:
    def stop(line: dict[str, Any]) -> None:
        if line["step"] == 7:
            raise KeyboardInterrupt

    metrics, student = tmp_path / "metrics.jsonl", Student(model=str(tiny_model_dir))
    train = functools.partial(
        train_classifier, SETTINGS, labelled, student, tmp_path / "out", metrics=metrics
    )
    with pytest.raises(KeyboardInterrupt):
        train(on_log=stop)
    lines: list[dict[str, Any]] = []
    result = train(on_log=lines.append)
    assert lines == soft.lines[5:]  # from the checkpoint of step 5
    assert read_metrics(metrics) == soft.lines
    own, expected = (
        load_file(f / "model.safetensors") for f in (result.output, soft.result.output)
    )
    assert all(torch.equal(own[name], tensor) for name, tensor in expected.items())


def test_a_finished_training_is_not_repeated_and_other_settings_are_refused(
    labelled: Path, tiny_model_dir: Path, soft: Finished
) -> None:
    output, student = soft.result.output.parent, Student(model=str(tiny_model_dir))
    assert train_classifier(SETTINGS, labelled, student, output) == soft.result
    changed = SETTINGS.model_copy(update={"objective": "hard"})
    with pytest.raises(RunError) as caught:
        train_classifier(changed, labelled, student, output)
    assert str(caught.value) == (
        f"{output}: holds a training of other settings (objective soft → hard).\n"
        "Go back to those settings, give another output folder, or delete this one."
    )


def test_a_cut_student_learns_from_a_trained_teacher(
    labelled: Path, tiny_model_dir: Path, tmp_path: Path, soft: Finished
) -> None:
    settings = SETTINGS.model_copy(
        update={
            "objective": "hinton",
            "teacher": str(soft.result.output),
            "temperature": 2.0,
            "alpha": 1.0,
            "max_steps": 20,
        }
    )
    student = Student(model=str(tiny_model_dir), layers=(0,))
    lines: list[dict[str, Any]] = []
    result = train_classifier(settings, labelled, student, tmp_path, on_log=lines.append)
    assert load_trained_classifier(str(result.output)).model.config.num_hidden_layers == 1
    assert result.rows == 25  # alpha 1 wants no label, so the tie stays
    assert lines[-1]["loss"] < 0.3 * lines[0]["loss"]
    own_NC, teacher_NC = (
        predict(result.output, labelled)[0],
        predict(soft.result.output, labelled)[0],
    )
    assert (own_NC - teacher_NC).abs().mean() < 0.1


def test_the_teachers_logits_stand_in_the_datas_order(
    labelled: Path, soft: Finished, tokenizer: Any
) -> None:
    settings = SETTINGS.model_copy(
        update={"objective": "hinton", "teacher": str(soft.result.output), "alpha": 0.5}
    )
    read = read_label_rows([labelled])._replace(labels=("sadness", "joy"))
    data = encode_training_rows(settings, read, tokenizer)
    assert data.skipped == {"tie": 1}
    model, own_tokenizer = load_trained_classifier(str(soft.result.output))
    rows = encode_rows(read, own_tokenizer, LABELS, max_length=64, wants_label=True).rows
    expected_NC = predict_logits(model, own_tokenizer, rows).flip(-1)
    told_NC = torch.tensor([row.teacher_logits for row in data.rows])
    torch.testing.assert_close(told_NC, expected_NC, rtol=1e-4, atol=1e-5)


def test_a_teacher_of_other_labels_is_refused(
    tiny_model_dir: Path, tmp_path: Path, soft: Finished
) -> None:
    rows = [{"text": f"Text {i}.", "counts": {"yes": i, "no": 1}} for i in range(4)]
    dataset = write_rows(tmp_path / "train.parquet", rows)
    settings = SETTINGS.model_copy(
        update={"objective": "hinton", "teacher": str(soft.result.output)}
    )
    with pytest.raises(InputError) as caught:
        train_classifier(settings, dataset, Student(model=str(tiny_model_dir)), tmp_path / "out")
    assert str(caught.value) == (
        "the labels differ: joy, sadness and no, yes.\n"
        "Teacher, student and every file must have the same labels."
    )
    assert not (tmp_path / "out").exists()


def test_a_new_head_says_nothing_at_first_and_always_the_same(tiny_model_dir: Path) -> None:
    rows = [ClassRow([504, 3575, 282], [1.0, 0.0, 0.0], 0)]
    model, tokenizer = load_class_student(Student(model=str(tiny_model_dir)), ("a", "b", "c"))
    assert predict_logits(model, tokenizer, rows).tolist() == [[0.0, 0.0, 0.0]]
    assert model.config.label2id == {"a": 0, "b": 1, "c": 2}
    with pytest.raises(ConfigError) as caught:
        load_class_student(Student(model=str(tiny_model_dir), fresh={}), ("a", "b"))
    assert str(caught.value) == (
        "fresh: a classifier begins with pretrained weights.\nLeave it out; layers may be cut."
    )


@pytest.fixture(scope="module")
def encoder_dir(small_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder, as a masked language model leaves it."""
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=49152,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        pad_token_id=2,
    )
    BertForMaskedLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(small_model_dir).save_pretrained(folder)
    return folder


def test_an_encoder_can_be_the_student(labelled: Path, encoder_dir: Path, tmp_path: Path) -> None:
    one, other = (load_class_student(Student(model=str(encoder_dir)), LABELS).model for _ in "ab")
    assert torch.equal(one.classifier.weight, other.classifier.weight)  # the same draw each time
    done = Finished(tmp_path, labelled, encoder_dir, max_steps=4, learning_rate=1e-3)
    assert done.lines[2]["loss"] < done.lines[0]["loss"]
    with pytest.raises(ConfigError) as caught:
        load_class_student(Student(model=str(encoder_dir), layers=(0,)), LABELS)
    assert str(caught.value) == (
        f"layers: those of {encoder_dir} (BertForSequenceClassification) cannot be picked.\n"
        "Leave them out, or take a decoder-only model."
    )


def test_a_language_model_is_no_trained_classifier(tiny_model_dir: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load_classifier(str(tiny_model_dir))
    assert str(caught.value) == (
        f"{tiny_model_dir}: not a model that transformers can load: 1 of its weights are missing, "
        "such as score.weight\n"
        "Give the folder of a saved model, a Hugging Face id, or 'smollm2-135m-instruct'."
    )


def test_objective_and_teacher_must_agree() -> None:
    with pytest.raises(ValidationError) as caught:
        ClassifierSettings(objective="hinton")
    assert caught.value.errors()[0]["msg"] == (
        "Value error, teacher: objective hinton needs one; name a trained classifier"
    )
    with pytest.raises(ValidationError) as caught:
        ClassifierSettings(objective="soft", teacher="some/model", temperature=3.0)
    assert caught.value.errors()[0]["msg"] == (
        "Value error, temperature, teacher: objective soft has no teacher; take it out, or choose "
        "hinton"
    )
    whole = ClassifierSettings(objective="soft").model_dump()
    assert ClassifierSettings(**whole) == ClassifierSettings()
