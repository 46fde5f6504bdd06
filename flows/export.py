"""What `tutelage export` does: write a student as one GGUF file, which llama.cpp runs.

The work is done by llama.cpp's own `convert_hf_to_gguf.py`, which knows each kind of model and
belongs to one version of llama.cpp; so it is the user's, and runs in a process of its own.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

from flows.console import Console
from flows.stages.train import STUDENT
from flows.store import write_durably
from generators.errors import ConfigError, RunError
from generators.records import Record

CONVERTER = "convert_hf_to_gguf.py"
LAST_LINES = 15
"""Of what a converter wrote that failed."""
Precision = Literal["f32", "f16", "bf16", "q8_0"]


class Converter(Record):
    """The script, and who runs it."""

    script: Path
    python: Path
    """An interpreter that has what the script imports."""


class ExportedStudent(Record):
    """A GGUF file, and the folder of the model in it."""

    file: Path
    bytes: int
    precision: Precision
    model: Path


def export_student(
    source: Path, file: Path, precision: Precision, converter: Converter, console: Console
) -> ExportedStudent:
    """Write a run's student, or the model of a folder, as a GGUF file.

    Raises RunError where there is no model, the file exists, or the converter fails.
    """
    model = find_model(source)
    if file.exists():
        raise RunError(f"{file}: there is something already; give the name of a new file")
    name = source.resolve().name
    write_durably(file, lambda scratch: _convert(converter, model, scratch, precision, name))
    size = file.stat().st_size
    console.line(f"{file}: {size / 1e6:,.1f} MB ({precision}), from {model}")
    return ExportedStudent(file=file, bytes=size, precision=precision, model=model)


def find_model(source: Path) -> Path:
    """The folder of a run's student, or the folder itself. Raises RunError where it has none."""
    for folder in (source, source / STUDENT):
        if (folder / "config.json").is_file():
            return folder
    raise RunError(
        f"{source}: neither a model's folder (no config.json) nor a run with a student (no"
        f" {STUDENT}/config.json).\nA run has one when it is trained: tutelage train CONFIG"
    )


def find_converter(script: Path | None, python: Path | None) -> Converter:
    """The converter that is named, or that is on the PATH; run by tutelage's own Python unless
    another is named. Raises ConfigError where it is not there."""
    if script is None:
        found = shutil.which(CONVERTER)
        if found is None:
            raise ConfigError(
                f"{CONVERTER} of llama.cpp is not at hand (looked for it on the PATH).\n"
                "Get llama.cpp (github.com/ggml-org/llama.cpp), and say where it is:"
                f" --converter llama.cpp/{CONVERTER}"
            )
        script = Path(found)
    for option, path in (("--converter", script), ("--python", python)):
        if path is not None and not path.is_file():
            raise ConfigError(f"{option} {path}: no such file")
    return Converter(script=script, python=python or Path(sys.executable))


def _convert(
    converter: Converter, model: Path, file: Path, precision: Precision, name: str
) -> None:
    command = [converter.python, converter.script, model, "--model-name", name]
    command += ["--outfile", file, "--outtype", precision]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        environment = {"HF_HUB_OFFLINE": "1"} | dict(os.environ)
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, check=False
        )
        if done.returncode == 0 and file.is_file():
            return
        log.seek(0)
        lines = log.read().splitlines()[-LAST_LINES:]
    told = "\n".join(f"  {line}" for line in lines) or "  (nothing)"
    raise RunError(
        f"{converter.script} ended with code {done.returncode} and made no file. Its last lines:\n"
        f"{told}\n"
        "Where a package is missing, name a Python that has those of llama.cpp's requirements:"
        " --python PATH"
    )
