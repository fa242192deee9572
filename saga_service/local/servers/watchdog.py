"""The process that ends the embedded servers when their parent is gone, however that happened.

The parent alone holds the other end of its standard input, a pipe, so the pipe's end is the parent's end.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from saga_service.local.servers.process import stop_servers_on


def main(folder: Path, is_temporary: bool) -> None:
    sys.stdin.buffer.read()
    stop_servers_on(folder)
    if is_temporary:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), is_temporary=sys.argv[2] == "temporary")
