"""An address that no client could use is refused in one line, and no line repeats any part of a password."""

from __future__ import annotations

import pytest
from asyncpg import connect_utils
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio.connection import parse_url

from saga_service.base.address import postgres_problem, redis_problem
from saga_service.settings import InvalidSettings, load_settings
from saga_service.settings.sources import without_password
from saga_service.streams.connection import connect
from saga_service.worker import PostgresInbox, WorkerOptions

PASSWORD = "9r/A=+x"
WRONG_REDIS = {
    "redis://:9r/A=@h": "port",
    "redis://:9/A=@h": "divides an address",
    "redis://:s3cr#t@h": "port",
    "redis://h#s3cr": "divides an address",
    "redis://h?socket_timeout=abc": "socket_timeout",
    "redis://h?unheard_of=1": "is not one of",
    "redis://h1,h2:6379": "several hosts",
    "redis://h:99999": "port",
    "redis://h:0": "port",
    "redis://h/saga": "number of a database",
    "redis://h/1/2": "number of a database",
    "redis://[::1": "must be a URL",
    "redis://h /0": "must be a URL",
    "unix://": "path of a socket",
    "localhost:6379": "must be a URL",
    "": "must be a URL",
}
WRONG_POSTGRES = {
    "postgresql://u:9r/A=@h/saga": "port",
    "postgresql://u:9/A=@h/saga": "divides an address",
    "postgresql://u:p#w@h/saga": "port",
    "postgresql://h/saga#rest": "divides an address",
    "postgresql://u:p?w@h/saga": "port",
    "postgresql://h:99999/saga": "port",
    "postgresql://h1:5432,h2:x/saga": "port",
    "postgresql://h/saga?sslmode=sometimes": "sslmode",
    "postgresql://h/saga?target_session_attrs=any-at-all": "target_session_attrs",
    "postgresql://h/saga?port=abc": "port",
    "host=h dbname=saga": "must be a URL",
}
GOOD_REDIS = [
    "redis://",
    "redis://h",
    "redis://h:6380/15",
    "rediss://u:p%2Fw@h/0?ssl_cert_reqs=none",
    "redis://[::1]:6379",
]
GOOD_REDIS += ["unix:///run/redis.sock?db=2", "redis://h?socket_timeout=1.5"]
GOOD_POSTGRES = [
    "postgresql://",
    "postgresql://h1:5432,h2/saga?target_session_attrs=read-write",
    "postgres://u:p%23w@h/d",
]
GOOD_POSTGRES += ["postgresql://u@/saga?host=/run/postgresql", "postgresql://[::1]:5432/saga?sslmode=require"]


@pytest.mark.parametrize(("address", "said"), WRONG_REDIS.items())
def test_an_address_of_redis_that_no_client_could_use_is_refused(address: str, said: str) -> None:
    assert said in (redis_problem(address) or "")


@pytest.mark.parametrize(("address", "said"), WRONG_POSTGRES.items())
def test_an_address_of_postgres_that_no_client_could_use_is_refused(address: str, said: str) -> None:
    assert said in (postgres_problem(address) or "")


@pytest.mark.parametrize("address", GOOD_REDIS)
def test_a_good_address_of_redis_is_taken(address: str) -> None:
    assert redis_problem(address) is None


@pytest.mark.parametrize("address", GOOD_POSTGRES)
def test_a_good_address_of_postgres_is_taken(address: str) -> None:
    assert postgres_problem(address) is None


@pytest.mark.parametrize(
    ("variable", "address"),
    [
        ("SAGA_REDIS_URL", f"redis://:{PASSWORD}@h"),
        ("SAGA_POSTGRES_DSN", f"postgresql://u:{PASSWORD}@h/saga"),
    ],
)
def test_the_settings_refuse_an_address_without_its_password(
    variable: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, address)
    with pytest.raises(InvalidSettings) as refused:
        load_settings()
    [line] = refused.value.problems
    assert line.startswith(f"{variable} (from the environment): has a port")
    assert "9r" not in line


def test_workers_refuse_an_address_without_its_password() -> None:
    with pytest.raises(ValueError, match="the address of the inbox has a port") as refused:
        PostgresInbox(f"postgresql://u:{PASSWORD}@h/saga")
    assert "9r" not in str(refused.value)
    with pytest.raises(ValueError, match="redis_url has a port") as refused:
        WorkerOptions(redis_url=f"redis://:{PASSWORD}@h")
    assert "9r" not in str(refused.value)


SECRET = st.text("S3CRET/?#@:%[],=& ", min_size=1, max_size=12).map(lambda text: f"SECRET{text}SECRET")
TAILS = st.sampled_from(["h", "h:6379", "h:x", "h/0", "h/saga", "h?socket_timeout=1", "[::1]", "[::1", "a,b", ""])


@given(scheme=st.sampled_from(["redis", "rediss", "unix"]), secret=SECRET, tail=TAILS)
def test_no_address_of_redis_ends_in_a_clients_error_or_tells_its_password(scheme: str, secret: str, tail: str) -> None:
    address = f"{scheme}://user:{secret}@{tail}"
    problem = redis_problem(address)
    assert "SECRET" not in (problem or "")
    if problem is None:
        parse_url(address)
        connect(address)
        assert "SECRET" not in without_password(address)


@given(secret=SECRET, tail=TAILS)
def test_no_address_of_postgres_ends_in_a_clients_error_or_tells_its_password(secret: str, tail: str) -> None:
    address = f"postgresql://user:{secret}@{tail}"
    problem = postgres_problem(address)
    assert "SECRET" not in (problem or "")
    if problem is None:
        assert "SECRET" not in without_password(address)
        connect_utils._parse_connect_dsn_and_args(  # type: ignore[attr-defined]  # asyncpg has no public one
            dsn=address,
            **dict.fromkeys(
                (
                    *("host", "port", "user", "password", "passfile", "database", "ssl", "service", "servicefile"),
                    *("direct_tls", "server_settings", "target_session_attrs", "krbsrvname", "gsslib"),
                )
            ),
        )
