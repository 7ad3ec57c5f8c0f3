"""Docstrings as reStructuredText: what they have of Markdown, as those of transformers do, is changed for the site."""

import re
from typing import Any

SECTION = re.compile(r"(Args|Attributes|Example|Examples|Raises|Returns|Yields):\s*$")
LINK = re.compile(r"\[(`[^`]+`)\]")


def changed(lines: list[str]) -> list[str]:
    """Fenced blocks, and indented ones ahead of the first section, as code blocks; [`name`] as `name`."""
    found: list[str] = []
    fenced, in_sections, before = False, False, ""
    for line in lines:
        in_sections |= bool(SECTION.match(line))
        if line.strip().startswith("```"):
            fenced = not fenced
            indent = line[: len(line) - len(line.lstrip())]
            found += ["", f"{indent}.. code-block:: pycon", ""] if fenced else [""]
        elif fenced:
            found.append(f"    {line}")
        else:
            if line.startswith("    ") and not in_sections and not before.strip():
                found += [".. code-block:: python", ""]
            found.append(line if line.startswith("    ") and not in_sections else LINK.sub(r"\1", line))
        before = line
    return found


def process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Of the event autodoc-process-docstring, ahead of napoleon."""
    lines[:] = changed(lines)


def setup(app: Any) -> dict[str, bool]:
    """Register it."""
    app.connect("autodoc-process-docstring", process, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
