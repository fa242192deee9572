"""`module:attribute` names a worker, or the person who wrote it is told what is there instead."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from saga_service.worker import WorkerNotLoaded, load_worker

SOURCE = """
from saga_service.worker import Worker

payment = Worker("payment")
shipping = Worker("shipping")
number = 5

@payment.handler("payment.charge")
async def charge(command: dict[str, object]) -> None: ...
"""

IMPORT = "from saga_service.worker import Worker"
CHARGE = f"{IMPORT}\npayment = Worker('payment')\n@payment.handler('payment.charge'"


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


def test_a_module_that_is_named_without_its_worker_is_told_which_are_meant(shop: str) -> None:
    with pytest.raises(WorkerNotLoaded) as raised:
        load_worker(shop)
    assert str(raised.value).endswith(f"did you mean {shop}:payment or {shop}:shipping?")


def test_a_missing_module_is_reported_with_where_it_was_looked_for(directory: Path) -> None:
    with pytest.raises(WorkerNotLoaded) as raised:
        load_worker("no_such_shop.workers:payment")
    assert "there is no module 'no_such_shop'" in str(raised.value)
    assert str(directory) in str(raised.value)


def test_a_file_in_the_place_of_its_module_is_told_what_to_write(shop: str) -> None:
    with pytest.raises(WorkerNotLoaded, match=f"write the module's name without .py, '{shop}'"):
        load_worker(f"{shop}.py:payment")


def test_a_missing_worker_is_told_of_with_those_that_are_there(shop: str) -> None:
    with pytest.raises(WorkerNotLoaded, match=f"module '{shop}' has no 'fleet'; its workers: payment, shipping"):
        load_worker(f"{shop}:fleet")


def test_something_else_is_reported_by_its_type(shop: str) -> None:
    with pytest.raises(WorkerNotLoaded, match=r"'number' .* is of type int and no Worker; its workers: payment"):
        load_worker(f"{shop}:number")


def test_a_module_without_workers_is_told_of(directory: Path, module: str) -> None:
    (directory / f"{module}.py").write_text("")
    with pytest.raises(WorkerNotLoaded, match="it has no worker at its top level"):
        load_worker(f"{module}:payment")


@pytest.mark.parametrize(
    ("source", "line", "said"),
    [
        ("import no_such_library", 1, "cannot be imported: ModuleNotFoundError: No module named 'no_such_library'"),
        ("\ndef", 2, "cannot be imported: SyntaxError: invalid syntax"),
        ("import os\n\nos.environ['NOT_SET']", 3, "cannot be imported: KeyError: 'NOT_SET'"),
        (f"{IMPORT}\nWorker('x.y')", 2, "a service's name is made of letters, digits, '-' and '_', but is 'x.y'"),
        (
            f"{CHARGE}, heartbeat='5s')\nasync def charge(): ...",
            3,
            "'payment.charge': its heartbeat must be a number of seconds, but is '5s'",
        ),
        (
            f"{CHARGE}, heartbeat=0)\nasync def charge(): ...",
            3,
            "'payment.charge': its heartbeat must be at least 0.1, but is 0",
        ),
    ],
)
def test_a_mistake_in_the_module_is_one_line_with_its_place(
    directory: Path, module: str, source: str, line: int, said: str
) -> None:
    path = directory / f"{module}.py"
    path.write_text(source)
    with pytest.raises(WorkerNotLoaded) as raised:
        load_worker(f"{module}:payment")
    assert str(raised.value).startswith(f"{path}:{line}: {said}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("", "worker 'payment' has no handlers; register them with @worker.handler(...)"),
        (
            "payment.answer_probes('payment.look', of='payment.chrage')",
            "'payment.look' names the action 'payment.chrage', for which worker 'payment' has no handler",
        ),
    ],
)
def test_what_a_worker_lacks_is_reported_when_it_is_loaded(
    directory: Path, module: str, written: str, said: str
) -> None:
    path = directory / f"{module}.py"
    path.write_text(
        "from saga_service.worker import PostgresInbox, Worker\n"
        f"payment = Worker('payment', inbox=PostgresInbox('postgresql://shop'))\n{written}"
    )
    with pytest.raises(WorkerNotLoaded) as raised:
        load_worker(f"{module}:payment")
    assert str(raised.value).startswith(f"{path}: {said}")


def test_a_module_that_hides_the_one_that_is_meant_is_named(
    directory: Path, module: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / module).mkdir()
    (directory / module / "workers.py").write_text(SOURCE)
    hiding = tmp_path_factory.mktemp("elsewhere") / f"{module}.py"
    hiding.write_text("")
    monkeypatch.setattr(sys, "path", [str(hiding.parent), str(directory), *sys.path])

    with pytest.raises(WorkerNotLoaded) as raised:
        load_worker(f"{module}.workers:payment")

    assert str(raised.value) == (
        f"there is no module '{module}.workers': `{module}` is {hiding}, which is no package; "
        "rename one of the two, or put the right one first in PYTHONPATH"
    )


def test_a_module_that_would_end_the_process_is_told_with_its_place(directory: Path) -> None:
    (directory / "ending.py").write_text("import sys\n\nsys.exit(3)\n")
    with pytest.raises(
        WorkerNotLoaded, match=r"ending\.py:3: cannot be imported: ImportError: SystemExit was raised: 3"
    ):
        load_worker("ending:worker")
