"""The demo's ledger states what docs/evidence.md does, row by row of the recipe's encoders."""

import re

import pytest
import yaml

from dcr.datasets.published import PublishedTablesDataset
from dcr.encoder_names import EncoderName
from project import PROJECT

COLUMNS = {
    "P": "probes.mean",
    "ACC": "clustering.acc",
    "between-class share": "clustering.between_class_share",
    "zero-shot": "zero_shot.acc1",
    "text R@1": "retrieval.text_retrieval_recall@1",
    "image R@1": "retrieval.image_retrieval_recall@1",
    "MMVP": "mmvp_vlm.mean",
}
ROWS = {
    "base": "demo_base",
    "base, texts refitted": "demo_base_aligned",
    "dcr:": "demo_dcr",
    "dcr, texts as they were": "demo_dcr_unaligned",
    "dcr_pure:": "demo_dcr_pure",
    "reconstruction, same compute": "demo_reconstruction_same_compute",
    "reconstruction,": "demo_reconstruction",
    "naive,": "demo_naive",
}


def told():
    """Return {(encoder, measure): value as written} of the first table of the section."""
    text = (PROJECT / "docs/evidence.md").read_text(encoding="utf-8")
    section = text[text.index("## What the demo's own run gives") :]
    lines = [line.strip("|").split("|") for line in section.splitlines() if line[:1] == "|"]
    head, _, *rows = ([cell.strip() for cell in line] for line in lines)
    found = {}
    for name, *cells in rows[: len(ROWS)]:
        exact = ROWS.get(name)
        start = next((row for row in ROWS if row[-1] in ",:" and name.startswith(row)), "")
        if "same compute" in name:
            start = "reconstruction, same compute"
        encoder = exact or ROWS[start]
        for column, cell in zip(head[1:], cells, strict=True):
            found[encoder, COLUMNS[column]] = re.match(r"[\d.]+", cell)[0]
    return found


@pytest.fixture(scope="module")
def tables():
    return PublishedTablesDataset(filepath=str(PROJECT / "conf/demo/published.yml")).load()


def test_every_number_is_that_of_the_document(tables):
    stated = {
        (name, table.key): f"{value:.3f}".lstrip("0")
        for table in tables.tables
        for name, value in table.values.items()
    }
    assert stated == told()
    assert len(stated) == len(ROWS) * len(COLUMNS)


def test_items_and_trainings_are_those_of_the_recipe(tables):
    scenes = yaml.safe_load((PROJECT / "conf/base/parameters_scenes.yml").read_text())["scenes"]
    counts = {
        "classification": scenes["num_classification_test"],
        "retrieval": scenes["num_retrieval_images"],
        "mmvp_vlm": 9 * scenes["mmvp_pairs_per_type"],
    }
    training = yaml.safe_load((PROJECT / "conf/demo/parameters_training.yml").read_text())
    for table in tables.tables:
        assert table.items == counts[table.sets[0]]
        assert table.trainings == 1 + len(training["training"]["stage2_seeds"])


def test_every_row_has_an_encoder_that_the_recipe_evaluates(tables):
    own = yaml.safe_load((PROJECT / "conf/demo/parameters_ledger.yml").read_text())["ledger"]["own"]
    training = yaml.safe_load((PROJECT / "conf/demo/parameters_training.yml").read_text())
    methods = {"base", "dcr", *training["training"]["baselines"]}
    assert set(own) == set(tables.encoders)
    assert {EncoderName.parse(name).method for name in own.values()} <= methods
