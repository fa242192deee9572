"""A `saga-service` command that does not outlive whoever started it: `python -m saga_service.local.leash PIPE ...`.

The pipe's other end is held by the one who started it and by nobody else; its end is that one's end, however it came.
A thread waits for that, which costs nothing, and works wherever there are pipes.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from threading import Thread


def main(pipe: int, arguments: list[str]) -> None:
    Thread(target=_end_with, args=(pipe,), daemon=True).start()
    sys.argv[1:] = arguments
    runpy.run_module("saga_service", run_name="__main__", alter_sys=True)


def _end_with(pipe: int) -> None:
    """SIGKILL to this process and whatever it has started: nothing is lost by it, and nothing can keep it."""
    while os.read(pipe, 1):
        pass
    # The process leads a group of its own, since it was started in a session of its own.
    os.killpg(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
