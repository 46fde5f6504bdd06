"""Configuration files: YAML 1.2 in, a checked pydantic model out, or every mistake at once.

The file is composed into nodes, so that each setting keeps the line and column it stands at; the
values are then validated strictly (`"3"` is not a number, nor is `true`), and each error is told
as `configs/demo.yaml:4:3: teacher.temprature: not a setting (did you mean temperature?)`.
`flows.config_errors` finds the words.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from flows.config_errors import Location, Problem, explain, find_yes_and_no, name_setting
from generators.errors import ConfigError, nearest

M = TypeVar("M", bound=BaseModel)

KINDS = {
    "seeds": ("the settings of a run from seeds", "run"),
    "annotators": ("an annotation's settings", "annotate"),
    "classifier": ("a classifier's settings", "classify"),
    "dataset": ("the settings of a training on its own", "teach"),
}
"""The setting that marks each kind of configuration, what it is called, and the verb for it."""
_MERGE = "tag:yaml.org,2002:merge"
_TEXT = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:timestamp")
"""YAML 1.2 has no timestamps: a date without quotes is text like any other."""


class Mark(NamedTuple):
    """A place in the file, both counted from 1."""

    line: int
    column: int


class Fault(NamedTuple):
    """A problem at its place; `None` where it has no place in the file."""

    mark: Mark | None
    text: str


def read_config(
    path: Path,
    model: type[M],
    *,
    overrides: Mapping[str, Any] = {},
    check: Callable[[M], Iterable[tuple[str, str]]] | None = None,
) -> M:
    """Read a YAML file into `model`.

    `overrides` come from the command line and win over the file; their keys may be dotted
    (`train.steps`). `check` looks at the whole and yields the dotted setting and the text of each
    problem. Raises `ConfigError` with one line per mistake, in the file's order.
    """
    document = _Document(path)
    for setting, value in overrides.items():
        document.override(setting.split("."), value)
    try:
        config = document.validate(model)
    except ValidationError as error:
        document.blame(explain(error, model))
    else:
        document.blame(_read_problem(*found) for found in (check(config) if check else ()))
        if not document.faults:
            return config
    raise ConfigError(_tell(path, document.faults))


def list_settings(path: Path) -> list[str]:
    """The names at the top of a YAML file, by which the kinds of configurations are told apart.
    Raises ConfigError where the file cannot be read."""
    root = _compose(YAML(typ="safe", pure=True), path)
    pairs = root.value if isinstance(root, MappingNode) else []
    return [name.value for name, _ in pairs if isinstance(name, ScalarNode)]


def refuse_other_kinds(path: Path, own: str) -> None:
    """Raise ConfigError, with what to type, for a configuration that has the mark of another kind
    than `own`."""
    for mark in list_settings(path):
        if mark in KINDS and mark != own:
            kind, verb = KINDS[mark]
            raise ConfigError(f"{path}: {kind}. Type: tutelage {verb} {path}")


class _Document:
    """A parsed file: its data, where each setting stands, and what is wrong so far."""

    def __init__(self, path: Path) -> None:
        self.faults: list[Fault] = []
        self._names: dict[Location, Mark] = {}
        self._values: dict[Location, Mark] = {}
        self._overridden: set[Location] = set()
        self._unread: set[Location] = set()
        self._yaml = YAML(typ="safe", pure=True)
        root = _compose(self._yaml, path)
        if root is None or root.tag == "tag:yaml.org,2002:null":
            raise ConfigError(f"{path}: empty: write the run's settings into it")
        if not isinstance(root, MappingNode):
            fault = Fault(
                _mark(root), "expected settings (`name: value`) at the top, got a " + _kind(root)
            )
            raise ConfigError(_tell(path, [fault]))
        self._names[()] = _mark(root)
        self.data: dict[str, Any] = self._read_mapping(root, (), ())

    def override(self, names: Sequence[str], value: Any) -> None:
        *sections, name = names
        settings = self.data
        for section in sections:
            inner = settings.get(section)
            settings[section] = settings = dict(inner) if isinstance(inner, dict) else {}
        settings[name] = value
        self._overridden.add(tuple(names))

    def validate(self, model: type[M]) -> M:
        """Make the model; `yes` and `no` are understood where true or false is asked for."""
        try:
            return _validate(self.data, model)
        except ValidationError as error:
            words = list(find_yes_and_no(error, model))
            if not words:
                raise
        for location, truth in words:
            self._replace(location, truth)
        return _validate(self.data, model)

    def _replace(self, location: Location, value: Any) -> None:
        holder: Any = self.data
        for part in location[:-1]:
            holder = holder[part]
        holder[location[-1]] = value

    def blame(self, problems: Iterable[Problem]) -> None:
        """Add the problems of settings that could be read at all."""
        self.faults.extend(
            self._place(problem) for problem in problems if problem.location not in self._unread
        )

    def _place(self, problem: Problem) -> Fault:
        """Find where a problem stands: at the wrong value, or else at the name."""
        location = problem.location
        depths = range(len(location), 0, -1)
        if any(location[:depth] in self._overridden for depth in depths):
            setting = f"{name_setting(location)} (given on the command line)"
            return Fault(None, f"{setting}: {problem.text}")
        mark = self._values.get(location) if problem.at == "value" else None
        start = len(location) - (problem.at == "section")
        parents = (location[:depth] for depth in range(start, -1, -1))
        mark = mark or next(self._names[parent] for parent in parents if parent in self._names)
        text = f"{name_setting(location)}: {problem.text}" if location else problem.text
        return Fault(mark, text)

    def _read(self, node: Node, location: Location, within: tuple[Node, ...]) -> Any:
        if node in within:
            return self._blame(node, location, "an alias that contains itself")
        if isinstance(node, MappingNode):
            return self._read_mapping(node, location, within)
        if isinstance(node, SequenceNode):
            return self._read_sequence(node, location, within)
        if node.value:
            self._values[location] = _mark(node)
        return self._read_scalar(node, location)

    def _read_sequence(
        self, node: SequenceNode, location: Location, within: tuple[Node, ...]
    ) -> list[Any]:
        items = []
        for index, item in enumerate(node.value):
            self._names[(*location, index)] = _mark(item)
            items.append(self._read(item, (*location, index), (*within, node)))
        return items

    def _read_scalar(self, node: Node, location: Location) -> Any:
        if node.tag in _TEXT:
            return node.value
        try:
            return self._yaml.constructor.construct_object(node)
        except (YAMLError, ValueError):
            self._unread.add(location)
            kind = str(node.tag).replace("tag:yaml.org,2002:", "!!")
            return self._blame(node, location, f"{node.value!r} cannot be read as {kind}")

    def _read_mapping(
        self, node: MappingNode, location: Location, within: tuple[Node, ...]
    ) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        merged: list[Node] = []
        for name_node, value_node in node.value:
            name, mark = name_node.value, _mark(name_node)
            place = (*location, name)
            if name_node.tag == _MERGE:
                merged.append(value_node)
            elif not isinstance(name_node, ScalarNode):
                self._blame(name_node, location, f"a {_kind(name_node)} cannot name a setting")
            elif name in settings:
                first = self._names[place].line
                self._blame(name_node, place, f"set twice (first in line {first})")
            else:
                self._names[place] = mark
                settings[name] = self._read(value_node, place, (*within, node))
        for source in merged:
            self._merge(settings, source, location, (*within, node))
        return settings

    def _merge(
        self, settings: dict[str, Any], source: Node, location: Location, within: tuple[Node, ...]
    ) -> None:
        """Add what `<<` brings and the mapping does not set itself."""
        for part in source.value if isinstance(source, SequenceNode) else [source]:
            if not isinstance(part, MappingNode) or part in within:
                self._blame(part, (*location, "<<"), "brings in no settings")
                continue
            names, values = dict(self._names), dict(self._values)
            brought = self._read_mapping(part, location, within)
            settings.update({name: brought[name] for name in brought if name not in settings})
            self._names |= names
            self._values |= values

    def _blame(self, node: Node, location: Location, text: str) -> None:
        setting = name_setting(location)
        self.faults.append(Fault(_mark(node), f"{setting}: {text}" if setting else text))


def _validate(data: dict[str, Any], model: type[M]) -> M:
    return model.model_validate_json(to_json(data, inf_nan_mode="constants"), strict=True)


def _read_problem(setting: str, text: str) -> Problem:
    location = (int(part) if part.isdigit() else part for part in setting.split("."))
    return Problem(tuple(location), text, "value")


def _compose(yaml: YAML, path: Path) -> Node | None:
    text = _read_text(path)
    try:
        return yaml.compose(text)
    except MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        mark = Mark(at.line + 1, at.column + 1) if at else None
        raise ConfigError(_tell(path, [Fault(mark, _describe_syntax(error))])) from None
    except YAMLError as error:
        reason = str(getattr(error, "reason", error)).splitlines()[0]
        raise ConfigError(f"{path}: not YAML: {reason}") from None


def _describe_syntax(error: MarkedYAMLError) -> str:
    problem = error.problem or "it cannot be read"
    if r"'\t'" in problem:
        return "not YAML: a tab where spaces belong"
    if error.context and error.context_mark and "while" in error.context:
        line = error.context_mark.line + 1
        return f"not YAML: {problem} ({error.context} which begins in line {line})"
    return f"not YAML: {problem}"


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        near = nearest(str(path), [str(file) for file in path.parent.glob("*.y*ml")])
        raise ConfigError(f"{path}: no such file{near}") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: a directory, where a YAML file is expected") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start + 1})") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _mark(node: Node) -> Mark:
    return Mark(node.start_mark.line + 1, node.start_mark.column + 1)


def _kind(node: Node) -> str:
    if isinstance(node, SequenceNode):
        return "list"
    return "mapping" if isinstance(node, MappingNode) else "single value"


def _tell(path: Path, faults: list[Fault]) -> str:
    """One line per fault, in the file's order; those without a place come last."""
    ordered = sorted(
        dict.fromkeys(faults), key=lambda fault: (fault.mark is None, fault.mark or ())
    )
    return "\n".join(
        f"{path}:{fault.mark.line}:{fault.mark.column}: {fault.text}"
        if fault.mark
        else f"{path}: {fault.text}"
        for fault in ordered
    )
