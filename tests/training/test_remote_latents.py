"""Training on shards at URLs: the weights of training on local ones, bit for bit."""

import pytest

from dcr.models.diffusion import load_diffusion
from training_cuts import assert_same
from training_world import train_both_stages, weights, write_latents, write_world


@pytest.mark.parametrize(("kind", "seed"), [("http", 5), ("s3", None)])
def test_online_training_gives_the_same_weights(serve, tmp_path, kind, seed):
    world = write_world(tmp_path / "world")
    diffusion = load_diffusion(str(world / "diffusion"))
    small = {"stage1.max_train_steps": 1, "stage2.max_train_steps": 1, "execution.num_workers": 1}
    found = {}
    store = serve(kind, world / "shards", seed)
    for name, shard in {"local": None, "remote": f"{store.url}/00000.tar"}.items():
        write_latents(world, diffusion, shard, mode="online")
        train_both_stages(world, tmp_path / name, tmp_path / f"{name}.safetensors", **small)
        found[name] = weights(tmp_path / f"{name}.safetensors")
    assert_same(found["remote"], found["local"])
    assert seed is None or store.wire.num_cut
