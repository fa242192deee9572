"""Sagas in YAML, each value with its line.

Plain values are read as YAML 1.2 and JSON have them: `yes`, `no`, `on` and `off` are text, and so are dates, `1:30` and
`010`. Keys are always text. Anchors, aliases and merge keys (`<<`) work. A key given twice is
an error, and so are tags.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path as FilePath

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from saga_service.definitions.problems import Path, Problem, SagaSource, path_text, shown
from saga_service.definitions.sources.yaml_syntax import yaml_problem

VALUES_MAX = 50_000
"""Values of one document. An alias counts each time it is used: ten lines of aliases to aliases can mean billions."""

_TAG = "tag:yaml.org,2002:"
_CORE_SCHEMA = [
    (f"{_TAG}null", re.compile(r"(?:~|null|Null|NULL|)\Z")),
    (f"{_TAG}bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")),
    (f"{_TAG}int", re.compile(r"[-+]?(?:0|[1-9][0-9]{0,19})\Z")),
    (f"{_TAG}float", re.compile(r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?\Z")),
]


class _Loader(yaml.SafeLoader):
    # PyYAML asks for the patterns under None whatever a value begins with.
    yaml_implicit_resolvers = {None: _CORE_SCHEMA}  # noqa: RUF012 - as PyYAML declares it


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


_SCALARS: dict[str, Callable[[str], object]] = {
    f"{_TAG}null": lambda text: None,
    f"{_TAG}bool": _truth,
    f"{_TAG}int": int,
    f"{_TAG}float": float,
    f"{_TAG}str": str,
}


def read_yaml_file(file: FilePath) -> tuple[list[SagaSource], list[Problem]]:
    """Every saga in the file, one a document, and the problems of the file as YAML."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return [], [Problem(str(file), "", "there is no such file")]
    except OSError as error:
        return [], [Problem(str(file), "", f"cannot be read: {(error.strerror or str(error)).lower()}")]
    except UnicodeDecodeError as error:
        return [], [
            Problem(str(file), "", f"is not UTF-8: the octet at {error.start} cannot be read; save it as UTF-8")
        ]
    return read_yaml(text, str(file))


def read_yaml(text: str, place: str) -> tuple[list[SagaSource], list[Problem]]:
    """Every saga in a text, one a document, and the problems of the text as YAML; `place` is its name in these."""
    try:
        documents = [node for node in yaml.compose_all(text, Loader=_Loader) if not _is_empty(node)]
        readings = [_Reading(place) for _ in documents]
        sagas = [reading.document(node) for reading, node in zip(readings, documents, strict=True)]
    except (yaml.YAMLError, RecursionError, _TooMuch) as error:
        return [], [_unreadable(text, place, error)]
    if not sagas:
        return [], [Problem(place, "", "holds no saga; write at least 'name' and 'steps'")]
    return sagas, [problem for reading in readings for problem in reading.problems]


def _unreadable(text: str, place: str, error: Exception) -> Problem:
    match error:
        case RecursionError():
            return Problem(place, "", "is nested too deeply")
        case _TooMuch():
            return Problem(place, "", f"holds more than {VALUES_MAX} values, counting an alias as often as it is used")
        case yaml.reader.ReaderError():
            line, problem = text.count("\n", 0, error.position) + 1, yaml_problem(error)[1]
            return Problem(f"{place}:{line}", "", problem)
        case yaml.YAMLError():
            line_known, problem = yaml_problem(error)
            return Problem(place if line_known is None else f"{place}:{line_known}", "", problem)
        case _:
            raise AssertionError("no other error is passed on") from error


def _is_empty(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.tag == f"{_TAG}null"


class _TooMuch(Exception):
    pass


class _Reading:
    """Reads one document from YAML's nodes to plain values."""

    def __init__(self, place: str) -> None:
        self.problems: list[Problem] = []
        self._place = place
        self._lines: dict[Path, int] = {}
        self._open: list[Node] = []
        self._values = 0

    def document(self, node: Node) -> SagaSource:
        self._lines[()] = _line(node)
        return SagaSource(self._value(node, ()), self._place, self._lines)

    def _value(self, node: Node, path: Path) -> object:
        self._values += 1
        if self._values > VALUES_MAX:
            raise _TooMuch
        if node in self._open:
            self._report(self._lines[path], path, "is an alias of what holds it")
            return None
        self._open.append(node)
        try:
            return self._content(node, path)
        finally:
            self._open.pop()

    def _content(self, node: Node, path: Path) -> object:
        match node:
            case MappingNode(tag="tag:yaml.org,2002:map"):
                return self._mapping(node, path)
            case SequenceNode(tag="tag:yaml.org,2002:seq"):
                return self._sequence(node, path)
            case ScalarNode() if node.tag in _SCALARS:
                return self._scalar(node, path)
            case _:
                tag = shown(node.tag.replace(_TAG, "!!"))
                text = f"has the tag {tag}; write plain values, and a text that begins with '!' between quotes"
                self._report(_line(node), path, text)
                return node.value if isinstance(node, ScalarNode) else None

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, object]:
        content: dict[str, object] = {}
        merged: list[Node] = []
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._report(_line(key_node), path, "has a key that is not text")
                continue
            if _is_merge_key(key_node):
                merged += value_node.value if isinstance(value_node, SequenceNode) else [value_node]
                continue
            # As it is written, so that `on` or `1` is a key like any other.
            key = key_node.value
            inner = (*path, key)
            if key in content:
                self._report(_line(key_node), inner, f"is given twice, first in line {self._lines[inner]}; keep one")
                continue
            self._lines[inner] = _line(key_node)
            content[key] = self._value(value_node, inner)
        for each in merged:
            self._merge(each, content, path)
        return content

    def _merge(self, node: Node, content: dict[str, object], path: Path) -> None:
        """Take over the keys of another mapping that this one does not have."""
        if not isinstance(node, MappingNode):
            self._report(
                _line(node), (*path, "<<"), "merges what is no mapping; write '<<: *name' for one with '&name'"
            )
            return
        lines = self._lines
        self._lines = {path: lines[path]}
        other, lines_of_other = self._value(node, path), self._lines
        self._lines = lines
        assert isinstance(other, dict) or other is None, "a mapping was read"
        for key, value in (other or {}).items():
            if key in content:
                continue
            content[key] = value
            inner = (*path, key)
            lines |= {known: line for known, line in lines_of_other.items() if known[: len(inner)] == inner}

    def _sequence(self, node: SequenceNode, path: Path) -> list[object]:
        content: list[object] = []
        for position, value_node in enumerate(node.value):
            inner = (*path, position)
            self._lines[inner] = _line(value_node)
            content.append(self._value(value_node, inner))
        return content

    def _scalar(self, node: ScalarNode, path: Path) -> object:
        try:
            return _SCALARS[node.tag](node.value)
        except ValueError:
            kind = node.tag.removeprefix(_TAG)
            self._report(_line(node), path, f"is tagged !!{kind}, but is {shown(node.value)}")
            return None

    def _report(self, line: int, path: Path, text: str) -> None:
        self.problems.append(Problem(f"{self._place}:{line}", path_text(path), text))


def _is_merge_key(node: ScalarNode) -> bool:
    return node.value == "<<" and node.style is None


def _line(node: Node) -> int:
    return node.start_mark.line + 1
