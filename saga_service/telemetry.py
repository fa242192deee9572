"""Logs: one configuration for the service's loggers, the standard library's and every dependency's.

Logs go to standard error; standard output belongs to the command. Values bound with
`structlog.contextvars.bound_contextvars` (saga_id, saga, step, command_id) are in every line that is written meanwhile,
by any logger.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor

from saga_service.settings import LogFormat, LogLevel

_HANDLER_NAME = "saga_service"
_FIRST = ("timestamp", "level", "event", "logger")

_ON_EVERY_LINE: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]

# One list for good: loggers keep the one that they were first used with, and `capture_logs` changes it in place.
_OF_OUR_LOGGERS: list[Processor] = [
    *_ON_EVERY_LINE,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
]

_OF_OTHER_LOGGERS: list[Processor] = [*_ON_EVERY_LINE, structlog.stdlib.ExtraAdder()]


def configure_logging(log_format: LogFormat = "auto", log_level: LogLevel = "info") -> None:
    """Send all logs and warnings to stderr in one form. A second call replaces the first."""
    level = logging.getLevelNamesMapping()[log_level.upper()]
    structlog.configure(
        processors=_OF_OUR_LOGGERS,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # The hot path logs nothing, so what caching would save is nothing; and a test can still listen in.
        cache_logger_on_first_use=False,
    )
    handler = _StandardError()
    handler.name = _HANDLER_NAME
    handler.addFilter(_is_news)
    handler.addFilter(_in_one_line)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_OF_OTHER_LOGGERS, processors=_renderers(log_format))
    )
    root = logging.getLogger()
    root.handlers = [*(other for other in root.handlers if other.name != _HANDLER_NAME), handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught


def _is_news(record: logging.LogRecord) -> bool:
    """False for the line that the HTTP client writes about each request that went well."""
    return not record.name.startswith("httpx2") or record.levelno >= logging.WARNING


_LOST_LINK = "a driver reports a lost link; what needs it tries again"


def _in_one_line(record: logging.LogRecord) -> bool:
    """Turn a driver's traceback about a lost link into one line that says what happened.

    The drivers report such links from tasks of their own, besides the errors that the callers get and tell of.
    """
    error = record.exc_info[1] if record.exc_info else None
    is_drivers = record.name.startswith(("asyncpg", "redis", "asyncio"))
    is_reset = record.name == "asyncio" and "Resetting connection with an active transaction" in record.getMessage()
    if is_drivers and (is_reset or (error is not None and _is_lost_link(error))):
        said = "a transaction was open" if error is None else f"{type(error).__name__}: {error}"
        record.msg, record.args = f"{_LOST_LINK}: {' '.join(said.split())}", ()
        record.exc_info = record.exc_text = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


def _is_lost_link(error: BaseException) -> bool:
    """Whether the error is the network's, or a driver's word for one; the drivers need not be there."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return isinstance(error, OSError | TimeoutError) or bool(names & _WORDS_FOR_LOST_LINKS)


_WORDS_FOR_LOST_LINKS = {"PostgresConnectionError", "CannotConnectNowError", "InterfaceError", "ConnectionError"}


class _StandardError(logging.StreamHandler[TextIO]):
    """A handler that writes to what `sys.stderr` is at the moment of writing, not at the moment of configuration."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # an attribute there, and never assigned here
        return sys.stderr


def _log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    structlog.get_logger("saga_service").critical("ended by an unexpected error", exc_info=(kind, error, traceback))


def _renderers(log_format: LogFormat) -> list[Processor]:
    on_terminal = sys.stderr.isatty()
    as_console = log_format == "console" or (log_format == "auto" and on_terminal)
    rendered = _console(colors=on_terminal and "NO_COLOR" not in os.environ) if as_console else _json()
    return [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered]


def _console(*, colors: bool) -> list[Processor]:
    # Tracebacks without local variables, here and below: those hold connection strings and customers' data.
    return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)]


def _json() -> list[Processor]:
    structured = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [
        structlog.processors.ExceptionRenderer(structured),
        _in_reading_order,
        structlog.processors.JSONRenderer(_to_json),
    ]


def _in_reading_order(_logger: object, _method: str, event: EventDict) -> EventDict:
    """The event with time, level and text first, so that a raw line can be read as well."""
    return {**{name: event[name] for name in _FIRST if name in event}, **event}


def _to_json(event: Any, default: Callable[[Any], Any], **_: Any) -> str:
    try:
        return orjson.dumps(event, default=default, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:
        # What orjson refuses (an integer beyond 64 bits, half a surrogate pair) must not cost us the line.
        return json.dumps(event, default=default, skipkeys=True)
