"""Objects that packages name in an entry point group: ours and, without a change here, those of others."""

from collections.abc import Callable, Iterator, Mapping
from configparser import ConfigParser
from functools import cache, cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from datasets_dart.errors import InputError

Item = TypeVar("Item")
DISTRIBUTION = "hyenadna-dart"
SETUP = Path(__file__).parents[1] / "setup.cfg"  # of a checkout; an installed wheel has none there


@cache
def declared(path: Path = SETUP) -> dict[str, list[EntryPoint]] | None:
    """Group -> the entry points that our own setup.cfg declares; None where this is no checkout."""
    parser = ConfigParser(interpolation=None, delimiters=("=",))
    if not parser.read(path, encoding="utf-8") or parser.get("metadata", "name", fallback="") != DISTRIBUTION:
        return None
    found = {}
    for group, lines in parser["options.entry_points"].items():
        pairs = (line.partition("=") for line in lines.split("\n") if line.strip())
        found[group] = [EntryPoint(name.strip(), value.strip(), group) for name, _, value in pairs]
    return found


def points_of(group: str) -> list[EntryPoint]:
    """The entry points of a group; in a checkout ours are those of its setup.cfg, whenever it was installed."""
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
            raise InputError(f"{self.noun} {name!r} is unknown: {', '.join(self)}")
        return self[name]
