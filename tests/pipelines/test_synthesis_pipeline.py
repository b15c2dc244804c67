"""Pipeline `synthesis` on files: shards of made positives, their measures and their page."""

from pathlib import Path

import pytest
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

import models
from dcr.datasets.latents import LatentsDataset, SyntheticPositivesDataset
from dcr.errors import UserError
from dcr.models.backbones import load_backbone
from dcr.parameters import SynthesisParameters
from dcr.pipelines.synthesis import create_pipeline
from latent_world import World, files

CONF = Path(__file__).parents[2] / "conf"


def parameters(**changes):
    base, smoke = (
        yaml.safe_load((CONF / env / "parameters_synthesis.yml").read_text())["synthesis"]
        for env in ("base", "smoke")
    )
    return SynthesisParameters(**base | smoke | changes)


def run(world, **changes):
    entries = {
        "params:synthesis": MemoryDataset(parameters(**changes)),
        "latents": LatentsDataset(filepath=str(world.folder / "latents")),
        "synthetic_positives": SyntheticPositivesDataset(filepath=str(world.folder / "positives")),
        "diffusion": MemoryDataset(world.diffusion, copy_mode="assign"),
        "backbone": MemoryDataset(
            load_backbone(f"local-dir:{world.folder / 'clip'}"), copy_mode="assign"
        ),
        **{
            name: MemoryDataset()
            for name in ("synthesis_measures", "synthesis_pictures", "synthesis_page")
        },
    }
    catalog = DataCatalog(entries)
    SequentialRunner().run(create_pipeline(), catalog)
    return catalog


@pytest.fixture
def world(tmp_path):
    world = World.make(tmp_path)
    models.tiny_open_clip(tmp_path / "clip")
    world.cache()
    return world


def test_every_image_gets_its_candidates_and_a_second_run_makes_none(world):
    catalog = run(world)
    made = catalog["synthetic_positives"].load()
    assert len(made) == len(catalog["latents"].load()) == 10
    assert made.crops_per_image == 2
    assert -1 <= catalog["synthesis_measures"].load()["feature_cosine"] <= 1
    page = catalog["synthesis_page"].load()
    assert page.count("<img") == 4 * (1 + 2)
    assert all(
        uri in page for row in catalog["synthesis_pictures"].load()["rows"] for uri in row["images"]
    )
    before = files(world.folder / "positives")
    run(world)
    after = files(world.folder / "positives")
    assert all(before[name] == after[name] for name in before if name.endswith(".tar"))


def test_what_is_missing_names_the_pipeline_that_makes_it(world):
    dataset = SyntheticPositivesDataset(filepath=str(world.folder / "positives"))
    assert not dataset.exists()
    with pytest.raises(Exception, match="kedro run --pipelines synthesis") as caught:
        dataset.load()
    assert isinstance(caught.value.__cause__ or caught.value, UserError)
