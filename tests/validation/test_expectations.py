import json
import subprocess
import sys

import pandas as pd
import pytest

from dcr.errors import UserError
from dcr.validation.expectations import describe_failure, named_columns, validate_expectations

SAMPLES = pd.DataFrame(
    {
        "shard": ["a"] * 4 + ["b"] * 4 + ["c"] * 2 + ["d"] * 2,
        "status": ["accepted"] * 3 + ["rejected"] * 4 + ["accepted"] + ["rejected", "accepted"] * 2,
        "width": pd.array([32, 64, None, *range(100, 109)], dtype="Int32"),
    }
)


def suite(*expectations):
    return {"name": "samples", "expectations": list(expectations)}


def accepted(mostly, severity="critical"):
    kwargs = {"column": "status", "value_set": ["accepted"], "mostly": mostly}
    return {"type": "expect_column_values_to_be_in_set", "kwargs": kwargs, "severity": severity}


def rows(least):
    kwargs = {"min_value": least}
    return {"type": "expect_table_row_count_to_be_between", "kwargs": kwargs, "severity": "warning"}


def test_a_met_suite_succeeds():
    found = validate_expectations(SAMPLES, suite(accepted(0.4), rows(1)))
    assert found["success"] is True
    assert [r["success"] for r in found["results"]] == [True, True]


def test_mostly_is_the_share_that_must_meet_it():
    assert validate_expectations(SAMPLES, suite(accepted(0.5)))["success"] is True
    assert validate_expectations(SAMPLES, suite(accepted(0.51)))["success"] is False


def test_a_failure_names_value_and_the_three_worst_shards():
    (result,) = validate_expectations(SAMPLES, suite(accepted(0.9)))["results"]
    assert result["severity"] == "critical"
    assert result["observed_value"] == "50.00 % unexpected (6 of 12)"
    assert result["worst_shards"] == {"b": 3, "a": 1, "c": 1}
    assert (
        describe_failure(result)
        == "expect_column_values_to_be_in_set(column=status, mostly=0.9, value_set=['accepted'])"
        " failed: observed 50.00 % unexpected (6 of 12), worst shards: b (3), a (1), c (1)"
    )


def test_a_failure_of_the_whole_table_names_the_value():
    (result,) = validate_expectations(SAMPLES, suite(rows(100)))["results"]
    assert (result["observed_value"], result["worst_shards"], result["severity"]) == (
        12,
        {},
        "warning",
    )


def test_missing_values_are_not_held_against_a_range():
    between = {
        "type": "expect_column_values_to_be_between",
        "kwargs": {"column": "width", "min_value": 32},
    }
    assert validate_expectations(SAMPLES, suite(between))["success"] is True


def test_results_keep_the_suites_order_and_are_the_same_twice():
    expectations = suite(rows(1), accepted(0.9), rows(100), accepted(0.1))
    first, second = (validate_expectations(SAMPLES, expectations) for _ in range(2))
    assert [r["kwargs"].get("min_value", r["kwargs"].get("mostly")) for r in first["results"]] == [
        1,
        0.9,
        100,
        0.1,
    ]
    assert json.dumps(first) == json.dumps(second)


def test_an_empty_table_is_checked():
    found = validate_expectations(SAMPLES[:0], suite(rows(1), accepted(0.9)))
    assert [r["success"] for r in found["results"]] == [False, True]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"name": "x", "expectatons": []},
            "`name` .* `expectations`",
        ),
        (
            {"name": "x", "expectations": []},
            "`name` .* `expectations`",
        ),
        (
            suite(rows(1), {"type": "expect_nothing", "kwargs": {}}),
            "number 2 of the list is wrong: expect_nothing",
        ),
        (suite(rows(1) | {"severity": "criticl"}), "Invalid severity 'criticl'"),
        (
            suite({"type": "expect_column_values_to_not_be_null", "kwargs": {"colum": "x"}}),
            "number 1 of the list",
        ),
        (
            suite({"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "x"}}),
            '"x" in BatchData does not',
        ),
        (suite("expect"), "number 1 of the list"),
    ],
)
def test_a_wrong_suite_is_an_error_that_names_it(wrong, message):
    with pytest.raises(UserError, match=message):
        validate_expectations(SAMPLES, wrong)


def test_only_columns_that_a_suite_names_are_needed():
    unique = {
        "type": "expect_compound_columns_to_be_unique",
        "kwargs": {"column_list": ["shard", "offset"]},
    }
    columns = ["key", "offset", "shard", "status", "width"]
    assert named_columns(suite(accepted(0.9), rows(1), unique), columns) == [
        "offset",
        "shard",
        "status",
    ]
    whole = {"type": "expect_table_columns_to_match_set", "kwargs": {"column_set": ["key"]}}
    assert named_columns(suite(whole), columns) is None


def test_the_library_draws_no_bars_and_sends_nothing():
    """In a process of its own: what it writes to the terminal, and what it was told before its
    import.
    """
    code = (
        "import logging, os, pandas as pd; logging.basicConfig(level=logging.INFO);"
        "from dcr.validation.expectations import validate_expectations;"
        "suite = {'name': 's', 'expectations': [{'type': 'expect_table_row_count_to_be_between',"
        " 'kwargs': {'min_value': 1}}]};"
        "validate_expectations(pd.DataFrame({'shard': ['0']}), suite);"
        "print(os.environ['GX_ANALYTICS_ENABLED'])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True, text=True
    )
    assert done.stdout == "false\n", done.stderr
    assert done.stderr == ""
