import functools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, TrainingArguments

from generators.errors import ConfigError, InputError
from trainers.adapters import add_adapters
from trainers.added_losses import CorpusSettings, HiddenSettings
from trainers.corpus import Corpus, hash_texts
from trainers.distiller import Distiller
from trainers.hidden_matching import WEIGHTS, HiddenMatching
from trainers.hidden_states import state_distance
from trainers.losses import cross_entropy
from trainers.objectives import TeacherDivergence
from trainers.rows import TokenRow, collate
from trainers.settings import LoraSettings
from trainers.teachers import LocalTeacher

SIZE = 40
ROWS = [
    TokenRow([1, 5, 9, 3, 7], 2, 2.0),
    TokenRow([1, 8, 4, 4, 6, 2, 9, 11, 30, 12, 3], 3, 0.5),
    TokenRow([2, 7, 6], 2),
    TokenRow([3, 3, 5, 12, 17, 21], 1),
]
TEXTS = [TokenRow([1 + i, 2 + i, 3 + i, *[9] * i], 1) for i in range(5)]


def make_model(seed: int, layers: int = 2, width: int = 16) -> Any:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=SIZE,
        hidden_size=width,
        intermediate_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config)


def make_distiller(
    student: Any,
    folder: Path,
    *,
    hidden: HiddenMatching | None = None,
    teacher: Any = None,
    corpus: Corpus | None = None,
    **options: Any,
) -> Distiller:
    layout = options.pop("layout", "grouped")
    arguments: dict[str, Any] = {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "learning_rate": 1e-2,
        "max_steps": 3,
    }
    return Distiller(
        objective=TeacherDivergence("forward") if teacher else None,
        teacher=LocalTeacher(teacher, SIZE) if teacher else None,
        hidden=hidden,
        corpus=corpus,
        vocabulary_size=SIZE,
        layout=layout,
        model=student,
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
        train_dataset=ROWS,
        data_collator=functools.partial(collate, pad_id=0),
    )


def read_layer(model: Any, row: TokenRow, layer: int) -> Tensor:
    """The outputs of a layer at the tokens before the row's targets."""
    seen: list[Tensor] = []
    handle = model.model.layers[layer].register_forward_hook(lambda *given: seen.append(given[2]))
    model(torch.tensor([row.input_ids]))
    handle.remove()
    states_BTD = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
    return states_BTD[0, row.prompt_length - 1 : -1]


def make_hidden(student: Any, teacher: Any, **settings: Any) -> HiddenMatching:
    return HiddenMatching(HiddenSettings(**settings), student, teacher)


@pytest.mark.parametrize("kind", ["mse", "cosine"])
def test_the_distance_of_layers_is_added_by_its_weight(kind: Any, tmp_path: Path) -> None:
    student, teacher = make_model(0), make_model(1, layers=3)
    hidden = make_hidden(student, teacher, pairs=((0, 1), (1, 2)), kind=kind, weight=0.7)
    batch = collate(ROWS, pad_id=0)
    plain = make_distiller(student, tmp_path, teacher=teacher).compute_loss(student, dict(batch))
    both = make_distiller(student, tmp_path, teacher=teacher, hidden=hidden)
    expected, tokens = 0.0, 0
    with torch.no_grad():
        for row in ROWS:
            for own, followed in ((0, 1), (1, 2)):
                states = (read_layer(student, row, own), read_layer(teacher, row, followed))
                expected += row.weight * state_distance(*states, kind).sum().item() / 2
            tokens += len(row.input_ids) - row.prompt_length
    added = both.compute_loss(student, dict(batch)).item() - plain.item()
    assert added == pytest.approx(0.7 * expected / tokens, rel=1e-4)


@pytest.mark.parametrize("way", ["alone", "packed", "dense"])
def test_layers_are_followed_alike_however_a_batch_is_read(way: str, tmp_path: Path) -> None:
    student, teacher = make_model(0), make_model(1, layers=4, width=24)
    hidden = make_hidden(student, teacher)
    tokens = sum(len(row.input_ids) - row.prompt_length for row in ROWS)

    def run(batches: list[list[TokenRow]], **options: Any) -> tuple[float, list[Tensor]]:
        distiller = make_distiller(student, tmp_path, teacher=teacher, hidden=hidden, **options)
        distiller._fuses = way != "dense" or len(batches) == 1
        learned = [*student.parameters(), *hidden.parameters]
        for parameter in learned:
            parameter.grad = None
        value = 0.0
        for batch in batches:
            inputs = collate(batch, pad_id=0)
            loss = distiller.compute_loss(student, inputs, num_items_in_batch=tokens)
            loss.backward()
            value += loss.item()
        return value, [each.grad.clone() for each in learned if each.grad is not None]

    together, gradients = run([ROWS])
    layout = "packed" if way == "packed" else "grouped"
    apart, others = run(
        [[row] for row in ROWS] if way == "alone" else [ROWS[:3], ROWS[3:]], layout=layout
    )
    assert len(gradients) == len(list(student.parameters())) + 2
    assert together == pytest.approx(apart, abs=1e-5)
    for one, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_projections_are_learned_at_the_rate_of_the_rest_and_kept(tmp_path: Path) -> None:
    student, teacher = make_model(0), make_model(1)
    hidden = make_hidden(student, teacher, learned=True)
    distiller = make_distiller(student, tmp_path, teacher=teacher, hidden=hidden)
    distiller.train()
    rated: Any = distiller.optimizer
    rates = {group["lr"] for group in rated.param_groups}
    assert len(rates) == 1
    for weight in hidden.parameters:
        moved = weight.detach() - torch.eye(16)
        assert 1e-3 < moved.abs().max() < 3 * 1.01e-2  # three steps of Adam, each of a rate at most
        assert weight.grad is None  # or a step would learn from all before it
    distiller.save_parts(tmp_path)
    assert len(load_file(tmp_path / WEIGHTS)) == 2
    fresh = make_hidden(student, teacher, learned=True)
    fresh.restore(tmp_path)
    for one, other in zip(hidden.parameters, fresh.parameters, strict=True):
        assert torch.equal(one, other)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(InputError) as caught:
        fresh.restore(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/projections.safetensors: is missing, so the projections of this training are "
        "lost.\n"
        "Delete the checkpoint and train from the beginning."
    )
    assert not any("projection" in name for name in student.state_dict())


@pytest.mark.parametrize("lora", [None, LoraSettings(rank=2)], ids=["whole", "adapters"])
def test_gradients_are_clipped_by_the_norm_of_all_that_is_trained(
    lora: LoraSettings | None, tmp_path: Path
) -> None:
    """Plain gradient descent at rate 1 moves all weights together by the norm that is allowed."""
    student, teacher = make_model(0), make_model(1)
    hidden = make_hidden(student, teacher, learned=True, weight=50.0)
    model = student if lora is None else add_adapters(student, lora)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    before = [weight.detach().clone() for weight in [*trained, *hidden.parameters]]
    options = {"max_steps": 1, "optim": "sgd", "learning_rate": 1.0, "max_grad_norm": 0.01}
    distiller = make_distiller(model, tmp_path, teacher=teacher, hidden=hidden, **options)
    distiller.train()
    after = [*trained, *hidden.parameters]
    moved = torch.stack([(a - b).norm() for a, b in zip(after, before, strict=True)]).detach()
    assert moved.norm().item() == pytest.approx(0.01, rel=1e-2)
    assert moved[len(trained) :].norm() > 5e-4  # the projections have their share of it
    (norm,) = (entry["grad_norm"] for entry in distiller.state.log_history if "loss" in entry)
    assert norm > 0.1


def test_layers_that_cannot_be_followed_are_refused() -> None:
    student, teacher = make_model(0), make_model(1)
    with pytest.raises(ConfigError) as caught:
        make_hidden(student, teacher, pairs=((0, 2),))
    assert str(caught.value) == "hidden states: the teacher has no layer 2; its layers are 0 to 1"
    learned = HiddenSettings(learned=True)
    with pytest.raises(ConfigError) as caught:
        HiddenMatching(learned, student, teacher, processes=2)
    assert str(caught.value) == (
        "hidden: a projection is learned, and 2 processes would each learn their own.\n"
        "Train in one process, or pair layers of one size without learned."
    )
    assert HiddenMatching(HiddenSettings(), student, teacher, processes=2).parameters == []


def make_corpus(place: tuple[int, int] = (0, 1), batches: int = 2, rows: int = 2) -> Corpus:
    settings = CorpusSettings(texts="", weight=0.3, rows=rows)
    return Corpus(TEXTS, settings, batches=batches, pad_id=0, seed=4, place=place)


def deal(corpus: Corpus, steps: int) -> list[list[int]]:
    dealt = []
    for step in range(steps):
        corpus.open_window(step, corpus.batches)
        for _ in range(corpus.batches):
            batch = corpus.take()
            lengths = batch["attention_mask"].sum(dim=1).tolist()
            dealt += [ids[:n] for ids, n in zip(batch["input_ids"].tolist(), lengths, strict=True)]
    return dealt


def test_all_texts_come_once_before_any_comes_again() -> None:
    dealt = [tuple(ids) for ids in deal(make_corpus(), 5)]
    assert len(dealt) == 20
    for start in range(0, 20, 5):
        assert Counter(dealt[start : start + 5]) == Counter(tuple(row.input_ids) for row in TEXTS)
    assert dealt[:5] != dealt[5:10]


def test_a_step_has_its_texts_whatever_came_before() -> None:
    whole, late = make_corpus(), make_corpus()
    dealt = deal(whole, 4)
    late.open_window(3, 2)
    batch = late.take()
    assert [ids[:3] for ids in batch["input_ids"].tolist()] == [ids[:3] for ids in dealt[12:14]]


def test_processes_share_what_one_would_read() -> None:
    one = make_corpus(batches=2)
    two = [make_corpus((process, 2), batches=1) for process in range(2)]
    for corpus in (one, *two):
        corpus.open_window(1, corpus.batches)
    assert {corpus.tokens for corpus in two} == {one.tokens}
    for corpus in two:
        assert torch.equal(corpus.take()["input_ids"], one.take()["input_ids"])


def test_a_corpus_is_added_by_its_mean_over_the_window(tmp_path: Path) -> None:
    student = make_model(0)
    batch = collate(ROWS[:1], pad_id=0)
    plain = make_distiller(student, tmp_path).compute_loss(student, dict(batch)).item()
    for size, batches in ((4, 1), (2, 2), (1, 4)):
        corpus = make_corpus(batches=batches, rows=size)
        distiller = make_distiller(student, tmp_path, corpus=corpus)
        corpus.open_window(0, batches)
        added = [
            distiller.compute_loss(student, dict(batch)).item() - plain for _ in range(batches)
        ]
        texts = deal(make_corpus(batches=1, rows=4), 1)
        with torch.no_grad():
            losses = [
                cross_entropy(student(torch.tensor([ids])).logits[0, :-1], torch.tensor(ids[1:]))
                for ids in texts
            ]
        assert sum(added) == pytest.approx(0.3 * torch.cat(losses).mean().item(), rel=1e-4)


def test_a_corpus_is_told_by_its_files(tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text(json.dumps({"text": "One."}) + "\n")
    before = hash_texts(file)
    assert hash_texts(tmp_path) == before
    file.write_text(json.dumps({"text": "Two."}) + "\n")
    assert hash_texts(file) != before
