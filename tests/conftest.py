"""Fixtures for every test: real servers, a database and an empty Redis of one's own, and nothing left behind.

- `postgres_dsn`        a fresh database with all migrations applied
- `blank_postgres_dsn`  a fresh database with nothing in it
- `redis_url`           an empty Redis
- `killable_servers`    a Postgres and a Redis of the test's own, to kill and start again
- `floor_redis_url`     an empty Redis of the oldest version that we support
- `random_seed`         for tests that draw by chance; printed, and given again by SAGA_TEST_SEED
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import random
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import settings

from saga_service import telemetry
from saga_service.local.servers import EmbeddedServers
from saga_service.local.servers.redis import EmbeddedRedis
from tests.support.databases import Databases, connections_left_in_redis, empty_redis, redis_version
from tests.support.floor_redis import floor_redis_server
from tests.support.servers import Addresses, Choice, NoServers, choose, memory, with_images

# Few examples while a change is made, many where it is taken in (CI), very many now and then (make test-deep).
settings.register_profile("default", print_blob=True, deadline=None, max_examples=25)
settings.register_profile("ci", print_blob=True, deadline=None, max_examples=300)
settings.register_profile("deep", print_blob=True, deadline=None, max_examples=9_000)
settings.load_profile(os.environ.get("SAGA_TEST_PROFILE", "ci" if "CI" in os.environ else "default"))

ENVIRONMENT = pytest.StashKey[dict[str, str]]()
CHOICE = pytest.StashKey[Choice | NoServers]()
VERSIONS = pytest.StashKey[str]()
SEED = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    # Settings that a person has made for the service must not change what its tests see.
    own = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("SAGA_")}
    # A process of pytest-xdist has the environment and the seed of the one that a person started.
    given = getattr(config, "workerinput", {})
    config.stash[ENVIRONMENT] = own = given.get("environment", own)
    config.stash[SEED] = given.get("seed") or int(own.get("SAGA_TEST_SEED") or random.SystemRandom().randrange(2**32))
    try:
        config.stash[CHOICE] = choose(own, process=_process_number(given.get("workerid", "gw0")))
    except NoServers as problem:
        config.stash[CHOICE] = problem


def _process_number(worker_id: str) -> int:
    return int(worker_id.removeprefix("gw"))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:  # Any: pytest-xdist exports no type for it
    """Tell each process of pytest-xdist the environment and the seed."""
    node.workerinput |= {"environment": node.config.stash[ENVIRONMENT], "seed": node.config.stash[SEED]}


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["versions"] = session.config.stash.get(VERSIONS, None)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:  # Any: pytest-xdist exports no type for it
    """Learn from each process of pytest-xdist which servers its tests ran on."""
    versions = getattr(node, "workeroutput", {}).get("versions")
    if versions:
        node.config.stash[VERSIONS] = versions


def pytest_report_header(config: pytest.Config) -> list[str]:
    seed = config.stash[SEED]
    return [f"servers: {config.stash[CHOICE]}", f"random seed: {seed} (SAGA_TEST_SEED={seed} repeats it)"]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Pull images before the first test, so that no test's time is spent on it."""
    config = session.config
    choice, environment = config.stash[CHOICE], config.stash[ENVIRONMENT]
    needed = any("servers" in getattr(item, "fixturenames", ()) for item in session.items)
    if not needed or isinstance(choice, NoServers) or config.option.collectonly:
        return
    reporter = config.pluginmanager.getplugin("terminalreporter")
    say = reporter.write_line if reporter else print
    try:
        config.stash[CHOICE] = with_images(choice, environment, say)
    except NoServers as problem:
        config.stash[CHOICE] = problem


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    versions = config.stash.get(VERSIONS, None)
    used = "not used" if versions is None else f"{config.stash[CHOICE]}: {versions}"
    terminalreporter.write_line(f"servers: {used}")


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Iterator[Addresses]:
    """The servers that all tests of this process share. A test that kills one starts EmbeddedServers of its own."""
    choice = request.config.stash[CHOICE]
    if isinstance(choice, NoServers):
        pytest.fail(str(choice), pytrace=False)
    with choice.open() as addresses:
        postgres = Databases(addresses.postgres_dsn).version()
        request.config.stash[VERSIONS] = f"Postgres {postgres}, {redis_version(addresses.redis_url)}"
        yield addresses


@pytest.fixture(scope="session")
def databases(servers: Addresses) -> Iterator[Databases]:
    databases = Databases(servers.postgres_dsn)
    yield databases
    databases.drop_template()


@pytest.fixture
def postgres_dsn(databases: Databases) -> Iterator[str]:
    yield from _lend(databases, databases.create_migrated())


@pytest.fixture
def blank_postgres_dsn(databases: Databases) -> Iterator[str]:
    yield from _lend(databases, databases.create_blank())


@pytest.fixture
def redis_url(servers: Addresses) -> Iterator[str]:
    yield from _lend_redis(servers.redis_url)


@pytest.fixture
def killable_servers() -> Iterator[EmbeddedServers]:
    with EmbeddedServers(temporary_in=memory()) as servers:
        yield servers


@pytest.fixture(scope="session")
def floor_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    try:
        program = floor_redis_server()
    except ModuleNotFoundError:
        pytest.skip("the oldest Redis comes in a wheel for Python up to 3.12 on Linux (x86_64) only")
    server = EmbeddedRedis(tmp_path_factory.mktemp("floor-redis"), program)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def floor_redis_url(floor_redis: EmbeddedRedis) -> Iterator[str]:
    yield from _lend_redis(floor_redis.url)


@pytest.fixture
def random_seed(request: pytest.FixtureRequest) -> int:
    return request.config.stash[SEED]


@pytest.fixture(autouse=True)
def logging_given_back() -> Iterator[None]:
    """A command that a test runs in this process sets up its logging, which is no business of the next test."""
    configuration, root, hook = structlog.get_config(), logging.getLogger(), sys.excepthook
    level = root.level
    yield
    structlog.configure(**configuration)
    for handler in [each for each in root.handlers if type(each).__module__ == telemetry.__name__]:
        root.removeHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(False)
    sys.excepthook = hook


@pytest.fixture(autouse=True)
def no_task_left_behind(request: pytest.FixtureRequest) -> None:
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("_tasks_before_and_after")


@pytest.fixture
async def _tasks_before_and_after() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    # One turn of the loop, for tasks that are done but for being told so.
    await asyncio.sleep(0)
    after = asyncio.all_tasks() - before - {asyncio.current_task()}
    _nothing_left([f"task {task.get_name()}: {task.get_coro()}" for task in after if not task.done()])


def _lend(databases: Databases, dsn: str) -> Iterator[str]:
    yield dsn
    _nothing_left(databases.drop(dsn))


def _lend_redis(url: str) -> Iterator[str]:
    empty_redis(url)
    yield url
    _nothing_left(connections_left_in_redis(url))


def _nothing_left(left: list[str]) -> None:
    if left:
        pytest.fail("the test left open: " + "; ".join(left), pytrace=False)
