"""Prompts to models are files: `templates/chat/*.jinja` for models that follow instructions,
`templates/complete/*.jinja`, with examples, for small and base models that only continue text.
What several templates share is a frame (`templates/chat/rewrite.frame`) that they extend. A file
from elsewhere (a method, `generators.method`) may stand in a template's place.

A template's hash goes into the lineage of every row that it made, and covers what it extends. All
are rendered in a sandbox, since a file from elsewhere may be anybody's.
"""

import functools
import hashlib
from pathlib import Path
from typing import Any, Literal

import jinja2
from jinja2 import meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from generators.clients import Request, Sampling
from generators.errors import ConfigError
from generators.records import Message

Form = Literal["chat", "complete"]
Template = str | Path
"""The name of one of our templates, or the path of a file."""
TEMPLATES = Path(__file__).parent / "templates"


def render_request(
    form: Form, template: Template, sampling: Sampling, seed: int, **slots: Any
) -> Request:
    """Build a request out of a template: ours of this name in the given form, or a file.

    A raw completion ends at the line's end, which is where the examples' own lines end.
    """
    text = _load(form, template).render(**slots)
    if form == "chat":
        message = Message(role="user", content=text)
        return Request(messages=(message,), sampling=sampling, seed=seed)
    sampling = sampling.model_copy(update={"stop": ("\n",)})
    return Request(text=text, sampling=sampling, seed=seed)


def hash_template(form: Form, template: Template) -> str:
    """The first 16 hex digits of the SHA-256 of the template's file and of those it extends."""
    return _hash_file(template) if isinstance(template, Path) else _hash_named(form, template)


@functools.cache
def _hash_named(form: Form, name: str) -> str:
    return _hash_file(_file(form, name))


def _hash_file(file: Path) -> str:
    files = _with_frames(file)
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _with_frames(file: Path) -> list[Path]:
    """A template's file, then the files that it extends or includes, however deep."""
    names = list_frames(file)
    return [file, *(inner for name in names for inner in _with_frames(TEMPLATES / name))]


def list_frames(file: Path) -> list[str]:
    """The names of the templates that a file itself extends or includes."""
    tree = _environment().parse(file.read_text(encoding="utf-8"))
    return [name for name in meta.find_referenced_templates(tree) if name is not None]


def _load(form: Form, template: Template) -> jinja2.Template:
    if isinstance(template, Path):
        return _compile(template.read_text(encoding="utf-8"))
    return _environment().get_template(_file(form, template).relative_to(TEMPLATES).as_posix())


@functools.lru_cache(maxsize=64)
def _compile(source: str) -> jinja2.Template:
    return _environment().from_string(source)


@functools.cache
def _environment() -> jinja2.Environment:
    return ImmutableSandboxedEnvironment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
    )


def _file(form: Form, name: str) -> Path:
    file = TEMPLATES / form / f"{name}.jinja"
    if not file.is_file():
        known = ", ".join(sorted(f.stem for f in file.parent.glob("*.jinja")))
        raise ConfigError(f"templates/{form}/{name}.jinja: no such template (there are: {known})")
    return file
