"""The encoders that training made, built of the base and of trained weights."""

import pytest
import torch

import belonging
from dcr.errors import UserError
from dcr.export.folder import write_encoder
from dcr.fingerprints import weights_hash
from dcr.models.backbones import load_backbone
from dcr.models.encoder import load_encoder
from dcr.training.encoders import build_encoder, put_into_tower, trained_encoders
from dcr.training.model import prepare_tower, tower_state
from models import TEXTS, pixels, randomize_adapter, tiny_hf_clip, tiny_open_clip, tiny_siglip
from training_world import parameters

SOURCES = {
    "open_clip": lambda folder: f"local-dir:{tiny_open_clip(folder)}",
    "clip": lambda folder: str(tiny_hf_clip(folder)),
    "siglip": lambda folder: str(tiny_siglip(folder)),
}
CARD = {"base_model": "b", "recipe": "r", "method": "dcr", "licence": "mit"}


def trained(source, training, seed=2):
    """Return weights that training might have left of the tower of this source."""
    encoder = load_backbone(source)
    torch.manual_seed(seed)  # PEFT draws from it
    prepare_tower(encoder, training.tuning)
    randomize_adapter(encoder.visual, seed)
    return tower_state(encoder, training.tuning)


@pytest.mark.parametrize("formats", ["own", "all"])
@pytest.mark.parametrize("mode", ["lora", "full", "last_blocks"])
@pytest.mark.parametrize("family", SOURCES)
def test_an_encoder_in_memory_computes_what_its_folder_does(tmp_path, family, mode, formats):
    """In the form of its own library to the bit, weight by weight.

    Features are equal to rounding, which differs with where weights lie in memory: those of a file
    are mapped. A folder of all forms is read in open_clip's, where weights have other names.
    """
    source = SOURCES[family](tmp_path / "base")
    training = parameters(**{"tuning.mode": mode, "tuning.num_blocks": 1})
    base, weights = load_backbone(source), trained(source, training)
    built = build_encoder(training, base, weights)
    written = load_backbone(source)
    put_into_tower(training, written, weights)
    own = ("open_clip",) if family == "open_clip" else ("transformers",)
    write_encoder(tmp_path / "folder", written, None, CARD, own if formats == "own" else None)
    loaded = load_encoder(tmp_path / "folder").backbone
    if formats == "own":
        torch.testing.assert_close(
            loaded.model.state_dict(), built.model.state_dict(), rtol=0, atol=0
        )
    with torch.no_grad():
        for encode, inputs in (
            ("encode_image", pixels()),
            ("patch_tokens", pixels()),
            ("encode_text", TEXTS),
        ):
            expected = getattr(loaded, encode)(inputs)
            found = getattr(built, encode)(inputs)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
        changed = built.encode_image(pixels()) - base.encode_image(pixels())
    assert changed.norm() > 1e-3


def test_the_base_is_not_changed_and_nothing_of_an_encoder_trains(tmp_path):
    source, training = SOURCES["open_clip"](tmp_path / "base"), parameters()
    base = load_backbone(source)
    before = weights_hash(base.model)
    built = build_encoder(training, base, trained(source, training))
    assert weights_hash(base.model) == before
    assert not any(parameter.requires_grad for parameter in built.model.parameters())
    assert not any(module.training for module in built.model.modules())


class TestTrainedEncoders:
    @pytest.fixture
    def world(self, tmp_path):
        source = SOURCES["open_clip"](tmp_path / "base")
        training = parameters(baselines=["naive"])
        base = load_backbone(source)
        weights = {
            name: trained(source, training, seed)
            for seed, name in enumerate(("naive", "dcr@1", "dcr"))
        }
        return training, belonging.training_record(training, base, weights), base, weights

    def built(self, world, **changes):
        training, record, base, weights = world
        asked = {"training": training, "record": record, "base": base, "weights": weights} | changes
        loaders = {name: (lambda own=own: own) for name, own in asked["weights"].items()}
        return trained_encoders(asked["training"], asked["record"], asked["base"], loaders)

    def test_the_products_method_comes_first_and_others_in_alphabetical_order(self, world):
        assert list(self.built(world)) == ["dcr", "dcr@1", "naive"]

    def test_what_the_record_does_not_tell_of_is_no_encoder(self, world):
        weights = world[3]
        assert "left" not in self.built(world, weights=weights | {"left": weights["dcr"]})

    def test_weights_that_are_gone_are_named_before_any_encoder_is_built(self, world):
        with pytest.raises(UserError, match=r"trained weights of naive, .* `kedro run --pipelines"):
            self.built(world, weights={"dcr": world[3]["dcr"], "dcr@1": world[3]["dcr@1"]})

    def test_weights_of_another_training_are_refused_when_their_encoder_is_built(self, world):
        built = self.built(world, weights=world[3] | {"naive": world[3]["dcr"]})
        built["dcr"]()
        with pytest.raises(UserError, match="trained weights of naive are not those"):
            built["naive"]()

    def test_another_base_is_refused(self, world):
        with torch.no_grad():
            next(world[2].model.parameters()).add_(1)
        with pytest.raises(UserError, match="started from other weights"):
            self.built(world)

    def test_other_parameters_are_refused(self, world):
        other = parameters(**{"tuning.lora.alpha": 3}, baselines=["naive"])
        with pytest.raises(UserError, match=r"training\.tuning\.lora\.alpha"):
            self.built(world, training=other)
