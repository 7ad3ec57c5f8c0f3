"""The pages that are made from the code: every command with its options, and every argument of the public functions."""

import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("sphinx", reason="the extra docs is not installed")
from sphinx.ext.napoleon import Config, GoogleDocstring

DOCS = Path(__file__).parents[1] / "docs"
sys.path.insert(0, str(DOCS))
import command_reference  # noqa: E402
import docstrings  # noqa: E402

sys.path.remove(str(DOCS))

HEADING = re.compile(r"^#+ ((?:hyenadna|dart-eval).*)$", re.MULTILINE)
FUNCTIONS = re.findall(r"autofunction:: (\S+)", (DOCS / "api.md").read_text())
CLASSES = re.findall(r"autoclass:: (\S+)", (DOCS / "api.md").read_text())
PACKAGES = ("hyenadna_dart", "evaluation_dart", "datasets_dart", "datasets_hyenadna", "modeling_hyenadna")


@pytest.mark.parametrize("name", command_reference.APPS)
def test_every_option_of_every_help_is_in_the_reference(name):
    _, *parts = HEADING.split(command_reference.reference(name))
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    assert len(sections) > 15
    for path, text in sections.items():
        words = path.split()[1:]
        done = CliRunner().invoke(
            command_reference.APPS[name], [*words, "--help"], env={"COLUMNS": "300", "NO_COLOR": "1"}
        )
        assert done.exit_code == 0, path
        if done.output.startswith("usage:"):  # argparse, which also has underscore forms
            offered = set(re.findall(r"(?<!\w)--[a-z-]+(?![\w])", done.output.partition("\noptions:\n")[2]))
        else:
            offered = set(re.findall(r"^│ [* ]*(--[\w-]+)", done.output, re.MULTILINE))
            below = set(re.findall(r"^│ ([a-z][\w-]+) ", done.output.partition("─ Commands ─")[2], re.MULTILINE))
            assert {f"{path} {own}" for own in below} <= sections.keys()
        assert "--help" in offered, path
        assert offered == set(re.findall(r"^\| `[^`]*?(--[\w-]+)", text, re.MULTILINE)), path


def test_help_text_is_shown_as_it_is():
    assert command_reference.escaped("a_b <c> [d]  $e | *f*") == r"a\_b \<c\> \[d\] \$e \| \*f\*"
    assert [*command_reference.prose("Do it.\n\nhyenadna score --model m \\\n    --output o")] == [
        "Do it.\n",
        "```bash\nhyenadna score --model m \\\n    --output o\n```\n",
    ]


def resolved(path):
    """An object by the name that a page has for it."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("path", FUNCTIONS)
def test_every_argument_has_a_line_of_its_own(path):
    function = resolved(path)
    lines = str(GoogleDocstring(inspect.getdoc(function), Config(napoleon_use_param=True)))
    described = re.findall(r"^:param (\S+?):", lines, re.MULTILINE)
    assert [name.lstrip("\\*") for name in described] == [*inspect.signature(function).parameters]
    for line in re.findall(r"^:param .*$", lines, re.MULTILINE):
        assert not re.search(r"\. [a-z_]+: ", line), line  # no second argument within


def test_every_public_name_is_on_the_page():
    documented = {path.rpartition(".")[2] for path in [*FUNCTIONS, *CLASSES]}
    documented |= {name.rpartition(".")[2] for name in re.findall(r"py:data:: (\S+)", (DOCS / "api.md").read_text())}
    for package in PACKAGES:
        assert set(importlib.import_module(package).__all__) <= documented, package
    assert all(inspect.isclass(resolved(path)) and resolved(path).__doc__ for path in CLASSES)


def test_what_docstrings_have_of_markdown_is_changed():
    given = [
        "One [`name`].",
        "",
        "    call(a)",
        "",
        "Args:",
        "    a: the first, [`b`].",
        "",
        "```python",
        ">>> 1",
        "```",
    ]
    assert docstrings.changed(given) == [
        "One `name`.",
        "",
        ".. code-block:: python",
        "",
        "    call(a)",
        "",
        "Args:",
        "    a: the first, `b`.",
        "",
        "",
        ".. code-block:: pycon",
        "",
        "    >>> 1",
        "",
    ]
