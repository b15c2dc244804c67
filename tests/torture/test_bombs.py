"""Every bomb costs its own shard or sample, within 20 s and 1 GiB; its neighbour in the folder
is accepted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from corpus import good_samples
from dcr.data.shards import write_shard
from validation_tables import LIMITS

SECONDS, BYTES = 20, 1 << 30
# A shard of one image may be larger than its pixels are worth: the watchdog is tried in a time fit
# for a test.
LEAST_SECONDS = 4.0
MAX_PIXELS = 89_478_485


def test_bombs_cost_their_own_shard_alone(torture, tmp_path):
    from bombs import BOMBS  # not in the child, whose memory counts

    size, names = torture.amount(16 << 20, 256 << 20), torture.choose(list(BOMBS), 6)
    # A child starts in two seconds.
    for together in [[name] for name in names] if torture.whole else [names]:
        folders = [tmp_path / name for name in together]
        for name, folder in zip(together, folders, strict=True):
            folder.mkdir()
            with open(folder / "bomb.tar", "wb") as file:
                file.writelines(BOMBS[name][0](size))
            write_shard(folder, "neighbour", good_samples(2))
        for name, told in zip(together, measure_in_a_child(folders), strict=True):
            assert told["neighbour"] == [], name
            assert not BOMBS[name][1] or BOMBS[name][1] & set(told["bomb"]), (name, told)
            assert told["seconds"] < SECONDS, (name, told)
            assert told["bytes"] < BYTES, (name, told)
            (tmp_path / name / "bomb.tar").unlink()
    torture.count("bombs", len(names))


def measure_in_a_child(folders: list[Path]) -> list[dict]:
    """Return what is found in each folder's shards, and the time and memory that it took."""
    here = Path(__file__).parents[2]
    paths = [here / "src", here / "tests" / "support"]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, __file__, *map(str, folders)]
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return json.loads(result.stdout)


def _measure(folder: Path) -> dict:
    from dcr.validation import watchdog
    from dcr.validation.measuring import plan_measuring
    from dcr.validation.workers import Workers

    watchdog._LEAST_SECONDS = LEAST_SECONDS
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory begins anew
    start = time.process_time()
    shards = {str(folder / f"{name}.tar"): name for name in ("bomb", "neighbour")}
    found = {}
    for table in plan_measuring(
        shards, replace(LIMITS, max_image_pixels=MAX_PIXELS), Workers("loky", 1)
    ).make({}):
        reasons = {reason for reasons in table.rows["findings"].to_pylist() for reason in reasons}
        found[table.record["shard"]] = sorted(reasons | set(table.record["findings"]))
    peak = next(
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    return {**found, "seconds": time.process_time() - start, "bytes": int(peak.split()[1]) * 1024}


if __name__ == "__main__":
    print(json.dumps([_measure(Path(folder)) for folder in sys.argv[1:]]))
