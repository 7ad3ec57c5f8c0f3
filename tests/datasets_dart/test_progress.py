"""Bars: where they are after batches, steps and rows, and lines in the log. The clock is the test's own."""

import io
import logging
import sys
from types import ModuleType, SimpleNamespace

import pytest

from datasets_dart import progress as bars
from datasets_dart.progress import Progress, counted, is_open, is_shown, passed


class Clock:
    """Seconds that pass when the test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, logger=bars.log.name)
    return lambda: [record.getMessage() for record in caplog.records if record.name == bars.log.name]


def test_a_bar_moves_with_the_batches_within_a_step_and_never_past_its_end():
    with Progress("scoring", 4, "passes", passes=40) as bar:
        assert is_open()
        with bar.step(2):
            seen = [bar.done]
            for rows in (8, 8, 8):
                passed(rows)
                seen.append(bar.done)
        assert seen == [0, 8, 16, 20]
        with bar.step(2):
            passed(1)
            assert bar.done == 21
        assert bar.done == 40
    assert not is_open()
    passed(5)  # with no bar
    assert bar.done == 40


def test_a_bar_of_rows_does_not_count_passes_and_begins_where_work_was_left():
    with Progress("training", 10, "steps", initial=4) as bar:
        passed(3)
        assert bar.done == 4
        bar.advance()
        assert (bar.done, bar.rows_done) == (5, 5)


def test_the_innermost_bar_counts():
    with Progress("outer", 1, "passes", passes=10) as outer, outer.step():
        with Progress("inner", 1, "passes", passes=10) as inner, inner.step():
            passed(3)
        passed(4)
        assert (outer.done, inner.done) == (4, 10)


def test_a_line_a_minute_says_how_far_how_fast_and_how_long(lines):
    clock = Clock()
    with Progress("scoring", 1000, "rows", clock=clock) as bar:
        for clock.now in (20, 40, 59.9, 60, 80, 100, 119, 121):
            bar.advance(50)
    assert lines() == [
        "scoring: 200 of 1,000 rows (20%), 3.3 a second, 04:00 left",
        "scoring: 400 of 1,000 rows (40%), 3.3 a second, 03:01 left",
    ]


def test_processes_that_are_not_the_first_say_nothing(lines):
    clock = Clock()
    with Progress("scoring", 10, "rows", shown=False, clock=clock) as bar:
        clock.now = 100
        bar.advance()
    assert lines() == []


def test_rate_and_time_left_are_of_all_processes(lines):
    clock, told = Clock(), []

    def exchange(done):
        told.append(done)
        return 30

    with Progress("scoring", 100, "rows", exchange=exchange, clock=clock) as bar:
        clock.now = 0.5
        bar.advance(1)  # no second has passed
        clock.now = 60
        bar.advance(19)
    assert told == [20]
    assert lines() == ["scoring: 50 of 100 rows (50%), 0.8 a second, 01:00 left"]


class Screen(io.StringIO):
    """Standard error as a terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize(("disabled", "shown"), [("", True), ("1", False)])
def test_a_terminal_has_a_bar_unless_it_is_disabled(monkeypatch, disabled, shown):
    monkeypatch.setenv("TQDM_DISABLE", disabled)
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    assert list(counted("ab", "counting", "letters", 2)) == ["a", "b"]
    assert ("counting: 100%" in screen.getvalue()) is shown
    assert ("2/2" in screen.getvalue()) is shown


@pytest.mark.parametrize(("shell", "shown"), [(None, False), (object(), False), (SimpleNamespace(kernel=1), True)])
def test_a_file_has_no_bar_unless_this_is_a_notebook(monkeypatch, shell, shown):
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))  # some libraries import it anywhere
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    assert is_shown() is shown


def test_a_file_has_no_bar(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr("sys.stderr", file)
    assert list(counted("ab", "counting", "letters", 2)) == ["a", "b"]
    assert file.getvalue() == ""


def test_a_bar_is_closed_by_an_error():
    with pytest.raises(ZeroDivisionError), Progress("scoring", 2, "rows") as bar, bar.step():
        raise ZeroDivisionError
    assert not is_open()
    assert bar.done == 0
