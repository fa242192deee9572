"""The folder with the data of local servers: no part of the project in which it lies."""

from __future__ import annotations

from pathlib import Path

GIT_FILE = ".gitignore"


def make_data_folder(folder: Path) -> bool:
    """Make the folder, unseen by git, and return True; False where it is there already. Raises OSError."""
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    if is_new:
        (folder / GIT_FILE).write_text("*\n")
    return is_new
