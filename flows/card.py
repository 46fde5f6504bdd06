"""The cards that travel with what a run publishes: one for the dataset, one for the student.

Markdown with the front matter that the Hugging Face Hub reads. Their figures come from the same
facts as the report's, so the two agree.
"""

import re
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

from jinja2 import Environment
from ruamel.yaml import YAML

from flows import glossary, wording, wording_training
from flows.facts import Facts, StudentFacts
from flows.template_words import open_templates
from flows.untrusted_text import show_plainly
from generators.errors import RunError

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""The Hub's size categories, by the number of rows each ends below."""

TAGS = ["synthetic", "distillation", "evol-instruct", "verified", "tutelage"]


def render_card(facts: Facts) -> str:
    """Return the dataset's README.md. Raises `RunError` when no dataset has been published."""
    dataset = facts.dataset
    if dataset is None:
        raise RunError(
            f"run {facts.run.name}: there is no dataset to describe yet; "
            "finish the run first (tutelage run CONFIG)"
        )
    front = {
        "pretty_name": f"{facts.run.name} (tutelage)",
        "license": dataset.licence,
        "task_categories": ["text-generation"],
        "size_categories": [next((s for n, s in SIZES if dataset.rows < n), "1M<n<10M")],
        "tags": TAGS,
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": "train.parquet"}],
            }
        ],
    }
    parts = facts.evaluation.attribution if facts.evaluation else None
    body = load_templates().get_template("dataset_card.md.jinja").render(facts=facts, parts=parts)
    return add_front(front, body)


def render_model_card(facts: Facts) -> str:
    """Return the student's README.md. Raises `RunError` when no student has been trained."""
    training = facts.training
    if training is None:
        raise RunError(
            f"run {facts.run.name}: there is no student to describe yet; "
            "train one first (tutelage train CONFIG)"
        )
    return render_student_card(
        StudentFacts(
            name=facts.run.name,
            config_digest=facts.run.config_digest,
            training=training,
            evaluation=facts.evaluation,
            models=facts.models,
            dataset_hash=facts.dataset.hash if facts.dataset else None,
            rows_told=(wording.tell_verification(facts),) if facts.dataset else (),
            warnings=facts.warnings,
        )
    )


def render_student_card(student: StudentFacts) -> str:
    """Return the README.md of a student, whichever rows it was taught on."""
    licence = next((m.licence for m in student.models if m.role == "student"), "unknown")
    front = {
        "license": licence.lower() if " " not in licence else "other",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "base_model": student.training.base_model.partition("@")[0],
        "tags": TAGS,
    }
    parts = student.evaluation.attribution if student.evaluation else None
    template = load_templates().get_template("model_card.md.jinja")
    return add_front(front, template.render(student=student, parts=parts))


def add_front(front: dict[str, Any], body: str) -> str:
    """A card: the front matter that the Hub reads, and the text."""
    return f"---\n{_dump_yaml(front)}---\n\n{body.strip()}\n"


def _dump_yaml(value: dict[str, Any]) -> str:
    yaml, out = YAML(), StringIO()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 1_000
    yaml.dump(value, out)
    return out.getvalue()


def _show_cell(text: object) -> str:
    """A text for one cell of a table or one run of prose: on one line, with its marks inert."""
    flat = " ".join(show_plainly(str(text), 300).split())
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", flat)


def _fence(text: str) -> str:
    """A code block whose fence no text can close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    mark = "`" * max(3, longest + 1)
    return f"{mark}text\n{show_plainly(text, 1_500)}\n{mark}"


@cache
def load_templates() -> Environment:
    """The Markdown templates' environment, with the words and number forms that they share."""
    # Markdown is not escaped: `cell` and `fence` make texts inert.
    env = open_templates(Path(__file__).with_name("templates"), autoescape=False)
    env.filters.update(cell=_show_cell, fence=_fence)
    env.globals.update(
        tell_making=wording.tell_making,
        tell_verification=wording.tell_verification,
        tell_judge=wording.tell_judge,
        tell_learning=wording.tell_learning,
        tell_format=wording.tell_format,
        tell_skill=wording.tell_skill,
        explain=glossary.explain_reason,
        name_measured=glossary.name_measured,
        tell_signal=wording_training.tell_signal,
    )
    return env
