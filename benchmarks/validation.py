"""Samples per second of validation with all checks on, beside Pillow's bare decoding of the same
bytes.

    python benchmarks/validation.py [--num-images 1200] [--sides 256 512] [--rounds 9] [--json FILE]

The images are JPEGs of 256 to 512 px (``--sides``) whose spectrum falls with frequency as that of
photographs does, in eight shards. In each round Pillow decodes them all in colour, then in luma
alone (what validation takes of a JPEG), then they are validated in one process and in two, and in
one with sharpness and borders measured, too (``ratio_with_detail``). Ratios are made within a
round, and their median counts, as others may share the machine; for the same reason decoding and
one process are compared in CPU time, one process and two in time that passes. Two processes seldom
compute twice as fast as one, as cores share caches, clock and host: what this
machine makes of it is shown by bare decoding, shared out among the same workers in the same round
(``decode_two_over_one``). Then perceptual hashes are searched for near duplicates, a million of
them (``--near``), and a million made-up samples are judged for memory (``--judged``).
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import platform
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import date
from pathlib import Path
from time import perf_counter, process_time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import PIL
import pyarrow as pa
from PIL import Image

from common import device_name
from dcr.data.shards import CaptionNames, Sample, read_samples, write_shard
from dcr.validation.contamination import EvaluationImages
from dcr.validation.declared import PLAIN, Likeness
from dcr.validation.duplicates import first_of_near
from dcr.validation.judging import plan_judging, summarize
from dcr.validation.likenesses import Likenesses, Terms
from dcr.validation.measuring import SCHEMA, Limits, plan_measuring
from dcr.validation.reasons import REASONS
from dcr.validation.tables import SampleTables, ShardTable, TablePlan, write_tables
from dcr.validation.workers import Workers

LIMITS = Limits(
    min_image_size=224,
    max_aspect_ratio=3.0,
    max_image_pixels=89_478_485,
    min_luminance_spread=2.0,
    min_luminance_high=80.0,
    max_luminance_low=242.0,
    min_entropy=3.0,
    min_sharpness=None,
    max_flat_border=None,
    max_text_border=None,
    caption_names=CaptionNames(),
    caption_choice="first",
    min_language_confidence=0.5,
    tokenizer="clip",
    tokenizer_file="",
    cleaning="none",
    context_length=77,
    max_seconds_per_megabyte=2.0,
    max_gigabytes=4.0,
)
DETAIL = replace(LIMITS, min_sharpness=0.0, max_flat_border=1.0, max_text_border=1.0)
SHARD = 10_000  # made-up samples
WORDS = (
    "photo",
    "brown",
    "dog",
    "running",
    "grass",
    "red",
    "ball",
    "old",
    "city",
    "street",
    "night",
    "in",
    "the",
)


def textures(rng: np.random.Generator, side: int) -> np.ndarray:
    """Return planes (12, side, side) whose amplitude falls as 1 / f**1.2: mean 0 and spread 1."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)) + 1 / side
    waves = (
        rng.normal(size=(12, *frequency.shape)) + 1j * rng.normal(size=(12, *frequency.shape))
    ) / frequency**1.2
    planes = np.fft.irfft2(waves, (side, side))
    return (
        (planes - planes.mean(axis=(1, 2), keepdims=True)) / planes.std(axis=(1, 2), keepdims=True)
    ).astype(np.float32)


def photograph(rng: np.random.Generator, planes: np.ndarray, sides: tuple[int, int]) -> bytes:
    """Return a JPEG of random size: luma and two weaker colours, each of two places in two
    planes.
    """
    height, width = rng.integers(sides[0], sides[1] + 1, 2)
    room = planes.shape[1] - np.array([[height], [width]])

    def channel() -> np.ndarray:
        tops, lefts = rng.integers(0, room, (2, 2))
        chosen = zip(
            planes[rng.choice(12, 2, replace=False)],
            tops,
            lefts,
            rng.choice((-1, 1), 2),
            strict=True,
        )
        return sum(
            plane[top : top + height, left : left + width][::turn]
            for plane, top, left, turn in chosen
        )

    pixels = 128 + np.stack([40 * channel(), 12 * channel(), 12 * channel()], axis=-1)
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8), "YCbCr").save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_shards(
    folder: Path, num_images: int, num_shards: int, sides: tuple[int, int]
) -> dict[str, str]:
    """Write the shards and return path to name; ``sides`` are the least and the most, in px."""
    rng, shards = np.random.default_rng(0), {}
    planes = textures(rng, sides[1] * 3 // 2)
    for number in range(num_shards):
        samples = (
            Sample(
                f"{number:05d}{i:04d}",
                photograph(rng, planes, sides),
                "jpg",
                " ".join(rng.choice(WORDS, rng.integers(5, 25))),
            )
            for i in range(num_images // num_shards)
        )
        shards[str(write_shard(folder, f"{number:05d}", samples))] = f"{number:05d}"
    return shards


class Stopwatch:
    """Seconds since it was made: those that passed, and those that this process computed."""

    def __init__(self) -> None:
        self._starts = perf_counter(), process_time()

    def rates(self, count: int) -> tuple[float, float]:
        """Return how many of ``count`` were done in a second of either kind.

        It is infinite where the clock did not tick, as some machines' processor clock does not for
        ten milliseconds.
        """
        ends = perf_counter(), process_time()
        passed, computed = (end - start for end, start in zip(ends, self._starts, strict=True))
        return count / passed, count / computed if computed else math.inf


def decode(images: list[bytes], mode: str = "RGB") -> tuple[float, float]:
    """Decode as Pillow does alone; return images per second, see `Stopwatch`."""
    stopwatch = Stopwatch()
    for image in images:
        with Image.open(io.BytesIO(image)) as opened:
            opened.draft(mode, None)
            opened.load()
    return stopwatch.rates(len(images))


def decode_shard(path: str) -> None:
    """Decode a shard's images in colour and do nothing else."""
    decode([sample.image for sample in read_samples(path)])


def decode_shards(shards: dict[str, str], n_jobs: int, num_images: int) -> tuple[float, float]:
    """Decode all images in some processes; return images per second, see `Stopwatch`."""
    stopwatch = Stopwatch()
    list(Workers("loky", n_jobs).run(decode_shard, ((path,) for path in shards)))
    return stopwatch.rates(num_images)


def validate(shards: dict[str, str], n_jobs: int, limits: Limits = LIMITS) -> tuple[float, float]:
    """Measure, write and judge all samples; return samples per second, see `Stopwatch`."""
    nothing = EvaluationImages([], np.zeros((0, 2), np.uint64), np.zeros(0, np.uint64), 4)
    with tempfile.TemporaryDirectory() as folder:
        stopwatch = Stopwatch()
        write_tables(
            Path(folder, "measured"), plan_measuring(shards, limits, Workers("loky", n_jobs))
        )
        samples = SampleTables(Path(folder, "measured"))
        plan = plan_all(samples, nothing)
        write_tables(Path(folder, "judged"), plan)
        summary = summarize(SampleTables(Path(folder, "judged")))
        rates = stopwatch.rates(summary["samples"])
    assert summary["accepted"] == summary["samples"], summary
    return rates


def plan_all(samples: SampleTables, nothing: EvaluationImages) -> TablePlan:
    """Plan to judge samples by every reason that needs no model."""
    terms = Terms(Likeness(None, None, None, None, 8), None, None)
    sources = {record["shard"]: PLAIN for record in samples.records()}
    unasked = Likenesses(None, samples, terms)
    return plan_judging(samples, nothing, 4, dict.fromkeys(REASONS, "reject"), unasked, sources)


def find_near(count: int) -> dict[str, float]:
    """Look for near duplicates within 4 bits among random hashes, of which a twentieth has a
    near copy.
    """
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
    copies = count // 20
    for_copies = rng.integers(0, 64, (2, copies)).astype(np.uint64)
    hashes[-copies:] = (
        hashes[:copies] ^ (np.uint64(1) << for_copies[0]) ^ (np.uint64(1) << for_copies[1])
    )
    start = perf_counter()
    found = int((first_of_near(hashes, np.zeros(count, bool), np.ones(count, bool), 4) >= 0).sum())
    return {"seconds": round(perf_counter() - start, 2), "found": found, "planted": copies}


def judge(count: int) -> int:
    """Judge ``count`` made-up samples in shards of `SHARD` and return this process's peak memory
    in bytes.
    """
    rng = np.random.default_rng(0)
    sizes = [min(SHARD, count - first) for first in range(0, count, SHARD)]

    def shard(number: int, size: int) -> ShardTable:
        name = f"{number:05d}"
        rows = [
            {
                "key": f"{SHARD * number + i:09d}",
                "shard": name,
                "offset": 512 * i,
                "sha256": f"{content:016x}" * 4,
                "findings": [],
                "phash": f"{phash:016x}",
                "caption": "a caption of usual length for a picture",
            }
            for i, (content, phash) in enumerate(rng.integers(0, 2**63, (size, 2)).tolist())
        ]
        record = {
            "shard": name,
            "num_samples": size,
            "findings": [],
            "unreadable_bytes": 0,
            "damage": None,
        }
        return ShardTable(pa.Table.from_pylist(rows, schema=SCHEMA), record)

    nothing = EvaluationImages([], np.zeros((0, 2), np.uint64), np.zeros(0, np.uint64), 4)
    names = [f"{number:05d}" for number in range(len(sizes))]
    with tempfile.TemporaryDirectory() as folder:
        measured, judged = Path(folder, "measured"), Path(folder, "judged")
        shards = (shard(number, size) for number, size in enumerate(sizes))
        write_tables(measured, TablePlan(names, lambda _: shards))
        write_tables(judged, plan_all(SampleTables(measured), nothing))
        assert summarize(SampleTables(judged))["samples"] == count
    return peak_bytes()


def peak_bytes() -> int:
    """Return this process's peak memory; not ``ru_maxrss``, which a process inherits from the
    one that started it.
    """
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) * 1024


def judging_bytes_per_sample(counts: list[int]) -> float:
    """Compare the peaks of two processes, the second of which judges more samples in more shards.

    Args:
        counts: of samples, of the first and of the second.
    """
    peaks = [
        int(
            subprocess.run(
                [sys.executable, __file__, "--judge", str(count)], capture_output=True, check=True
            ).stdout
        )
        for count in counts
    ]
    return round((peaks[1] - peaks[0]) / (counts[1] - counts[0]), 1)


def measure(
    num_images: int, sides: tuple[int, int], rounds: int, near: list[int], judged: list[int]
) -> dict[str, object]:
    """Run all parts.

    Args:
        num_images: that are decoded and validated, in eight shards.
        sides: the least and the most that an image has, in px.
        rounds: of which the median counts.
        near: how many hashes are searched for near duplicates, one number a search.
        judged: see `judging_bytes_per_sample`.
    """
    with tempfile.TemporaryDirectory() as folder:
        shards = write_shards(Path(folder), num_images, 8, sides)
        images = [sample.image for shard in shards for sample in read_samples(shard)]
        for n_jobs in (1, 2):  # starts the workers, imports what they need
            validate(shards, n_jobs)
            decode_shards(shards, n_jobs, len(images))
        speeds = np.array([_round(shards, images) for _ in range(rounds)])
    passed, computed = np.moveaxis(speeds, -1, 0)  # (rounds, 7) each
    ratios = {
        "ratio": computed[:, 2] / computed[:, 0],
        "ratio_with_detail": computed[:, 6] / computed[:, 0],
        "luma_over_colour": computed[:, 1] / computed[:, 0],
        "two_over_one": passed[:, 3] / passed[:, 2],
        "decode_two_over_one": passed[:, 5] / passed[:, 4],
    }
    ratios = {
        name: np.percentile(values, (50, 0, 100)).round(3).tolist()
        for name, values in ratios.items()
    }
    bare, luma, one, *_ = np.median(computed, axis=0).round(1).tolist()
    two = round(float(np.median(passed[:, 3])), 1)
    searches = {f"near_{count}": find_near(count) for count in near}
    return {
        "num_images": len(images),
        "sides": sides,
        "mean_bytes": round(float(np.mean([len(image) for image in images]))),
        "decode_per_s": bare,
        "decode_luma_per_s": luma,
        "validate_per_s": one,
        "two_processes_per_s": two,
        "median_least_most": ratios,
        **searches,
        "judging_bytes_per_sample": judging_bytes_per_sample(judged),
        "peak_gib": round(peak_bytes() / 2**30, 2),
        "rounds": rounds,
        "load": round(os.getloadavg()[0], 1),
        "date": date.today().isoformat(),
        "device": device_name("cpu"),
        "python": platform.python_version(),
        "pillow": PIL.__version__,
        "numpy": np.__version__,
    }


def _round(shards: dict[str, str], images: list[bytes]) -> list[tuple[float, float]]:
    return [
        decode(images), decode(images, "L"),
        validate(shards, 1), validate(shards, 2),
        decode_shards(shards, 1, len(images)), decode_shards(shards, 2, len(images)),
        validate(shards, 1, DETAIL),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-images", type=int, default=1200)
    parser.add_argument("--sides", type=int, nargs=2, default=[256, 512])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--near", type=int, nargs="*", default=[250_000, 1_000_000])
    parser.add_argument("--judged", type=int, nargs=2, default=[100_000, 1_000_000])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--judge", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.judge:
        print(judge(arguments.judge))
        return
    chosen = arguments.near, arguments.judged
    results = measure(arguments.num_images, arguments.sides, arguments.rounds, *chosen)
    text = json.dumps(results, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
