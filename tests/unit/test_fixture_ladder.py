"""The ladder of servers is climbed down aloud, and what the fixtures promise is kept."""

from __future__ import annotations

import asyncio

import docker
import docker.errors
import pytest

from tests.support import servers
from tests.support.servers import Addresses, Choice, NoServers, choose, with_images
from tests.support.waiting import eventually

GIVEN = {"SAGA_TEST_POSTGRES_DSN": "postgresql://p/saga", "SAGA_TEST_REDIS_URL": "redis://r/0"}
pytest_plugins = ["pytester"]


def lacks(reason: str) -> object:
    return lambda _: (None, reason)


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(servers.FINDERS, "containers", lacks("no Docker engine answers"))


def test_given_addresses_come_first() -> None:
    choice = choose(GIVEN)

    assert choice.rung == "given"
    with choice.open() as addresses:
        assert addresses == Addresses("postgresql://p/saga", "redis://r/0")


@pytest.mark.parametrize(
    ("given", "expected"),
    [("redis://r/0", "redis://r/2"), ("redis://r", "redis://r/2"), ("redis://r/3", "redis://r/5")],
)
def test_each_process_of_a_parallel_run_has_a_redis_database_of_its_own(given: str, expected: str) -> None:
    with choose({**GIVEN, "SAGA_TEST_REDIS_URL": given}, process=2).open() as addresses:
        assert addresses == Addresses("postgresql://p/saga", expected)


def test_half_of_the_addresses_is_a_mistake() -> None:
    with pytest.raises(NoServers, match="set both of SAGA_TEST_POSTGRES_DSN and SAGA_TEST_REDIS_URL"):
        choose({"SAGA_TEST_REDIS_URL": "redis://r/0"})


@pytest.mark.usefixtures("no_engine")
def test_without_an_engine_the_wheels_are_taken_and_it_is_said() -> None:
    assert str(choose({})) == "embedded (not containers: no Docker engine answers, from the wheels)"


@pytest.mark.usefixtures("no_engine")
def test_a_forced_rung_is_taken_or_fails() -> None:
    assert choose({"SAGA_TEST_SERVERS": "embedded"}).rung == "embedded"
    with pytest.raises(NoServers, match="not containers: no Docker engine answers"):
        choose({"SAGA_TEST_SERVERS": "containers"})
    with pytest.raises(NoServers, match="not given: SAGA_TEST_POSTGRES_DSN"):
        choose({"SAGA_TEST_SERVERS": "given"})
    with pytest.raises(NoServers, match="write one of given, containers, embedded"):
        choose({"SAGA_TEST_SERVERS": "cloud"})


@pytest.mark.usefixtures("no_engine")
def test_without_any_rung_every_lack_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "REDIS_PACKAGE", "no_such_package")

    with pytest.raises(NoServers, match=r"not containers: .*; not embedded: no_such_package not installed"):
        choose({})


def test_images_that_cannot_be_pulled_lead_to_the_wheels_unless_containers_were_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(say: object) -> None:
        raise docker.errors.APIError("no route to the registry")

    monkeypatch.setattr(servers, "_pull_missing_images", refuse)
    containers = Choice("containers", "an engine answers")

    fallen_back = with_images(containers, {}, print)
    assert str(fallen_back) == "embedded (not containers: images cannot be pulled: no route to the registry)"
    with pytest.raises(NoServers, match="no route to the registry"):
        with_images(containers, {"SAGA_TEST_SERVERS": "containers"}, print)


async def test_eventually_gives_the_first_true_value() -> None:
    answers = iter([0, None, 7, 8])

    assert await eventually(lambda: next(answers)) == 7


async def test_eventually_says_what_it_saw_last() -> None:
    async def not_yet() -> bool:
        raise AssertionError("still running")

    with pytest.raises(AssertionError, match=r"not within 0\.02 s: .*not_yet; seen last: .*still running"):
        await eventually(not_yet, within_s=0.02)


async def test_eventually_does_not_hide_a_broken_condition() -> None:
    def broken() -> bool:
        raise KeyError("status")

    with pytest.raises(KeyError):
        await eventually(broken)


def test_a_test_that_leaves_a_task_behind_fails(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        "from tests.conftest import no_task_left_behind, _tasks_before_and_after\n"
        "__all__ = ['no_task_left_behind', '_tasks_before_and_after']\n"
    )
    pytester.makepyfile("""
        import asyncio

        async def test_leaves_a_task():
            global task
            task = asyncio.create_task(asyncio.Event().wait(), name="forgotten")

        async def test_awaits_its_task():
            await asyncio.create_task(asyncio.sleep(0))
    """)
    result = pytester.runpytest_inprocess("--asyncio-mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*the test left open: task forgotten*"])


async def test_a_finished_task_is_no_task_left_behind() -> None:
    await asyncio.create_task(asyncio.sleep(0))
