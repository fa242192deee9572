"""The service and its workers as child processes, started as they are anywhere else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from saga_service.settings import ENVIRONMENT_PREFIX

STOP_S_MAX = 15.0
LOG_TAIL_LINES_MAX = 15


class Child:
    """A `saga-service` command as a process. With a `pipe` it ends with the process that holds the pipe's other end.

    Its log goes to the file `log`, or, without one, to the terminal. Its standard output goes there too, or into the
    file `output`.
    """

    def __init__(
        self,
        name: str,
        arguments: list[str],
        environment: Mapping[str, str],
        log: Path | None,
        cwd: Path | None,
        pipe: int | None = None,
        output: IO[bytes] | None = None,
    ) -> None:
        self.name = name
        self._output = output
        self._arguments = arguments
        self._pipe = pipe
        self._environment = environment
        self._log = log
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{self.name} has not been started")
        return self._process.pid

    def start(self) -> Self:
        log = None if self._log is None else self._log.open("ab")
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self._program, *self._arguments],
                pass_fds=() if self._pipe is None else (self._pipe,),
                env=self._environment,
                cwd=self._cwd,
                stdin=subprocess.DEVNULL,
                stdout=self._output or log,
                stderr=log,
                # Ctrl-C is for the parent, which then stops its children in order.
                start_new_session=True,
            )
        finally:
            if log is not None:
                log.close()
        return self

    @property
    def _program(self) -> list[str]:
        return ["saga_service"] if self._pipe is None else ["saga_service.local.parent_watch", str(self._pipe)]

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative where a signal ended it."""
        return None if self._process is None else self._process.poll()

    @property
    def ending(self) -> str:
        """How it ended, in words that follow its name."""
        code = self.exit_code
        if code is None:
            return "is running"
        return f"was killed by signal {-code}" if code < 0 else f"has ended with exit code {code}: see the log above"

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL: no shutdown, as when a machine dies."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def ask_to_stop(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)

    def wait_until_stopped(self) -> None:
        """Wait for the end that was asked for. After STOP_S_MAX the process is killed."""
        if self._process is None:
            return
        try:
            self._process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
        if self._pipe is not None:
            self._kill_descendants()

    def wait_until_ended(self) -> None:
        """Wait until it ends by itself, without a limit: the modules that it imports may be slow."""
        if self._process is not None:
            self._process.wait()
        self.wait_until_stopped()

    def _kill_descendants(self) -> None:
        """SIGKILL to the processes that it has started and left behind."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def log_tail(self) -> str:
        """The end of its log."""
        if self._log is None:
            return "(its log is on the terminal)"
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES_MAX:])


class ChildGroup:
    """Child processes that are stopped together, and that are killed when this process is killed.

    `settings` are their environment; SAGA_ variables of this process do not reach them. With a `folder` they run in it
    and log into it, away from this process's `.env`; without one they run where this process does and log to the
    terminal.
    """

    def __init__(self, settings: Mapping[str, str], folder: Path | None) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}
        self._environment = {**inherited, **settings}
        self._folder = folder
        self._pipe, self._held = os.pipe()
        self.children: list[Child] = []

    def start(self, name: str, *arguments: str) -> Child:
        """Start `saga-service ARGUMENTS`."""
        log = None if self._folder is None else self._folder / f"{name}.log"
        child = Child(name, list(arguments), self._environment, log, self._folder, self._pipe)
        self.children.append(child)
        return child.start()

    def output_of(self, name: str, *arguments: str) -> tuple[int, bytes]:
        """Run a command that ends by itself, its standard output apart. Returns its exit code and that output."""
        with tempfile.TemporaryFile() as output:
            child = Child(name, list(arguments), self._environment, None, self._folder, self._pipe, output)
            self.children.append(child)
            child.start().wait_until_ended()
            self.children.remove(child)
            output.seek(0)
            return child.exit_code or 0, output.read()

    def forget(self, child: Child) -> None:
        """Leave out a child that has ended."""
        self.children.remove(child)

    def dead(self) -> list[Child]:
        """The children that should be running and are not."""
        return [child for child in self.children if not child.is_running()]

    def kill(self, child: Child) -> None:
        """SIGKILL to one child, which `dead` then does not name."""
        child.kill()
        self.children.remove(child)

    def end(self) -> None:
        """Stop all children, side by side. Others may be started then."""
        for child in self.children:
            child.ask_to_stop()
        for child in self.children:
            child.wait_until_stopped()
        self.children.clear()

    def stop(self) -> None:
        """Stop all children, and start no more."""
        self.end()
        os.close(self._held)
        os.close(self._pipe)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
