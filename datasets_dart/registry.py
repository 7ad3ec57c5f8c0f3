"""Objects that packages name in an entry point group: ours and, without a change here, those of others."""

import json
from collections.abc import Callable, Iterator, Mapping
from configparser import ConfigParser
from difflib import get_close_matches
from functools import cache, cached_property
from importlib.metadata import EntryPoint, distributions, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar, cast
from urllib.parse import urlparse
from urllib.request import url2pathname

from datasets_dart.errors import InputError

Item = TypeVar("Item")
DISTRIBUTION = "hyenadna-dart"


@cache
def declared() -> dict[str, list[EntryPoint]] | None:
    """Group -> our own entry points as the setup.cfg of an editable install has them now; None of any other install.

    What was written when it was installed lacks what was added since.
    """
    for path in filter(Path.is_file, (folder / "setup.cfg" for folder in sources())):
        parser = ConfigParser(interpolation=None, delimiters=("=",))
        parser.read(path, encoding="utf-8")
        if parser.get("metadata", "name", fallback="") == DISTRIBUTION:
            return {group: points_in(group, text) for group, text in parser["options.entry_points"].items()}
    return None


def sources() -> Iterator[Path]:
    """Folders in which an editable install may have its source: beside its metadata, or where that says."""
    for found in distributions(name=DISTRIBUTION):
        yield Path(str(found.locate_file("")))
        told = json.loads(found.read_text("direct_url.json") or "{}")
        if told.get("dir_info", {}).get("editable"):
            yield Path(url2pathname(urlparse(told["url"]).path))


def points_in(group: str, text: str) -> list[EntryPoint]:
    """The entry points of lines `name = value`."""
    pairs = (line.partition("=") for line in text.splitlines() if line.strip())
    return [EntryPoint(name.strip(), value.strip(), group) for name, _, value in pairs]


def points_of(group: str) -> list[EntryPoint]:
    """The entry points of a group: those of other packages, and ours as they are [`declared`]."""
    own = declared()
    if own is None:
        return [*entry_points(group=group)]
    others = [point for point in entry_points(group=group) if point.dist is None or point.dist.name != DISTRIBUTION]
    return [*own.get(group, []), *others]


class EntryPoints(Mapping[str, Item], Generic[Item]):
    """name -> object of an entry point group; an object is imported when it is asked for.

    Args:
        group: of entry points. noun: what one of its objects is called. beside: a group that must have an entry of each
            name as well. order: what the objects are sorted by; by default their names.

    Raises:
        InputError: on first use, for a name that two packages claim, or one that `beside` lacks.
    """

    def __init__(self, group: str, noun: str, beside: str | None = None, order: Callable[[Item], Any] | None = None):
        self.group, self.noun, self.beside, self.order = group, noun, beside, order

    @cached_property
    def points(self) -> dict[str, EntryPoint]:
        """The entry points by name."""
        points: dict[str, EntryPoint] = {}
        for point in points_of(self.group):
            if points.setdefault(point.name, point).value != point.value:
                raise InputError(
                    f"{self.noun} {point.name!r} is named twice in {self.group}: as {points[point.name].value} and "
                    f"{point.value}"
                )
        if self.beside is not None:
            known = {point.name for point in points_of(self.beside)}
            for name in points.keys() - known:
                raise InputError(f"{self.noun} {name!r} of {self.group} has no entry in {self.beside}")
        return points

    def __getitem__(self, name: str) -> Item:
        return cast(Item, self.points[name].load())

    def __iter__(self) -> Iterator[str]:
        order = self.order
        return iter(self.points if order is None else sorted(self.points, key=lambda name: order(self[name])))

    def __len__(self) -> int:
        return len(self.points)

    def named(self, name: Any) -> Item:
        """The object of that name.

        Raises:
            InputError: naming those there are.
        """
        if name not in self.points:
            near = get_close_matches(str(name), list(self), n=1)
            hint = f"did you mean {near[0]}? There are" if near else "there are"
            raise InputError(f"{self.noun} {name!r} is unknown; {hint} {', '.join(self)}")
        return self[name]
