"""Long loops tell how far they are: by a bar on a terminal, by lines where there is none."""

import ast
import logging
import sys
from pathlib import Path

import pytest
from tqdm import tqdm

from dcr import progress
from dcr.progress import Lines, describe_seconds, show_progress

SOURCE = Path(progress.__file__).parent


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves, and no terminal."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    return now


def test_a_line_comes_every_half_minute_with_share_and_time_left(clock, caplog):
    caplog.set_level(logging.INFO, "dcr.progress")
    with show_progress(total=1000, desc="encode latents", unit="image") as bar:
        for _ in range(10):
            clock[0] += 10
            bar.update(50)
            bar.set_postfix(loss="0.41", refresh=False)
    assert caplog.messages == [
        "encode latents: 150 of 1,000 images, 15 %, 2 min 50 s left, loss 0.41",
        "encode latents: 300 of 1,000 images, 30 %, 2 min 20 s left, loss 0.41",
        "encode latents: 450 of 1,000 images, 45 %, 1 min 50 s left, loss 0.41",
    ]


def test_what_was_done_before_does_not_count_into_the_speed(clock, caplog):
    caplog.set_level(logging.INFO, "dcr.progress")
    bar = show_progress(total=1000, initial=900, desc="dcr", unit="step")
    clock[0] += 60
    bar.update(50)
    assert caplog.messages == ["dcr: 950 of 1,000 steps, 95 %, 1 min 0 s left"]


def test_items_are_passed_on_and_counted(clock, caplog):
    caplog.set_level(logging.INFO, "dcr.progress")

    def slow():
        for item in "abc":
            yield item
            clock[0] += 40

    assert list(show_progress(slow(), desc="read", unit="shard")) == ["a", "b", "c"]
    assert caplog.messages[0] == "read: 2 shards, 40 s so far"
    assert list(show_progress([1, 2], desc="read", unit="shard")) == [1, 2]


def test_short_loops_tell_nothing(clock, caplog):
    caplog.set_level(logging.INFO, "dcr.progress")
    assert list(show_progress(range(5), desc="read", unit="shard")) == list(range(5))
    assert caplog.messages == []


def test_a_terminal_gets_a_bar_and_other_processes_nothing(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with show_progress(total=1, desc="a", unit="b") as bar:
        assert isinstance(bar, tqdm)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert isinstance(show_progress(total=1, desc="a", unit="b"), Lines)
    assert show_progress(total=1, desc="a", unit="b", disable=True).disable


def test_of_several_processes_that_show_themselves_each_tells_in_lines_on_a_terminal_too(
    monkeypatch,
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(progress, "_ALWAYS_IN_LINES", False)
    progress.use_lines()
    assert isinstance(show_progress(total=1, desc="a", unit="b"), Lines)
    assert show_progress(total=1, desc="a", unit="b", disable=True).disable


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (90061, "25 h 1 min")],
)
def test_times_have_two_units(seconds, words):
    assert describe_seconds(seconds) == words


def test_no_other_module_draws_a_bar():
    found = [
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "tqdm"
    ]
    assert found == ["progress.py"]
