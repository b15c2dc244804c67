"""How often each measure of what a picture shows is right, on pictures made to have the defect, on
pictures that are near it, and on good ones.

    python benchmarks/looks.py [--num-images 500]

The pictures are those of `tests/support/made_pictures.py`, the limits the base recipe's, and for
what it does not measure those that its comments name.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from made_pictures import DEFECTS, encoded, found, object_on_white, rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-images", type=int, default=500)
    count = parser.parse_args().num_images
    names = ("with the defect", "near it", "good")
    shares = {
        reason: dict(zip(names, rates(reason, count), strict=True)) for reason in sorted(DEFECTS)
    }
    on_white = [found(encoded(object_on_white(seed))) for seed in range(count)]
    shares["objects on white"] = {
        reason: sum(reason in reasons for reasons in on_white) / count
        for reason in ("text_border", "greyscale")
    }
    print(json.dumps(shares, indent=2))


if __name__ == "__main__":
    main()
