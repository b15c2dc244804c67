"""Pipeline `alignment` on its own catalog: what it writes, in which order, and what it refuses."""

import copy
import json
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

import belonging
from dcr.alignment import check_alignment, check_maps
from dcr.errors import UserError
from dcr.pipelines.alignment import create_pipeline
from dcr.training.model import prepare_tower, tower_state
from models import randomize, randomize_adapter
from training_world import load_world, parameters, write_world

CONF = Path(__file__).parents[2] / "conf" / "base"
SMALL = {"steps": 4, "evaluate_every_steps": 2, "batch_size": 6}
TRAINING = parameters(**{"held_out.fraction": 0.4}, baselines=["naive"])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


def moved(base, seed):
    """Return weights of LoRA that move the base's image tower."""
    encoder = copy.deepcopy(base)
    torch.manual_seed(seed)  # PEFT draws from it
    prepare_tower(encoder, TRAINING.tuning)
    randomize_adapter(encoder.visual, seed)
    return tower_state(encoder, TRAINING.tuning)


def randomized(base):
    """Return another base."""
    randomize(base.model, 9)
    return base


def catalog_of(world, folder, form="text", **changes):
    text = (CONF / "catalog_alignment.yml").read_text().replace("${globals:recipe}", "r")
    catalog = DataCatalog.from_config(yaml.safe_load(text.replace(": data/", f": {folder}/data/")))
    base, _, latents = load_world(world)
    weights = {"dcr": moved(base, 1), "naive": moved(base, 2)}
    trained = belonging.training_record(TRAINING, base, weights)
    trained["hashes"]["samples"] = latents.content_hash()
    memory = {
        "params:alignment": belonging.alignment(form, **SMALL),
        "params:training": TRAINING,
        "training_record": trained,
        "latents": latents,
        "backbone": base,
        "adapters": {
            **{name: partial(weights.get, name) for name in weights},
            "left from before": dict,
        },
    }
    for name, value in (memory | changes).items():
        catalog[name] = MemoryDataset(value, copy_mode="assign")
    return catalog


def run(catalog):
    SequentialRunner().run(create_pipeline(), catalog)


@pytest.mark.parametrize("form", ["text", "image", "blend"])
def test_every_encoder_of_the_training_and_the_base_get_a_map(world, tmp_path, form):
    catalog = catalog_of(world, tmp_path, form)
    run(catalog)
    maps, record = catalog["alignments"].load(), catalog["alignment_record"].load()
    assert set(maps) == set(record["encoders"]) == {"base", "dcr", "naive"}
    check_alignment(record, belonging.alignment(form, **SMALL), catalog["training_record"].load())
    for name in maps:
        check_maps(record, name, maps[name]())
        assert record["encoders"][name]["seconds"] > 0


def test_a_second_run_writes_the_same_bytes(world, tmp_path):
    def contents():
        return {path.name: path.read_bytes() for path in (tmp_path / "data").rglob("*.safetensors")}

    run(catalog_of(world, tmp_path))
    before = contents()
    run(catalog_of(world, tmp_path))
    assert contents() == before
    assert set(before) == {"base.safetensors", "dcr.safetensors", "naive.safetensors"}


def test_with_form_none_nothing_is_looked_at(world, tmp_path):
    run(catalog_of(world, tmp_path))
    catalog = catalog_of(world, tmp_path, "none", latents=None, training_record={}, backbone=None)
    run(catalog)
    assert catalog["alignments"].load() == {}
    record = json.loads((tmp_path / "data/08_reporting/r/alignment.json").read_text())
    assert record == {"form": "none", "parameters": {"form": "none"}, "encoders": {}}


class TestRefusals:
    def refused(self, world, folder, **changes):
        with pytest.raises(UserError) as told:
            run(catalog_of(world, folder, **changes))
        assert not (folder / "data").exists()
        return str(told.value)

    def test_another_backbone(self, world, tmp_path):
        assert "started from other weights" in self.refused(
            world, tmp_path, backbone=randomized(load_world(world)[0])
        )

    @pytest.mark.parametrize("name", ["dcr", "naive"])
    def test_weights_from_elsewhere(self, world, tmp_path, name):
        base = load_world(world)[0]
        adapters = catalog_of(world, tmp_path)["adapters"].load() | {name: lambda: moved(base, 9)}
        told = self.refused(world, tmp_path, adapters=adapters)
        assert told.startswith(f"the trained weights of {name} are not those that training.json")

    def test_weights_that_are_gone(self, world, tmp_path):
        adapters = catalog_of(world, tmp_path)["adapters"].load()
        del adapters["naive"]
        assert self.refused(world, tmp_path, adapters=adapters) == (
            "the trained weights of naive, of which training.json tells, are not there; run `kedro"
            " run --pipelines training`"
        )

    def test_other_parameters_of_training(self, world, tmp_path):
        told = self.refused(
            world,
            tmp_path,
            **{"params:training": parameters(**{"held_out.fraction": 0.2}, baselines=["naive"])},
        )
        assert "held_out.fraction 0.4, the recipe says 0.2" in told

    def test_latents_of_other_samples(self, world, tmp_path):
        record = catalog_of(world, tmp_path)["training_record"].load()
        record["hashes"]["samples"] = "of others"
        assert "latents are not of the samples" in self.refused(
            world, tmp_path, training_record=record
        )


def test_the_record_is_written_after_the_maps():
    """So that a kill leaves maps that do not fit the record that stands from before."""
    (node,) = create_pipeline().nodes
    assert node.outputs == ["alignments", "alignment_record"]
