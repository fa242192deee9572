"""One form for every log line, whoever writes it."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from saga_service.settings import LogFormat
from saga_service.telemetry import configure_logging


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, hook = root.handlers, root.level, sys.excepthook
    yield
    root.handlers, root.level, sys.excepthook = handlers, level, hook
    logging.captureWarnings(False)
    structlog.reset_defaults()


Captured = pytest.CaptureFixture[str]


def lines(captured: Captured) -> list[dict[str, Any]]:
    out, err = captured.readouterr()
    assert out == "", "stdout belongs to the command"
    return [json.loads(line) for line in err.splitlines()]


def test_a_line_has_event_level_logger_and_utc_time(capsys: Captured) -> None:
    configure_logging("json")

    structlog.get_logger("saga_service.tests").info("batch committed", sagas=3)

    [line] = lines(capsys)
    assert (line["event"], line["level"], line["logger"], line["sagas"]) == (
        "batch committed",
        "info",
        "saga_service.tests",
        3,
    )
    assert abs(datetime.fromisoformat(line["timestamp"]) - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize("logger", ["asyncio", "redis", "anything"])
def test_other_peoples_loggers_write_the_same_form(capsys: Captured, logger: str) -> None:
    configure_logging("json")

    logging.getLogger(logger).warning("lost %s of %d", "one", 2, extra={"attempt": 4})

    [line] = lines(capsys)
    assert (line["event"], line["level"], line["logger"], line["attempt"]) == ("lost one of 2", "warning", logger, 4)


def test_a_request_of_the_http_client_that_went_well_is_no_news(capsys: Captured) -> None:
    configure_logging("json")

    logging.getLogger("httpx2").info("HTTP Request: GET ...")
    logging.getLogger("httpx2").warning("something is wrong")

    assert [line["event"] for line in lines(capsys)] == ["something is wrong"]


def test_what_is_bound_stands_in_every_line_written_meanwhile(capsys: Captured) -> None:
    configure_logging("json")

    with structlog.contextvars.bound_contextvars(saga_id="5b0c", saga="order", step="pay", command_id="5b0c:pay"):
        structlog.get_logger().info("ours")
        logging.getLogger("httpx").warning("a library's")
    structlog.get_logger().info("after")

    ours, library, after = lines(capsys)
    for line in (ours, library):
        assert (line["saga_id"], line["saga"], line["step"], line["command_id"]) == ("5b0c", "order", "pay", "5b0c:pay")
    assert "saga_id" not in after


def fail_with_a_secret() -> None:
    password = {"is": "hush"}
    try:
        password["was"]
    except KeyError as error:
        raise ValueError("no good") from error


@pytest.mark.parametrize("standard_library", [True, False])
def test_an_exception_is_structured_and_shows_no_local_variables(capsys: Captured, standard_library: bool) -> None:
    configure_logging("json")
    logger: Any = logging.getLogger("other") if standard_library else structlog.get_logger()  # two kinds, one method

    try:
        fail_with_a_secret()
    except ValueError:
        logger.exception("failed")

    [line] = lines(capsys)
    error, cause = line["exception"]
    assert (error["exc_type"], error["exc_value"], cause["exc_type"]) == ("ValueError", "no good", "KeyError")
    assert error["frames"][-1]["name"] == "fail_with_a_secret"
    assert "hush" not in json.dumps(line)


def test_an_error_that_nobody_foresaw_is_a_line_like_any_other(capsys: Captured) -> None:
    configure_logging("json")

    try:
        fail_with_a_secret()
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)

    [line] = lines(capsys)
    assert (line["level"], line["exception"][0]["exc_value"]) == ("critical", "no good")


def test_an_interrupt_is_no_error(capsys: Captured) -> None:
    configure_logging("json")

    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)

    assert capsys.readouterr().err == "KeyboardInterrupt\n"


def test_a_raw_line_begins_with_when_how_bad_and_what(capsys: Captured) -> None:
    configure_logging("json")

    structlog.get_logger().bind(saga_id="5b0c").info("started", amount=3)

    [line] = lines(capsys)
    assert list(line) == ["timestamp", "level", "event", "logger", "saga_id", "amount"]


def test_a_console_line_is_for_people_and_shows_no_local_variables(capsys: Captured) -> None:
    configure_logging("console")

    try:
        fail_with_a_secret()
    except ValueError:
        structlog.get_logger("shop").exception("failed", saga_id="5b0c")

    written = capsys.readouterr().err
    assert "failed" in written
    assert "saga_id=5b0c" in written
    assert "ValueError: no good" in written
    assert "hush" not in written
    assert "\x1b[" not in written, "no colours where there is no terminal"


def test_warnings_are_logged(capsys: Captured) -> None:
    configure_logging("json")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # Under pytest the warnings module is the plugin's; this is the hook that captureWarnings has set.
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("this will change", DeprecationWarning, stacklevel=1)

    [line] = lines(capsys)
    assert line["logger"] == "py.warnings"
    assert "DeprecationWarning: this will change" in line["event"]


def test_nothing_below_the_level_is_written(capsys: Captured) -> None:
    configure_logging("json", "warning")

    structlog.get_logger().info("ours")
    logging.getLogger("other").info("theirs")
    structlog.get_logger().warning("heard")

    assert [line["event"] for line in lines(capsys)] == ["heard"]


def test_a_second_call_replaces_the_first(capsys: Captured) -> None:
    configure_logging("console")
    log = structlog.get_logger()
    log.info("once")
    configure_logging("json")
    capsys.readouterr()

    log.info("twice")

    assert [line["event"] for line in lines(capsys)] == ["twice"]


@pytest.mark.parametrize(("terminal", "chosen"), [(True, "console"), (False, "json")])
def test_auto_is_console_on_a_terminal_and_json_elsewhere(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, terminal: bool, chosen: LogFormat
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    configure_logging("auto")
    structlog.get_logger().info("here")
    written = capsys.readouterr().err

    assert written.startswith("{") is (chosen == "json")


def test_what_json_cannot_hold_does_not_cost_the_line(capsys: Captured) -> None:
    configure_logging("json")

    structlog.get_logger().info("odd", number=2**80, half="\ud800", thing=object(), keys={1: "one"})

    [line] = lines(capsys)
    assert line["event"] == "odd"
    assert line["number"] == 2**80


class CannotConnectNowError(Exception):
    """The name that a driver has for it."""


@pytest.mark.parametrize(
    ("logger", "text"),
    [
        ("asyncpg.pool", "Failed to restore the pool connection floor; retrying"),
        ("asyncio", "Task exception was never"),
    ],
)
@pytest.mark.parametrize("error", [ConnectionResetError("reset by peer"), CannotConnectNowError("shutting\ndown")])
def test_a_driver_s_traceback_about_a_lost_link_is_one_line(
    capsys: Captured, logger: str, text: str, error: Exception
) -> None:
    configure_logging("json")

    logging.getLogger(logger).error(text, exc_info=error)

    [line] = lines(capsys)
    said = " ".join(f"{type(error).__name__}: {error}".split())
    assert line["event"] == f"a driver reports a lost link; what needs it tries again: {said}"
    assert (line["level"], "exception" in line) == ("warning", False)


def test_a_transaction_of_a_lost_link_is_one_line(capsys: Captured) -> None:
    configure_logging("json")

    logging.getLogger("asyncio").error("Resetting connection with an active transaction <asyncpg.Connection …>")

    [line] = lines(capsys)
    assert line["event"] == "a driver reports a lost link; what needs it tries again: a transaction was open"


def test_a_bug_in_a_task_keeps_its_traceback(capsys: Captured) -> None:
    configure_logging("json")

    logging.getLogger("asyncio").error("Task exception was never retrieved", exc_info=KeyError("x"))

    [line] = lines(capsys)
    assert (line["event"], line["level"]) == ("Task exception was never retrieved", "error")
    assert line["exception"]
