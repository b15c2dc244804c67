"""How long a search will take, by what its first candidates took."""

from types import SimpleNamespace

import pytest

from dcr.selection.cost import count_steps, estimate_seconds, hours


def run(objective, steps):
    return SimpleNamespace(objective=objective, max_train_steps=steps)


def outcome(seconds, **runs):
    told = {
        name: {"objective": objective, "steps": n, "seconds": s}
        for name, (objective, n, s) in runs.items()
    }
    return {"seconds": seconds, "runs": {"7": told}}


def test_steps_of_all_runs_are_counted():
    assert count_steps([run("dcr", 3), run("naive", 4)]) == 7
    assert count_steps([]) == 0


def test_each_objective_has_its_own_pace_and_the_rest_takes_as_long_as_it_did():
    """2 s a step of dcr, 0.5 of reconstruction, and 10 s of evaluation for each candidate."""
    done = [
        outcome(30.0, first=("reconstruction", 20, 10.0), second=("dcr", 5, 10.0)),
        outcome(20.0, a=("dcr", 5, 10.0)),
    ]
    left = [[run("dcr", 10), run("reconstruction", 10)], [run("dcr", 1)]]
    assert estimate_seconds(done, left) == pytest.approx(20 + 5 + 2 + 2 * 10)
    assert estimate_seconds(done, []) == 0


def test_an_objective_that_was_not_run_takes_the_pace_of_all_steps():
    done = [outcome(30.0, first=("reconstruction", 20, 10.0), second=("dcr", 5, 15.0))]
    assert estimate_seconds(done, [[run("naive", 10)]]) == pytest.approx(10 * 25 / 25 + 5)


def test_steps_that_were_shared_make_no_negative_rest():
    """Of two candidates that share their steps each tells their seconds, and the second one
    took less.
    """
    done = [outcome(10.0, a=("dcr", 5, 10.0)), outcome(1.0, a=("dcr", 5, 10.0))]
    assert estimate_seconds(done, [[run("dcr", 5)]]) == pytest.approx(10)


def test_hours_are_shown_to_two_places():
    assert hours(5400) == "1.50"
