"""The drawing of the package in ARCHITECTURE.md, made from its imports: `python -m tests.support.package_map`."""

from __future__ import annotations

import re
from pathlib import Path

import grimp

from tests.support.paths import ROOT

PAGE = ROOT / "ARCHITECTURE.md"
BEGINNING, END = "```mermaid\n%% made by: make docs\n", "```\n"
NOT_DRAWN = {"__main__", "__init__"}


def package_map() -> str:
    """Each folder or top module of the package as a box, and its imports as arrows.

    An arrow that follows from two others is left out: `cli` needs `core`, and the drawing shows it by way of others.
    """
    needs = _imports_of_parts()
    arrows = [
        f"    {part} --> {needed}"
        for part, all_of_it in sorted(needs.items())
        for needed in sorted(all_of_it)
        if not _follows(part, needed, needs)
    ]
    return "\n".join(["flowchart TB", *arrows, ""])


def _imports_of_parts() -> dict[str, set[str]]:
    graph = grimp.build_graph("saga_service", cache_dir=None)
    parts = {module.split(".")[1] for module in graph.modules if "." in module} - NOT_DRAWN
    needs: dict[str, set[str]] = {part: set() for part in parts}
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            part, needed = _part(module), _part(imported)
            if part in parts and needed in parts and part != needed:
                needs[part].add(needed)
    return needs


def _part(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def _follows(part: str, needed: str, needs: dict[str, set[str]]) -> bool:
    """Whether `part` reaches `needed` by way of something else that it imports."""
    waiting, met = list(needs[part] - {needed}), set()
    while waiting:
        step = waiting.pop()
        if step == needed:
            return True
        if step not in met:
            met.add(step)
            waiting += needs[step]
    return False


def drawing_in(page: str) -> str:
    match = re.search(re.escape(BEGINNING) + r"(.*?)" + END, page, re.DOTALL)
    return match[1] if match else ""


def main(page: Path = PAGE) -> None:
    text = page.read_text()
    page.write_text(text.replace(BEGINNING + drawing_in(text), BEGINNING + package_map()))


if __name__ == "__main__":
    main()
