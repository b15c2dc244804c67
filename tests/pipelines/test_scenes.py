"""Pipeline `scenes`, run as Kedro runs it on a world of few and small pictures."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest
import torch
import yaml
from kedro.io import DataCatalog
from kedro.runner import SequentialRunner

from dcr.errors import UserError
from dcr.files import RECORD, sha256_folder
from dcr.fingerprints import weights_hash
from dcr.models.backbones import load_backbone
from dcr.models.diffusion import load_diffusion
from dcr.parameters import PretrainingParameters, ScenesParameters
from dcr.pipeline_registry import register_pipelines
from dcr.pipelines.scenes import create_pipeline, create_validation_pipeline
from dcr.scenes.world import DETAILS

SETS = ("mmvp_vlm", "classification", "retrieval")
CONF = Path(__file__).parents[2] / "conf"


def smoke_section(name: str) -> dict:
    base, smoke = (
        yaml.safe_load((CONF / env / f"parameters_{name}.yml").read_text())[name]
        for env in ("base", "smoke")
    )
    return base | smoke


def make_catalog(root: Path, **pretraining) -> DataCatalog:
    base = root / "base"
    folders = {"clip": f"{base}/clip", "diffusion": f"{base}/diffusion"}
    entries = {
        "shards": {"type": "dcr.datasets.shards.ShardsDataset", "filepath": f"{root}/shards"},
        "backbone": {
            "type": "dcr.datasets.models.BackboneDataset",
            "source": f"local-dir:{base}/clip",
        },
        "diffusion": {
            "type": "dcr.datasets.diffusion.DiffusionDataset",
            "source": f"{base}/diffusion",
        },
        "trained_base_models": {"type": "MemoryDataset", "copy_mode": "assign"},
        "base_models": {"type": "json.JSONDataset", "filepath": f"{base}/base_models.json"},
        "previous_base_models": {
            "type": "dcr.datasets.records.RecordDataset",
            "filepath": f"{base}/base_models.json",
        },
        "base_model_hashes": {
            "type": "dcr.datasets.records.FolderHashesDataset",
            "folders": folders,
        },
    }
    record = {"type": "dcr.datasets.records.RecordDataset", "filepath": f"{root}/scenes.json"}
    drawn = {"shards": f"{root}/shards", **{name: f"{root}/sets/{name}" for name in SETS}}
    entries |= {
        "drawn_scenes": record,
        "previously_drawn_scenes": record,
        "scene_hashes": {"type": "dcr.datasets.records.FolderHashesDataset", "folders": drawn},
    }
    record = {
        "type": "dcr.datasets.records.RecordDataset",
        "filepath": f"{root}/validation_sets.json",
    }
    validation = {name: f"{root}/validation_sets/{name}" for name in SETS}
    entries |= {
        "drawn_validation_sets": record,
        "previously_drawn_validation_sets": record,
        "validation_set_hashes": {
            "type": "dcr.datasets.records.FolderHashesDataset",
            "folders": validation,
        },
    }
    for name in SETS:
        entries[f"validation_{name}"] = {
            "type": "dcr.datasets.benchmark_sets.BenchmarkSetDataset",
            "filepath": validation[name],
            "kind": name,
            "made_by": None,
        }
        folder = {
            "type": "dcr.datasets.folders.FolderDataset",
            "filepath": f"{root}/sets/{name}",
            "made_by": "-",
        }
        entries[name] = folder
    catalog = DataCatalog.from_config(entries)
    catalog["params:scenes"] = ScenesParameters(**smoke_section("scenes"))
    catalog["params:pretraining"] = PretrainingParameters(
        **smoke_section("pretraining") | pretraining
    )
    return catalog


def run(catalog: DataCatalog) -> None:
    SequentialRunner().run(create_pipeline(), catalog)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("world")
    run(make_catalog(root))
    return root


def test_it_writes_shards_sets_base_models_and_their_record(world):
    assert {p.name for p in world.iterdir()} == {"shards", "sets", "base", "scenes.json"}
    assert {p.name for p in (world / "sets").iterdir()} == set(SETS)
    assert {p.name for p in (world / "base" / "diffusion").iterdir()} == {
        RECORD,
        "vae",
        "unet",
        "scheduler",
        "text_encoder",
        "tokenizer",
    }
    record = json.loads((world / "base" / "base_models.json").read_text())
    assert set(record) == {
        "fingerprint",
        "checks",
        "sha256",
        "weights",
        "clip",
        "vae",
        "unet",
        "details",
    }
    backbone = load_backbone(f"local-dir:{world / 'base' / 'clip'}")
    diffusion = load_diffusion(str(world / "base" / "diffusion"))
    parts = {part: getattr(diffusion, part) for part in ("vae", "unet", "text_encoder")}
    models = {"backbone": backbone.model, **parts}
    assert record["weights"] == {name: weights_hash(model) for name, model in models.items()}
    assert set(record["unet"]) == {"true_caption", "empty_prompt", "wrong_caption"}
    assert set(record["clip"]) == {"zero_shot_acc1", "statement_distance"}
    assert set(record["clip"]["statement_distance"]) == set(DETAILS)
    assert set(record["details"]) == {"class", *DETAILS}
    assert set(record["details"]["count"]) == {"rise", "standard_error", "known"}
    assert record["sha256"]["clip"] == sha256_folder(world / "base" / "clip")


def test_models_load_back_as_any_other_and_fit_together(world):
    catalog = make_catalog(world)
    backbone, diffusion = catalog.load("backbone"), catalog.load("diffusion")
    assert backbone.image_size == smoke_section("pretraining")["image_size"]
    assert diffusion.vae.config.sample_size == backbone.image_size
    assert diffusion.scheduler.config.prediction_type == "v_prediction"
    assert diffusion.encode_prompts([""]).shape == (
        1,
        32,
        diffusion.unet.config.cross_attention_dim,
    )


def test_a_second_run_draws_and_trains_nothing(world):
    written_anew = ("base_models.json", "scenes.json")
    before = {path: path.stat().st_mtime_ns for path in world.rglob("*") if path.is_file()}
    before = {path: time for path, time in before.items() if path.name not in written_anew}
    record = (world / "base" / "base_models.json").read_bytes()
    run(make_catalog(world))
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (world / "base" / "base_models.json").read_bytes() == record


def test_two_worlds_of_one_seed_are_the_same_bytes_in_any_number_of_threads(world, tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        run(make_catalog(tmp_path))
    finally:
        torch.set_num_threads(threads)
    for part in ("shards", "sets", "base/clip", "base/diffusion"):
        assert sha256_folder(tmp_path / part) == sha256_folder(world / part)


@pytest.mark.parametrize("lost", ["shards", "sets/mmvp_vlm", "sets/retrieval", "scenes.json"])
def test_lost_images_are_drawn_again_and_are_the_same(world, lost):
    before = sha256_folder(world)
    path = world / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    run(make_catalog(world))
    assert sha256_folder(world) == before


@pytest.mark.parametrize("lost", ["clip", "diffusion"])
def test_a_lost_model_is_trained_again(world, lost):
    before = sha256_folder(world)
    shutil.rmtree(world / "base" / lost)
    run(make_catalog(world))
    assert sha256_folder(world) == before


@pytest.mark.parametrize(
    ("check", "refusal"),
    [
        ({"check_condition": True}, "does not use its condition"),
        ({"min_known_details": 9}, "min_known_details asks for 9"),
    ],
    ids=["condition", "details"],
)
def test_an_unmet_check_is_said_again_without_training_again(world, tmp_path, check, refusal):
    shutil.copytree(world, tmp_path / "copy")
    for _ in range(2):
        with pytest.raises(UserError, match=refusal):
            run(make_catalog(tmp_path / "copy", **check))
    assert sha256_folder(tmp_path / "copy") == sha256_folder(world)


def test_other_checks_measure_the_same_models_again(world, tmp_path):
    shutil.copytree(world, tmp_path / "copy")
    run(make_catalog(tmp_path / "copy", check_draws=3))
    before, after = (
        json.loads((root / "base" / "base_models.json").read_text())
        for root in (world, tmp_path / "copy")
    )
    same = {"fingerprint", "sha256", "weights", "clip", "vae"}
    assert {name for name in before if before[name] == after[name]} == same


def test_another_pretraining_seed_is_other_base_models_of_the_same_images(world, tmp_path):
    shutil.copytree(world, tmp_path / "copy")
    run(make_catalog(tmp_path / "copy", seed=1))
    before, after = (make_catalog(root) for root in (world, tmp_path / "copy"))
    assert after.load("scene_hashes") == before.load("scene_hashes")
    hashes = after.load("base_model_hashes")
    assert all(hashes[name] != other for name, other in before.load("base_model_hashes").items())
    records = [
        json.loads((root / "base" / "base_models.json").read_text())
        for root in (world, tmp_path / "copy")
    ]
    assert all(
        records[0]["weights"][part] != records[1]["weights"][part] for part in records[0]["weights"]
    )


class TestValidationSets:
    @pytest.fixture(scope="class")
    def root(self, tmp_path_factory):
        root = tmp_path_factory.mktemp("validation")
        self.draw(root)
        return root

    @staticmethod
    def draw(root, **scenes):
        catalog = make_catalog(root)
        catalog["params:scenes"] = ScenesParameters(**smoke_section("scenes") | scenes)
        SequentialRunner().run(create_validation_pipeline(), catalog)

    def test_are_drawn_by_a_pipeline_of_their_own_which_plain_runs_do_not_have(self, root):
        assert {p.name for p in root.iterdir()} == {"validation_sets", "validation_sets.json"}
        assert not create_pipeline().all_outputs() & create_validation_pipeline().all_outputs()
        pipelines = register_pipelines()
        assert (
            create_validation_pipeline().all_outputs()
            == pipelines["scenes_validation"].all_outputs()
        )
        assert (
            not pipelines["__default__"].all_outputs()
            & pipelines["scenes_validation"].all_outputs()
        )

    def test_are_as_large_as_the_test_sets_and_share_no_image_with_anything(self, root, world):
        drawn = {}
        for place in (root / "validation_sets", world / "sets", world / "shards"):
            images = [path.read_bytes() for path in place.rglob("*.jpg")]
            for path in place.rglob("*.tar"):
                with tarfile.open(path) as tar:
                    images += [
                        tar.extractfile(member).read()
                        for member in tar
                        if member.name.endswith(".jpg")
                    ]
            drawn[place.name] = images
        assert len(drawn["validation_sets"]) == len(drawn["sets"]) > 0
        assert not set(drawn["validation_sets"]) & {*drawn["sets"], *drawn["shards"]}

    def test_open_as_any_other_sets(self, root):
        catalog, parameters = make_catalog(root), ScenesParameters(**smoke_section("scenes"))
        mmvp, classification, retrieval = (catalog.load(f"validation_{name}")() for name in SETS)
        assert len(mmvp.pairs) == 9 * parameters.mmvp_pairs_per_type
        assert len(classification.class_names) == 20
        assert retrieval.name == "retrieval"

    def test_are_drawn_once_and_again_where_lost_or_of_another_seed(self, root, tmp_path):
        shutil.copytree(root, tmp_path / "copy")
        copy, sets = tmp_path / "copy", tmp_path / "copy" / "validation_sets"
        before = {path: path.stat().st_mtime_ns for path in sets.rglob("*")}
        self.draw(copy)
        assert {path: path.stat().st_mtime_ns for path in sets.rglob("*")} == before
        shutil.rmtree(sets / "retrieval")
        self.draw(copy)
        assert sha256_folder(copy) == sha256_folder(root)
        self.draw(copy, seed=1)
        for name in SETS:
            assert sha256_folder(sets / name) != sha256_folder(root / "validation_sets" / name)
