"""What is to be set about an OpenAI-compatible server: where it is and how it is treated.

The bounds of a batch are those of OpenAI's Batch API.
"""

from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from generators.records import Record

OWN_FIELDS = frozenset({"messages", "model", "n", "prompt", "stream", "tools"})


class EndpointSettings(Record):
    """An OpenAI-compatible server and how to treat it."""

    base_url: str
    """The root of its API, for example `http://127.0.0.1:8000/v1`."""
    api_key_env: str = ""
    """The environment variable that holds the key; empty where the server wants none."""
    model: str = Field(min_length=1)
    """The name by which the server knows the model."""
    concurrency: int = Field(default=64, ge=1)
    """Requests in flight at once."""
    timeout_s: float = Field(default=120, gt=0)
    """How long the server may be silent before a request is given up and sent again."""
    deadline_s: float = Field(default=600, gt=0)
    """How long one request may take with all its attempts and waits."""
    max_attempts: int = Field(default=6, ge=1)
    """How often one request is sent at most."""
    requests_per_minute: int | None = Field(default=None, ge=1)
    """So many requests are sent in any 60 seconds; null sets no limit."""
    tokens_per_minute: int | None = Field(default=None, ge=1)
    """So many tokens, of prompts and answers, are asked for in any 60 seconds; null sets no limit.
    A request that is larger goes alone."""
    breaker_failures: int = Field(default=10, ge=1)
    """After so many failures in a row, of any requests, nothing is sent for a while."""
    breaker_pause_s: float = Field(default=30, gt=0)
    """For how long then. One request probes; while probes fail the pause doubles, up to 300 s."""
    samples_per_request: int = Field(default=1, ge=1)
    """How many draws of one prompt are asked for together. With more than one the draws are the
    server's own, and a seed does not bring one of them back alone."""
    logprobs: bool = False
    """Keep the log-probability of each sampled token."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """More fields for every request, for example `chat_template_kwargs`; null takes a field out
    (`seed: null` for servers that refuse seeds)."""

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        return check_url(url)

    @field_validator("extra_body")
    @classmethod
    def _check_extra(cls, extra: dict[str, Any]) -> dict[str, Any]:
        if own := sorted(OWN_FIELDS & extra.keys()):
            raise ValueError(f"{', '.join(own)}: set by the run itself, take it out")
        return extra


class BatchSettings(Record):
    """How a model is asked by OpenAI's Batch API, for half the price and within 24 hours. The
    model's `concurrency` is then batches under way at once, `max_attempts` how many one request may
    be part of, and `deadline_s` how long the server may do nothing but fail before the run stops;
    what is under way there goes on."""

    poll_s: float = Field(default=60, gt=0)
    """How long to wait before a batch is looked at again."""
    max_requests: int = Field(default=50_000, ge=1, le=50_000)
    """So many requests make a batch at most. Fewer where the account's limit of enqueued tokens is
    low."""
    max_mb: float = Field(default=200, gt=0, le=200)
    """Of so many million bytes is a batch's file at most."""


def check_url(url: str) -> str:
    """The URL without a slash at its end; raises ValueError for what is none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not a URL like http://127.0.0.1:8000/v1")
    if parts.username or parts.password:
        raise ValueError("a URL must not hold a password; name its variable in api_key_env")
    return url.rstrip("/")
