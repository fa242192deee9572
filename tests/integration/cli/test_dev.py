"""`dev` as a process: whatever ends it, nothing that it has started stays."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil
import pytest

from saga_service.admin.failure_kinds import Failure
from saga_service.cli.console import development
from saga_service.local.servers import EmbeddedServers
from saga_service.local.servers.process import wait_until_gone
from saga_service.settings import Settings
from tests.support.command_line import run_process
from tests.support.servers import memory
from tests.support.waiting import eventually

WORKERS = """
import subprocess
from saga_service.worker import Worker

subprocess.Popen(["sleep", "600"])  # a child of the author's own
shop = Worker("shop")

@shop.handler("shop.open")
async def open_shop(command: dict[str, object]) -> None: ...
"""


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that every user may enter, unlike those of pytest, with a path that a socket can have."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="saga-test-", dir=memory() or "/tmp") as folder:
        Path(folder).chmod(0o711)
        (Path(folder) / "shop_of_dev.py").write_text(WORKERS)
        yield Path(folder)


def as_in_a_terminal() -> None:
    """Heed SIGHUP, also where whoever runs the tests does not (`nohup`)."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def no_port_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests run side by side, and two that prefer one port may both find it free."""
    monkeypatch.setenv("SAGA_HTTP_PORT", "0")


@pytest.fixture
def dev(folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "saga_service", "dev", "-w", "shop_of_dev:shop", "--folder", str(folder / "data")],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=as_in_a_terminal,
    )
    yield process
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def until_it_runs(process: subprocess.Popen[str]) -> list[str]:
    """What it has said until then."""
    assert process.stdout is not None
    said: list[str] = []
    while not said or "Ctrl-C ends it" not in said[-1]:
        said.append(process.stdout.readline())
        assert said[-1], f"dev has ended by itself: {said}"
    return said


async def family_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """All that `dev` has started, once the last of them is there."""
    until_it_runs(process)

    def all_of_them() -> list[psutil.Process]:
        family = psutil.Process(process.pid).children(recursive=True)
        return family if any(member.name() == "sleep" for member in family) else []

    return await eventually(all_of_them, within_s=60)


def living(family: list[psutil.Process]) -> list[psutil.Process]:
    return wait_until_gone(family, wait_s_max=0)


async def test_when_dev_is_killed_nothing_of_its_process_tree_stays(dev: subprocess.Popen[str]) -> None:
    family = await family_of(dev)
    assert len(family) >= 5

    dev.kill()

    await eventually(lambda: not living(family), within_s=30)


SHOP = """
import os
from asyncpg import Connection
from pydantic import BaseModel
from saga_service import Saga, Step
from saga_service.worker import PostgresInbox, Worker

class Order(BaseModel):
    order_id: str

order = Saga("shop-order", input=Order, key="order_id", steps=[Step("reserve", action="shop.reserve")])
shop = Worker("shop", inbox=PostgresInbox(os.environ["SAGA_POSTGRES_DSN"]))

@shop.handler("shop.reserve")
async def reserve(order: Order, connection: Connection) -> dict[str, int]:
    return {"version": 1}
"""


def dev_of(folder: Path, *arguments: str, **settings: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "saga_service", "dev", "--folder", str(folder / "data"), *arguments],
        cwd=folder,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


class Said:
    """What a process says, line by line; each line is waited for."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.all: list[str] = []
        threading.Thread(target=self._read, args=(process.stdout,), daemon=True).start()

    def _read(self, stdout: IO[str]) -> None:
        with stdout:
            for line in stdout:
                self._lines.put(line)
        self._lines.put("")

    async def until(self, part: str, within_s: float = 60.0) -> str:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            try:
                line = self._lines.get_nowait()
            except queue.Empty:
                await asyncio.sleep(0.01)
                continue
            if not line:
                break
            self.all.append(line)
            if part in line:
                return line
        raise AssertionError(f"nothing with '{part}' came, but: {''.join(self.all)}")


async def test_a_first_hour_with_dev(folder: Path) -> None:
    """The inbox has its table, `list` finds dev, an end is one line, and a saved file is taken up or refused."""
    shop = folder / "shop_of_dev.py"
    shop.write_text(SHOP)
    dev = dev_of(folder, "-d", "shop_of_dev", "-w", "shop_of_dev:shop", SAGA_STREAM_PREFIX="mine:")
    beside = {name: value for name, value in os.environ.items() if not name.startswith("SAGA_")}

    async def command(*arguments: str) -> str:
        program = [sys.executable, "-m", "saga_service", *arguments]
        process = await asyncio.create_subprocess_exec(
            *program, cwd=folder, env={**beside, "SAGA_STREAM_PREFIX": "mine:"}, stdout=subprocess.PIPE
        )
        out, _ = await process.communicate()
        return out.decode()

    try:
        said = Said(dev)
        await said.until("XADD mine:events")
        await said.until("PostgresInbox(os.environ['SAGA_POSTGRES_DSN'])")
        await said.until("Ctrl-C ends it")

        elsewhere = folder / "elsewhere"
        elsewhere.mkdir()
        [exported] = [line.strip() for line in said.all if line.startswith("  export ")]
        pasted = f"{exported}\n{sys.executable} -m saga_service start shop-order -f order_id=A-0"
        there = await asyncio.create_subprocess_shell(pasted, cwd=elsewhere, env=beside)
        assert await there.wait() == 0, pasted

        await command("start", "shop-order", "-f", "order_id=A-1", "--wait")
        assert "completed: shop-order A-1 (" in await said.until("completed: shop-order A-1")
        assert "A-1" in await command("list")

        shop.write_text(SHOP.replace('action="shop.reserve"', 'action="shop.reserv"'))
        assert "did you mean 'shop.reserve'?" in await said.until("problem: ")
        await said.until("starting anew")

        shop.write_text(SHOP + "import no_such_module")
        await said.until("no_such_module")
        await said.until("what ran before goes on")

        second = await asyncio.to_thread(dev_of(folder).communicate, timeout=20)
        assert f"process {dev.pid} uses the embedded servers" in second[0]
    finally:
        dev.terminate()
        await asyncio.to_thread(dev.wait)
    assert dev.returncode == 0
    assert await command("list") == ""


async def test_sagas_without_workers_of_ones_own_are_answered_by_nobody(folder: Path) -> None:
    (folder / "order.yaml").write_text("name: order\nsteps: [{name: charge, action: payment.charge}]\n")
    dev = dev_of(folder, "-d", "order.yaml", "--no-reload")
    try:
        said = Said(dev)
        await said.until("no workers run here, and the sagas need payment")
        await said.until("Ctrl-C ends it")
        assert not any("worker started" in line for line in said.all)
    finally:
        dev.terminate()
        await asyncio.to_thread(dev.wait)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-w", "no_such_shop:shop"], "saga-service: there is no module 'no_such_shop'"),
        (["-d", "no_such_file.yaml"], "no_such_file.yaml"),
    ],
)
async def test_what_cannot_be_loaded_is_the_last_word_and_leaves_nothing_behind(
    folder: Path, options: list[str], told: str
) -> None:
    ran = await run_process("dev", *options, "--folder", str(folder / "data"))

    assert ran.exit_code == 2
    assert told in ran.err.splitlines()[-1]
    assert "saga_service runs" not in ran.err, "the service has not been started"
    assert ran.out == ""
    assert not (folder / "data").exists()


async def test_what_cannot_be_loaded_leaves_a_folder_that_was_there_as_it_is(folder: Path) -> None:
    own = folder / "data" / "of mine"
    own.parent.mkdir()
    own.write_text("kept")
    ran = await run_process("dev", "-d", "nothing_of_that_name", "--folder", str(own.parent))
    assert ran.exit_code == 2
    assert own.read_text() == "kept"


async def test_a_second_dev_that_waited_for_the_folder_of_a_first_keeps_its_data(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one has made the folder, run and ended, after the second one had seen none."""
    data = folder / "data"

    @contextmanager
    def after_the_first(where: Path) -> Iterator[EmbeddedServers]:
        with EmbeddedServers(where):
            pass
        with EmbeddedServers(where) as servers:
            yield servers

    monkeypatch.chdir(folder)
    # `dev` makes its settings those of its process.
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setattr(development, "embedded_servers", after_the_first)
    with pytest.raises(Failure):
        await asyncio.to_thread(
            development.develop, Settings(), development.Chosen(("nothing_of_that_name",), ()), data, reload=False
        )
    assert (data / "postgres").exists()


def words_of(process: psutil.Process) -> list[str]:
    """The words of a process's command line; none of one that has ended meanwhile."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


async def test_a_worker_that_was_killed_is_told_with_the_command_that_starts_it(folder: Path) -> None:
    (folder / "shop_of_dev.py").write_text(SHOP)
    dev = dev_of(folder, "-d", "shop_of_dev", "-w", "shop_of_dev:shop")
    try:
        said = Said(dev)
        await said.until("worker started")
        [workers] = [child for child in psutil.Process(dev.pid).children(recursive=True) if "worker" in words_of(child)]
        workers.kill()
        line = await said.until("was killed by signal 9")
        assert line.startswith(
            "the process 'workers' was killed by signal 9; it starts anew when a file is saved, or: "
        )
        assert line.rstrip().endswith("saga-service worker shop_of_dev:shop")
        dev.terminate()
        assert f"the data is kept in {folder / 'data'}" in await said.until("ended; ")
    finally:
        dev.kill()
        await asyncio.to_thread(dev.wait)
    assert (folder / "data" / ".gitignore").read_text() == "*\n"


async def test_a_closed_terminal_ends_dev_in_good_order(dev: subprocess.Popen[str]) -> None:
    family = await family_of(dev)

    dev.send_signal(signal.SIGHUP)
    said, _ = dev.communicate(timeout=60)

    assert dev.returncode == 0, said
    await eventually(lambda: not living(family), within_s=10)


async def test_every_line_that_dev_prints_can_be_pasted_as_it_is(dev: subprocess.Popen[str], folder: Path) -> None:
    lines = [line.strip() for line in until_it_runs(dev) if line.startswith("  ")]
    entries = [line for line in lines if " XADD " in line]
    starts = [line for line in lines if " start mission-start " in line]
    looks = [line for line in lines if line not in (*entries, *starts)]

    def shell(*pasted: str) -> str:
        ran = subprocess.run("\n".join(["set -e", *pasted]), shell=True, cwd=folder, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    # The demo's workers do not run here, so nothing would ever end.
    assert [shell(line.removesuffix(" --wait")).count("-") for line in starts] == [4, 4]
    assert [shell(line).count("-") for line in entries] == [1, 1]
    psql = next(line for line in looks if "psql" in line)
    await eventually(lambda: "mission-start" in shell(psql), within_s=30)
    said = shell(*looks, 'echo "$SAGA_REDIS_URL"')

    assert "perform_exploration" in said
    assert "mission-start" in said
    assert '"openapi":"3.1.0"' in said
    assert 'saga_in_flight{saga="mission-start",status="running"}' in said
    assert said.splitlines()[-3:-1] == ["ok", "ok"], "livez and readyz"
    assert said.rstrip().startswith("redis://", said.rstrip().rfind("\n") + 1)
