"""The torture tests' own count and sample."""

from __future__ import annotations

from types import SimpleNamespace

from torture_options import COUNT, Torture, counts


def test_counts_add_up_over_tests():
    reports = [
        SimpleNamespace(user_properties=[(COUNT + "kills", n), ("other", "x")]) for n in (2, 3)
    ]
    assert counts(reports) == {"kills": 5}


def test_a_sample_is_drawn_by_the_seed_and_the_whole_is_everything():
    cases = list(range(100))
    samples = {tuple(Torture(seed, False, print).choose(cases, 10)) for seed in (0, 0, 1)}
    assert len(samples) == 2
    assert Torture(0, True, print).choose(cases, 10) == cases
