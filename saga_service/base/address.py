"""Addresses of servers: what is wrong with one, found before any client reads it and without a word of its password.

A client takes what follows a `/`, `?` or `#` in a password for the rest of the address, and its error may repeat that.
So the parts are looked at here, and a problem names the kind of mistake alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from urllib.parse import SplitResult, parse_qsl, urlsplit

PORT_MAX = 65_535
ESCAPING = "within user and password write / as %2F, ? as %3F, # as %23, @ as %40, % as %25"
POSTGRES_EXAMPLE = "postgresql://user:password@host:5432/database"
REDIS_EXAMPLE = "redis://:password@host:6379/0 (or rediss://, unix://)"

_POSTGRES_SCHEMES, _REDIS_SCHEMES = ("postgresql", "postgres"), ("redis", "rediss", "unix")
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SESSION_ATTRIBUTES = ("any", "primary", "standby", "read-write", "read-only", "prefer-standby")
_HOST = re.compile(r"(\[[0-9a-f:.]+(%\w+)?\]|[^\s\[\]:@/]*)(:(?P<port>[^:]*))?", re.IGNORECASE)
_BOOLEANS = ("true", "false", "yes", "no", "on", "off", "1", "0", "t", "f", "y", "n")


def _is_number(value: str) -> bool:
    return re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value) is not None


def _is_whole(value: str) -> bool:
    return re.fullmatch(r"[0-9]{1,9}", value) is not None


def _is_port(value: str) -> bool:
    return _is_whole(value) and 1 <= int(value) <= PORT_MAX


def _one_of(*choices: str) -> Callable[[str], bool]:
    return lambda value: value.lower() in choices


def _any(value: str) -> bool:
    return "\0" not in value


_POSTGRES_OPTIONS: Mapping[str, Callable[[str], bool]] = MappingProxyType(
    {
        "sslmode": _one_of(*_SSL_MODES),
        "target_session_attrs": _one_of(*_SESSION_ATTRIBUTES),
        "port": lambda value: all(map(_is_port, value.split(","))),
    }
)
"""Options of asyncpg whose value it refuses. All others are for the server."""

_REDIS_OPTIONS: Mapping[str, Callable[[str], bool]] = MappingProxyType(
    {
        "db": _is_whole,
        "socket_timeout": _is_number,
        "socket_connect_timeout": _is_number,
        "socket_keepalive": _one_of(*_BOOLEANS),
        "health_check_interval": _is_whole,
        "client_name": _any,
        "username": _any,
        "password": _any,
        "ssl_check_hostname": _one_of(*_BOOLEANS),
        "ssl_cert_reqs": _one_of("none", "optional", "required"),
        "ssl_ca_certs": _any,
        "ssl_ca_path": _any,
        "ssl_certfile": _any,
        "ssl_keyfile": _any,
        "ssl_password": _any,
    }
)
"""The options that the service's client of Redis takes."""


def postgres_problem(address: str) -> str | None:
    """What is wrong with an address of Postgres, None where nothing is."""
    parts = _split(address)
    if parts is None or parts.scheme not in _POSTGRES_SCHEMES:
        return f"must be a URL such as {POSTGRES_EXAMPLE}; {ESCAPING}"
    hosts = parts.netloc.rpartition("@")[2].split(",")
    return (
        _authority_problem(parts, hosts)
        or _rest_problem(parts)
        or _options_problem(parts, _POSTGRES_OPTIONS, takes_others=True)
    )


def redis_problem(address: str) -> str | None:
    """What is wrong with an address of Redis, None where nothing is."""
    parts = _split(address)
    if parts is None or parts.scheme not in _REDIS_SCHEMES:
        return f"must be a URL such as {REDIS_EXAMPLE}; {ESCAPING}"
    host = parts.netloc.rpartition("@")[2]
    if "," in host:
        return f"names several hosts, and one is taken: {REDIS_EXAMPLE}"
    problem = _authority_problem(parts, [host]) or _rest_problem(parts)
    if problem is None and parts.scheme == "unix" and not parts.path.strip("/"):
        problem = "has no path of a socket: unix:///run/redis.sock"
    if problem is None and parts.scheme != "unix" and not re.fullmatch(r"/?[0-9]{0,5}", parts.path):
        problem = f"has a path that is not the number of a database, as in {REDIS_EXAMPLE}; {ESCAPING}"
    return problem or _options_problem(parts, _REDIS_OPTIONS, takes_others=False)


def _split(address: str) -> SplitResult | None:
    try:
        # `urlsplit` drops line breaks and tabs, and a client might not.
        return None if re.search(r"[\x00-\x20\x7f]", address) else urlsplit(address)
    except ValueError:
        return None


def _authority_problem(parts: SplitResult, hosts: list[str]) -> str | None:
    for host in hosts:
        matched = _HOST.fullmatch(host)
        if matched is None:
            return f"has a host that cannot be read; {ESCAPING}"
        port = matched["port"]
        if port and not _is_port(port):
            return f"has a port that is not a number from 1 to {PORT_MAX}; {ESCAPING}"
    return None


def _rest_problem(parts: SplitResult) -> str | None:
    if parts.fragment or parts.netloc.count("@") > 1 or "@" in parts.path or "@" in parts.query:
        return f"has a sign in its password that divides an address; {ESCAPING}"
    return None


def _options_problem(
    parts: SplitResult, options: Mapping[str, Callable[[str], bool]], *, takes_others: bool
) -> str | None:
    try:
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        return f"has options after its '?' that cannot be read; {ESCAPING}"
    for name, value in given:
        fits = options.get(name)
        if fits is None and not takes_others:
            return f"has an option after its '?' that is not one of {', '.join(options)}; {ESCAPING}"
        if fits is not None and not fits(value):
            return f"has an option {name} after its '?' with a value that it cannot have"
    return None
