"""Whether the tables and this version of the service go together, and what to do if not."""

from __future__ import annotations

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from saga_service.store import schema
from saga_service.store.schema import HEAD, REVISIONS, SchemaFit, judge


def test_the_known_revisions_are_those_of_the_scripts() -> None:
    config = Config()
    config.set_main_option("script_location", "saga_service.store:migrations")
    scripts = ScriptDirectory.from_config(config)
    assert tuple(reversed([script.revision for script in scripts.walk_revisions()])) == REVISIONS
    assert scripts.get_heads() == [HEAD]


def test_a_database_without_tables_is_told_to_migrate() -> None:
    state = judge(None, None)
    assert (state.fit, state.revision) == (SchemaFit.MISSING, None)
    assert state.advice == "the database has no saga_service tables; run: saga-service migrate"


def test_the_newest_revision_is_current() -> None:
    assert judge(HEAD, "1.0").fit is SchemaFit.CURRENT


def test_an_older_revision_is_told_to_migrate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "REVISIONS", ("0001", "0002"))
    monkeypatch.setattr(schema, "HEAD", "0002")
    state = judge("0001", "1.0")
    assert state.fit is SchemaFit.TOO_OLD
    assert (
        state.advice
        == "the schema (revision 0001) is older than this saga_service, which needs 0002; run: saga-service migrate"
    )


@pytest.mark.parametrize(("migrated_by", "who"), [("9.1.0", "version 9.1.0 or later"), (None, "a later version")])
def test_a_newer_revision_names_the_version_to_deploy(migrated_by: str | None, who: str) -> None:
    state = judge("9999", migrated_by)
    assert state.fit is SchemaFit.TOO_NEW
    assert state.advice == (
        f"this saga_service is older than the schema (revision 9999, it knows up to {HEAD}); deploy {who}"
    )
