"""The classifier that is taught: a pretrained model, perhaps of fewer layers, under a new head."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers.utils import logging

from generators.embedded import LoadedModel, load_classifier
from generators.errors import ConfigError
from trainers.classifier_rows import ClassRow, collate_classes
from trainers.logits import batch_by_length
from trainers.settings import Student
from trainers.students import keep_layers


def load_class_student(student: Student, labels: Sequence[str]) -> LoadedModel:
    """Load a student in float32 under a head for these labels, the same one each time.

    A causal model's head begins at zero, so that at first every label is equally likely. Raises
    ConfigError for layers that cannot be picked, and for a student without trained weights.
    """
    if student.fresh is not None:
        raise ConfigError(
            "fresh: a classifier begins with pretrained weights.\nLeave it out; layers may be cut."
        )
    with torch.random.fork_rng(devices=[]), _quietly():  # that the head is new goes without saying
        torch.manual_seed(0)
        model, tokenizer = load_classifier(student.model, labels)
    if student.layers is not None:
        if not hasattr(model.get_decoder(), "layers"):
            raise ConfigError(
                f"layers: those of {student.model} ({type(model).__name__}) cannot be picked.\n"
                "Leave them out, or take a decoder-only model."
            )
        keep_layers(model, student.layers)
    return _let_pad(LoadedModel(model, tokenizer))


def load_trained_classifier(folder: str) -> LoadedModel:
    """Load a finished classifier, in float32; raises ModelError where the folder holds none."""
    with _quietly():
        return _let_pad(load_classifier(folder))


def list_labels(model: Any) -> tuple[str, ...]:
    """A classifier's labels, in the order of its head's outputs."""
    return tuple(model.config.id2label[i] for i in range(model.config.num_labels))


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep transformers' bars and reports of a loading out of the run's own progress."""
    level = logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _let_pad(loaded: LoadedModel) -> LoadedModel:
    """A causal model finds a text's last token by the padding's id, so both must have one; no text
    ends on it (`trainers.classifier_rows.render_text`)."""
    model, tokenizer = loaded
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    return loaded


@torch.no_grad()
def predict_logits(
    model: Any,
    tokenizer: Any,
    rows: Sequence[ClassRow],
    on_progress: Callable[[int], None] = lambda rows: None,
) -> Tensor:
    """The classifier's logits [N, C] of the rows, in their order; `on_progress` hears of each row
    that is done."""
    was_training = model.training
    model.eval()
    logits_NC = torch.zeros(len(rows), model.config.num_labels)
    for batch in batch_by_length([len(row.input_ids) for row in rows]):
        inputs = collate_classes([rows[i] for i in batch], pad_id=tokenizer.pad_token_id)
        output = model(
            input_ids=inputs["input_ids"].to(model.device),
            attention_mask=inputs["attention_mask"].to(model.device),
        )
        logits_NC[batch] = output.logits.float().cpu()
        on_progress(len(batch))
    model.train(was_training)
    return logits_NC
