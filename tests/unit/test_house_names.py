"""Names of files, tests and docstrings: a newcomer finds each idea by the field's word. Each rule is able to fail."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PACKAGE = ROOT / "saga_service"
UNIT = ROOT / "tests" / "unit"

BEGINNINGS_THAT_NEED_A_NEIGHBOUR = re.compile(r"(The same\b|As `|It |Those\b|Likewise\b)")
GERUNDS_THAT_ARE_NOUNS = {
    "authoring": "writing definitions in Python: the word of other tools for it",
    "loading": "from the MODULE:name of a setting to the object that it names",
    "outgoing": "what is sent",
    "trimming": "Redis' word for it",
}
TOPICS_OF_TESTS = {
    "documentation": "examples in docs/ and README are run",
    "lifecycle": "one test over all loops",
    "package": "what importing the package brings along",
}
ON_TWO_FLOORS = {
    "archive": "ended sagas in files, and the command for it",
    "bench": "the measurement, and the command for it",
    "children": "child sagas: decided, on the wire, checked in a definition",
    "connection": "the link to a server, and what its failures mean",
    "dead_letters": "entries that nobody could use: on the wire, in Postgres, and the command for them",
    "definitions": "the command for definitions, and reading them",
    "encryption": "encrypted values: on the wire, in Postgres, and as commands show them",
    "errors": "the exceptions of a library: for handlers, and of Redis",
    "events": "what happens to sagas: in the core, and on the wire",
    "jobs": "operations on many sagas or dead letters: in Postgres, as people ask for them, and the command",
    "keys": "encryption keys, and the command for them",
    "observer": "who is told of what a part does, for metrics",
    "operations": "what operators request of sagas: in the core, and on the wire",
    "postgres": "Postgres: what several parts need of it, each part's use of it, and the embedded server",
    "redis": "Redis, for commands, and the embedded server",
    "process_registry": "services and workers that are alive: in Redis, in Postgres, and the loop that copies them",
    "reference": "a page of docs/ that is made from a table in the code",
    "replies": "what workers reply: sent, on the wire, and in the core",
    "processes": "services and workers that are alive, and the processes that `dev` runs",
    "requests": "requests by SQL: in Postgres, and as commands show them",
    "service": "the service, and its simulation",
    "worker": "a service's worker, and the command that runs it",
    "timers": "what is due: in the core, and the loop that claims it",
}
"""File names that stand in more than one folder, and the one thing that they all speak of."""


def modules() -> Iterator[Path]:
    yield from sorted(PACKAGE.rglob("*.py"))


def python_files() -> Iterator[Path]:
    for folder in ("saga_service", "tests", "deploy"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Every docstring of a module, also those below a constant or a field, with its line."""
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield statement.lineno, value.value


def dependent_docstrings(source: str) -> list[int]:
    return [line for line, text in docstrings(source) if BEGINNINGS_THAT_NEED_A_NEIGHBOUR.match(text)]


@pytest.mark.parametrize("path", list(python_files()), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_docstring_needs_its_neighbour_to_be_understood(path: Path) -> None:
    assert dependent_docstrings(path.read_text()) == []


NOT_MODULES = {"when", "input", "saga_private"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda path: path.parent.name)
def test_a_packages_docstring_names_the_modules_that_are_there(path: Path) -> None:
    there = {module.stem for module in modules()} | {module.parent.name for module in modules()}
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert set(re.findall(r"`([a-z_]+)`", docstring)) - there - NOT_MODULES == set()


def test_files_are_nouns() -> None:
    gerunds = {path.stem for path in modules() if path.stem.endswith("ing")}
    assert gerunds <= GERUNDS_THAT_ARE_NOUNS.keys()


def test_one_file_name_in_two_folders_means_one_thing() -> None:
    folders = defaultdict(set)
    for path in modules():
        if not path.stem.startswith("__"):
            folders[path.stem].add(str(path.parent.relative_to(PACKAGE)))
    doubled = {name for name, places in folders.items() if len(places) > 1}
    assert doubled == ON_TWO_FLOORS.keys()


@pytest.mark.parametrize("folder", sorted(path for path in UNIT.iterdir() if path.is_dir() and path.name[0] != "_"))
def test_every_unit_test_bears_the_name_of_the_module_that_it_tests(folder: Path) -> None:
    package = PACKAGE / folder.name
    names = {"_".join(path.relative_to(package).with_suffix("").parts) for path in package.rglob("*.py")}
    names |= {path.stem for path in package.rglob("*.py")} | {path.parent.name for path in package.rglob("*.py")}
    strangers = [
        path.name
        for path in folder.glob("test_*.py")
        if not any(path.stem == f"test_{name}" or path.stem.startswith(f"test_{name}_") for name in names)
        and path.stem.removeprefix("test_") not in TOPICS_OF_TESTS
    ]
    assert strangers == []


def old_names(changelog: str) -> set[str]:
    """The old names of the contract, out of the changelog's table. Plain words are left out: other things have them."""
    rows = re.findall(r"^\|[^|]*\|([^|]*)\|[^|]*\|$", changelog, re.MULTILINE)
    spans = (span for old in rows for span in re.findall(r"`([^`]+)`", old))
    names = {re.sub(r"\(.*|^\W+", "", span) for span in spans}
    parts = {name.split(".")[-1] if name.count(".") == 2 else name for name in names}
    return {part for part in parts if re.search(r"[_.]", part)}


def texts_that_users_meet() -> Iterator[tuple[str, str]]:
    """Pages, SQL, examples and deployment, and every text in the code: errors, comments of views, JSON's names."""
    for pattern in ("README.md", "[ACS]*.md", "docs/*.md", "compose.yaml", "deploy/*", "saga_service/**/*.[sy][qa]*l"):
        for path in ROOT.glob(pattern):
            if path.name != "CHANGELOG.md":
                yield str(path.relative_to(ROOT)), path.read_text()
    for path in modules():
        texts = (node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
        yield str(path.relative_to(ROOT)), "\n".join(text for text in texts if isinstance(text, str))


def test_no_old_name_of_the_contract_is_left() -> None:
    names = old_names((ROOT / "CHANGELOG.md").read_text())
    assert {"saga.ask", "next_look_at", "finished_order", "SAGA_CODEC", "answers_after"} <= names, "the table was read"
    old = re.compile("|".join(rf"(?<![\w.]){re.escape(name)}(?![\w])" for name in sorted(names)))
    found = {place: sorted(set(old.findall(text))) for place, text in texts_that_users_meet()}
    assert {place: names for place, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('"""The same for steps."""\n', [1]),
        ('class A:\n    """A thing."""\n    x: int\n    """As `y`, but longer."""\n', [4]),
        ('def f() -> None:\n    """It waits no more."""\n', [2]),
        ('def f() -> None:\n    """Items are taken in order."""\n', []),
    ],
)
def test_the_look_for_dependent_docstrings_sees_what_it_should(source: str, lines: list[int]) -> None:
    assert dependent_docstrings(source) == lines
