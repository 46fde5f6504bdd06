"""Prompts to models are files: `templates/chat/*.jinja` for models that follow instructions,
`templates/complete/*.jinja`, with examples, for small and base models that only continue text.
What several templates share is a frame (`templates/chat/rewrite.frame`) that they extend.

A template's hash goes into the lineage of every row that it made, and covers what it extends.
"""

import functools
import hashlib
from pathlib import Path
from typing import Any, Literal

import jinja2
from jinja2 import meta

from generators.clients import Request, Sampling
from generators.errors import ConfigError
from generators.records import Message

Form = Literal["chat", "complete"]
TEMPLATES = Path(__file__).parent / "templates"


def render_request(form: Form, name: str, sampling: Sampling, seed: int, **slots: Any) -> Request:
    """Build a request out of the template `name` in the given form.

    A raw completion ends at the line's end, which is where the examples' own lines end.
    """
    text = _template(form, name).render(**slots)
    if form == "chat":
        message = Message(role="user", content=text)
        return Request(messages=(message,), sampling=sampling, seed=seed)
    sampling = sampling.model_copy(update={"stop": ("\n",)})
    return Request(text=text, sampling=sampling, seed=seed)


@functools.cache
def hash_template(form: Form, name: str) -> str:
    """The first 16 hex digits of the SHA-256 of the template's file and of those it extends."""
    files = _with_frames(_file(form, name))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _with_frames(file: Path) -> list[Path]:
    """A template's file, then the files that it extends or includes, however deep."""
    tree = _environment().parse(file.read_text(encoding="utf-8"))
    names = [name for name in meta.find_referenced_templates(tree) if name is not None]
    return [file, *(inner for name in names for inner in _with_frames(TEMPLATES / name))]


def _template(form: Form, name: str) -> jinja2.Template:
    return _environment().get_template(_file(form, name).relative_to(TEMPLATES).as_posix())


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
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
