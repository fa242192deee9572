"""A server that cannot be used: where no address is set, that is said, and which `dev` may have been meant."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from saga_service.admin.failure_kinds import Failure
from saga_service.cli.access.effective_settings import read_settings
from saga_service.cli.access.postgres import postgres_errors_told
from saga_service.cli.access.redis import redis_errors_told
from saga_service.local.dev_record import DEV_FOLDER, recorded
from saga_service.wire.transport import TransportUnavailable

ERRORS_OF_POSTGRES = [OSError("refused"), TimeoutError(), asyncpg.InvalidCatalogNameError("no such database")]


def said_of_postgres(error: Exception) -> str:
    with pytest.raises(Failure) as failed, postgres_errors_told(read_settings()):
        raise error
    return str(failed.value)


@pytest.mark.parametrize("error", ERRORS_OF_POSTGRES, ids=lambda error: type(error).__name__)
def test_where_no_address_is_set_that_is_said(directory: Path, error: Exception) -> None:
    said = said_of_postgres(error)
    assert "no address is set, and no dev runs in this folder or above it: set SAGA_POSTGRES_DSN, or start " in said


def test_a_dev_that_has_ended_is_named(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / DEV_FOLDER / "postgres").mkdir(parents=True)
    with recorded(directory, {}):
        pass
    (directory / "below").mkdir()
    monkeypatch.chdir("below")
    assert f"no address is set, and the dev of {directory} has ended: start it again" in said_of_postgres(OSError())


def test_redis_is_told_of_likewise(directory: Path) -> None:
    with pytest.raises(Failure) as failed, redis_errors_told(read_settings()):
        raise TransportUnavailable("refused")
    assert "no address is set, and no dev runs in this folder or above it: set SAGA_REDIS_URL, or " in str(failed.value)


@pytest.mark.parametrize("error", ERRORS_OF_POSTGRES, ids=lambda error: type(error).__name__)
def test_an_address_that_is_set_is_to_be_checked(
    directory: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setenv("SAGA_POSTGRES_DSN", "postgresql://mine/saga")
    said = said_of_postgres(error)
    assert "no address is set" not in said
    assert "SAGA_POSTGRES_DSN" in said
