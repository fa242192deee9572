"""CPU time and memory of processes, read from the operating system."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a process and all its children, those that have ended included."""
    total = 0.0
    for process in _with_children(pid):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
            if process.pid == pid:
                total += times.children_user + times.children_system
    return total


def peak_memory_mib(pid: int) -> float:
    """The most memory that the process has ever held, in MiB. 0 where the system does not keep it."""
    status = Path(f"/proc/{pid}/status")
    with suppress(OSError):
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _with_children(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
