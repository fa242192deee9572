"""Where settings come from, what is said about wrong ones, and what is never shown."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from pathlib import Path

import pytest
from pydantic import ValidationError

from saga_service.cli.commands import worker
from saga_service.settings import (
    InvalidSettings,
    Settings,
    effective_settings,
    load_settings,
    missing_address,
    settings_reference,
    without_password,
)
from tests.support.command_line import run
from tests.support.paths import ROOT

DOCUMENT = ROOT / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment without settings and a working directory without a `.env`."""
    for name in [name for name in os.environ if name.upper().startswith("SAGA_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def problems() -> list[str]:
    with pytest.raises(InvalidSettings) as caught:
        load_settings()
    return caught.value.problems


def test_everything_has_a_default() -> None:
    settings = load_settings()

    assert settings.stream_prefix == "saga:"
    assert settings.definitions == ()
    assert settings.entry_bytes_max == 1024 * 1024


def test_an_address_that_nobody_has_set_is_told_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_POSTGRES_DSN", "postgresql://db/saga")
    settings = load_settings()
    assert missing_address(settings, "postgres_dsn") == ""
    assert missing_address(settings, "redis_url") == " (no address is set: SAGA_REDIS_URL)"


def test_a_worker_without_an_address_names_the_setting_before_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run_no_workers(*_: object, **__: object) -> None:
        """Ends at once, as if it had been stopped."""

    monkeypatch.setattr(worker, "run_workers", run_no_workers)
    ran = run("worker", "saga_service.demo.workers:fleet")
    assert ran.err.splitlines()[0] == (
        "saga-service: redis at redis://localhost:6379/0 (no address is set: SAGA_REDIS_URL)"
    )


def test_the_environment_goes_before_the_file_and_the_file_before_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name in ("saga_lanes", "saga_consumer_group", "saga_stream_prefix"):
        (secrets / name).write_text({"saga_lanes": "5"}.get(name, "from-secret") + "\n")
    (tmp_path / ".env").write_text("SAGA_LANES=4\nSAGA_CONSUMER_GROUP=from-file\nPOSTGRES_PASSWORD=of-somebody-else\n")
    monkeypatch.setenv("SAGA_LANES", "3")
    monkeypatch.setenv("SAGA_SECRETS_DIR", str(secrets))

    settings = load_settings()

    assert (settings.lanes, settings.consumer_group, settings.stream_prefix) == (3, "from-file", "from-secret")
    origins = {setting.variable: setting.origin for setting in effective_settings(settings)}
    assert origins["SAGA_LANES"] == "environment"
    assert origins["SAGA_CONSUMER_GROUP"] == ".env file"
    assert origins["SAGA_STREAM_PREFIX"] == "secrets file"
    assert origins["SAGA_CONSUMER_NAME"] == "default"


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_LANES", "")
    monkeypatch.setenv("SAGA_DEFINITIONS", "")

    assert load_settings().lanes == 2


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_DEFINITIONS", "shop.sagas, missions.yaml,")

    assert load_settings().definitions == ("shop.sagas", "missions.yaml")


def test_levels_and_formats_may_be_written_in_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_LOG_LEVEL", "DEBUG")
    monkeypatch.setenv("SAGA_LOG_FORMAT", "JSON")

    settings = load_settings()

    assert (settings.log_level, settings.log_format) == ("debug", "json")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings().lanes = 3  # type: ignore[misc]  # that it is frozen is what is tested


def test_each_process_is_a_consumer_of_its_own() -> None:
    first, second = load_settings().consumer_name, load_settings().consumer_name

    assert first != second
    assert str(os.getpid()) in first


# ------------------------------------------------------------------------------------------------------- wrong ones


def test_all_problems_are_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SAGA_BATCH_ENTRIES_MAX=0\n")
    monkeypatch.setenv("SAGA_LANES", "many")
    monkeypatch.setenv("SAGA_REDIS_ULR", "redis://here")

    assert problems() == [
        "SAGA_REDIS_ULR (from the environment) is not a setting; did you mean SAGA_REDIS_URL?",
        "SAGA_BATCH_ENTRIES_MAX (from the .env file): must be greater than or equal to 1, but is '0'",
        "SAGA_LANES (from the environment): must be a valid integer, unable to parse string as an integer, "
        "but is 'many'",
    ]


def test_an_unknown_name_in_the_file_or_among_the_secrets_is_told_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("SAGA_LANE=4\n")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "saga_zzz").write_text("x")
    monkeypatch.setenv("SAGA_SECRETS_DIR", str(tmp_path / "secrets"))

    assert problems() == [
        "SAGA_LANE (from the .env file) is not a setting; did you mean SAGA_LANES?",
        "SAGA_ZZZ (from the secrets file) is not a setting; `saga-service settings` lists them all",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "SAGA_TEST_POSTGRES_DSN",
        "SAGA_DEMO_MISSIONS",
        "SAGA_BENCH_SAGAS",
        # What Kubernetes injects where a Service is called `saga`, `saga-service` or `saga-redis`.
        "SAGA_SERVICE_HOST",
        "SAGA_SERVICE_SERVICE_PORT_HTTP",
        "SAGA_SERVICE_PORT_8080_TCP_ADDR",
        "SAGA_REDIS_PORT",
        "SAGA_PORT_6379_TCP",
    ],
)
def test_variables_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x")

    load_settings()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SAGA_POSTGRES_DSN", "host=db password=hush", "must be a URL such as postgresql://"),
        ("SAGA_POSTGRES_DSN", "redis://:hush@db", "must be a URL such as postgresql://"),
        ("SAGA_POSTGRES_DSN", "postgresql://u:hush@[db", "must be a URL such as postgresql://"),
        ("SAGA_REDIS_URL", "hush@redis:6379", "must be a URL such as redis://"),
    ],
)
def test_a_wrong_address_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)

    [problem] = problems()

    assert problem.startswith(f"{name} (from the environment): ")
    assert said in problem
    assert "hush" not in problem


def test_settings_that_do_not_fit_together_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_BATCH_ENTRIES_MAX", "4096")
    assert problems() == ["SAGA_INTAKE_ENTRIES_MAX (2048) must be at least SAGA_BATCH_ENTRIES_MAX (4096)"]

    monkeypatch.setenv("SAGA_INTAKE_ENTRIES_MAX", "4096")
    monkeypatch.setenv("SAGA_LANES", "8")
    [problem] = problems()
    assert problem.startswith("SAGA_POSTGRES_POOL_SIZE (8) must be more than SAGA_LANES (8)")


def test_a_worker_is_named_by_module_and_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_WORKERS", "shop.workers:payment, shop.workers")

    [problem] = problems()

    assert problem.startswith("SAGA_WORKERS (from the environment): 'shop.workers' must have the form MODULE:worker")


def test_a_secrets_directory_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_SECRETS_DIR", "/nowhere/at-all")

    assert problems() == ["SAGA_SECRETS_DIR: there is no directory '/nowhere/at-all'"]


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"SAGA_CONSUMER_GROUP=\xff\xfe\n")

    [problem] = problems()

    assert problem.startswith("the settings cannot be read: ")


# --------------------------------------------------------------------------------------------------- what is shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:hush@db:5432/saga", "postgresql://u:***@db:5432/saga"),
        ("postgresql://u:hu/sh?@db/saga", "postgresql://u:***@db/saga"),
        ("postgresql://u:hu@sh@db/saga", "postgresql://u:***@db/saga"),
        ("postgresql:///saga?host=/run/pg&password=hush&user=u", "postgresql:///saga?host=/run/pg&password=***&user=u"),
        ("redis://:hush@r:6379/0", "redis://:***@r:6379/0"),
        ("redis://r:6379/0", "redis://r:6379/0"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_no_form_of_the_settings_shows_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_POSTGRES_DSN", "postgresql://u:hush@db/saga")
    monkeypatch.setenv("SAGA_REDIS_URL", "redis://:hush@r")

    settings = load_settings()

    shown = [repr(settings), str(settings), settings.model_dump_json(), json.dumps(effective_settings(settings))]
    assert not [text for text in shown if "hush" in text]
    assert settings.postgres_dsn.get_secret_value() == "postgresql://u:hush@db/saga"


def test_no_form_of_the_settings_shows_a_key_and_all_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = b64encode(b"s" * 32).decode()
    monkeypatch.setenv("SAGA_ENCRYPTION_KEYS", f"2026b:{secret},2026a:{secret}")

    settings = load_settings()

    shown = [repr(settings), str(settings), settings.model_dump_json(), json.dumps(effective_settings(settings))]
    assert not [text for text in shown if secret[:8] in text]
    assert not [text for text in shown if "2026b:***,2026a:***" not in text]
    assert settings.encryption_keys.get_secret_value() == f"2026b:{secret},2026a:{secret}"


def test_wrong_keys_are_told_without_repeating_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_ENCRYPTION_KEYS", "2026b:aHVzaA==")

    assert problems() == [
        "SAGA_ENCRYPTION_KEYS (from the environment): the secret of key '2026b' must be the base64 of 32 bytes"
    ]


def test_a_cipher_of_ones_own_has_its_own_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_ENCRYPTION_KEYS", f"2026b:{b64encode(bytes(32)).decode()}")
    monkeypatch.setenv("SAGA_ENCRYPTION_CIPHER", "shop.keys:cipher")
    assert problems() == [
        "SAGA_ENCRYPTION_CIPHER and SAGA_ENCRYPTION_KEYS cannot both be set: a cipher has its own keys"
    ]

    monkeypatch.setenv("SAGA_ENCRYPTION_CIPHER", "shop.keys")
    assert "must have the form MODULE:function" in problems()[0]


# ------------------------------------------------------------------------------------------------- the reference


def test_every_setting_is_explained_and_every_number_has_a_range() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, f"{name} has no description"
        assert field.description.endswith("."), f"the description of {name} is not a sentence"
        if field.annotation in (int, float, int | None):
            limits = {limit for part in field.metadata for limit in ("ge", "le") if hasattr(part, limit)}
            assert limits == {"ge", "le"}, f"{name} has no range"


def test_the_reference_in_the_documentation_is_the_one_that_the_code_makes() -> None:
    assert DOCUMENT.read_text() == settings_reference(), (
        "docs/settings.md is stale; run: saga-service settings --reference > docs/settings.md"
    )
