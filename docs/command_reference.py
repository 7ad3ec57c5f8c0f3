"""The directive `commands`: every command and option of an app, read off the app itself while the site is built."""

import re
from collections.abc import Iterator
from typing import Any

import typer
from docutils import nodes
from docutils.parsers.rst import Directive

from trainer_scripts.cli import dart_eval, fit_markov, hyenadna

APPS = {"hyenadna": hyenadna.app, "dart-eval": dart_eval.app}
# Commands whose options a parser of transformers declares
PARSERS = {"hyenadna fit-markov": fit_markov.option_parser}
GENERAL = "Options"


class Commands(Directive):
    """`{commands} dart-eval`: a section for each command."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Parse the text of the reference where the directive is."""
        from docutils.statemachine import StringList

        name = self.arguments[0]
        place = nodes.section()
        place.document = self.state.document
        text = reference(name)
        self.state.nested_parse(StringList(text.splitlines(), source=name), self.content_offset, place, match_titles=1)
        return place.children


def reference(name: str) -> str:
    """Markdown: an app's general options, and a section with the help and options of each of its commands."""
    command = typer.main.get_command(APPS[name])
    return "\n".join(sections(name, command, level=2))


def sections(path: str, command: Any, level: int) -> Iterator[str]:
    """The section of a command, then those of the commands of a group."""
    yield f"{'#' * level} {path}\n"
    yield from prose(command.help or "")
    context = command.make_context(path, [], resilient_parsing=True)
    panels: dict[str, list[tuple[str, str]]] = {}
    for own in command.get_params(context):  # words and help, the default among it
        panel = "Arguments" if own.param_type_name == "argument" else own.rich_help_panel or GENERAL
        panels.setdefault(panel, []).append(own.get_help_record(context))
    if path in PARSERS:
        panels = {GENERAL: parsed(PARSERS[path]())}
    for panel in sorted(panels, key=lambda name: (name != "Arguments", name != GENERAL)):
        yield table(panel, panels[panel])
    commands = getattr(command, "commands", {})
    for name in sorted(commands):
        yield from sections(f"{path} {name}", commands[name], level + 1)


def prose(help_text: str) -> Iterator[str]:
    """Paragraphs; those that are command lines as shell blocks, which can be copied."""
    for paragraph in re.split(r"\n\s*\n", help_text.strip()):
        words = paragraph.split()
        yield f"```bash\n{paragraph.strip()}\n```\n" if words and words[0] in APPS else f"{escaped(paragraph)}\n"


def parsed(parser: Any) -> list[tuple[str, str]]:
    """The options of an argparse parser."""
    rows = []
    for action in parser._actions:  # noqa: SLF001 - argparse has no other list of them
        names = [name for name in action.option_strings if "_" not in name] or action.option_strings
        value = "" if action.nargs == 0 else " [VALUE]" if action.nargs == "?" else " VALUE"
        value = f" <{'|'.join(action.choices)}>" if action.choices else value
        known = action.default not in (None, False, "==SUPPRESS==")
        said = "  [required]" if action.required else f"  [default: {action.default}]" * known
        rows.append((", ".join(names) + value, (action.help or "") + said))
    return rows


def table(title: str, rows: list[tuple[str, str]]) -> str:
    """A Markdown table of two columns, what is typed as code."""
    cells = [(f"`{words}`".replace("|", "\\|"), escaped(text)) for words, text in rows]
    return "\n".join([f"| {title} | |", "|---|---|", *(f"| {words} | {text} |" for words, text in cells)]) + "\n"


def escaped(text: str) -> str:
    """Help text as Markdown that shows it as it is."""
    return re.sub(r"([\\*_<>\[\]$#~|])", r"\\\1", " ".join(text.split()))


def setup(app: Any) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
