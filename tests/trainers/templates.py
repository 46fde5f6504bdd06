"""A tokenizer under another chat template."""

from pathlib import Path
from typing import Any


def put_template(tokenizer: Any, template: str | None, folder: Path) -> Any:
    """A copy of the tokenizer, by way of a folder, that writes conversations by this template."""
    tokenizer.save_pretrained(folder)
    copy = type(tokenizer).from_pretrained(folder)
    copy.chat_template = template
    return copy
