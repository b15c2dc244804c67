"""The latent cache: what is stored, read back, and refused."""

import hashlib
import io
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import models
from dcr.errors import UserError
from dcr.latents import LatentCache, LatentOptions, plan_latents
from dcr.shards import Sample, read_samples, write_shard, write_tar
from dcr.transforms import base_crop
from diffusion_models import tiny_diffusion

OPTIONS = LatentOptions(image_size=32, scale=(0.9, 1.0), batch_size=3, dtype="float32")


@pytest.fixture(scope="module")
def diffusion(tmp_path_factory):
    return tiny_diffusion(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Two shards of five samples, and their manifest."""
    folder, paths, rows = tmp_path_factory.mktemp("shards"), [], []
    for name, images in zip(("00000", "00001"), np.array_split(np.arange(10), 2), strict=True):
        samples = []
        for number in images:
            buffer = io.BytesIO()
            models.images(10)[number].save(buffer, "PNG")
            samples.append(Sample(f"{name}{number:04d}", buffer.getvalue(), "png", f"caption {number}"))
            rows.append(
                {"shard": name, "key": samples[-1].key, "sha256": hashlib.sha256(buffer.getvalue()).hexdigest()}
            )
        paths.append(str(write_shard(folder, name, samples)))
    for row, sample in zip(rows, (s for path in paths for s in read_samples(path)), strict=True):
        row["offset"] = sample.offset
    return paths, pd.DataFrame(rows)


def write_cache(folder, manifest, paths, diffusion, options=OPTIONS):
    for name, members in plan_latents(manifest, paths, diffusion, options).items():
        write_tar(folder / f"{name}.tar", members())
    return folder


def test_moments_read_back_are_those_computed_in_memory(shards, diffusion, tmp_path):
    paths, manifest = shards
    cache = LatentCache(write_cache(tmp_path, manifest, paths, diffusion))
    assert [cache.key(i) for i in range(len(cache))] == list(manifest["key"])
    for position, (row, image) in enumerate(zip(manifest.itertuples(), models.images(10), strict=True)):
        sample, record = cache[position], cache.record(position)
        crop, box = base_crop(image, 32, row.sha256, (0.9, 1.0))
        assert np.array_equal(sample["crop"], crop)
        assert record == {"box": list(box), "caption": f"caption {position}", "sha256": row.sha256}
        pixels = torch.from_numpy(crop).permute(2, 0, 1)[None] / 255
        expected = torch.cat(diffusion.encode_moments(pixels), dim=1)[0].numpy()
        assert np.allclose(sample["moments"], expected, atol=1e-5)


def test_float16_rounds_the_moments_and_halves_them(shards, diffusion, tmp_path):
    paths, manifest = shards
    exact = LatentCache(write_cache(tmp_path / "32", manifest, paths, diffusion))
    half = LatentCache(
        write_cache(tmp_path / "16", manifest, paths, diffusion, LatentOptions(32, (0.9, 1.0), 3, "float16"))
    )
    for i in range(len(exact)):
        assert np.array_equal(half[i]["moments"], exact[i]["moments"].astype(np.float16).astype(np.float32))
        assert np.array_equal(half[i]["crop"], exact[i]["crop"])


def test_the_same_input_gives_the_same_bytes(shards, diffusion, tmp_path):
    paths, manifest = shards
    for name in ("one", "two"):
        write_cache(tmp_path / name, manifest, paths, diffusion)
    for shard in ("00000.tar", "00001.tar"):
        assert (tmp_path / "one" / shard).read_bytes() == (tmp_path / "two" / shard).read_bytes()


def test_only_accepted_samples_are_encoded(shards, diffusion, tmp_path):
    paths, manifest = shards
    cache = LatentCache(write_cache(tmp_path, manifest.iloc[[1, 8]], paths, diffusion))
    assert [cache.key(i) for i in range(len(cache))] == ["000000001", "000010008"]


def test_a_cache_crosses_to_another_process(shards, diffusion, tmp_path):
    paths, manifest = shards
    cache = LatentCache(write_cache(tmp_path, manifest, paths, diffusion))
    first = cache[0]["moments"]
    assert np.array_equal(pickle.loads(pickle.dumps(cache))[0]["moments"], first)


def test_an_image_that_changed_since_validation_is_refused(shards, diffusion, tmp_path):
    paths, manifest = shards
    changed = manifest.assign(sha256=hashlib.sha256(b"another image").hexdigest())
    with pytest.raises(UserError, match="changed since validation"):
        write_cache(tmp_path, changed, paths, diffusion)
    assert not list(tmp_path.iterdir())


def test_latents_that_are_not_finite_are_refused(shards, tmp_path):
    paths, manifest = shards
    broken = tiny_diffusion(tmp_path / "tokenizer")
    with torch.no_grad():
        broken.vae.quant_conv.bias.fill_(torch.nan)
    with pytest.raises(UserError, match="not finite in float32"):
        write_cache(tmp_path / "latents", manifest, paths, broken)


def test_an_empty_manifest_is_refused(shards, diffusion):
    with pytest.raises(UserError, match="no accepted sample"):
        plan_latents(shards[1].iloc[:0], shards[0], diffusion, OPTIONS)


def test_a_shard_that_is_gone_is_named(shards, diffusion):
    with pytest.raises(UserError, match="shard 00001 is in the manifest but not in the input"):
        plan_latents(shards[1], shards[0][:1], diffusion, OPTIONS)


def test_a_missing_cache_names_the_command(tmp_path):
    with pytest.raises(UserError, match="kedro run --pipelines latents"):
        LatentCache(tmp_path)


def test_a_cut_shard_is_named(shards, diffusion, tmp_path):
    folder = write_cache(tmp_path, shards[1], shards[0], diffusion)
    tar = folder / "00001.tar"
    tar.write_bytes(tar.read_bytes()[:700])
    with pytest.raises(UserError, match=r"00001\.tar"):
        LatentCache(folder)


def test_crops_are_images_a_person_recognises(shards, diffusion, tmp_path):
    paths, manifest = shards
    cache = LatentCache(write_cache(tmp_path, manifest, paths, diffusion))
    whole = np.asarray(models.images(10)[0].resize((32, 32), Image.Resampling.BICUBIC), dtype=float)
    assert np.corrcoef(whole.ravel(), cache[0]["crop"].astype(float).ravel())[0, 1] > 0.9
