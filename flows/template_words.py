"""How templates are opened, and the words and forms of numbers that all of them share: the report,
the cards and the viewer say the same thing in the same way."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from flows import glossary, wording


def open_templates(folder: Path, *, autoescape: bool) -> Environment:
    """The templates of a folder; a name that they are not told is an error."""
    env = Environment(
        loader=FileSystemLoader(folder),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(
        number=wording.format_count,
        share=wording.format_share,
        range=wording.format_range,
        duration=wording.format_seconds,
        noun=wording.count_noun,
        code=glossary.name_code,
        stage=glossary.name_stage,
    )
    env.globals.update(
        OPERATORS=glossary.OPERATORS,
        VERIFIED_BY=glossary.VERIFIED_BY,
        OBJECTIVES=glossary.OBJECTIVES,
    )
    return env
