"""From findings to fates: samples compared with each other, policies applied, everything counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dcr.errors import UserError
from dcr.validation.reasons import REASONS, SHARD_REASONS


@dataclass(frozen=True)
class Judgement:
    """What became of every sample, and why.

    Attributes:
        samples: the measured rows in order of shard and offset, with ``reasons`` (comma-separated, of policy
            warn, reject or fail) and ``status`` (``accepted`` or ``rejected``).
        shards: a row per shard: its record, ``reasons``, and the numbers ``accepted`` and ``rejected``.
        failures: sentences about what has the policy ``fail``; empty when the data may be used.
    """

    samples: pd.DataFrame
    shards: pd.DataFrame
    failures: list[str]

    def summary(self) -> dict[str, Any]:
        """Return the counts of ``validation.json``.

        ``accepted + rejected = samples``. ``reasons`` counts the samples that have a reason, those only warned
        of included, and the shards for reasons that concern a whole shard; a sample may have several.
        """
        found = Counter(r for column in (self.samples, self.shards) for r in _split(column["reasons"]))
        return {
            "shards": len(self.shards),
            "samples": len(self.samples),
            "accepted": int((self.samples["status"] == "accepted").sum()),
            "rejected": int((self.samples["status"] == "rejected").sum()),
            "reasons": dict(sorted(found.items())),
            "unreadable_bytes": int(self.shards["unreadable_bytes"].sum()),
        }


def judge(samples: pd.DataFrame, shards: pd.DataFrame, policies: dict[str, str]) -> Judgement:
    """Compare the samples with each other and give each its status by the policy of each of its reasons.

    Args:
        samples: rows of `dcr.validation.measuring.SCHEMA` of all shards.
        shards: records of `dcr.validation.measuring.ShardMeasures`, one a row.
        policies: a policy for every name in `dcr.validation.reasons.REASONS`.
    """
    samples = samples.sort_values(["shard", "offset"], kind="stable", ignore_index=True)
    shards = shards.sort_values("shard", ignore_index=True)
    shown = {reason for reason, policy in policies.items() if policy != "accept"}
    fatal = {reason for reason, policy in policies.items() if policy in ("reject", "fail")}

    found = [sorted(shown.intersection(f)) for f in _with_comparisons(samples, fatal)]
    shards["reasons"] = [",".join(sorted(shown.intersection(f))) for f in shards["findings"]]
    lost = set(shards["shard"][[bool(fatal & set(r.split(","))) for r in shards["reasons"]]])
    rejected = [shard in lost or not fatal.isdisjoint(f) for shard, f in zip(samples["shard"], found, strict=True)]
    samples = samples.drop(columns="findings")
    samples["reasons"] = [",".join(reasons) for reasons in found]
    samples["status"] = ["rejected" if r else "accepted" for r in rejected]
    for status in ("accepted", "rejected"):
        counts = samples.loc[samples["status"] == status, "shard"].value_counts()
        shards[status] = shards["shard"].map(counts).fillna(0).astype(int)
    failing = {reason for reason, policy in policies.items() if policy == "fail"}
    return Judgement(samples, shards.drop(columns="findings"), _failures(samples, shards, failing))


def check_release(judgement: Judgement, failed_expectations: list[str]) -> None:
    """Let the data pass, or say in one sentence what stops them.

    Raises:
        UserError: a policy or a critical expectation fails, or no sample was accepted.
    """
    advice = "mend the data or change expectations.yml"
    failures = judgement.failures + [f"expectation {failure}; {advice}" for failure in failed_expectations]
    if not failures and judgement.shards["accepted"].sum() == 0:
        failures = ["no sample was accepted; mend the data or change the policies"]
    if failures:
        more = f"; {len(failures) - 1} more and" if len(failures) > 1 else ";"
        raise UserError(f"validation stopped: {failures[0]}{more} all findings are in validation.html")


def _with_comparisons(samples: pd.DataFrame, fatal: set[str]) -> list[set[str]]:
    """Return each sample's findings with those that only a look at all samples gives.

    The first of equals is spared, and of those the first that is not rejected anyway.
    """
    findings = [set(f) for f in samples["findings"]]
    order = np.argsort([not fatal.isdisjoint(f) for f in findings], kind="stable")
    ranked = samples.iloc[order]
    in_shard = ranked.duplicated(["shard", "key"])
    columns = {
        "key_collision": in_shard,
        "key_collision_across_shards": ranked[~in_shard].duplicated("key"),
        "exact_duplicate": ranked[ranked["sha256"].notna()].duplicated("sha256"),
    }
    for reason, column in columns.items():
        for position in column.index[column]:
            findings[position].add(reason)
    return findings


def _failures(samples: pd.DataFrame, shards: pd.DataFrame, failing: set[str]) -> list[str]:
    sentences = []
    for shard in shards.itertuples():
        for reason in failing.intersection(_split([shard.reasons])):
            detail = f" ({shard.damage}; {shard.unreadable_bytes} bytes)" if shard.damage else ""
            sentences.append(f"shard {shard.shard}: {SHARD_REASONS[reason]}{detail}{_advice(reason)}")
    for row in samples[samples["reasons"] != ""].itertuples():
        for reason in failing.intersection(_split([row.reasons])):
            sentences.append(f"sample {row.key} of shard {row.shard}: {REASONS[reason]}{_advice(reason)}")
    return sentences


def _advice(reason: str) -> str:
    return f"; mend or remove it, or set validation.policies.{reason} to warn or reject"


def _split(reasons: Any) -> list[str]:
    return [reason for text in reasons for reason in text.split(",") if reason]
