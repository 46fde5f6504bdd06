"""One arm's score on the held-out rows of a classifier's training."""

from collections.abc import Callable
from pathlib import Path

from flows.classify_figures import ArmScore
from flows.classify_settings import ClassifyConfig
from generators.embedded import identify_model
from trainers.settings import Student


def describe_student(config: ClassifyConfig) -> Student:
    """The pretrained model and the layers that are kept of it."""
    model = config.models[config.classifier.student].model
    return Student(model=model, layers=config.classifier.layers)


def identify_arm(config: ClassifyConfig, arm: str) -> str | None:
    """What is scored, by name and revision; None for what this run makes itself."""
    name = {"before": config.classifier.student, "teacher": config.classifier.teacher}.get(arm)
    return None if name is None else identify_model(config.models[name].model)


def score_arm(
    config: ClassifyConfig,
    arm: str,
    *,
    train: Path,
    held_out: Path,
    trained: Path,
    tick: Callable[[int], None],
) -> ArmScore:
    """Let one arm read the held-out rows. Raises InputError where a teacher's labels are others."""
    if arm == "prior":
        return _score_prior(train, held_out, tick)
    import torch

    from trainers.classifier_evaluate import score_classes
    from trainers.classifier_model import (
        list_labels,
        load_class_student,
        load_trained_classifier,
        predict_logits,
    )
    from trainers.classifier_rows import encode_rows
    from trainers.label_rows import read_label_rows

    data = read_label_rows([held_out])
    if arm == "before":
        model, tokenizer = load_class_student(describe_student(config), data.labels)
    else:
        teacher = config.classifier.teacher if arm == "teacher" else None
        folder = str(trained) if teacher is None else config.models[teacher].model
        model, tokenizer = load_trained_classifier(folder)
    rows = encode_rows(
        data,
        tokenizer,
        list_labels(model),
        max_length=config.classifier.max_length,
        wants_label=False,
    )
    log_q_NC = predict_logits(model, tokenizer, rows.rows, tick).log_softmax(dim=-1)
    probs_NC = torch.tensor([row.probs for row in rows.rows])
    score = score_classes(log_q_NC, probs_NC, [row.label for row in rows.rows])
    return ArmScore(arm=arm, model=identify_arm(config, arm), skipped=rows.skipped, score=score)


def _score_prior(train: Path, held_out: Path, tick: Callable[[int], None]) -> ArmScore:
    """The training rows' mean distribution, whatever the text."""
    import torch

    from trainers.classifier_evaluate import find_prior, score_classes
    from trainers.label_losses import NO_LABEL
    from trainers.label_rows import read_label_rows

    taught, asked = read_label_rows([train]), read_label_rows([held_out])
    labels = taught.labels
    taught_NC, asked_NC = (
        torch.tensor([[row.label_probs[label] for label in labels] for row in data.rows])
        for data in (taught, asked)
    )
    log_q_C = find_prior(taught_NC, torch.tensor([row.weight for row in taught.rows]))
    hard = [NO_LABEL if r.label is None else labels.index(r.label) for r in asked.rows]
    score = score_classes(log_q_C.expand(len(hard), -1), asked_NC, hard)
    tick(len(hard))
    return ArmScore(arm="prior", model=None, skipped={}, score=score)
