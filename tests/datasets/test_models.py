import pytest
import torch
from kedro.io import DatasetError

from dcr.datasets.models import BackboneDataset
from dcr.models.backbones.families.open_clip import OpenClipBackbone
from models import pixels, randomize, tiny_hf_clip, tiny_model_cfg


def backbone(seed=0):
    backbone = OpenClipBackbone.build(tiny_model_cfg())
    randomize(backbone.model, seed)
    return backbone


class TestBackboneDataset:
    def test_saves_an_open_clip_folder_that_loads_back(self, tmp_path):
        dataset = BackboneDataset(
            source=f"local-dir:{tmp_path / 'clip'}", made_by="kedro run --pipelines scenes"
        )
        assert not dataset.exists()
        dataset.save(backbone())
        assert dataset.exists()
        assert torch.equal(dataset.load().encode_image(pixels()), backbone().encode_image(pixels()))

    def test_every_load_is_a_model_of_its_own(self, tmp_path):
        dataset = BackboneDataset(source=f"local-dir:{tmp_path / 'clip'}")
        dataset.save(backbone())
        randomize(dataset.load().model, seed=4)
        assert torch.equal(dataset.load().encode_image(pixels()), backbone().encode_image(pixels()))

    def test_loads_a_transformers_folder_but_does_not_write_one(self, tmp_path):
        dataset = BackboneDataset(source=str(tiny_hf_clip(tmp_path / "hf")))
        with pytest.raises(DatasetError, match="no place to save a model"):
            dataset.save(dataset.load())

    def test_a_missing_folder_names_the_command_that_makes_it(self, tmp_path):
        dataset = BackboneDataset(
            source=f"local-dir:{tmp_path / 'clip'}", made_by="kedro run --pipelines scenes"
        )
        with pytest.raises(DatasetError, match="make it with `kedro run --pipelines scenes`"):
            dataset.load()
