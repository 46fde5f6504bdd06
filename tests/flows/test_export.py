"""The verb `export`: where llama.cpp's converter is at hand, its file is the student; where it is
not, or fails, that is said.

The converter belongs to llama.cpp and is no dependency. `GGUF_CONVERTER` names it, and
`GGUF_PYTHON` a Python that has what it imports, to have the real one write a file here.
"""

import os
import sys
from pathlib import Path

import pytest
import torch

from flows.cli import main
from flows.export import CONVERTER, find_converter
from generators.embedded import load_model
from generators.errors import ConfigError

REAL = os.environ.get("GGUF_CONVERTER")


@pytest.mark.skipif(REAL is None, reason=f"GGUF_CONVERTER does not name llama.cpp's {CONVERTER}")
def test_the_file_holds_the_student(small_model_dir: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert REAL is not None
    run, file = tmp_path / "run", tmp_path / "files" / "student.gguf"
    run.mkdir()
    layers = ["--layers", "0", "29"]
    assert main(["cut", str(small_model_dir), str(run / "student"), *layers]) == 0
    named = ["--converter", REAL, "--python", os.environ.get("GGUF_PYTHON", sys.executable)]
    assert main(["export", str(run), str(file), "--type", "f32", *named]) == 0
    assert [path.name for path in file.parent.iterdir()] == ["student.gguf"]
    place = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
    read = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(**place)
    model, own = load_model(str(run / "student"), "float32")
    chat = [{"role": "user", "content": "What is 24 + 17?"}]
    ids = own.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
    assert tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"] == ids
    with torch.no_grad():
        one, other = (each(torch.tensor([ids])).logits for each in (read, model))
    torch.testing.assert_close(one, other)


def test_a_converter_that_fails_is_quoted_and_leaves_nothing(
    tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script, file = tmp_path / "failing.py", tmp_path / "files" / "student.gguf"
    script.write_text("import sys\nprint(sys.argv[1:])\nimport nothing_of_this_name\n")
    assert main(["export", str(tiny_model_dir), str(file), "--converter", str(script)]) == 1
    assert list(file.parent.iterdir()) == []
    told = capsys.readouterr().err
    assert told.startswith(f"tutelage: {script} ended with code 1 and made no file. Its last lines")
    assert f"['{tiny_model_dir}', '--model-name', '{tiny_model_dir.name}', '--outfile', " in told
    assert "\n  ModuleNotFoundError: No module named 'nothing_of_this_name'\n" in told
    assert told.endswith(
        "name a Python that has those of llama.cpp's requirements: --python PATH\n"
    )


def test_a_converter_that_is_not_at_hand_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError) as refusal:
        find_converter(None, None)
    assert str(refusal.value) == (
        f"{CONVERTER} of llama.cpp is not at hand (looked for it on the PATH).\n"
        "Get llama.cpp (github.com/ggml-org/llama.cpp), and say where it is: --converter"
        f" llama.cpp/{CONVERTER}"
    )
    for option, script, python in (
        ("--converter", tmp_path / "no", None),
        ("--python", Path(__file__), tmp_path / "no"),
    ):
        with pytest.raises(ConfigError) as refusal:
            find_converter(script, python)
        assert str(refusal.value) == f"{option} {tmp_path}/no: no such file"
    own = tmp_path / CONVERTER
    own.touch(mode=0o755)
    found = find_converter(None, None)
    assert (found.script, found.python) == (own, Path(sys.executable))


def test_what_holds_no_model_and_what_exists_are_left_alone(
    tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script, taken = tmp_path / "never_run.py", tmp_path / "taken.gguf"
    script.touch()
    taken.write_text("mine")
    named = ["--converter", str(script)]
    assert main(["export", str(tmp_path), str(tmp_path / "a.gguf"), *named]) == 1
    assert main(["export", str(tiny_model_dir), str(taken), *named]) == 1
    assert taken.read_text() == "mine"
    assert capsys.readouterr().err.splitlines() == [
        f"tutelage: {tmp_path}: neither a model's folder (no config.json) nor a run with a student "
        "(no student/config.json).",
        "A run has one when it is trained: tutelage train CONFIG",
        f"tutelage: {taken}: there is something already; give the name of a new file",
    ]
