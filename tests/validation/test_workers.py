"""Processes that die cost their own shard, and the run goes on; that none can be started is
told.
"""

import os
import signal

import pytest

from dcr.errors import UserError
from dcr.validation.workers import Workers


def square(number: int, deaths: str = "") -> int:
    """Return a square; die over 3, or over 2 as long as a file is missing that is then there."""
    if number == 3 or (number == 2 and deaths and not os.path.exists(deaths)):
        if deaths:
            open(deaths, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def lost(number: int, deaths: str = "") -> str:
    return f"lost {number}"


def test_results_come_in_any_order():
    assert sorted(Workers("threading", 2).run(square, ((n,) for n in range(3)))) == [0, 1, 4]


def test_a_call_that_kills_its_process_costs_its_own_result_alone():
    found = list(Workers("loky", 2).run(square, ((n,) for n in range(12)), lost))
    assert sorted(found, key=str) == sorted(
        [*(n * n for n in range(12) if n != 3), "lost 3"], key=str
    )


def test_a_call_whose_process_died_by_chance_is_made_again(tmp_path):
    calls = ((n, str(tmp_path / "died")) for n in range(3))
    assert sorted(Workers("loky", 2).run(square, calls, lost)) == [0, 1, 4]
    assert (tmp_path / "died").exists()


def test_where_no_call_may_be_lost_it_is_named():
    with pytest.raises(
        UserError,
        match=r"killed twice over 3: is there enough memory\? Set validation\.n_jobs lower",
    ):
        list(Workers("loky", 2).run(square, ((n,) for n in range(4))))


def test_that_no_process_can_be_started_is_told(monkeypatch):
    def no_room(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("joblib._parallel_backends.get_memmapping_executor", no_room)
    with pytest.raises(
        UserError, match=r"validation\.n_jobs 5: no worker process .*No space left.*set it to 1"
    ):
        list(Workers("loky", 5).run(square, ((n,) for n in range(2))))
