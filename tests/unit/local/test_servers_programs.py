"""How a program is called in lines to paste."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from saga_service.local.servers.programs import for_shell, our_command


@pytest.fixture
def program(tmp_path: Path) -> Path:
    program = tmp_path / "bin" / "saga-service"
    program.parent.mkdir()
    program.touch(mode=0o755)
    return program


def test_a_program_on_path_is_called_by_its_name(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(program.parent))
    assert for_shell(program) == "saga-service"


def test_a_program_below_the_working_directory_is_called_by_its_path_from_there(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    assert for_shell(program) == str(program)
    monkeypatch.chdir(program.parents[1])
    assert for_shell(program) == "bin/saga-service"


def test_a_program_of_the_same_name_on_path_is_another_one(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = program.parent / "others" / "saga-service"
    other.parent.mkdir()
    other.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(other.parent))
    assert for_shell(program) == str(program)


def test_saga_service_is_the_one_beside_this_python(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(program.with_name("python")))
    assert our_command() == str(program)
    program.unlink()
    assert our_command() == f"{program.with_name('python')} -m saga_service"
