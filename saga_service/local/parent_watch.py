"""A `saga-service` command that ends with its parent: `python -m saga_service.local.parent_watch PIPE ARGUMENTS`.

The parent alone holds the other end of the pipe, so the pipe's end is the parent's end, however it came. A thread waits
for it.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from threading import Thread


def main(pipe: int, arguments: list[str]) -> None:
    Thread(target=_end_with_parent, args=(pipe,), daemon=True).start()
    sys.argv[1:] = arguments
    runpy.run_module("saga_service", run_name="__main__", alter_sys=True)


def _end_with_parent(pipe: int) -> None:
    """SIGKILL to this process and everything that it has started, once the parent is gone. Nothing is lost by it."""
    while os.read(pipe, 1):
        pass
    # The process leads a group of its own, since it was started in a session of its own.
    os.killpg(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
