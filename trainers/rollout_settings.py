"""Who writes the completions that a student is trained on, and how: light records for the
configuration."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from generators.records import Record
from generators.vllm_server import ServeSettings

KEPT_OPTIONS: Mapping[str, str] = {"generation-config": "vllm", "logprobs-mode": "raw_logprobs"}
"""Of `vllm serve`: the draw is what the settings say, and log-probabilities are the model's own."""


class RolloutServe(ServeSettings):
    """A vLLM server that is started on the student and given its weights as it learns."""

    concurrency: int = Field(default=64, ge=1)
    """Completions under way at once."""
    timeout_s: float = Field(default=600, gt=0)
    """How long one completion may take with all its attempts."""

    @field_validator("options")
    @classmethod
    def _keep_the_draw(cls, options: dict[str, Any]) -> dict[str, Any]:
        if kept := sorted(KEPT_OPTIONS.keys() & options.keys()):
            raise ValueError(f"{', '.join(kept)}: set by the training itself, take it out")
        return options


class RolloutSettings(Record, allow_inf_nan=False):
    """Completions that the student writes itself while it is trained."""

    share: float = Field(default=1.0, ge=0, le=1)
    """The share of rows whose completion is the student's own; of the others it is the data's."""
    max_new_tokens: int = Field(default=64, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    teacher_mix: float = Field(default=0.0, ge=0, lt=1)
    """The teacher's weight in the distribution that is drawn from (MiniLLM: 0.2)."""
    buffer: int = Field(default=0, ge=0)
    """So many earlier completions are kept and may be learned from again."""
    max_age: int | None = Field(default=None, ge=1)
    """Those written longer ago than so many steps are not."""
    reuse: float = Field(default=0.0, ge=0, lt=1)
    """The share of the student's completions that is taken from the buffer."""
    serve: RolloutServe | None = None
    """How to start a vLLM server that writes them; without it they are written in this process."""

    @model_validator(mode="after")
    def _one_writer(self) -> Self:
        if self.serve is not None and self.teacher_mix > 0:
            raise ValueError(
                "serve: a server writes with the student's weights alone; set teacher_mix to 0, or"
                " leave serve out"
            )
        return self


_INERT_OF_SERVE = {
    *("python", "env", "start_timeout_s", "stop_timeout_s", "max_restarts"),
    *("concurrency", "timeout_s"),
}
INERT_OF_TRAINING: dict[str, Any] = {
    "rollouts": {"serve": _INERT_OF_SERVE},
    "phases": {"__all__": {"rollouts": {"serve": _INERT_OF_SERVE}}},
}
"""Settings that decide nothing of what is learned, for `model_dump` to leave out."""
