"""YAML and JSON that others may have written: read within bounds, and refused in one line that names the file."""

import json
import math
import os
from collections.abc import Hashable
from typing import Any

import yaml

from datasets_dart.errors import InputError
from datasets_dart.files import input_file

MOST_BYTES = 1 << 26
MOST_BYTES_OF_YAML = 1 << 20  # PyYAML reads about a megabyte in ten seconds
MOST_DIGITS = 100  # of a whole number; beyond some thousands, Python cannot print one


def read_yaml(path: str | os.PathLike[str]) -> Any:
    """What a YAML file holds; see [`parse_yaml`].

    Raises:
        FileNotFoundError, InputError: naming the file.
    """
    return parse_yaml(_text(path, MOST_BYTES_OF_YAML), path)


def read_yaml_mapping(path: str | os.PathLike[str], of: str = "names to values") -> dict[str, Any]:
    """A YAML file that must hold a mapping whose keys are text.

    Raises:
        FileNotFoundError, InputError: naming the file.
    """
    content = read_yaml(path)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(f"{path}: not a mapping of {of}")
    return content


def parse_yaml(text: str, where: str | os.PathLike[str]) -> Any:
    """Plain YAML: no aliases, which can stand for more than memory holds, no key twice, no endless numbers.

    Args:
        where: what an error names.

    Raises:
        InputError: naming the place of the fault.
    """
    try:
        return yaml.load(text, Loader=_PlainLoader)  # noqa: S506 - a subclass of SafeLoader
    except RecursionError:
        raise InputError(f"{where}: not YAML that can be read: nested too deeply") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f":{mark.line + 1}"
        raise InputError(f"{where}{line}: not YAML that can be read: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, OverflowError, AttributeError, KeyError) as error:  # of `!!int x` and the like
        raise InputError(f"{where}: not YAML that can be read: {' '.join(str(error).split())}") from None


def yaml_text(content: Any) -> str:
    """Plain YAML that [`parse_yaml`] reads, in the order of `content`."""
    text: str = yaml.dump(content, Dumper=_PlainDumper, sort_keys=False)
    return text


def read_json(path: str | os.PathLike[str], finite: bool = False) -> Any:
    """What a JSON file holds; see [`parse_json`].

    Raises:
        FileNotFoundError, InputError: naming the file.
    """
    return parse_json(_text(path, MOST_BYTES), path, finite)


def parse_json(text: str, where: str | os.PathLike[str], finite: bool = False) -> Any:
    """JSON, nested no deeper than can be read again, without endless numbers and keys that occur twice.

    Args:
        where: what an error names. finite: refuse NaN, Infinity and numbers beyond the range of a float.

    Raises:
        InputError: naming the place of the fault.
    """
    try:
        return json.loads(
            text,
            object_pairs_hook=_mapping,
            parse_int=_whole,
            parse_float=_finite if finite else None,
            parse_constant=_finite if finite else None,
        )
    except RecursionError:
        raise InputError(f"{where}: not JSON that can be read: nested too deeply") from None
    except ValueError as error:
        raise InputError(f"{where}: not JSON: {error}") from None


def _text(path: str | os.PathLike[str], most: int) -> str:
    found = input_file(path)
    with found.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise InputError(f"{path}: more than {most:,} bytes, too large for a file of this kind")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8: {error}") from None


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:80]!r} occurs twice")
        found[key] = value
    return found


def _whole(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is not a finite number")
    return value


class _PlainLoader(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(None, None, f"alias *{event.anchor}: write it out", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        found: dict[Hashable, Any] = super().construct_mapping(node, deep)
        if len(found) < len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key that occurs twice", node.start_mark)
        return found

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > MOST_DIGITS:
            problem = f"a number of {len(node.value)} digits"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        number: int = super().construct_yaml_int(node)
        return number


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_yaml_int)


class _PlainDumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True
