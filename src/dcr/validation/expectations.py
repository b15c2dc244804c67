"""Great Expectations on the sample table.

The suite is kept by hand in YAML; results name the worst shards.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from dcr.errors import UserError
from dcr.validation.declared import PLAIN

if TYPE_CHECKING:
    import pandas as pd

_WORST = 3


def validate_expectations(samples: pd.DataFrame, suite: dict[str, Any]) -> dict[str, Any]:
    """Check the sample table against a suite.

    Args:
        samples: `dcr.validation.Judgement.samples`.
        suite: keyword arguments of ``great_expectations.ExpectationSuite``: ``name`` and
            ``expectations``, each with ``type``, ``kwargs`` and ``severity`` (``critical``,
            ``warning`` or ``info``).

    Returns:
        ``success``, ``suite``, ``statistics`` and ``results``, one for each expectation in the
        suite's order: ``expectation``, ``kwargs``, ``severity``, ``success``, ``observed_value``,
        ``worst_shards`` ({shard: samples that break it}, at most three; empty where the expectation
        is not about single samples). Nothing in it depends on the time or place of the run.

    Raises:
        UserError: the suite is not one that Great Expectations knows, or an expectation cannot be
            computed.
    """
    _, definition = _define(samples)
    built = _build_suite(suite)
    batch = definition.get_batch({"dataframe": samples})
    outcome = batch.validate(built, result_format={"result_format": "COMPLETE"}).to_json_dict()
    found = sorted(
        outcome["results"], key=lambda result: result["expectation_config"]["meta"]["position"]
    )
    results = [_report(result, samples["shard"]) for result in found]
    return {
        "success": all(result["success"] for result in results),
        "suite": built.name,
        "statistics": outcome["statistics"],
        "results": results,
    }


def describe_failure(result: dict[str, Any]) -> str:
    """Return one clause that names a failed expectation, what was observed and the worst shards.

    Args:
        result: one of `results` of `validate_expectations`, not successful, and its ``source``.
    """
    kwargs = ", ".join(f"{name}={value}" for name, value in result["kwargs"].items())
    shards = ", ".join(f"{shard} ({count})" for shard, count in result["worst_shards"].items())
    worst = f", worst shards: {shards}" if shards else ""
    of_source = f" of source {result['source']}" if result.get("source", PLAIN) != PLAIN else ""
    return (
        f"{result['expectation']}({kwargs}){of_source} failed: observed"
        f" {result['observed_value']}{worst}"
    )


def named_columns(suite: dict[str, Any], columns: list[str]) -> list[str] | None:
    """Return those of a table's ``columns`` that ``suite`` needs, None for all of them."""
    texts: set[str] = set()
    whole = False
    for expectation in suite.get("expectations") or []:
        config = expectation if isinstance(expectation, dict) else {}
        kind = str(config.get("type"))
        whole |= "table_column" in kind or "column_to_exist" in kind
        for value in (config.get("kwargs") or {}).values():
            texts.update(str(item) for item in (value if isinstance(value, list) else [value]))
    return None if whole else [column for column in columns if column in {*texts, "shard"}]


def _define(samples: pd.DataFrame) -> tuple[Any, Any]:
    # Asked before the import: otherwise the library sends usage events, and a run must need no
    # network.
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    # It tells of its own decorators and folders.
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    import great_expectations as gx

    # This one sets its own level.
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("samples").add_dataframe_asset("samples")
    return context, asset.add_batch_definition_whole_dataframe("all")


def check_suite(suite: dict[str, Any], where: str) -> None:
    """Raise UserError unless a suite has a suite's shape.

    Whether its expectations exist, the library tells.

    Args:
        suite: ``name`` and ``expectations``, as the file holds them.
        where: the file that it is from, for messages.
    """
    if suite.keys() != {"name", "expectations"}:
        raise UserError(
            f"{where}: must hold `name` and `expectations` and no more, holds"
            f" {sorted(suite) or 'nothing'}"
        )
    expectations = suite["expectations"]
    if not isinstance(suite["name"], str) or not isinstance(expectations, list) or not expectations:
        raise UserError(
            f"{where}: `name` must be a word and `expectations` a list that is not empty"
        )
    for number, config in enumerate(expectations, 1):
        if not isinstance(config, dict) or not isinstance(config.get("type"), str):
            raise UserError(f"{where}: number {number} of the list needs a `type`, got {config!r}")
        if not isinstance(config.get("kwargs", {}), dict):
            raise UserError(
                f"{where}: `kwargs` of number {number} must be names with values, got"
                f" {config['kwargs']!r}"
            )


def _build_suite(suite: dict[str, Any]) -> Any:
    import great_expectations as gx

    check_suite(suite, "expectations.yml")
    expectations = [_build_expectation(config, i) for i, config in enumerate(suite["expectations"])]
    return gx.ExpectationSuite(name=suite["name"], expectations=expectations)


def _build_expectation(config: dict[str, Any], position: int) -> Any:
    """Build one expectation; ExpectationSuite itself would log a wrong one and leave it out."""
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    try:  # results come in an order of the library's own, so each is given its place
        return ExpectationConfiguration(**config, meta={"position": position}).to_domain_obj()
    except Exception as exc:  # the library raises its own, pydantic's and plain errors
        reason = " ".join(str(exc).split())
        raise UserError(
            f"expectations.yml: number {position + 1} of the list is wrong: {reason}"
        ) from exc


def _report(result: dict[str, Any], shards: pd.Series) -> dict[str, Any]:
    config = result["expectation_config"]
    details = result["result"]
    for problem in result["exception_info"].values():
        if isinstance(problem, dict) and problem.get("raised_exception"):
            raise UserError(f"expectations: {config['type']}: {problem['exception_message']}")
    return {
        "expectation": config["type"],
        "kwargs": {name: value for name, value in config["kwargs"].items() if name != "batch_id"},
        "severity": config["severity"],
        "success": result["success"],
        "observed_value": _observed(details),
        "worst_shards": {} if result["success"] else _worst_shards(details, shards),
    }


def _observed(details: dict[str, Any]) -> Any:
    if "observed_value" in details:
        return details["observed_value"]
    unexpected = details.get("unexpected_count", 0)
    total = details.get("element_count", 0)
    return f"{details.get('unexpected_percent') or 0:.2f} % unexpected ({unexpected} of {total})"


def _worst_shards(details: dict[str, Any], shards: pd.Series) -> dict[str, int]:
    counts = Counter(shards.iloc[details.get("unexpected_index_list") or []])
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_WORST])
