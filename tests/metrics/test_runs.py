"""Mean and spread over runs against SciPy's own interval."""

import numpy as np
import pytest
from scipy import stats

from dcr.metrics.runs import spread_over_runs


def test_the_interval_is_students():
    values = [0.31, 0.35, 0.28, 0.33]
    spread = spread_over_runs(values, 0.9)
    expected = stats.t.interval(0.9, 3, loc=np.mean(values), scale=stats.sem(values))
    assert spread.interval == pytest.approx(expected)
    assert (spread.num_runs, spread.mean, spread.std) == (
        4,
        pytest.approx(0.3175),
        pytest.approx(np.std(values, ddof=1)),
    )


def test_one_run_has_no_spread():
    spread = spread_over_runs([0.5], 0.95)
    assert spread.mean == 0.5
    assert np.isnan([spread.std, *spread.interval]).all()


def test_no_run_is_an_error():
    with pytest.raises(ValueError, match="R > 0"):
        spread_over_runs([], 0.95)
