"""What `dev` runs, and the settings that it passes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from saga_service.cli.access.effective_settings import read_own_settings
from saga_service.cli.console.development import chosen, environment, tell_what_is_not_used, tell_what_runs_unasked
from saga_service.cli.console.local import DEMO_DEFINITIONS, DEMO_WORKERS
from saga_service.encryption.keys import fresh_key, write_key
from saga_service.settings import load_settings

OF_DEV = {
    "SAGA_POSTGRES_DSN": "postgresql://dev/saga",
    "SAGA_REDIS_URL": "redis://dev/0",
    "SAGA_MIGRATE_AT_START": "true",
    "SAGA_RECLAIM_IDLE_MS": "2000",
}
ORDER = ["order.yaml"]
KEYS = write_key(fresh_key("k1"))


def test_the_demo_is_run_where_nothing_is_named() -> None:
    what = chosen(None, None, load_settings())
    assert (what.sources, what.workers) == ((DEMO_DEFINITIONS,), DEMO_WORKERS)


def test_sagas_of_ones_own_are_not_answered_by_the_demos_workers() -> None:
    what = chosen(ORDER, None, load_settings())
    assert (what.sources, what.workers) == (("order.yaml",), ())


def test_what_the_settings_name_is_run_where_the_command_names_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_DEFINITIONS", "shop.yaml,more.yaml")
    monkeypatch.setenv("SAGA_WORKERS", "shop:worker")
    what = chosen(None, None, load_settings())
    assert (what.sources, what.workers) == (("shop.yaml", "more.yaml"), ("shop:worker",))
    assert chosen(ORDER, ["other:worker"], load_settings()).workers == ("other:worker",)


def test_where_definitions_are_forgotten_it_says_which_sagas_run_and_how_to_name_ones_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tell_what_runs_unasked(chosen(None, ["shop:worker"], load_settings()))
    [line] = capsys.readouterr().err.splitlines()
    assert line == "no definitions are given: the demo's sagas run; name yours, such as --definitions shop"


@pytest.mark.parametrize(("definitions", "said"), [(None, ["the demo runs"]), (ORDER, [])])
def test_the_demo_is_spoken_of_only_where_nothing_is_named(
    capsys: pytest.CaptureFixture[str], definitions: list[str] | None, said: list[str]
) -> None:
    tell_what_runs_unasked(chosen(definitions, None, load_settings()))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(said)
    assert all(part in line for part, line in zip(said, lines, strict=True))


def test_settings_are_passed_on_but_those_that_dev_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_ENCRYPTION_KEYS", KEYS)
    monkeypatch.setenv("SAGA_RECLAIM_IDLE_MS", "7000")
    monkeypatch.setenv("SAGA_POSTGRES_DSN", "postgresql://mine/saga")
    monkeypatch.setenv("SAGA_WORKERS", "shop:worker")

    passed = environment(OF_DEV, chosen(ORDER, None, load_settings()), load_settings())

    assert passed["SAGA_ENCRYPTION_KEYS"] == KEYS
    assert passed["SAGA_POSTGRES_DSN"] == "postgresql://dev/saga"
    assert passed["SAGA_RECLAIM_IDLE_MS"] == "7000"
    assert passed["SAGA_DEFINITIONS"] == "order.yaml"
    # The service runs no workers of its own: they run beside it.
    for name, value in passed.items():
        monkeypatch.setenv(name, value)
    assert load_settings().workers == ()


def test_a_preference_of_dev_does_not_stand_before_a_setting_in_a_file(directory: Path) -> None:
    (directory / ".env").write_text("SAGA_RECLAIM_IDLE_MS=7000\n")
    passed = environment(OF_DEV, chosen(ORDER, None, load_settings()), load_settings())
    assert "SAGA_RECLAIM_IDLE_MS" not in passed
    assert passed["SAGA_MIGRATE_AT_START"] == "true"


def test_a_setting_that_is_not_used_is_named_with_its_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SAGA_POSTGRES_DSN", "postgresql://me:hush@mine/saga")
    monkeypatch.setenv("SAGA_LANES", "3")
    tell_what_is_not_used(read_own_settings())
    [line] = capsys.readouterr().err.splitlines()
    assert line == "SAGA_POSTGRES_DSN (from the environment) is not used: dev has servers of its own"
