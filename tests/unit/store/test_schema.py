"""The verdict on a database's schema: it fits this release, or what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from saga_service.store import schema
from saga_service.store.schema import migrate as version
from saga_service.store.schema.migrate import HEAD, MIGRATIONS, SchemaFit, judge


def test_the_known_migrations_are_the_numbered_files() -> None:
    numbered = sorted(path.name for path in Path(schema.__path__[0]).glob("[0-9]*.sql"))
    assert list(MIGRATIONS.values()) == numbered
    assert [file.partition("_")[0] for file in numbered] == list(MIGRATIONS)


def test_a_database_without_tables_is_told_to_migrate() -> None:
    state = judge(None, None)
    assert (state.fit, state.revision) == (SchemaFit.MISSING, None)
    assert str(state) == "the database has no saga_service tables; run: saga-service migrate"


def test_the_newest_revision_is_current() -> None:
    assert judge(HEAD, "1.0").fit is SchemaFit.CURRENT


def test_an_older_revision_is_told_to_migrate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "MIGRATIONS", {"0001": "", "0002": ""})
    monkeypatch.setattr(version, "HEAD", "0002")
    state = judge("0001", "1.0")
    assert state.fit is SchemaFit.TOO_OLD
    assert (
        str(state)
        == "the schema (revision 0001) is older than this saga_service, which needs 0002; run: saga-service migrate"
    )


@pytest.mark.parametrize(("migrated_by", "who"), [("9.1.0", "version 9.1.0 or later"), (None, "a later version")])
def test_a_newer_revision_names_the_version_to_deploy(migrated_by: str | None, who: str) -> None:
    state = judge("9999", migrated_by)
    assert state.fit is SchemaFit.TOO_NEW
    assert str(state) == (
        f"this saga_service is older than the schema (revision 9999, it knows up to {HEAD}); deploy {who}"
    )
