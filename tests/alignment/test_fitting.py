"""Alignments of small encoders on latents of their own, each against its parts computed apart."""

import copy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch.nn import functional as F

from dcr.alignment import IMAGE_MAP, TEXT_MAP, apply_maps
from dcr.alignment.contrast import Contrast
from dcr.alignment.fitting import Aligner, align_encoders
from dcr.alignment.ridge_map import blend, mean_cosine
from dcr.errors import UserError
from dcr.fingerprints import tensors_hash
from dcr.latents import LatentCache
from dcr.models.backbones import load_backbone
from dcr.parameters import AlignmentParameters
from dcr.training.data import split_positions
from models import TEXTS, pixels, tiny_hf_clip, tiny_siglip
from timm_models import tiny_open_clip_siglip
from training_world import load_world, write_world

FRACTION = 0.4
CONF = Path(__file__).parents[2] / "conf" / "base" / "parameters_alignment.yml"


def parameters(form, **changes):
    small = {
        "batch_size": 6,
        "steps": 12,
        "evaluate_every_steps": 4,
        "embedding_batch_size": 5,
        "learning_rate": 1e-2,
    }
    return AlignmentParameters(
        **yaml.safe_load(CONF.read_text())["alignment"] | small | {"form": form} | changes
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def latents(world):
    return load_world(world)[2]


@pytest.fixture(scope="module")
def base(world):
    return load_world(world)[0]


@pytest.fixture(scope="module")
def tuned(base):
    """The base with an image tower that has moved away; its text tower is the base's."""
    moved = copy.deepcopy(base)
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for parameter in moved.visual.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return moved


def fit(form, latents, base, encoder, **changes):
    return Aligner(parameters(form, **changes), latents, FRACTION, base).fit(encoder, "tuned")


def crops_of(latents, positions):
    """Return pixels in [0, 1], (B, 3, H, W), of the crops at some positions."""
    return (
        torch.stack([torch.tensor(latents[place]["crop"]) for place in positions]).permute(
            0, 3, 1, 2
        )
        / 255
    )


@torch.no_grad()
def embeddings(backbone, latents):
    """Return unit embeddings of images and captions of both parts, all at once and in memory."""
    found = []
    for positions in split_positions(latents, FRACTION):
        crops = crops_of(latents, positions)
        captions = [latents.record(p)["caption"] for p in positions]
        found.append(
            [
                F.normalize(part).numpy()
                for part in (backbone.encode_image(crops), backbone.encode_text(captions))
            ]
        )
    return found


def test_the_image_map_is_the_least_squares_map_of_the_best_ridge(latents, base, tuned):
    alignment = fit("image", latents, base, tuned, ridges=[1e-4, 1e-1])
    (x, _), (x_out, _) = embeddings(tuned, latents)
    (y, _), (y_out, _) = embeddings(base, latents)
    solved = {}
    for ridge in (1e-4, 1e-1):
        rows = np.sqrt(ridge * len(x)) * np.eye(24)
        solved[ridge] = np.linalg.lstsq(
            np.vstack([x, rows]), np.vstack([y, np.zeros((24, 24))]), rcond=None
        )[0]
    cosines = {ridge: mean_cosine(x_out @ matrix, y_out) for ridge, matrix in solved.items()}
    assert [row["ridge"] for row in alignment.tried["ridges"]] == [1e-4, 1e-1]
    assert [row["held_out_cosine"] for row in alignment.tried["ridges"]] == pytest.approx(
        list(cosines.values()), abs=1e-5
    )
    best = max(cosines, key=cosines.get)
    assert alignment.chosen == {
        "ridge": best,
        "held_out_cosine": pytest.approx(cosines[best], abs=1e-5),
    }
    np.testing.assert_allclose(alignment.maps[IMAGE_MAP], solved[best], atol=1e-3)


@torch.no_grad()
def test_the_base_mapped_to_itself_has_its_own_features(latents, base):
    """As far as images of 14 in 24 dimensions tell: on those that it was fitted on."""
    aligner = Aligner(parameters("image", ridges=[1e-12]), latents, FRACTION, base)
    alignment = aligner.fit(base, "base")
    aligned = apply_maps(copy.deepcopy(base), alignment.maps)
    crops = (
        torch.stack(
            [torch.tensor(latents[p]["crop"]) for p in aligner.splits[0].positions]
        ).permute(0, 3, 1, 2)
        / 255
    )
    before, after = (F.normalize(model.encode_image(crops)) for model in (base, aligned))
    torch.testing.assert_close(after, before, atol=1e-4, rtol=0)


@torch.no_grad()
def test_aligned_features_are_the_mapped_ones_and_patch_tokens_stay(latents, base, tuned):
    alignment = fit("image", latents, base, tuned)
    expected, tokens = (
        tuned.encode_image(pixels()) @ alignment.maps[IMAGE_MAP],
        tuned.patch_tokens(pixels()),
    )
    aligned = apply_maps(copy.deepcopy(tuned), alignment.maps)
    torch.testing.assert_close(aligned.encode_image(pixels()), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(aligned.patch_tokens(pixels()), tokens)
    assert torch.equal(aligned.encode_text(TEXTS), tuned.encode_text(TEXTS))


def test_the_text_side_leaves_images_bit_for_bit(latents, base, tuned):
    alignment = fit("text", latents, base, tuned)
    assert alignment.chosen["step"] > 0
    aligned = apply_maps(copy.deepcopy(tuned), alignment.maps)
    assert torch.equal(aligned.encode_image(pixels()), tuned.encode_image(pixels()))
    assert torch.equal(aligned.patch_tokens(pixels()), tuned.patch_tokens(pixels()))
    expected = tuned.encode_text(TEXTS) @ alignment.maps[TEXT_MAP]
    torch.testing.assert_close(aligned.encode_text(TEXTS), expected, atol=1e-5, rtol=1e-5)


def test_the_text_maps_losses_are_the_models_own_on_held_out_pairs(latents, base, tuned):
    alignment = fit("text", latents, base, tuned)
    _, (images, texts) = (map(torch.from_numpy, part) for part in embeddings(tuned, latents))
    contrast = Contrast(base.logit_scale)
    rows = {row["step"]: row["held_out_loss"] for row in alignment.tried["steps"]}
    assert list(rows) == [0, 4, 8, 12]
    assert rows[0] == pytest.approx(contrast.held_out(images, texts, 6), rel=1e-4)
    mapped = texts @ alignment.maps[TEXT_MAP]
    assert alignment.chosen["held_out_loss"] == pytest.approx(
        contrast.held_out(images, mapped, 6), rel=1e-4
    )
    assert alignment.chosen["held_out_loss"] == min(rows.values())


@pytest.mark.parametrize("share", [0.4, 1.0])
def test_the_text_map_has_its_share_of_the_least_squares_map_of_texts_to_images(
    latents, base, tuned, share
):
    trained = fit("text", latents, base, tuned).maps[TEXT_MAP].numpy()
    alignment = fit("text", latents, base, tuned, closed_form_share=share, ridges=[1e-3])
    (images, texts), held_out = embeddings(tuned, latents)
    rows = np.sqrt(1e-3 * len(texts)) * np.eye(24)
    closed = np.linalg.lstsq(
        np.vstack([texts, rows]), np.vstack([images, np.zeros((24, 24))]), rcond=None
    )[0]
    expected = (1 - share) * trained / np.linalg.norm(trained) + share * closed / np.linalg.norm(
        closed
    )
    found = alignment.maps[TEXT_MAP].numpy() / np.linalg.norm(trained)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert (alignment.chosen["closed_form_share"], alignment.chosen["ridge"]) == (share, 1e-3)
    out_images, out_texts = map(torch.from_numpy, held_out)
    loss = Contrast(base.logit_scale).held_out(out_images, out_texts @ alignment.maps[TEXT_MAP], 6)
    assert alignment.chosen["held_out_loss"] == pytest.approx(loss, rel=1e-4)


def test_a_blend_is_the_share_of_the_way_with_the_least_loss(latents, base, tuned):
    whole = fit("image", latents, base, tuned).maps[IMAGE_MAP].double().numpy()
    alignment = fit("blend", latents, base, tuned, shares=[0.0, 0.3, 1.0])
    _, (images, texts) = embeddings(tuned, latents)
    contrast, losses = Contrast(base.logit_scale), {}
    for share in (0.0, 0.3, 1.0):
        mapped = torch.from_numpy(images @ blend(whole, share)).float()
        losses[share] = contrast.held_out(mapped, torch.from_numpy(texts), 6)
    assert {
        row["share"]: row["held_out_loss"] for row in alignment.tried["shares"]
    } == pytest.approx(losses, rel=1e-4)
    share = min(losses, key=losses.get)
    assert alignment.chosen["share"] == share
    np.testing.assert_allclose(alignment.maps[IMAGE_MAP], blend(whole, share), atol=1e-6)


def test_the_base_is_embedded_once_for_all_encoders(latents, base, tuned):
    counted = copy.deepcopy(base)
    seen = []
    encode_image = counted.encode_image
    counted.encode_image = lambda crops: seen.append(len(crops)) or encode_image(crops)
    aligner = Aligner(parameters("image"), latents, FRACTION, counted)
    for encoder in (counted, tuned, tuned):
        aligner.fit(encoder, "any")
    assert sum(seen) == len(latents)


@pytest.mark.parametrize("form", ["image", "text", "blend"])
def test_all_encoders_and_their_record(latents, base, tuned, form):
    maps, record = align_encoders(
        parameters(form),
        latents,
        FRACTION,
        {"base": lambda: base, "dcr": lambda: copy.deepcopy(tuned)},
    )
    again = align_encoders(
        parameters(form), latents, FRACTION, {"base": lambda: base, "dcr": lambda: tuned}
    )
    assert list(maps) == list(record["encoders"]) == ["base", "dcr"]
    assert (record["form"], record["num_images"] + record["num_held_out"]) == (form, len(latents))
    for name in maps:
        told = record["encoders"][name]
        assert told["maps_hash"] == tensors_hash(maps[name]) == tensors_hash(again[0][name])
        assert record["encoders"][name]["chosen"] == again[1]["encoders"][name]["chosen"]


@pytest.mark.parametrize("write", [tiny_siglip, tiny_open_clip_siglip])
@pytest.mark.parametrize("form", ["image", "blend"])
def test_a_tower_that_ends_in_pooling_is_refused_before_anything_is_embedded(
    tmp_path, latents, write, form
):
    folder = write(tmp_path / "m")
    siglip = load_backbone(
        str(folder) if (folder / "config.json").is_file() else f"local-dir:{folder}"
    )
    with pytest.raises(
        UserError, match=r"ends in a pooling that adds an MLP.*; set alignment\.form to text$"
    ):
        Aligner(parameters(form), latents, FRACTION, siglip)


@pytest.mark.parametrize("write", [tiny_siglip, tiny_open_clip_siglip, tiny_hf_clip])
def test_the_text_side_serves_every_family(tmp_path, latents, write):
    folder = write(tmp_path / "m")
    model = load_backbone(
        str(folder) if (folder / "config.json").is_file() else f"local-dir:{folder}"
    )
    alignment = fit("text", latents, model, model)
    aligned = apply_maps(copy.deepcopy(model), alignment.maps)
    expected = model.encode_text(TEXTS) @ alignment.maps[TEXT_MAP]
    torch.testing.assert_close(aligned.encode_text(TEXTS), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(aligned.encode_image(pixels()), model.encode_image(pixels()))


def test_a_map_of_another_width_is_refused(base):
    with pytest.raises(UserError, match=r"text_map is \(3, 3\), but .* has embeddings of 24"):
        apply_maps(copy.deepcopy(base), {TEXT_MAP: torch.eye(3)})


def test_a_damaged_latent_shard_is_told(world, tuned, base, tmp_path):
    shutil.copytree(world / "latents", tmp_path / "latents")
    shard = next((tmp_path / "latents").glob("*.tar"))
    data = bytearray(shard.read_bytes())
    data[1500] ^= 1
    shard.write_bytes(data)
    with pytest.raises(UserError, match="run"):
        Aligner(parameters("image"), LatentCache(tmp_path / "latents"), FRACTION, base)
