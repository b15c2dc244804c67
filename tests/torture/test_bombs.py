"""Every bomb costs its own shard or sample, within 20 s and 1 GiB; its neighbour in the folder is accepted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from corpus import good_samples
from dcr.shards import write_shard
from validation_tables import LIMITS

SECONDS, BYTES = 20, 1 << 30
# A shard of one image may be larger than its pixels are worth: the watchdog is tried in a time fit for a test.
LEAST_SECONDS = 4.0
MAX_PIXELS = 89_478_485


def test_bombs_cost_their_own_shard_alone(torture, tmp_path):
    import bombs  # not in the child, whose memory counts

    size = torture.amount(16 << 20, 256 << 20)
    names = torture.choose(list(bombs.BOMBS), 12)
    for name in names:
        folder = tmp_path / name
        folder.mkdir()
        with open(folder / "bomb.tar", "wb") as file:
            file.writelines(bombs.BOMBS[name][0](size))
        write_shard(folder, "neighbour", good_samples(2))
        told = measure_in_a_child([folder])[0]
        expected = bombs.BOMBS[name][1]
        assert told["neighbour"] == [], name
        assert not expected or expected & set(told["bomb"]), (name, told)
        assert told["seconds"] < SECONDS, (name, told)
        assert told["bytes"] < BYTES, (name, told)
        (folder / "bomb.tar").unlink()
    torture.count("bombs", len(names))


def measure_in_a_child(folders: list[Path]) -> list[dict]:
    """Return what is found in each folder's shards, and the time and memory that it took."""
    here = Path(__file__).parents[2]
    paths = [here / "src", here / "tests", here / "tests" / "torture"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, *map(str, folders)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    return json.loads(result.stdout)


def _measure(folder: Path) -> dict:
    import resource

    from dcr.validation import watchdog
    from dcr.validation.measuring import plan_measuring
    from dcr.validation.workers import Workers

    watchdog._LEAST_SECONDS = LEAST_SECONDS
    shards = {str(folder / f"{name}.tar"): name for name in ("bomb", "neighbour")}
    found = {}
    for table in plan_measuring(shards, replace(LIMITS, max_image_pixels=MAX_PIXELS), Workers("loky", 1)).make({}):
        reasons = {reason for reasons in table.rows["findings"].to_pylist() for reason in reasons}
        found[table.record["shard"]] = sorted(reasons | set(table.record["findings"]))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {**found, "seconds": usage.ru_utime + usage.ru_stime, "bytes": int(peak.split()[1]) * 1024}


if __name__ == "__main__":
    print(json.dumps([_measure(Path(folder)) for folder in sys.argv[1:]]))
