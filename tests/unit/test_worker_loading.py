"""`module:attribute` names a worker, or the person who wrote it is told what is there instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from saga_service.worker import WorkerNotLoaded, load_worker

SOURCE = """
from saga_service.worker import Worker

payment = Worker("payment")
shipping = Worker("shipping")
number = 5
"""


@pytest.fixture
def shop(directory: Path, module: str) -> str:
    """The name of a module with two workers in the working directory."""
    (directory / f"{module}.py").write_text(SOURCE)
    return module


def test_a_worker_is_found_in_the_working_directory(shop: str) -> None:
    assert load_worker(f"{shop}:payment").service == "payment"


@pytest.mark.parametrize("target", ["", "shop", "shop:", ":payment", ".shop:payment"])
def test_a_name_of_another_form_is_refused_with_the_form(target: str) -> None:
    with pytest.raises(WorkerNotLoaded, match="must be written MODULE:WORKER, such as"):
        load_worker(target)


def test_a_module_that_is_not_there_is_told_of_with_where_it_was_looked_for(directory: Path) -> None:
    with pytest.raises(WorkerNotLoaded) as raised:
        load_worker("no_such_shop.workers:payment")
    assert "there is no module 'no_such_shop'" in str(raised.value)
    assert str(directory) in str(raised.value)


def test_a_missing_worker_is_told_of_with_those_that_are_there(shop: str) -> None:
    with pytest.raises(WorkerNotLoaded, match=f"module '{shop}' has no 'fleet'; its workers: payment, shipping"):
        load_worker(f"{shop}:fleet")


def test_something_else_is_told_of_by_what_it_is(shop: str) -> None:
    with pytest.raises(WorkerNotLoaded, match=r"'number' .* is of type int, and not a Worker; its workers: payment"):
        load_worker(f"{shop}:number")


def test_a_module_without_workers_is_told_of(directory: Path, module: str) -> None:
    (directory / f"{module}.py").write_text("")
    with pytest.raises(WorkerNotLoaded, match="it has no worker at its top level"):
        load_worker(f"{module}:payment")


def test_what_the_module_itself_misses_is_its_own_error(directory: Path, module: str) -> None:
    (directory / f"{module}.py").write_text("import no_such_library")
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        load_worker(f"{module}:payment")
