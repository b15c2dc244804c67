import pytest
import torch
from kedro.io import DatasetError

from dcr.datasets.models import BackboneDataset, BaselinesDataset, EncoderDataset
from dcr.models.backbones import load_backbone
from dcr.models.backbones.families.open_clip import OpenClipBackbone
from models import pixels, randomize, tiny_hf_clip, tiny_model_cfg

CARD = {"base_model": "tiny", "recipe": "demo", "method": "dcr", "licence": "apache-2.0"}


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


class TestEncoderDataset:
    def test_saves_the_export_folder_and_loads_a_backbone(self, tmp_path):
        dataset = EncoderDataset(
            filepath=str(tmp_path / "encoder"), made_by="kedro run --pipelines training"
        )
        with pytest.raises(DatasetError, match="make it with `kedro run --pipelines training`"):
            dataset.load()
        dataset.save((backbone(), None, CARD))
        assert torch.equal(dataset.load().encode_image(pixels()), backbone().encode_image(pixels()))
        transformers_view = load_backbone(str(tmp_path / "encoder"))
        torch.testing.assert_close(
            transformers_view.encode_image(pixels()),
            backbone().encode_image(pixels()),
            atol=1e-5,
            rtol=0,
        )


class TestBaselinesDataset:
    def test_methods_are_made_when_saved_and_loaded_when_asked_for(self, tmp_path):
        dataset = BaselinesDataset(
            filepath=str(tmp_path / "baselines"), made_by="kedro run --pipelines training"
        )
        card = CARD | {"method": "any"}
        dataset.save(
            {
                "reconstruction": lambda: (backbone(0), None, card),
                "naive": lambda: (backbone(1), None, card),
            }
        )

        loaders = dataset.load()

        assert list(loaders) == ["naive", "reconstruction"]
        assert torch.equal(
            loaders["naive"]().encode_image(pixels()), backbone(1).encode_image(pixels())
        )
        assert torch.equal(
            loaders["reconstruction"]().encode_image(pixels()), backbone(0).encode_image(pixels())
        )

    def test_a_method_that_is_no_longer_trained_goes(self, tmp_path):
        dataset = BaselinesDataset(
            filepath=str(tmp_path / "baselines"), made_by="kedro run --pipelines training"
        )
        dataset.save({"naive": lambda: (backbone(), None, CARD)})
        dataset.save({})
        assert dataset.load() == {}

    def test_an_encoder_may_be_of_a_further_seed(self, tmp_path):
        dataset = BaselinesDataset(
            filepath=str(tmp_path / "baselines"), made_by="kedro run --pipelines training"
        )
        dataset.save({"naive@12": lambda: (backbone(), None, CARD)})
        assert list(dataset.load()) == ["naive@12"]

    @pytest.mark.parametrize("name", ["../x", "x@../y", "@1", "x/y@1", ".x"])
    def test_an_encoder_cannot_leave_the_folder(self, tmp_path, name):
        with pytest.raises(DatasetError, match="plain name"):
            BaselinesDataset(
                filepath=str(tmp_path / "baselines"), made_by="kedro run --pipelines training"
            ).save({name: lambda: (backbone(), None, CARD)})
