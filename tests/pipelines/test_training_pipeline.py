"""The order in which pipeline `training` saves: its record is the last, of what can be read
back from disk.
"""

import json
from itertools import combinations
from pathlib import Path

import pytest
import torch
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from dcr.datasets.latents import LatentsDataset
from dcr.errors import UserError
from dcr.fingerprints import tensors_hash, weights_hash
from dcr.latents import LatentCache
from dcr.parameters import RecipeParameters
from dcr.pipelines.training import create_pipeline
from dcr.training.encoders import trained_encoders
from dcr.training.provenance import check_adapter, check_projector
from models import pixels
from plain_source import PLAIN_SOURCE
from training_world import load_world, parameters, write_world

CONF = Path(__file__).parents[2] / "conf" / "base"
SMALL = {
    "stage1.max_train_steps": 1,
    "stage2.max_train_steps": 1,
    "baselines": ["reconstruction"],
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


def catalog_of(world, folder, **changes):
    text = (CONF / "catalog_training.yml").read_text().replace("${globals:recipe}", "r")
    text = text.replace("${globals:device}", "cpu").replace(": data/", f": {folder}/data/")
    catalog = DataCatalog.from_config(yaml.safe_load(text))
    backbone, diffusion, _ = load_world(world)
    catalog["latents"] = LatentsDataset(filepath=str(world / "latents"))
    memory = {
        "params:training": parameters(**SMALL | changes),
        "params:recipe": RecipeParameters(
            name="r", licence=None, data_licence=None, sources=PLAIN_SOURCE, backbone="b"
        ),
        "backbone": backbone,
        "diffusion": diffusion,
        "synthetic_positives_folder": world / "positives",
    }
    for name, value in memory.items():
        catalog[name] = MemoryDataset(
            value, copy_mode="assign" if name == "diffusion" else "deepcopy"
        )
    return catalog


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    SequentialRunner().run(create_pipeline(), catalog_of(world, folder))
    return folder


def record(folder):
    return json.loads((folder / "data/08_reporting/r/training.json").read_text())


def test_the_record_tells_what_went_in_and_what_came_out(world, trained):
    told, catalog = record(trained), catalog_of(world, trained)
    backbone, _, latents = load_world(world)
    assert told["parameters"]["stage2.learning_rate"] == parameters().stage2.learning_rate
    assert "execution.num_workers" not in told["parameters"]
    assert told["hashes"]["backbone"] == weights_hash(backbone.model)
    assert (
        told["hashes"]["samples"]
        == LatentCache(world / "latents").content_hash()
        == latents.content_hash()
    )
    assert told["conditions"] == catalog["conditions"].load()
    products = told["products"]
    assert products["projector"] == tensors_hash(catalog["projector"].load())
    for method in ("dcr", "reconstruction"):
        assert products["adapters"][method] == tensors_hash(catalog["adapters"].load()[method]())
        assert told["runs"][method]["loss"] == pytest.approx(
            catalog["losses"].load()[method]()["loss"].iloc[-1]
        )


@pytest.mark.parametrize("last", ["train_projector", "train_adapters"])
def test_what_a_cut_training_leaves_does_not_fit_the_record_from_before(
    world, trained, tmp_path, last
):
    """Another training that was cut behind each node: its files are told from those of the
    record.
    """
    import shutil

    folder = shutil.copytree(trained, tmp_path / "project")
    catalog = catalog_of(world, folder, seed=3)
    SequentialRunner().run(create_pipeline().to_nodes(last), catalog)
    told = record(folder)
    assert told == record(trained)
    loaded = {
        "adapters": lambda: check_adapter(told, "dcr", catalog["adapters"].load()["dcr"]()),
        "projector": lambda: check_projector(told, catalog["projector"].load()),
    }
    written = set(create_pipeline().to_nodes(last).all_outputs()) & set(loaded)
    for name, check in loaded.items():
        if name in written:
            with pytest.raises(
                UserError,
                match=r"training was cut before its end.*--pipelines training,alignment,evaluation",
            ):
                check()
        else:
            check()


def test_phases_and_seeds_are_written_under_names_of_their_own(world, tmp_path):
    """Adapters by method and seed, losses and costs by run."""
    phases = {
        "two": [
            {"objective": "reconstruction", "temperature": 0.3},
            {"objective": "dcr", "negatives_count": 2},
        ]
    }
    changes = {"method": "two", "baselines": ["naive"], "phases": phases, "stage2_seeds": [5]}
    catalog = catalog_of(world, tmp_path, **changes)
    SequentialRunner().run(create_pipeline(), catalog)

    told, encoders = record(tmp_path), ["two", "naive", "two@5", "naive@5"]
    runs = ["stage1", "two.1", "two.2", "naive", "two.1@5", "two.2@5", "naive@5"]
    assert [*told["runs"]] == runs
    assert [told["runs"][run]["objective"] for run in ("two.1", "two.2@5", "naive")] == [
        "reconstruction",
        "dcr",
        "naive",
    ]
    assert sorted(catalog["losses"].load()) == sorted(runs)
    assert sorted(catalog["adapters"].load()) == sorted(encoders)
    built = trained_encoders(
        parameters(**SMALL | changes), told, load_world(world)[0], catalog["adapters"].load()
    )
    assert list(built) == ["two", *sorted({*encoders} - {"two"})]
    features = {name: load().encode_image(pixels()) for name, load in built.items()}
    pairs = combinations(features.values(), 2)
    assert not any(torch.equal(one, other) for one, other in pairs)


def test_the_record_is_written_after_everything_else():
    pipeline = create_pipeline()
    others = {node.name for node in pipeline.nodes} - {"record_training"}
    assert {node.name for node in pipeline.to_nodes("record_training").nodes} - {
        "record_training"
    } == others
