"""docs/own-photographs.md, typed as it stands: from a folder of photographs to a report.

Models are the smoke recipe's, and steps are few; photographs are crops of the two that
scikit-learn carries.
"""

import random
import re

import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from doc_blocks import recipe_files, shell_commands
from project import PROJECT, run

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("smoke")]

PAGE = PROJECT / "docs" / "own-photographs.md"
TEXT = PAGE.read_text(encoding="utf-8")
MODELS = """
backbone: local-dir:data/06_models/smoke/base/clip
diffusion: data/06_models/smoke/base/diffusion
"""
FEW = (
    "training.stage1.train_batch_size=4,training.stage2.train_batch_size=4,"
    "training.execution.num_workers=0,latents.num_workers=0,alignment.num_workers=0,"
    "alignment.steps=2,alignment.evaluate_every_steps=1"
)


def write_photographs(folder):
    pictures = [Image.fromarray(picture) for picture in load_sample_images().images]
    drawn = random.Random(0)
    for split, count in (("train", 40), ("test", 12)):
        for number in range(count):
            name = ("temple", "flower")[number % 2]
            left, top = drawn.randrange(340), drawn.randrange(127)
            path = folder / split / name / f"{number:04}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            pictures[number % 2].crop((left, top, left + 300, top + 300)).save(path, quality=90)
            path.with_suffix(".txt").write_text(f"a photo of a {name}, number {number}")


def shortened(command, num_steps):
    """Return a command of the page with the test's number of steps where it trains."""
    command = re.sub(r"stage1.max_train_steps=\d+", f"stage1.max_train_steps={num_steps}", command)
    command = re.sub(r"stage2.max_train_steps=\d+", "stage2.max_train_steps=2", command)
    if "--params training" in command:
        return f"{command},{FEW}"
    steps = f"training.stage1.max_train_steps={num_steps},training.stage2.max_train_steps=2"
    is_whole = command == "kedro run --env photos"
    return f"{command} --params {steps},{FEW}" if is_whole else command


# Each command has one step of stage 1 more than that before it.
@pytest.fixture(scope="module")
def typed(smoke_project, tmp_path_factory):
    """What each command of the page printed, in a project in which its files were written."""
    photos = tmp_path_factory.mktemp("photos")
    write_photographs(photos)
    for path, content in recipe_files(PAGE).items():
        (smoke_project / path).parent.mkdir(exist_ok=True)
        (smoke_project / path).write_text(content.replace("/data/photos", str(photos)))
    with (smoke_project / "conf/photos/globals.yml").open("a") as file:
        file.write(MODELS)
    printed = {}
    for number, command in enumerate(shell_commands(PAGE)[2:]):  # the first two set up
        words = shortened(command.replace("/data/photos", str(photos)), 3 + number).split()
        done = run(*words, cwd=smoke_project)
        printed[command] = done.stdout + done.stderr
    return printed


def test_it_prints_what_the_page_shows(typed):
    everything = "\n".join(typed.values())
    (shown,) = re.findall(r"```text\n(ingest: .*?)```", TEXT, flags=re.DOTALL)
    for line in shown.splitlines():
        assert re.search(re.escape(line).replace("…", r"\S*"), everything), line


def test_what_it_tells_to_look_at_is_there(typed, smoke_project):
    looked_at = re.findall(r"\*\*Look at\*\* `([^`]+)`", TEXT)
    assert len(looked_at) == 2
    for name in looked_at:
        assert (smoke_project / name).read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_whole_goes_on_from_the_trial(typed):
    first, last = re.search(
        r"stage1: .* steps (\d+) to (\d+) of", typed["kedro run --env photos"]
    ).groups()
    assert int(first) == int(last) > 1


def test_the_encoder_embeds_the_photographs(typed, smoke_project):
    import pandas as pd

    assert len(pd.read_parquet(smoke_project / "embeddings.parquet")) == 12
