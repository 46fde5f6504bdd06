"""The student behind a vLLM server of its own, which writes its completions.

The server is started on a folder that holds the student, and before it is asked at a later step it
reads the weights that the student has by then, adapters merged (`generators.vllm_weights`). The
folder's name is a link that moves on with each save, so a server that died begins again with the
newest weights. A head that shares its weights with the embeddings is saved beside them: vLLM for
processors keeps a packed copy of its own, which a tied head's new weights do not reach.

That trainer and server mean the same student is looked at, not believed: at each step one
completion is read here too, and log-probabilities that are far apart end the training.
"""

import asyncio
import copy
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from generators.clients import Failure, Sampling
from generators.embedded import LoadedModel, Precision, find_end_ids
from generators.errors import ConfigError, EndpointError
from generators.vllm_client import ManagedVllmClient, VllmSettings
from generators.vllm_samples import Draw, SampledTokens
from generators.vllm_server import ServeSettings, check_environment
from generators.vllm_weights import DEVELOPMENT, load_weights
from trainers.adapters import find_own_model, gather_merged
from trainers.precision import find_precision
from trainers.processes import ask_first, is_first
from trainers.rollout_settings import KEPT_OPTIONS, RolloutSettings
from trainers.rollouts import Rollout, check_rooms, reading
from trainers.rows import TokenRow
from trainers.teachers import count_ids

FARTHEST = 1.0
"""Nats a token. bfloat16 costs hundredths; a server that does not follow costs nats, in time."""
REMEDIES = {
    "context_length": "Take max-model-len out of rollouts.serve.options, and it is max_length.",
    "deadline": "Raise rollouts.serve.timeout_s, or lower its concurrency.",
    "timeout": "Raise rollouts.serve.timeout_s, or lower its concurrency.",
    "no_token_ids": "Use vLLM 0.32, with which this has been tested.",
}
"""What to do about a failure, by its reason."""


class ServedStudent:
    """Writes as `trainers.rollouts.sample_rollouts` does, in the first process for all of them."""

    def __init__(
        self,
        student: LoadedModel,
        settings: RolloutSettings,
        folder: Path,
        *,
        max_length: int,
        precision: Precision,
    ) -> None:
        """The student lies in `folder` as long as it is served; the log lies beside it. Raises
        ConfigError where no vLLM is installed at `serve.python`."""
        assert settings.serve is not None
        self.student, self.settings, self.folder = student, settings, folder
        self.max_length = max_length
        self.precision: Precision = precision
        ours = {"dtype": find_precision(precision), "max-model-len": max_length}
        self._serve = settings.serve
        self._options = {**ours, **settings.serve.options, **KEPT_OPTIONS}
        self._dtype = torch.bfloat16 if self._options["dtype"] == "bfloat16" else torch.float32
        self._end_ids = find_end_ids(find_own_model(student.model), student.tokenizer)
        self._barred = _list_barred(student)
        self._client: ManagedVllmClient | None = None
        self._runner = asyncio.Runner()
        self._step: int | None = None
        self.figures: dict[str, float] = {}
        """Of the last step: `rollout_gap`, how far server and trainer are apart on average over
        the tokens of one completion, in nats. In the first process alone."""
        if is_first():
            check_environment(settings.serve)
            shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[int],
        *,
        weights: Sequence[float],
        step: int,
    ) -> list[Rollout]:
        """One completion behind each prompt, by the weights that the student has at this step; each
        process must ask, also for nothing.

        Raises ConfigError for a prompt that leaves no room, and where the server writes by other
        weights; EndpointError where it does not write.
        """
        draws = self._plan(prompts, seeds)
        written = ask_first(draws, lambda asked: self._write(asked, step))
        return [
            Rollout(
                row=TokenRow([*draw.prompt, *one.token_ids], len(draw.prompt), weight),
                log_probs=one.logprobs,
                ended=one.ended,
            )
            for draw, one, weight in zip(draws, written, weights, strict=True)
        ]

    def close(self) -> None:
        """Stop the server and take its folder away."""
        try:
            if self._client is not None:
                self._runner.run(self._client.close())
                self._client = None
        finally:
            self._runner.close()
        if is_first():
            shutil.rmtree(self.folder, ignore_errors=True)

    def _plan(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int]) -> list[Draw]:
        rooms = [self.max_length - len(prompt) for prompt in prompts]
        if rooms:
            check_rooms(rooms, self.max_length)
        settings = self.settings
        return [
            Draw(
                prompt=tuple(prompt),
                seed=seed,
                sampling=Sampling(
                    temperature=settings.temperature,
                    top_p=settings.top_p,
                    max_tokens=min(settings.max_new_tokens, room),
                ),
                end_ids=self._end_ids,
                barred_ids=self._barred,
            )
            for prompt, seed, room in zip(prompts, seeds, rooms, strict=True)
        ]

    def _write(self, asked: Sequence[Sequence[Draw]], step: int) -> list[list[SampledTokens]]:
        """What all processes ask for, by process."""
        draws = [draw for own in asked for draw in own]
        self.figures = {}
        if not draws:
            return [[] for _ in asked]
        client = self._bring_up_to(step)
        written = iter(self._runner.run(_ask_all(client, draws)))
        shared = [[next(written) for _ in own] for own in asked]
        self._compare(draws[0], next(one for own in shared for one in own))
        return shared

    def _bring_up_to(self, step: int) -> ManagedVllmClient:
        """The client of a server that has the weights of this step."""
        if self._client is not None and step == self._step:
            return self._client
        newest, link = self.folder / f"step-{step}", self.folder / "current"
        save_served(self.student, newest, self._dtype)
        scratch = self.folder / "next"
        scratch.symlink_to(newest.name)
        scratch.replace(link)
        if self._client is None:
            self._client = self._make_client(link)
        else:
            timeout_s = self._serve.start_timeout_s
            self._runner.run(load_weights(self._client.server, newest, timeout_s=timeout_s))
        for older in self.folder.glob("step-*"):
            if older != newest:
                shutil.rmtree(older)
        self._step = step
        return self._client

    def _make_client(self, model: Path) -> ManagedVllmClient:
        """A client whose server begins with the first request."""
        serve = self._serve
        given = serve.model_dump(include=set(ServeSettings.model_fields))
        given["options"] = self._options
        given["env"] = {**serve.env, **DEVELOPMENT}
        settings = VllmSettings(
            model=str(model.absolute()),
            serve=ServeSettings(**given),
            concurrency=serve.concurrency,
            timeout_s=serve.timeout_s,
            deadline_s=serve.timeout_s,
        )
        return ManagedVllmClient(settings, log=self.folder.with_name(f"{self.folder.name}.log"))

    def _compare(self, draw: Draw, written: SampledTokens) -> None:
        """Read one completion here too. Raises ConfigError where the server has other
        weights."""
        model, count = self.student.model, len(written.token_ids)
        ids_1T = torch.tensor([[*draw.prompt, *written.token_ids]], device=model.device)
        with reading([model], self.precision), torch.no_grad():
            logits_1TV = model(input_ids=ids_1T, use_cache=False, logits_to_keep=count + 1).logits
        log_probs_NV = logits_1TV[0, :-1].float().log_softmax(dim=-1)
        own_N = log_probs_NV.gather(1, ids_1T[0, -count:, None])[:, 0].cpu()
        gap = (own_N - torch.tensor(written.logprobs)).abs().mean().item()
        self.figures = {"rollout_gap": gap}
        if not gap <= FARTHEST:
            raise ConfigError(
                f"rollouts.serve: the server's log-probabilities are {gap:.2f} nats from the"
                f" student's on average over {count} tokens: it does not write by these weights.\n"
                "Take out options that change them (quantization, say), or leave serve out."
            )


def save_served(student: LoadedModel, folder: Path, dtype: torch.dtype) -> None:
    """Save a student as it stands, adapters merged and its head apart from its embeddings."""
    own = find_own_model(student.model)
    weights = {
        name: weight.detach().to("cpu", dtype if weight.is_floating_point() else weight.dtype)
        for name, weight in gather_merged(student.model).items()
    }
    for name, source in own.all_tied_weights_keys.items():
        weights[name] = weights[source].clone()
    own.save_pretrained(folder, state_dict=weights)
    config = copy.deepcopy(own.config)
    config.tie_word_embeddings = False
    config.save_pretrained(folder)
    student.tokenizer.save_pretrained(folder)


def _list_barred(student: LoadedModel) -> tuple[int, ...]:
    """Ids that pad the head to a round number, and mean nothing."""
    head = find_own_model(student.model).get_output_embeddings()
    return tuple(range(count_ids(student.tokenizer), head.weight.shape[0]))


async def _ask_all(client: ManagedVllmClient, draws: Sequence[Draw]) -> list[SampledTokens]:
    """All completions, as many at once as the client lets. Raises EndpointError for one that does
    not come."""
    slots = asyncio.Semaphore(client.concurrency)

    async def ask(draw: Draw) -> SampledTokens:
        async with slots:
            found = await client.sample_tokens(draw)
        if isinstance(found, Failure):
            remedy = REMEDIES.get(found.reason, "Go on from the last checkpoint when it is well.")
            raise EndpointError(f"vllm serve: a completion failed: {found.message}.\n{remedy}")
        return found

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(draw)) for draw in draws]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
