"""Loading: files, directories and modules become one catalog."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent

from saga_service.definitions import Catalog, load_definitions
from saga_service.wire.transport import StreamNames


def saga_text(name: str, more: str = "") -> str:
    return f"name: {name}\nsteps: [{{name: a, action: {name}.do}}]\n{more}"


def names_of(catalog: Catalog) -> list[str]:
    return [definition.name for definition in catalog.definitions()]


def test_sources_are_files_directories_and_modules_in_their_order(directory: Path, module: str) -> None:
    (directory / "one.yaml").write_text(saga_text("one"))
    (directory / "many").mkdir()
    (directory / "many" / "c.yml").write_text(saga_text("c"))
    (directory / "many" / "b.yaml").write_text(saga_text("b1") + "---\n" + saga_text("b2"))
    (directory / "many" / "notes.txt").write_text("not a saga")
    (directory / "many" / "..data").mkdir()
    (directory / "many" / "..data" / "c.yml").write_text(saga_text("c"))
    (directory / f"{module}.py").write_text(
        dedent(
            """\
            from saga_service import Saga, Step
            def saga(name):
                return Saga(name, steps=[Step("a", action="x.do")])
            order = same = saga("order")
            more = [saga("refund"), order]
            """
        )
    )
    catalog = load_definitions(["one.yaml", module, "many/"])
    assert names_of(catalog) == ["one", "order", "refund", "b1", "b2", "c"]
    assert names_of(load_definitions([f"{module}:more"])) == ["refund", "order"]
    assert names_of(load_definitions([f"{module}:order"])) == ["order"]


def test_a_directory_without_yaml_may_be_a_package(directory: Path, module: str) -> None:
    (directory / module).mkdir()
    package = "from saga_service import Saga, Step\norder = Saga('order', steps=[Step('a', action='x.do')])\n"
    (directory / module / "__init__.py").write_text(package)
    assert names_of(load_definitions([module])) == ["order"]
    (directory / module / "one.yaml").write_text(saga_text("one"))
    assert names_of(load_definitions([module])) == ["one"]


def test_a_source_given_twice_is_read_once(directory: Path) -> None:
    (directory / "one.yaml").write_text(saga_text("one"))
    assert names_of(load_definitions(["one.yaml", "one.yaml"])) == ["one"]


def test_no_source_is_an_empty_catalog() -> None:
    assert load_definitions([]).definitions() == []


def test_reading_yaml_imports_nothing(directory: Path, module: str) -> None:
    (directory / f"{module}.py").touch()
    (directory / f"{module}.yaml").write_text(saga_text("one"))
    load_definitions([f"{module}.yaml"])
    assert module not in sys.modules


def test_only_the_streams_of_this_deployment_are_its_own(directory: Path) -> None:
    (directory / "one.yaml").write_text(saga_text("one", "triggers: [{stream: 'saga:events'}]"))
    catalog = load_definitions(["one.yaml"], StreamNames("mine:"))
    assert catalog.trigger_streams() == [("saga:events", None)]
