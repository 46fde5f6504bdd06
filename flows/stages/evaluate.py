"""Stages `evaluate-ARM`: the same held-out prompts, put to the student before and after training.

`before` and `after` ask outright (zero-shot, greedy pass@1 and sampled pass@k); `few-shot` puts
the worked examples before the untrained student, which tells how much of the gain is only the
form of an answer; `teacher` asks the model whose distribution the student is to follow, which
should be the better one; `random` asks a student that was taught on rows that nobody selected. In
a later cycle `after` is asked of the last student, and of the candidate that the cycle has taught
(`evaluate-candidate`).

Plain text is read besides: its perplexity, and the divergence from the teacher.
"""

import asyncio
import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from filters.canaries import CanaryAnswer, judge_canaries
from filters.verify import verify
from flows.config import RunConfig
from flows.run_settings import EmbeddedModel
from flows.stage_settings import EvaluateSettings
from flows.stages.random_rows import RANDOM_STUDENT, TRAIN_RANDOM
from flows.stages.train import CANDIDATE, STUDENT, find_teacher, load_held_out, place_student
from flows.store import FileEntry
from flows.teach_settings import TeachConfig
from flows.untaught import identify_untaught, is_made, open_untaught
from flows.work import Job, LearningContext, Tick
from generators.answers import Examples, SamplerSettings, draft_samples, group_examples
from generators.clients import Journal, Response, Sampling, answer_requests
from generators.embedded import EmbeddedClient, EmbeddedSettings, identify_model, load_model
from generators.errors import InputError
from generators.prompting import Form
from generators.records import Prompt, Record, digest
from generators.seeds import load_examples, load_seeds, load_texts
from generators.steering import kind_of
from trainers.evaluate import PassScore, TextScore, evaluate_pass, perplexity_and_kl
from trainers.settings import ACROSS

RANDOM = "random"
"""The arm of the student beside it (`flows.stages.random_rows`)."""
TEACHER = "teacher"
"""The arm of the model that is followed."""
WITHOUT_CANARIES = ("few-shot", TEACHER)


class ArmResult(Record):
    """One model, put to the held-out prompts in one way."""

    arm: str
    model: str
    pass_1: PassScore
    """Greedy."""
    pass_k: PassScore | None
    """Sampled, over the first `k_prompts` of the prompts."""
    by_task: dict[str, tuple[int, int]]
    """Prompts and correct ones of each task, greedy."""
    text: TextScore | None
    canaries: tuple[CanaryAnswer, ...] = ()
    """Greedy answers to the canaries; of zero-shot arms alone."""


class EvaluateStage:
    """Score one arm on the held-out prompts."""

    def __init__(self, settings: EvaluateSettings, arm: str, *, of_candidate: bool = False) -> None:
        self.settings = settings
        self.arm = arm
        self.of_candidate = of_candidate
        self.name = f"evaluate-{CANDIDATE if of_candidate else arm}"

    def plan(self, context: LearningContext) -> list[Job]:
        settings = self.settings
        prompts = choose_held_out(settings)
        before = {"after": ["train"], RANDOM: [TRAIN_RANDOM]}.get(self.arm, [])
        before = [CANDIDATE] if self.of_candidate else before
        inputs = [
            settings.model_dump(mode="json"),
            self.arm,
            digest([p.id for p in [*prompts, *load_canaries(settings)]]),
            _identify(context, self.arm),
            _teacher(context.config),
        ]
        rows = len(prompts) + min(settings.k_prompts, len(prompts)) * settings.k
        rows += len(load_canaries(settings)) if self.arm not in WITHOUT_CANARIES else 0
        folder = context.folder if self.of_candidate else "evaluation"
        output = f"{folder}/{self.arm}.json"
        key = context.key(self.name, inputs, before)
        return [Job(stage=self.name, outputs=(output,), rows=rows, key=key)]

    def work(self, context: LearningContext, job: Job, tick: Tick) -> list[FileEntry]:
        student = place_student(context) if self.of_candidate else STUDENT
        with _open_model(context, self.arm, student) as model:
            result = score_model(
                model,
                self.settings,
                context.resources.journal,
                tick,
                arm=self.arm,
                form=_form(context.config),
                teacher=None if self.arm == TEACHER else _teacher(context.config),
            )
        return [context.write_text(job, job.outputs[0], result.model_dump_json(indent=1))]


def list_arms(config: RunConfig | TeachConfig) -> list[str]:
    """The arms in the order in which they run; `after` needs the trained student. There are none
    where nothing is evaluated, and no teacher where a student is its own, several teach, or a
    server does."""
    if config.evaluate is None or config.train is None:
        return []
    shown = ["few-shot"] if config.evaluate.examples else []
    teacher = config.models.get(config.train.lone_teacher or "")
    student = config.train.untaught
    embedded = isinstance(teacher, EmbeddedModel)
    other = embedded and (is_made(student) or teacher.model != student.model)
    return ["before", *shown, *([TEACHER] if other else []), "after"]


def load_canaries(settings: EvaluateSettings) -> list[Prompt]:
    """The canaries, in the order of their file; none where the configuration names no file."""
    return load_seeds(settings.canaries) if settings.canaries is not None else []


def choose_held_out(settings: EvaluateSettings) -> list[Prompt]:
    """As many held-out prompts as are wanted, drawn by their ids."""
    prompts = sorted(load_held_out(settings), key=lambda prompt: digest("held out", prompt.id))
    if len(prompts) < settings.prompts:
        raise InputError(
            f"evaluate.prompts: {settings.prompts} are wanted, but {', '.join(settings.held_out)} "
            f"hold {len(prompts)}. Raise the counts there, or lower evaluate.prompts."
        )
    return prompts[: settings.prompts]


def score_model(
    model: str,
    settings: EvaluateSettings,
    journal: Journal,
    tick: Tick,
    *,
    arm: str,
    form: Form = "chat",
    teacher: str | None = None,
) -> ArmResult:
    """Generate, verify and sum up one arm; `form` is how the model takes worked examples."""
    client = EmbeddedClient(EmbeddedSettings(model=model, batch_size=settings.batch_size))
    prompts = choose_held_out(settings)
    shown = load_examples(settings.examples) if arm == "few-shot" and settings.examples else []
    ask = functools.partial(
        _answer, client, journal, tick, settings=settings, examples=group_examples(shown, form)
    )
    pass_1 = evaluate_pass(prompts, ask(prompts, samples=1), verify)
    pass_k, sampled = None, prompts[: settings.k_prompts]
    if sampled:
        drawn = ask(sampled, samples=settings.k)
        pass_k = evaluate_pass(sampled, drawn, verify, ks=sorted({1, settings.k}))
    return ArmResult(
        arm=arm,
        model=client.id,
        pass_1=pass_1,
        pass_k=pass_k,
        by_task=_count_by_task(prompts, pass_1),
        text=None if arm == "few-shot" else _read_text(settings, client, teacher),
        canaries=() if arm in WITHOUT_CANARIES else ask_canaries(settings, client, journal, tick),
    )


def ask_canaries(
    settings: EvaluateSettings, client: EmbeddedClient, journal: Journal, tick: Tick
) -> tuple[CanaryAnswer, ...]:
    """Put the canaries to a model, greedily, and judge its answers."""
    canaries = load_canaries(settings)
    longer = settings.model_copy(update={"max_tokens": settings.canary_tokens})
    nothing = group_examples([], "chat")
    answers = _answer(client, journal, tick, canaries, settings=longer, examples=nothing, samples=1)
    return judge_canaries(canaries, [samples[0].text for samples in answers])


def _answer(
    client: EmbeddedClient,
    journal: Journal,
    tick: Tick,
    prompts: Sequence[Prompt],
    *,
    settings: EvaluateSettings,
    examples: Examples,
    samples: int,
) -> list[list[Response]]:
    temperature = 0.0 if samples == 1 else settings.temperature
    sampler = SamplerSettings(
        name="evaluate",
        model=client.id,
        n=samples,
        sampling=Sampling(temperature=temperature, max_tokens=settings.max_tokens),
        examples_max_tokens=settings.max_tokens,
    )
    drafts = [
        draft
        for prompt in prompts
        for draft in draft_samples(prompt, sampler, examples, run_seed=0, cycle=0)
    ]
    requests = [draft.request for draft in drafts]
    outcomes = asyncio.run(answer_requests(client, requests, journal, tick))
    responses = [_require_response(outcome) for outcome in outcomes]
    return [responses[i : i + samples] for i in range(0, len(responses), samples)]


def _require_response(outcome: Any) -> Response:
    if not isinstance(outcome, Response):
        raise InputError(f"evaluate: a held-out prompt cannot be answered: {outcome.message}")
    return outcome


def _count_by_task(prompts: Sequence[Prompt], score: PassScore) -> dict[str, tuple[int, int]]:
    tried, right = Counter(), Counter()
    for prompt in prompts:
        task = kind_of(prompt)
        tried[task] += 1
        right[task] += score.correct[prompt.id]
    return {task: (tried[task], right[task]) for task in sorted(tried)}


def _read_text(
    settings: EvaluateSettings, client: EmbeddedClient, teacher: str | None
) -> TextScore | None:
    if settings.text is None:
        return None
    model, tokenizer = client.loaded
    other = load_model(teacher).model if teacher else None
    return perplexity_and_kl(model, tokenizer, load_texts(settings.text), teacher=other)


@contextmanager
def _open_model(context: LearningContext, arm: str, student: str) -> Iterator[str]:
    """The model that an arm asks, as a name or a folder; `student` is a taught one's folder."""
    if arm in ("after", RANDOM):
        yield str(context.run.place(student if arm == "after" else RANDOM_STUDENT))
    elif arm == TEACHER:
        yield _find_asked_teacher(context)
    else:
        assert context.config.train is not None
        with open_untaught(context.config.train.untaught, context.run.root) as model:
            yield model


def _identify(context: LearningContext, arm: str) -> str:
    """What there is of an arm's model before anything is trained."""
    if arm == TEACHER:
        return identify_model(_find_asked_teacher(context))
    assert context.config.train is not None
    return identify_untaught(context.config.train.untaught)


def _find_asked_teacher(context: LearningContext) -> str:
    train = context.config.train
    assert train is not None
    teacher = find_teacher(context, train)
    assert isinstance(teacher, str)  # `list_arms` has this arm for a single one only
    return teacher


def _teacher(config: RunConfig | TeachConfig) -> str | None:
    """The embedded model whose distribution the student is compared with."""
    assert config.train is not None
    samplers = config.answer.samplers if isinstance(config, RunConfig) else ()
    across = any(part.objective in ACROSS for part in config.train.split())
    followed = None if across else config.train.lone_teacher  # of another vocabulary
    names = [followed, *(sampler.model for sampler in samplers)]
    models = [config.models[name] for name in names if name is not None]
    return next((m.model for m in models if isinstance(m, EmbeddedModel)), None)


def _form(config: RunConfig | TeachConfig) -> Form:
    """The form in which the student's own model takes worked examples."""
    assert config.train is not None
    own = config.train.untaught.model
    models = [m for m in config.models.values() if m.model == own]
    return models[0].form if models else "chat"
