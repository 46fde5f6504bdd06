"""How a student does while it is trained, on rows that are kept from the training for this.

At the start, every so many steps and at the end it reads the rows beside its teacher, writes
completions of its own behind their prompts, and has these read by the teacher and judged by the
rows' checks. The best of its states can be kept, and a training that no longer helps can end.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from transformers import TrainerCallback

from generators.clients import draw_seed
from generators.embedded import LoadedModel
from generators.errors import ConfigError
from trainers.checkpoints import flush, put_copy
from trainers.evaluate import bootstrap_interval, pass_at_k, wilson_interval
from trainers.processes import hear_first
from trainers.rollouts import Rollout, sample_rollouts
from trainers.rows import TokenRow, TokenRows, choose_rows
from trainers.settings import LOWER_IS_BETTER, MeasureSettings
from trainers.student_metrics import measure_samples, measure_student

Verify = Callable[[str, str], bool]
"""Whether a completion passes a check, given as JSON."""
Report = Callable[[dict[str, Any]], None]
BEST, BEST_WEIGHTS = "best.json", "best.safetensors"


class Parted(NamedTuple):
    """Rows to train on, and rows to measure on."""

    train: TokenRows
    kept: TokenRows


class Subject(NamedTuple):
    """Who is measured, and beside whom."""

    student: LoadedModel
    teacher: Any
    """A model, or None where there is none in this process."""
    vocabulary_size: int
    max_length: int
    seed: int


def part_rows(data: TokenRows, count: int) -> Parted:
    """Keep rows from the training: drawn by their prompts, and with all rows of those prompts, so
    that nothing is measured on a prompt that was learned. Windows of plain text, which have none,
    are drawn each by itself. Raises ConfigError where none is left."""
    by_prompt: dict[tuple[int, ...], list[int]] = {}
    for i, row in enumerate(data.rows):
        by_prompt.setdefault(_prompt(row), []).append(i)
    chosen: set[int] = set()
    for prompt in sorted(by_prompt, key=lambda ids: draw_seed("measure", *ids)):
        if len(chosen) >= count:
            break
        chosen.update(by_prompt[prompt])
    kept, rest = sorted(chosen), [i for i in range(len(data.rows)) if i not in chosen]
    if len(kept) < count or not rest:
        raise ConfigError(
            f"measure.rows {count}: the dataset has {len(data.rows)} rows in all.\n"
            "Publish more rows, or measure on fewer."
        )
    return Parted(choose_rows(data, rest), choose_rows(data, kept))


class Measurer(TrainerCallback):
    """Measures at the start, every so many steps, and at the end.

    It stands before `TrainingPace`, which saves nothing of a step that ends the training, and
    declares a checkpoint complete.
    """

    def __init__(
        self,
        settings: MeasureSettings,
        subject: Subject,
        kept: TokenRows,
        output: Path,
        report: Report,
        verify: Verify | None,
    ) -> None:
        """Raises ConfigError where the metric that decides cannot be had of these rows."""
        self.settings, self.subject, self.kept = settings, subject, kept
        self.output, self.report, self.verify = output, report, verify
        can_be = {"nll"}
        can_be |= {"forward_kl", "reverse_kl", "reverse_kl_own"} if subject.teacher else set()
        can_be |= {"pass@1"} if verify is not None and any(kept.checks) else set()
        if settings.decides and settings.metric not in can_be:
            raise ConfigError(
                f"measure.metric {settings.metric}: cannot be had here; choose one of"
                f" {', '.join(sorted(can_be))}"
            )

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 0:
            self._measure(state, control)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        every = self.settings.every
        due = every is not None and state.global_step % every == 0
        if due or state.global_step >= state.max_steps:
            self._measure(state, control)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            self.save(Path(args.output_dir) / f"checkpoint-{state.global_step}")

    def save(self, folder: Path) -> None:
        """Keep with a checkpoint what was the best by then."""
        for name in (BEST, BEST_WEIGHTS):
            if (self.output / name).is_file():
                put_copy(self.output / name, folder / name)

    def restore(self, folder: Path) -> None:
        """Go on from a checkpoint: looks after it are done again."""
        clear_measures(self.output)
        for name in (BEST, BEST_WEIGHTS):
            if (folder / name).is_file():
                put_copy(folder / name, self.output / name)

    def _measure(self, state: Any, control: Any) -> None:
        over = False
        if state.is_world_process_zero:
            figures = self.measure()
            self.report({"step": state.global_step, "evaluation": figures})
            over = self.settings.decides and self._is_over(state.global_step, figures)
        if hear_first(over):
            control.should_training_stop = True

    def measure(self) -> dict[str, Any]:
        """Figures by name; a share with the ends of its interval."""
        subject, found = self.subject, {}
        model, size = subject.student.model, subject.vocabulary_size
        own = self._sample()
        has_targets = any(len(row.input_ids) > row.prompt_length for row in self.kept.rows)
        if subject.teacher is not None and has_targets:
            beside = measure_student(model, subject.teacher, self.kept.rows, vocabulary_size=size)
            found |= beside.model_dump(exclude={"tokens"})
        elif has_targets:
            alone = measure_student(model, model, self.kept.rows, vocabulary_size=size)
            found |= {"nll": alone.nll, "ece": alone.ece}
        rows, ended = [one.row for one in own], [one.ended for one in own]
        if subject.teacher is not None:
            on_own = measure_student(model, subject.teacher, rows, vocabulary_size=size)
            found["reverse_kl_own"] = on_own.reverse_kl
        score = measure_samples(rows, ended, subject.teacher, vocabulary_size=size)
        found |= {"teacher_nll": score.teacher_nll, "length": score.mean_length}
        found |= {f"distinct_{n}": share for n, share in score.distinct.items()}
        found |= {"repetition": score.repetition, "ended": score.eos_rate}
        # A sample that ended at once has nothing that a teacher could find likely.
        return {k: v for k, v in found.items() if v is not None} | self._judge(own)

    def _sample(self) -> list[Rollout]:
        """Completions behind the prompts, always by the same draws."""
        rows, k = self.kept.rows, self.settings.k
        prompts = [row.input_ids[: row.prompt_length] for row in rows for _ in range(k)]
        places = [(i, *([j] if j else [])) for i in range(len(rows)) for j in range(k)]
        seeds = [draw_seed("measure", self.subject.seed, *place) for place in places]
        return self._write(prompts, seeds)

    def _write(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], temperature: float = 1.0
    ) -> list[Rollout]:
        subject = self.subject
        room = subject.max_length - max(map(len, prompts))
        return sample_rollouts(
            subject.student.model,
            subject.student.tokenizer,
            prompts,
            seeds,
            max_new_tokens=min(self.settings.max_new_tokens, room),
            max_length=subject.max_length,
            temperature=temperature,
            precision="auto",
        )

    def _judge(self, own: Sequence[Rollout]) -> dict[str, Any]:
        """pass@1 of greedy answers, and pass@k of those drawn, over the prompts with a check."""
        checks = self.kept.checks or [None] * len(self.kept.rows)
        pairs = zip(self.kept.rows, checks, strict=True)
        asked = {_prompt(row): check for row, check in pairs if check is not None}
        if self.verify is None or not asked:
            return {}
        greedy = self._write(list(asked), [0] * len(asked), temperature=0)
        passed = [
            self._passes(one, check) for one, check in zip(greedy, asked.values(), strict=True)
        ]
        found = {"pass@1": list(wilson_interval(sum(passed), len(passed)))}
        k = self.settings.k
        if k > 1:
            drawn: dict[tuple[int, ...], list[bool]] = {prompt: [] for prompt in asked}
            for one in own:
                prompt = tuple(one.row.input_ids[: one.row.prompt_length])
                if prompt in asked:
                    drawn[prompt].append(self._passes(one, asked[prompt]))
            shares = [pass_at_k(len(right), sum(right), k) for right in drawn.values()]
            found[f"pass@{k}"] = list(bootstrap_interval(shares))
        return found

    def _passes(self, one: Rollout, check: str) -> bool:
        assert self.verify is not None
        ids = one.row.input_ids[one.row.prompt_length :]
        text = self.subject.student.tokenizer.decode(ids, skip_special_tokens=True)
        return self.verify(check, text.strip())

    def _is_over(self, step: int, figures: dict[str, Any]) -> bool:
        """Note the best so far, and tell whether it has been too long ago."""
        value = figures[self.settings.metric]
        value = value[0] if isinstance(value, list) else value
        score = -value if self.settings.metric in LOWER_IS_BETTER else value
        best = self._read_best()
        if best is None or score > best["score"]:
            if self.settings.keep_best:
                self._save_weights()
            best = {"step": step, "score": score, "since": 0}
        elif step > best["step"]:
            best |= {"since": best["since"] + 1}
        scratch = self.output / f"{BEST}.partial"
        scratch.write_text(json.dumps(best))
        scratch.replace(self.output / BEST)
        patience = self.settings.patience
        return patience is not None and best["since"] >= patience

    def _read_best(self) -> dict[str, Any] | None:
        file = self.output / BEST
        return json.loads(file.read_text()) if file.is_file() else None

    def _save_weights(self) -> None:
        from safetensors.torch import save_model

        scratch = self.output / f"{BEST_WEIGHTS}.partial"
        save_model(self.subject.student.model, str(scratch))
        flush(scratch)
        scratch.replace(self.output / BEST_WEIGHTS)

    def restore_best(self) -> int | None:
        """Give the student the weights with which it did best, and return the step of it; None
        where the last one is kept."""
        from safetensors.torch import load_model

        best = self._read_best()
        if best is None or not self.settings.keep_best:
            return None
        load_model(self.subject.student.model, self.output / BEST_WEIGHTS)
        return best["step"]


def clear_measures(output: Path) -> None:
    """Take away what was kept while a training went on."""
    for name in (BEST, BEST_WEIGHTS):
        (output / name).unlink(missing_ok=True)


def _prompt(row: TokenRow) -> tuple[int, ...]:
    """What rows share that go the same way; of plain text the first token says nothing."""
    return tuple(row.input_ids[: row.prompt_length] if row.prompt_length > 1 else row.input_ids)
