"""Tokens that count now: a changed file counts without a restart, a wrong one changes nothing and is told once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from saga_service.admin.failure_kinds import Failure
from saga_service.base.lifecycle import cancel
from saga_service.http.access import token_store
from saga_service.http.access.token_store import TokenStore
from saga_service.settings.http_tokens import StoredToken, digest_of, fresh_token, write_token
from saga_service.settings.roles import Role
from tests.support.waiting import eventually

OLD, NEW = fresh_token(), fresh_token()


def line(token: str, name: str = "ci") -> str:
    return write_token(StoredToken(name, Role.VIEWER, digest_of(token)))


@asynccontextmanager
async def followed(store: TokenStore) -> AsyncIterator[None]:
    task = asyncio.create_task(store.follow())
    try:
        yield
    finally:
        await cancel((task,))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_store, "LOOK_EVERY_S", 0.01)


def test_a_token_is_found_by_itself_and_by_nothing_else() -> None:
    store = TokenStore([StoredToken("ci", Role.VIEWER, digest_of(OLD))], None)
    assert store.find(OLD) is not None
    assert [store.find(each) for each in (NEW, "", OLD[:-1], f"{OLD} ", digest_of(OLD).hex(), "\udcff")] == [None] * 6


async def test_a_changed_file_counts_and_a_name_may_have_two_tokens_meanwhile(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(line(OLD))
    store = TokenStore([], file)
    async with followed(store):
        file.write_text(f"{line(OLD)}\n{line(NEW)}\n")
        await eventually(lambda: store.find(NEW))
        assert store.find(OLD) is not None
        file.write_text(line(NEW))
        await eventually(lambda: store.find(OLD) is None)


async def test_a_secret_that_kubernetes_has_replaced_counts(tmp_path: Path) -> None:
    """A mounted secret is a link to a link, and the one in the middle is turned."""
    for name, token in (("..1", OLD), ("..2", NEW)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tokens").write_text(line(token))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "tokens").symlink_to("..data/tokens")
    store = TokenStore([], tmp_path / "tokens")
    async with followed(store):
        (tmp_path / "..data_tmp").symlink_to("..2")
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")
        await eventually(lambda: store.find(NEW))
        assert store.find(OLD) is None


async def test_a_wrong_file_keeps_the_tokens_of_before_and_is_told_once(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(line(OLD))
    store = TokenStore([], file)
    with capture_logs() as logs:
        async with followed(store):
            file.write_text(f"{line(NEW)}\nci:boss:{'0' * 64}\n")
            await eventually(lambda: logs)
            file.unlink()
            await eventually(lambda: len(logs) == 2)
            assert store.find(OLD) is not None
            file.write_text(line(NEW))
            await eventually(lambda: store.find(NEW))
    assert [each.get("error") for each in logs] == [
        "line 2: 'boss' is no role; the roles are viewer, operator, admin",
        "No such file or directory",
        None,
    ]


@pytest.mark.parametrize(
    "content", [None, b"\xff", b"ci:viewer", b" " * 1_048_577], ids=["none", "bytes", "form", "size"]
)
def test_a_file_that_cannot_be_used_at_the_start_is_refused_with_its_setting(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "tokens"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Failure, match=r"SAGA_HTTP_TOKENS_FILE: .*tokens: "):
        TokenStore([], file)
