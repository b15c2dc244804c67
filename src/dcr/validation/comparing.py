"""Samples compared with each other and with evaluation sets, on a few numbers a sample.

What is kept of every sample while all are compared: its reasons (64 bits), hashes of key (64 bits),
image bytes (128 of sha256's bits) and picture (64 bits), an evaluation image (32 bits), the sample
that its features are like (64 bits), and whether it is lost with its shard.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dcr.validation.contamination import EvaluationImages, hex_to_uint64
from dcr.validation.duplicates import first_of_equals, first_of_near
from dcr.validation.likenesses import Likenesses
from dcr.validation.reasons import REASONS
from dcr.validation.tables import SampleTables

COLUMNS = ["key", "sha256", "phash", "findings"]
_SURE_FIRST = (
    ("evaluation_image", "near_evaluation_image", "near_evaluation_features"),
    ("exact_duplicate", "near_duplicate", "near_duplicate_features"),
)
_BIT = {reason: np.uint64(1 << number) for number, reason in enumerate(REASONS)}


def to_bits(reasons: set[str] | frozenset[str]) -> np.uint64:
    """Return ``reasons``, names of `dcr.validation.reasons.REASONS`, as one number: a bit each."""
    return np.uint64(sum(int(_BIT[reason]) for reason in reasons))


def from_bits(bits: int) -> list[str]:
    """Return the reasons that ``bits`` of `to_bits` stand for, sorted."""
    return sorted(reason for reason, bit in _BIT.items() if int(bits) & int(bit))


@dataclass(frozen=True)
class Comparison:
    """What is wrong with each of N samples, alone and among each other, by position.

    Attributes:
        reasons: uint64 (N,), see `from_bits`.
        lost: bool (N,): the shard as a whole is rejected.
        group: int64 (N,): the same number for samples that repeat each other, the position of the
            one that is kept unless something else is wrong with it; -1 for samples that nothing
            repeats.
        evaluation_image: int32 (N,): row of the evaluation image that the sample equals or nearly
            equals, or -1.
    """

    reasons: np.ndarray
    lost: np.ndarray
    group: np.ndarray
    evaluation_image: np.ndarray


def compare(
    tables: SampleTables,
    evaluation: EvaluationImages,
    distance: int,
    fatal: set[str],
    lost_shards: set[str],
    likenesses: Likenesses,
) -> Comparison:
    """Compare all samples.

    The first of equals is spared, and of those the first that is not rejected for another reason,
    so that no picture is lost to a copy that goes itself.

    Args:
        tables: of `dcr.validation.measuring.SCHEMA`.
        evaluation: images that training must not see.
        distance: of perceptual hashes in bits, within which pictures are nearly equal; -1 to look
            for none.
        fatal: the reasons for which samples are rejected.
        lost_shards: names of the shards that are rejected whole.
        likenesses: what the samples' features tell.
    """
    reasons, lost, keys, sha256, phash, matches = _gather(tables, evaluation, fatal, lost_shards)
    like = _add_likenesses(reasons, fatal, likenesses)
    killing = to_bits(fatal)

    def is_last() -> np.ndarray:
        last: np.ndarray = lost | (reasons & killing > 0)
        return last

    is_first_in_shard: np.ndarray = reasons & _BIT["key_collision"] == 0
    repeated = first_of_equals([keys], is_last(), is_first_in_shard) >= 0
    reasons[repeated] |= _BIT["key_collision_across_shards"]
    exact = first_of_equals([sha256[:, 0], sha256[:, 1]], is_last(), np.asarray(sha256.any(axis=1)))
    reasons[exact >= 0] |= _BIT["exact_duplicate"]
    group = exact
    if distance >= 0:
        asked = _is_picture(reasons, phash) & ~_is_told(reasons, "near_duplicate", fatal)
        near = first_of_near(phash, is_last(), asked, distance)
        reasons[near >= 0] |= _BIT["near_duplicate"]
        group = np.where(
            near >= 0, near, np.where((exact >= 0) & (near[exact] >= 0), near[exact], exact)
        )
    if (like >= 0).any():
        asked = _is_picture(reasons, phash) & ~_is_told(reasons, "near_duplicate_features", fatal)
        group = _group_alike(like, reasons, group, is_last(), asked)
    group[group[group >= 0]] = group[group >= 0]
    return Comparison(reasons, lost, group, matches)


def _is_told(reasons: np.ndarray, reason: str, fatal: set[str]) -> np.ndarray:
    """Tell which samples need no ``reason``, as ``reasons`` have a surer one for the same.

    Bytes are surer than perceptual hashes, and these than features. A surer reason that rejects
    nothing does not stand in for one that rejects.
    """
    sure = next(order[: order.index(reason)] for order in _SURE_FIRST if reason in order)
    bits = to_bits(fatal.intersection(sure) if reason in fatal else set(sure))
    told: np.ndarray = reasons & bits > 0
    return told


def _add_likenesses(reasons: np.ndarray, fatal: set[str], likenesses: Likenesses) -> np.ndarray:
    """Add to ``reasons`` what features tell of each sample alone; return which one it is like."""
    like = np.full(len(reasons), -1, np.int64)
    start = 0
    for rows in likenesses.tables():
        here = slice(start, start + len(rows))
        found = likenesses.findings(rows)
        found["near_evaluation_features"] &= ~_is_told(
            reasons[here], "near_evaluation_features", fatal
        )
        for reason, has_it in found.items():
            reasons[here] |= np.where(has_it, _BIT[reason], np.uint64(0))
        like[here] = rows["like"].fill_null(-1).to_numpy()
        start = here.stop
    return like


def _group_alike(
    like: np.ndarray,
    reasons: np.ndarray,
    group: np.ndarray,
    last: np.ndarray,
    asked: np.ndarray,
) -> np.ndarray:
    """Return the groups with the samples whose features are like; ``reasons`` tells of the copies.

    Those that are like one are a group, with it. Samples that are not ``asked``, bool (N,), take no
    part, and go with what they repeat by bytes or by perceptual hash.
    """
    leaders = np.where(like >= 0, like, np.arange(len(like)))
    alike = first_of_equals([leaders], last, asked)
    reasons[alike >= 0] |= _BIT["near_duplicate_features"]
    onward = np.where(group >= 0, alike[group], -1)
    return np.where(alike >= 0, alike, np.where(onward >= 0, onward, group))


def _gather(
    tables: SampleTables, evaluation: EvaluationImages, fatal: set[str], lost_shards: set[str]
) -> tuple[np.ndarray, ...]:
    count = tables.num_samples()
    reasons, keys, phash = (np.zeros(count, np.uint64) for _ in range(3))
    sha256 = np.zeros((count, 2), np.uint64)
    lost = np.zeros(count, bool)
    matches = np.full(count, -1, np.int32)
    start = 0
    for table in tables.tables(COLUMNS):
        rows = table.rows
        here = slice(start, start + len(table.rows))
        reasons[here] = found = _findings_bits(rows["findings"])
        keys[here] = _hash_keys(rows["key"])
        sha256[here] = hex_to_uint64(rows["sha256"].to_pylist(), 2)
        phash[here] = hex_to_uint64(rows["phash"].to_pylist(), 1)[:, 0]
        lost[here] = table.record["shard"] in lost_shards
        collides = _repeats_key(rows["key"], found & to_bits(fatal) > 0)
        reasons[here] |= np.where(collides, _BIT["key_collision"], np.uint64(0))
        matches[here] = _match(evaluation, sha256[here], phash[here], reasons[here], fatal)
        start = here.stop
    return reasons, lost, keys, sha256, phash, matches


def _match(
    evaluation: EvaluationImages,
    sha256: np.ndarray,
    phash: np.ndarray,
    reasons: np.ndarray,
    fatal: set[str],
) -> np.ndarray:
    """Return which evaluation image each sample is, -1 for none; ``reasons`` tells so."""
    equal = evaluation.equal_to(sha256)
    near = evaluation.near_to(phash)
    near[~_is_picture(reasons, phash)] = -1
    reasons |= np.where(equal >= 0, _BIT["evaluation_image"], np.uint64(0))
    asked = (near >= 0) & ~_is_told(reasons, "near_evaluation_image", fatal)
    reasons |= np.where(asked, _BIT["near_evaluation_image"], np.uint64(0))
    return np.where(equal >= 0, equal, near)


def _is_picture(reasons: np.ndarray, phash: np.ndarray) -> np.ndarray:
    """A perceptual hash means something where an image was decoded and shows something."""
    is_picture: np.ndarray = (phash > 0) & (reasons & _BIT["blank_image"] == 0)
    return is_picture


def _findings_bits(findings: pa.ChunkedArray) -> np.ndarray:
    lists = findings.combine_chunks()
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    names = lists.flatten().dictionary_encode()
    bits = np.array([_BIT[name] for name in names.dictionary.to_pylist()], np.uint64)
    reasons = np.zeros(len(lists), np.uint64)
    if len(bits):
        owners = np.repeat(np.arange(len(lists)), lengths)
        np.bitwise_or.at(reasons, owners, bits[names.indices.to_numpy()])
    return reasons


def _hash_keys(keys: pa.ChunkedArray) -> np.ndarray:
    import pandas as pd

    hashes: np.ndarray = pd.util.hash_array(keys.to_numpy().astype(object), categorize=False)
    return hashes


def _repeats_key(keys: pa.ChunkedArray, last: np.ndarray) -> np.ndarray:
    codes = keys.combine_chunks().dictionary_encode().indices.to_numpy()
    return first_of_equals([codes], last, np.ones(len(codes), bool)) >= 0
