"""Shards that were damaged at random or made to hurt: no crash, no hang, nothing lost, memory
bounded.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from corpus import encode, good_samples, png_declaring, write_members
from dcr.data.shards import write_shard
from dcr.validation.measuring import measure_shard
from validation_tables import LIMITS


def mutate(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Flip bytes, cut a piece out or off, or splice a piece of another shard in."""
    mutated = bytearray(content)
    start, stop = sorted(rng.integers(0, len(content), 2).tolist())
    kind = rng.integers(4)
    if kind == 0:
        for place in rng.integers(0, len(content), rng.integers(1, 60)):
            mutated[place] = rng.integers(256)
    elif kind == 1:
        del mutated[start:stop]
    elif kind == 2:
        del mutated[start:]
    else:
        mutated[start : start + rng.integers(1, 2048)] = other[stop : stop + rng.integers(1, 2048)]
    return bytes(mutated)


def test_two_thousand_mutations_lose_nothing(tmp_path):
    samples = [*good_samples(2), *good_samples(1, first=2)]
    content = write_shard(tmp_path, "good", samples).read_bytes()
    images = [
        (f"{i}.png", encode(seed=i, kind=kind))
        for i, kind in enumerate(("PNG", "WEBP", "GIF", "BMP"))
    ]
    other = write_members(tmp_path / "other.tar", images).read_bytes()
    rng, path, damaged = np.random.default_rng(0), tmp_path / "a.tar", 0
    for round_ in range(2_000):
        path.write_bytes(mutate(*((content, other) if round_ % 2 else (other, content)), rng))
        measures = measure_shard(str(path), "a", LIMITS)
        record, rows = measures.record, measures.rows
        assert record["num_samples"] == len(rows)
        assert 0 <= record["unreadable_bytes"] <= record["num_bytes"] == path.stat().st_size
        assert (record["unreadable_bytes"] > 0) <= (record["damage"] is not None)
        offsets = rows["offset"].to_pylist()
        assert offsets == sorted(set(offsets))
        assert all(offset < record["num_bytes"] for offset in offsets)
        damaged += record["damage"] is not None
    assert damaged > 500  # the mutations do damage


def test_a_declared_picture_of_60000_squared_costs_less_than_a_gibibyte(tmp_path):
    """Also where the cap is as high as the parameters allow, and for the largest picture that
    the cap lets through.
    """
    gray = encode((64, 64), kind="PNG")
    members = [
        ("0.png", png_declaring(60_000, 60_000)),
        ("1.png", png_declaring(9_000, 9_900)),
        ("2.png", gray),
    ]
    write_members(tmp_path / "a.tar", members)
    code = (
        "import re; from dataclasses import replace; from validation_tables import LIMITS;"
        "from dcr.validation.measuring import measure_shard;"
        f"t = measure_shard({str(tmp_path / 'a.tar')!r}, 'a', replace(LIMITS,"
        " max_image_pixels=89_478_485));"
        "print(t.rows['findings'].to_pylist());"
        # not ru_maxrss, which a new process inherits from the one that started it
        "print(re.search(r'VmHWM:\\s*(\\d+) kB', open('/proc/self/status').read())[1])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment()
    )
    findings, peak = result.stdout.strip().splitlines()
    assert "too_many_pixels" in findings
    assert int(peak) * 1024 < 1 << 30


def _environment() -> dict[str, str]:
    here = Path(__file__).parents[2]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(here / "src"), str(here / "tests" / "support")]),
    }
