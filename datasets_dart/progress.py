"""Progress of long work: a bar on a terminal or in a notebook, and a line a minute in the log.

This is the only place that makes bars. The lines go to this module's logger at level INFO; a handler that writes to the
terminal where the bar is leaves them out (see [`is_shown`]).
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tqdm.auto import tqdm

MINUTE = 60.0
EXCHANGE = 1.0  # seconds between two looks at what other processes have done
Item = TypeVar("Item")

log = logging.getLogger(__name__)
_open: list["Progress"] = []  # the innermost last


def is_shown() -> bool:
    """Whether bars are drawn: on a terminal or in a notebook, unless TQDM_DISABLE hides them."""
    return not os.environ.get("TQDM_DISABLE") and (sys.stderr.isatty() or in_notebook())


def in_notebook() -> bool:
    """Whether this process runs the cells of a notebook; some libraries import ipykernel where there is none."""
    ipython = sys.modules.get("IPython")
    return hasattr(ipython and ipython.get_ipython(), "kernel")


def write_above(text: str) -> None:
    """Write a line to standard error, above the bars that are open."""
    tqdm.write(text, file=sys.stderr)


def passed(rows: int) -> None:
    """Move the innermost bar that is open, if any, by rows that have gone through a model."""
    if _open:
        _open[-1].pass_rows(rows)


def is_open() -> bool:
    """Whether a bar is open."""
    return bool(_open)


class Progress:
    """A bar over `rows` rows, which moves within a row where this takes many passes through a model.

    What the bar counts is rows or, with `passes`, rows that go through the model. How many passes a step takes is an
    estimate: the bar never passes a step's end before the step ends, and is there when it does.

    Args:
        desc: what is done, in a word.
        rows: to be done, by all processes.
        unit: what is counted, in the plural.
        passes: rows that go through the model, by all processes; None to count the rows themselves.
        initial: rows that are done already.
        shown: False for a process that says nothing.
        exchange: takes what this process has done, and gives what the others have; called once a second at most.
        clock: seconds, for the lines in the log.
    """

    def __init__(
        self,
        desc: str,
        rows: int,
        unit: str,
        *,
        passes: int | None = None,
        initial: int = 0,
        shown: bool = True,
        exchange: Callable[[int], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.desc, self.rows, self.unit, self.shown = desc, rows, unit, shown
        self.by_pass, self.total = passes is not None, rows if passes is None else passes
        self.exchange, self.clock = exchange, clock
        self.rows_done, self.others = initial, 0
        self.initial = self.done = self._of(initial)
        self.end = self.done  # of the step at hand
        self.began = self.said = self.exchanged = clock()
        hidden = {} if shown and is_shown() else {"disable": True}  # disable=False would overrule TQDM_DISABLE
        self.bar: Any = tqdm(desc=desc, total=self.total, initial=self.done, unit=f" {unit}", **hidden)

    def __enter__(self) -> "Progress":
        _open.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _open.remove(self)
        self.bar.close()

    @contextmanager
    def step(self, rows: int = 1) -> Iterator[None]:
        """Around the work on some rows."""
        self.end = self._of(self.rows_done + rows)
        yield
        self.advance(rows)

    def advance(self, rows: int = 1) -> None:
        """Rows are done."""
        self.rows_done += rows
        self.done = self.end = self._of(self.rows_done)
        self._move()

    def pass_rows(self, rows: int) -> None:
        """Rows have gone through the model, within a step."""
        if self.by_pass and self.done < self.end:
            self.done = min(self.done + rows, self.end)
            self._move()

    def over(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items; each is done when the next one is asked for."""
        with self:
            for item in items:
                yield item
                self.advance()

    def note(self, **values: str) -> None:
        """Values to show behind the bar."""
        self.bar.set_postfix(refresh=False, **values)

    def line(self) -> str:
        """How far the work is, how fast, and how long it will still take."""
        done = min(self.done + self.others, self.total)
        rate = (done - self.initial) / max(self.clock() - self.began, 1e-9)
        left = tqdm.format_interval((self.total - done) / rate) if rate > 0 else "?"
        share = done / self.total if self.total else 1
        return f"{self.desc}: {done:,} of {self.total:,} {self.unit} ({share:.0%}), {rate:,.1f} a second, {left} left"

    def _of(self, rows: int) -> int:
        """What the bar counts, of rows."""
        return round(rows * self.total / self.rows) if self.rows else 0

    def _move(self) -> None:
        now = self.clock()
        if self.exchange is not None and now - self.exchanged >= EXCHANGE:
            self.exchanged, self.others = now, self.exchange(self.done)
        self.bar.update(min(self.done + self.others, self.total) - self.bar.n)
        if self.shown and now - self.said >= MINUTE:
            self.said = now
            log.info("%s", self.line())


def counted(items: Iterable[Item], desc: str, unit: str, total: int) -> Iterator[Item]:
    """The items, with a bar that moves when the next one is asked for."""
    return Progress(desc, total, unit).over(items)
