"""The house's own rules, those that no linter has: each with its reason, and each able to fail."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PACKAGE = ROOT / "saga_service"
CORE_MAY_IMPORT = {
    "__future__",
    "collections",
    "dataclasses",
    "enum",
    "functools",
    "hashlib",
    "itertools",
    "json",
    "math",
    "re",
    "typing",
}
LINES_MAX = {"saga_service": 400, "tests": 700}
LONGER_FOR_A_REASON: dict[str, str] = {}
NOT_OURS = {".git", ".venv", ".saga", ".hypothesis", "__pycache__", "dist"}
TEXT_SUFFIXES = {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".sql", ".ini", ".json", ".mako", ""}
# In the name of a test: what a set of two or more, or an object without a name of its own, prints.
ORDER_OF_A_SET = re.compile(r"\{['\d][^:{}]*, [^:{}]*\}| at 0x[0-9a-f]+")
# Written apart, so that this file does not hold what it looks for.
REGISTRY_HOSTS = [".".join(parts) for parts in (
    ("pypi", "org"), ("pythonhosted", "org"), ("docker", "io"), ("ghcr", "io"), ("quay", "io"), ("gcr", "io"),
    ("npmjs", "org"), ("proxy", "golang", "org"), ("crates", "io"), ("mcr", "microsoft", "com"),
)]  # fmt: skip


def python_files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def text_files() -> Iterator[Path]:
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in NOT_OURS and not name.endswith("_cache")]
        for path in (Path(folder, name) for name in names):
            if path.suffix in TEXT_SUFFIXES and path.name != ".env":
                yield path


def imported_roots(source: str) -> set[str]:
    """The top names of what a module imports; of this package, the whole name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "." * node.level)
    return {name if name.startswith("saga_service") else name.split(".")[0] for name in names}


def swallowed_errors(source: str) -> list[int]:
    """Lines of handlers that catch everything and do nothing about it."""
    handlers = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ExceptHandler)]
    return [handler.lineno for handler in handlers if _catches_everything(handler) and _does_nothing(handler)]


def _catches_everything(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or ast.unparse(handler.type) in ("Exception", "BaseException")


def _does_nothing(handler: ast.ExceptHandler) -> bool:
    return all(isinstance(line, ast.Pass | ast.Continue) or _is_constant(line) for line in handler.body)


def _is_constant(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)


@pytest.mark.parametrize("path", list(python_files("saga_service/core")), ids=lambda path: path.name)
def test_the_core_imports_a_pure_part_of_the_standard_library_and_itself(path: Path) -> None:
    foreign = {
        name
        for name in imported_roots(path.read_text())
        if name not in CORE_MAY_IMPORT and not name.startswith("saga_service.core")
    }
    assert foreign == set()


def test_no_file_is_too_long_without_a_reason() -> None:
    too_long = {
        str(path.relative_to(ROOT))
        for folder, lines_max in LINES_MAX.items()
        for path in python_files(folder)
        if len(path.read_text().splitlines()) > lines_max
    }
    assert too_long == LONGER_FOR_A_REASON.keys(), "split it along an idea, or give the reason here"


def test_no_error_is_swallowed() -> None:
    found = {
        str(path.relative_to(ROOT)): lines
        for path in python_files("saga_service", "tests")
        if (lines := swallowed_errors(path.read_text()))
    }
    assert found == {}


def test_nothing_names_a_package_registry() -> None:
    hosts = re.compile("|".join(rf"(?<![\w.-])(?:[\w-]+\.)*{re.escape(host)}\b" for host in REGISTRY_HOSTS))
    found = {str(path.relative_to(ROOT)): hosts.findall(path.read_text()) for path in text_files()}
    assert {name: hits for name, hits in found.items() if hits} == {}


def test_every_process_gives_the_tests_the_same_names_in_the_same_order(request: pytest.FixtureRequest) -> None:
    """The order of a set differs from process to process, and two that share the tests out would not start."""
    items = request.session.items
    assert [item.nodeid for item in items if ORDER_OF_A_SET.search(item.nodeid)] == [], "name its cases: ids=[...]"
    drawn = [(item.nodeid, mark.args[1]) for item in items for mark in item.iter_markers("parametrize")]
    assert [name for name, values in drawn if isinstance(values, set | frozenset)] == [], "sort its cases"


def test_every_make_target_is_in_the_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = set(re.findall(r"^\.PHONY: (\S+)$", makefile, re.MULTILINE))
    explained = set(re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE))
    assert phony
    assert phony == explained


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("try:\n    f()\nexcept Exception:\n    pass\n", [3]),
        ("try:\n    f()\nexcept:\n    ...\n", [3]),
        ("for x in y:\n    try:\n        f()\n    except BaseException:\n        continue\n", [4]),
        ("try:\n    f()\nexcept KeyError:\n    pass\n", []),
        ("try:\n    f()\nexcept Exception as error:\n    raise Other() from error\n", []),
    ],
)
def test_the_look_for_swallowed_errors_sees_what_it_should(source: str, lines: list[int]) -> None:
    assert swallowed_errors(source) == lines


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"one", "two"}, True),
        (frozenset({1, 2}), True),
        (object(), True),
        ({"one"}, False),
        ({"one": 1, "two": 2}, False),
    ],
    ids=["set", "frozenset", "object", "set of one", "mapping"],
)
def test_the_look_at_the_names_of_tests_sees_what_it_should(value: object, *, found: bool) -> None:
    assert bool(ORDER_OF_A_SET.search(str(value))) is found


def test_the_look_at_imports_sees_what_it_should() -> None:
    source = (
        "import os.path\nfrom time import monotonic\nfrom saga_service.wire import keys\ndef f():\n    import uuid\n"
    )
    assert imported_roots(source) == {"os", "time", "saga_service.wire", "uuid"}
