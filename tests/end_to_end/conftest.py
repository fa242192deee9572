"""Fixtures of the end-to-end tests.

- `system`     nothing runs yet: the test starts what it needs
- `standing`   one service, with the workers inside it, that runs for all tests of a module
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.system import WORKERS, System
from tests.support.databases import Databases, empty_redis
from tests.support.servers import Addresses

LOG_CHARACTERS_MAX = 8_000


@pytest.fixture
def system(postgres_dsn: str, redis_url: str, tmp_path: Path) -> Iterator[System]:
    with System(postgres_dsn, redis_url, tmp_path) as system:
        yield system


@pytest.fixture(scope="module")
def standing(servers: Addresses, databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    empty_redis(servers.redis_url)
    dsn = databases.create_migrated()
    with System(dsn, servers.redis_url, tmp_path_factory.mktemp("standing")) as system:
        system.begin_service(SAGA_WORKERS=",".join(WORKERS))
        yield system
    databases.drop(dsn)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With a failure come the ends of all processes' logs."""
    report = yield
    if report.failed:
        for system in (value for value in item.funcargs.values() if isinstance(value, System)):
            for child in system.children:
                report.sections.append((f"log of {child.name}", system.log_of(child)[-LOG_CHARACTERS_MAX:]))
    return report
