"""Docstrings as reStructuredText: what they have of Markdown, as those of transformers do, is changed for the site.

And links from their short names of classes to the pages of these.
"""

import re
from typing import Any

from sphinx.util.nodes import make_refnode

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


def resolved(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Of the event missing-reference: a link to the one documented object of that name, whatever its module.

    Docstrings and annotations name `InputError` or `Metric` as their own module has imported it.
    """
    if node.get("refdomain") != "py":
        return None
    name = node["reftarget"].rpartition(".")[2]
    domain = env.domains["py"]
    found = [path for path, entry in domain.objects.items() if path.rpartition(".")[2] == name and not entry.aliased]
    if len(found) != 1:
        return None
    entry = domain.objects[found[0]]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, found[0])


def setup(app: Any) -> dict[str, bool]:
    """Register them."""
    app.connect("autodoc-process-docstring", process, priority=100)
    app.connect("missing-reference", resolved)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
