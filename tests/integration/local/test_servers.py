"""The embedded servers: real, durable, quiet, and gone when they should be."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
import redis

from saga_service.local.servers import (
    EmbeddedServerError,
    EmbeddedServers,
    embedded,
    programs,
)
from saga_service.local.servers.programs import Account, postgres_programs
from tests.support.databases import redis_version, run_apart
from tests.support.servers import memory
from tests.support.waiting import eventually

PROGRAM_THAT_STARTS_SERVERS = """
import sys
from saga_service.local.servers import EmbeddedServers
servers = EmbeddedServers(sys.argv[1] if len(sys.argv) > 1 else None).start()
print(servers.folder, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def running() -> Iterator[EmbeddedServers]:
    with EmbeddedServers(temporary_in=memory()) as running:
        yield running


def ask_postgres(dsn: str, question: str) -> object:
    async def ask() -> object:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(question)
        finally:
            await connection.close()

    return run_apart(ask())


def ask_redis(url: str, *command: str) -> object:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return client.execute_command(*command)


def servers_in(folder: Path | str) -> list[str]:
    commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [command[0] for command in commands if any(part.startswith(f"{folder}/") for part in command[1:])]


@pytest.mark.parametrize(
    ("setting", "value"),
    [("fsync", "on"), ("synchronous_commit", "on"), ("full_page_writes", "on"), ("listen_addresses", "")],
)
def test_postgres_keeps_what_it_has_committed(running: EmbeddedServers, setting: str, value: str) -> None:
    assert ask_postgres(running.postgres_dsn, f"show {setting}") == value


@pytest.mark.parametrize(
    ("setting", "value"),
    [("appendonly", "yes"), ("appendfsync", "everysec"), ("maxmemory-policy", "noeviction"), ("bind", "127.0.0.1")],
)
def test_redis_keeps_what_it_has_taken(running: EmbeddedServers, setting: str, value: str) -> None:
    assert ask_redis(running.redis_url, "CONFIG", "GET", setting) == {setting: value}


def test_a_killed_server_starts_again_with_its_data_and_at_its_address(running: EmbeddedServers) -> None:
    addresses = running.postgres_dsn, running.redis_url
    ask_postgres(running.postgres_dsn, "create table kept as select 7 as number")
    ask_redis(running.redis_url, "SET", "kept", "7")

    running.postgres.kill()
    running.redis.kill()
    with pytest.raises(OSError, match=r"Connect|No such file"):
        ask_postgres(running.postgres_dsn, "select 1")
    with pytest.raises(redis.ConnectionError):
        ask_redis(running.redis_url, "PING")
    running.postgres.start()
    running.redis.start()

    assert (running.postgres_dsn, running.redis_url) == addresses
    assert ask_postgres(running.postgres_dsn, "select number from kept") == 7
    assert ask_redis(running.redis_url, "GET", "kept") == "7"


def test_the_lines_for_a_shell_work_as_they_are(running: EmbeddedServers) -> None:
    assert shell(f"{running.psql_command} -Atc 'select 40 + 2'") == "42"
    assert "-" in shell(f"{running.redis_cli_command} XADD saga_requests '*' robot_count 2 area ZoneA")


def test_without_a_redis_cli_the_stand_in_does(running: EmbeddedServers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "redis_cli", lambda: None)

    assert "saga_service.local.servers.redis_cli" in running.redis_cli_command
    entry_id = shell(f"{running.redis_cli_command} XADD missions '*' area ZoneB")
    assert shell(f"{running.redis_cli_command} XRANGE missions - +").split() == [entry_id, "area", "ZoneB"]
    assert "(error)" in shell(f"{running.redis_cli_command} XADD missions 2>&1; true")


def test_the_stand_in_reads_commands_from_its_standard_input(
    running: EmbeddedServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "redis_cli", lambda: None)
    added = "XADD planned * type shop-order data '{}'"
    lines = "\n".join([added, "", "XLEN planned", 'XADD "', "quit", "DEL planned"])

    said = subprocess.run(running.redis_cli_command, shell=True, input=lines, capture_output=True, text=True)

    entry_id, length = said.stdout.split()
    assert (length, said.returncode, said.stderr) == ("1", 1, "(error) No closing quotation\n")
    fields = {"type": "shop-order", "data": "{}"}
    assert ask_redis(running.redis_url, "XRANGE", "planned", "-", "+") == [(entry_id, fields)]


def test_the_stand_in_says_that_a_shell_has_put_files_in_the_place_of_the_star(
    running: EmbeddedServers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(embedded, "redis_cli", lambda: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.py").touch()
    pasted = f"{running.redis_cli_command} XADD planned * type shop-order"

    said = subprocess.run(pasted, shell=True, capture_output=True, text=True)

    assert said.returncode == 1
    assert said.stderr.rstrip().endswith("a shell puts the names of files in the place of *: write '*' behind XADD")


def shell(line: str) -> str:
    return subprocess.run(line, shell=True, check=True, capture_output=True, text=True).stdout.strip()


def test_temporary_servers_leave_nothing_and_say_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with EmbeddedServers() as running:
        folder = running.folder
        assert len(servers_in(folder)) >= 2
        assert ask_postgres(running.postgres_dsn, "show dynamic_shared_memory_type") == "mmap"

    assert servers_in(folder) == []
    assert not folder.exists()
    assert capfd.readouterr() == ("", "")


def test_data_in_a_given_folder_is_kept_and_redis_has_its_port_again(short_folder: Path) -> None:
    with EmbeddedServers(short_folder) as running:
        assert not running.postgres.had_data
        address = running.redis_url
        ask_postgres(running.postgres_dsn, "create table kept as select 7 as number")
        ask_redis(running.redis_url, "SET", "kept", "7")

    with EmbeddedServers(short_folder) as running:
        assert running.postgres.had_data
        assert running.redis_url == address
        assert ask_postgres(running.postgres_dsn, "select number from kept") == 7
        assert ask_redis(running.redis_url, "GET", "kept") == "7"


def test_a_folder_that_another_process_uses_is_told_at_once(
    short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "LOCK_S_MAX", 1e9)
    with EmbeddedServers(short_folder), pytest.raises(EmbeddedServerError, match=f"process {os.getpid()} uses"):
        EmbeddedServers(short_folder).start()


async def test_the_servers_of_a_killed_process_end_and_their_temporary_folder_goes() -> None:
    with started() as (process, folder):
        assert servers_in(folder)
        process.send_signal(signal.SIGKILL)

    await eventually(lambda: not servers_in(folder) and not folder.exists(), within_s=30)


async def test_servers_that_nobody_could_end_are_ended_by_the_next_start(short_folder: Path) -> None:
    with started(short_folder) as (process, _):
        for child in psutil.Process(process.pid).children():
            if "watchdog" in " ".join(child.cmdline()):
                child.kill()
        process.send_signal(signal.SIGKILL)
    orphans = [found for found in psutil.process_iter() if is_server_on(short_folder, found)]
    assert len(orphans) == 2

    with EmbeddedServers(short_folder) as running:
        assert ask_postgres(running.postgres_dsn, "select 1") == 1
        assert not any(orphan.is_running() and orphan.status() != psutil.STATUS_ZOMBIE for orphan in orphans)


def is_server_on(folder: Path, process: psutil.Process) -> bool:
    try:
        return process.name() in ("postgres", "valkey-server") and f"{folder}/" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def test_a_path_too_long_for_a_socket_is_no_obstacle(short_folder: Path) -> None:
    deep = short_folder / ("long" * 25)
    deep.mkdir()
    with EmbeddedServers(deep) as running:
        socket_folder = Path(running.postgres_dsn.split("host=")[1])
        assert ask_postgres(running.postgres_dsn, "select 1") == 1
        running.postgres.kill()
        running.postgres.start()
        assert ask_postgres(running.postgres_dsn, "select 1") == 1

    assert not socket_folder.exists()


def test_the_oldest_redis_that_we_support_can_be_had_too(floor_redis_url: str) -> None:
    assert redis_version(floor_redis_url).startswith("Redis 6.2.")


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "REDIS_PACKAGE", "no_such_package")

    with pytest.raises(ModuleNotFoundError, match=r"pip install 'saga-service\[embedded\]'") as raised:
        EmbeddedServers().start()
    assert raised.value.name == "no_such_package"


def test_a_server_that_does_not_start_tells_its_own_reason(short_folder: Path) -> None:
    with EmbeddedServers(short_folder):
        pass
    (short_folder / "postgres" / "PG_VERSION").write_text("9\n")

    with pytest.raises(EmbeddedServerError, match=r"the embedded Postgres did not start: .*incompatible"):
        EmbeddedServers(short_folder).start()
    assert servers_in(short_folder) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as another user")
class TestAsRoot:
    def test_a_folder_that_postgres_may_not_enter_is_named(self, short_folder: Path) -> None:
        closed = short_folder / "closed"
        closed.mkdir(mode=0o700)

        with pytest.raises(EmbeddedServerError, match=rf"may not enter {closed}: .* chmod o\+x {closed}"):
            EmbeddedServers(closed / "data").start()

    def test_programs_in_a_closed_home_are_copied(self, monkeypatch: pytest.MonkeyPatch) -> None:
        wheel = postgres_programs()
        monkeypatch.setattr(programs, "everybody_may_enter", lambda folder: folder != wheel)
        monkeypatch.setattr(programs, "_open_to_everybody", close_then_open(programs._open_to_everybody))

        with EmbeddedServers() as running:
            copied = programs.reachable_postgres_programs(Account("nobody"), running.folder)
            assert copied.is_relative_to(running.folder)
            assert ask_postgres(running.postgres_dsn, "select 1") == 1
            assert shell(f"{running.psql_command} -Atc 'select 40 + 2'") == "42"

    def test_postgres_does_not_run_as_root(self, running: EmbeddedServers) -> None:
        owners = {found.username() for found in psutil.process_iter() if is_server_on(running.folder, found)}

        assert owners == {"root", programs.UNPRIVILEGED_USER}
        assert (running.folder / "postgres").owner() == programs.UNPRIVILEGED_USER


@pytest.fixture
def short_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that every user may enter, unlike those of pytest, with a path that a socket can have."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="saga-test-", dir=memory() or "/tmp") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def close_then_open(open_to_everybody: Callable[[Path], None]) -> Callable[[Path], None]:
    """As if a strict umask had closed every file."""

    def close_and_open(folder: Path) -> None:
        for path in (folder, *folder.rglob("*")):
            path.chmod(path.stat().st_mode & 0o700)
        open_to_everybody(folder)

    return close_and_open


def started(*arguments: Path) -> _Started:
    return _Started([str(argument) for argument in arguments])


class _Started:
    """Another process that has started servers, killed at the latest when the test is through with it."""

    def __init__(self, arguments: list[str]) -> None:
        self._arguments = arguments

    def __enter__(self) -> tuple[subprocess.Popen[str], Path]:
        command = [sys.executable, "-c", PROGRAM_THAT_STARTS_SERVERS, *self._arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        folder = self._process.stdout.readline().strip()
        assert folder, f"did not start: {shlex.join(command)}"
        return self._process, Path(folder)

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
