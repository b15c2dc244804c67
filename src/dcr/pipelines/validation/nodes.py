"""Nodes of pipeline `validation`."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any

from dcr.parameters import ValidationParameters

if TYPE_CHECKING:
    import pandas as pd

    from dcr.validation.judging import Judgement
    from dcr.validation.measuring import ShardMeasures


def measure_samples(parameters: ValidationParameters, shards: list[str]) -> Iterator[ShardMeasures]:
    """Decode and measure every sample; yield each shard's rows as soon as it is done."""
    from tqdm import tqdm

    from dcr.shards import name_shards
    from dcr.validation.measuring import Limits, measure_shards

    limits = Limits(
        min_image_size=parameters.min_image_size,
        max_aspect_ratio=parameters.max_aspect_ratio,
        max_image_pixels=parameters.max_image_pixels,
        min_luminance_spread=parameters.min_luminance_spread,
    )
    measured = measure_shards(name_shards(shards), limits, parameters.n_jobs, parameters.backend)
    num_samples, start = 0, perf_counter()
    with tqdm(total=len(shards), desc="validate", unit="shard", disable=None) as bar:
        for shard in measured:
            num_samples += len(shard.rows)
            yield shard
            rate = num_samples / (perf_counter() - start)
            bar.set_postfix_str(f"{num_samples} samples, {rate:.0f} samples/s")
            bar.update()


def judge_samples(
    parameters: ValidationParameters, tables: tuple[pd.DataFrame, pd.DataFrame]
) -> tuple[Judgement, dict[str, Any], pd.DataFrame]:
    """Compare the samples with each other and accept or reject each; count, and set the rejected apart."""
    from dcr.validation.judging import judge

    judgement = judge(*tables, parameters.policies)
    samples = judgement.samples
    return judgement, judgement.summary(), samples[samples["status"] == "rejected"].reset_index(drop=True)


def check_expectations(judgement: Judgement, suite: dict[str, Any]) -> dict[str, Any]:
    """Check the sample table against the recipe's suite of expectations."""
    from dcr.expectations import validate_expectations

    return validate_expectations(judgement.samples, suite)


def render_validation_page(
    parameters: ValidationParameters, judgement: Judgement, expectations: dict[str, Any], shards: list[str]
) -> str:
    """Draw the page that a person reads."""
    from dcr.shards import name_shards
    from dcr.validation.page import render_page

    paths = {name: path for path, name in name_shards(shards).items()}
    return render_page(judgement, paths, expectations, parameters.policies, parameters.num_examples)


def release_manifest(
    judgement: Judgement, expectations: dict[str, Any], summary: dict[str, Any], rejected: pd.DataFrame, page: str
) -> pd.DataFrame:
    """Give out the accepted samples, unless something fails; the last three inputs are here to be written first."""
    from dcr.expectations import describe_failure
    from dcr.validation.judging import check_release

    critical = [r for r in expectations["results"] if not r["success"] and r["severity"] == "critical"]
    check_release(judgement, [describe_failure(result) for result in critical])
    samples = judgement.samples
    return samples[samples["status"] == "accepted"].reset_index(drop=True)
