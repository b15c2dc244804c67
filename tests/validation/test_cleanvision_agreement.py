"""The same pictures, the same verdicts as CleanVision gives where it measures the same thing (PyPI;
extra `agreement`).
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import ImageFilter
from scipy import stats

from dcr.validation.duplicates import first_of_near
from dcr.validation.images import measure_image
from made_pictures import DEFECTS, encoded, found, picture

pytest.importorskip("cleanvision", reason="install the extra `agreement`")

THEIRS = {
    "dark_image": "dark",
    "overexposed_image": "light",
    "low_entropy": "low_information",
    "greyscale": "grayscale",
}
COUNT = 6
COPIES = {"same": (1.0, 90), "recompressed": (1.0, 50), "scaled": (0.7, 90)}


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return str(path)


def issues(paths, kinds):
    from cleanvision import Imagelab

    lab = Imagelab(filepaths=paths)
    lab.find_issues({kind: {} for kind in kinds}, n_jobs=1, verbose=False)
    return lab


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """Return kind of picture, our verdict and theirs by reason, of pictures with a defect, near
    one, and without; those that end in `L` are grey files.
    """
    folder = tmp_path_factory.mktemp("pictures")
    kinds = {}
    for seed in range(COUNT):
        good = picture(seed)
        made = {"good": (good, "JPEG")}
        for reason, (spoil, kind, nearly) in DEFECTS.items():
            made[reason] = (spoil(good, seed), kind)
            made[f"near {reason}"] = (nearly(good), kind)
        made |= {f"{name} L": (image.convert("L"), kind) for name, (image, kind) in made.items()}
        for name, (image, kind) in made.items():
            kinds[write(folder, f"{name}{seed}.{kind.lower()}", encoded(image, kind))] = name
    theirs = issues(list(kinds), THEIRS.values()).issues
    ours = {path: found(Path(path).read_bytes()) for path in kinds}
    return {
        reason: [
            (name, reason in ours[path], bool(theirs.loc[path, f"is_{their}_issue"]))
            for path, name in kinds.items()
        ]
        for reason, their in THEIRS.items()
    }


@pytest.mark.parametrize("reason", ["dark_image", "overexposed_image"])
def test_dark_and_overexposed_pictures_are_theirs(reason, verdicts):
    assert [name for name, ours, theirs in verdicts[reason] if ours != theirs] == []
    assert sum(ours for _, ours, _ in verdicts[reason]) >= COUNT


def test_entropy_is_theirs_of_grey_files(verdicts):
    """Of colours they count the levels of all three channels together, we those of luminance."""
    grey = [verdict for verdict in verdicts["low_entropy"] if verdict[0].endswith("L")]
    assert [name for name, ours, theirs in grey if ours != theirs] == []
    assert sum(ours for _, ours, _ in grey) >= COUNT


def test_greyscale_is_theirs_and_more(verdicts):
    """They ask for the file's mode, so that grey pictures in three channels are ours alone."""
    differing = {
        name: (ours, theirs) for name, ours, theirs in verdicts["greyscale"] if ours != theirs
    }
    assert set(differing) == {"greyscale", "low_entropy"}
    assert set(differing.values()) == {(True, False)}


def test_blur_ranks_pictures_as_theirs_does(tmp_path):
    """They look at edges at 64 px and add a term for few levels, so that limits are no match."""
    radii = np.linspace(0, 6, 13).tolist()
    made = [picture(seed).filter(ImageFilter.GaussianBlur(r)) for r in radii for seed in range(3)]
    contents = [encoded(image) for image in made]
    paths = [write(tmp_path, f"{n:02d}.jpeg", content) for n, content in enumerate(contents)]
    raw = issues(paths, ["blurry"]).info["blurry"]["blurriness"].loc[paths]
    ours = [measure_image(content, 10**6, has_detail=True).sharpness for content in contents]
    assert stats.spearmanr(ours, raw).statistic > 0.95


def test_what_they_find_twice_we_find_too(tmp_path):
    """Of each picture a copy, one recompressed and one scaled; ours within 4 bits of 64."""
    good = [picture(seed) for seed in range(30)]
    contents = [encoded(image) for image in good]
    for scale, quality in COPIES.values():
        for image in good:
            small = image.resize((round(320 * scale), round(240 * scale)))
            contents.append(encoded(small, quality=quality))
    paths = [write(tmp_path, f"{n:03d}.jpeg", content) for n, content in enumerate(contents)]
    lab = issues(paths, ["near_duplicates", "exact_duplicates"])
    hashes = np.array([int(measure_image(c, 10**6).phash, 16) for c in contents], np.uint64)
    ours = first_of_near(hashes, np.zeros(len(paths), bool), np.ones(len(paths), bool), 4)
    groups = [
        *lab.info["near_duplicates"]["sets"],
        *lab.info["exact_duplicates"]["sets"],
    ]
    assert sum(map(len, groups)) > 30
    for group in groups:
        places = [paths.index(path) for path in group]
        assert len({ours[place] if ours[place] >= 0 else place for place in places}) == 1
