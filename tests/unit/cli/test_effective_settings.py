"""The settings of one invocation: as they are set, and by a running `dev` where no address is."""

from __future__ import annotations

from pathlib import Path

import pytest

from saga_service.cli.access.effective_settings import read_settings
from saga_service.local.dev_record import recorded
from saga_service.settings import effective_settings
from tests.support.command_line import run

ADDRESSES = {"SAGA_POSTGRES_DSN": "postgresql://dev/saga", "SAGA_REDIS_URL": "redis://dev/0"}


def test_a_dev_that_runs_in_this_folder_is_found_and_named(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with recorded(directory, ADDRESSES):
        settings = read_settings()

    assert settings.postgres_dsn.get_secret_value() == "postgresql://dev/saga"
    assert settings.redis_url.get_secret_value() == "redis://dev/0"
    [line] = capsys.readouterr().err.splitlines()
    assert f"uses the servers of the dev that runs in {directory}" in line
    origins = {setting.variable: setting.origin for setting in effective_settings(settings)}
    assert (origins["SAGA_POSTGRES_DSN"], origins["SAGA_LANES"]) == ("running dev", "default")


SHOP = """
import os
from saga_service import Saga, Step
from saga_service.worker import PostgresInbox, Worker

order = Saga("order", steps=[Step("reserve", action="shop.reserve")])
shop = Worker("shop", inbox=PostgresInbox(os.environ["SAGA_POSTGRES_DSN"]))

@shop.handler("shop.reserve")
async def reserve(command: dict[str, object]) -> None: ...
"""


@pytest.mark.parametrize(
    "command",
    [
        "check -d {module} -w {module}:shop",
        "worker --check {module}:shop",
        "definitions check {module}",
        "definitions graph {module}",
    ],
)
def test_a_module_that_looks_for_an_address_finds_that_of_a_running_dev(
    directory: Path, module: str, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    for name in ADDRESSES:
        # So that it is gone again after the test.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    (directory / f"{module}.py").write_text(SHOP)
    with recorded(directory, ADDRESSES):
        ran = run(*command.format(module=module).split())
    assert (ran.exit_code, "right" in ran.out or "flowchart" in ran.out) == (0, True), ran.err


@pytest.mark.parametrize("variable", ["SAGA_POSTGRES_DSN", "SAGA_REDIS_URL"])
@pytest.mark.parametrize("place", ["environment", ".env"])
def test_an_address_that_is_set_goes_before_a_running_dev(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, place: str
) -> None:
    address = {"SAGA_POSTGRES_DSN": "postgresql://mine/saga", "SAGA_REDIS_URL": "redis://mine/0"}[variable]
    if place == "environment":
        monkeypatch.setenv(variable, address)
    else:
        (directory / ".env").write_text(f"{variable}={address}\n")

    with recorded(directory, ADDRESSES):
        settings = read_settings()

    assert "dev" not in settings.postgres_dsn.get_secret_value() + settings.redis_url.get_secret_value()
    assert capsys.readouterr().err == ""
