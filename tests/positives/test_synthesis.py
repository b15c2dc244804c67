"""Shards of made positives: keys and order of the latents, cached, resumed at the next batch,
shared by ranks.
"""

from dataclasses import replace

import pytest
import torch

from dcr.errors import UserError
from dcr.latents import LatentCache
from dcr.pages import fill_template
from dcr.positives import making
from dcr.positives.clsp import sample_like
from dcr.positives.making import PIPELINE, SynthesisOptions
from dcr.positives.page import measure_likeness, show_candidates
from dcr.positives.synthesis import plan_synthesis
from dcr.seeds import derive_seed
from latent_world import OPTIONS, World, another_image, files
from leftovers import left_by_a_dead_process
from models import pixels

SYNTHESIS = SynthesisOptions(
    num_candidates=2,
    num_steps=2,
    eta=0.1,
    sample_weight=0.1,
    condition="none",
    seed=0,
    batch_size=4,
)


@pytest.fixture
def world(tmp_path):
    return World.make(tmp_path)


def make(world, options=SYNTHESIS, name="positives", **ranks):
    plan_synthesis(world.cache(), world.diffusion, options, **ranks).write(world.folder / name)
    return world.folder / name


def open_made(folder):
    return LatentCache(folder, PIPELINE)


def touched(before, after):
    return {name for name in after if before.get(name) != after[name]} - {"plan.json"}


def test_candidates_have_the_keys_and_the_order_of_the_latents(world):
    latents, made = world.cache(), open_made(make(world))
    assert [made.key(i) for i in range(len(made))] == [latents.key(i) for i in range(len(latents))]
    assert made.crops_per_image == 2
    assert made.content_hash() == latents.content_hash()
    assert made.record(3)["caption"] == latents.record(3)["caption"]


def test_a_candidate_is_what_its_seed_gives_whatever_the_batch(world):
    latents, made = world.cache(), open_made(make(world))
    for position, number in [(0, 0), (3, 1), (9, 0)]:
        seed = derive_seed(0, PIPELINE, latents.key(position), number)
        assert made.record(position)["crops"][number] == {"seed": seed}
        mean = torch.from_numpy(latents[position]["moments"])[None, :4]
        drawn = sample_like(
            world.diffusion,
            world.diffusion.scale_latents(mean),
            world.diffusion.encode_prompts([""]),
            [seed],
            num_steps=2,
            eta=0.1,
            sample_weight=0.1,
        )
        found = made[position, number]
        mean, log_variance = torch.from_numpy(found["moments"].copy()).chunk(2)
        assert torch.allclose(world.diffusion.scale_latents(mean), drawn[0], atol=1e-4)
        assert (log_variance == -30).all()
        expected = (world.diffusion.decode_latents(drawn)[0].permute(1, 2, 0) * 255).round()
        assert (torch.from_numpy(found["crop"].copy()).float() - expected).abs().max() <= 1


def test_an_epoch_sees_one_candidate_and_the_next_another(world):
    made = open_made(make(world))
    first, second, third = (made[4, epoch]["crop"] for epoch in range(3))
    assert (first == third).all()
    assert (first != second).any()


def test_a_second_run_touches_nothing(world):
    before = files(make(world))
    assert touched(before, files(make(world))) == set()


def keys(world, **changes):
    return plan_synthesis(world.cache(), world.diffusion, replace(SYNTHESIS, **changes)).keys


def test_the_batch_size_is_no_reason_to_make_them_again(world):
    assert keys(world, batch_size=2) == keys(world)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sample_weight", 0.2), ("eta", 0.0), ("num_steps", 4), ("num_candidates", 1), ("seed", 1),
        ("condition", "caption"),
    ],
)  # fmt: skip
def test_what_decides_about_the_images_makes_all_anew(world, name, value):
    assert set(keys(world, **{name: value}).values()).isdisjoint(keys(world).values())


def test_only_the_shard_whose_images_changed_is_made_anew(world):
    before = files(make(world))
    world.write("00001", [another_image(), *world.images["00001"][1:]])
    assert touched(before, files(make(world))) == {"00001.tar"}


def test_other_unet_weights_make_them_anew(world):
    before = files(make(world))
    with torch.no_grad():
        world.diffusion.unet.conv_out.weight.mul_(1.1)
    assert touched(before, files(make(world))) == {"00000.tar", "00001.tar"}


def test_captions_condition_the_images(world):
    plain = open_made(make(world))[0]["crop"]
    told = open_made(make(world, replace(SYNTHESIS, condition="caption"), "told"))[0]["crop"]
    assert (plain != told).any()


def test_a_run_that_was_stopped_goes_on_at_the_next_batch(world, monkeypatch):
    whole = files(make(world, name="whole"))
    original, calls = making.sample_like, []

    def stop_at_the_third(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(making, "sample_like", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        make(world)
    folder = world.folder / "positives"
    assert not list(folder.glob("*.tar"))
    with pytest.raises(
        UserError, match=r"it is missing; make it again with `kedro run --pipelines synthesis`"
    ):
        open_made(folder)
    calls.clear()
    monkeypatch.setattr(making, "sample_like", lambda *args: calls.append(args) or original(*args))
    make(world)
    assert len(calls) == 4  # of six batches two were there
    assert {name: content for name, (_, content) in files(folder).items()} == {
        name: content for name, (_, content) in whole.items()
    }
    assert not list((folder / "parts").iterdir())


def test_what_a_kill_left_half_written_goes(world):
    folder = make(world)
    left_by_a_dead_process(folder / "00000.tar").write_bytes(b"half a shard")
    make(world)
    assert sorted(path.name for path in folder.glob(".*")) == []


def test_ranks_share_the_shards(world):
    whole = files(make(world, name="whole"))
    make(world, rank=1, num_ranks=2)
    assert {path.name for path in (world.folder / "positives").glob("*.tar")} == {"00001.tar"}
    folder = make(world, rank=0, num_ranks=2)
    assert {n: content for n, (_, content) in files(folder).items()} == {
        n: c for n, (_, c) in whole.items()
    }


def test_there_must_be_cached_latents(world):
    world.plan(replace(OPTIONS, mode="online")).write(world.folder / "online")
    from dcr.latents import open_latents

    with pytest.raises(UserError, match=r"set latents\.mode to cache"):
        plan_synthesis(open_latents(world.folder / "online"), world.diffusion, SYNTHESIS)


def test_nothing_made_names_the_pipeline(tmp_path):
    with pytest.raises(
        UserError, match="no shards; make them with `kedro run --pipelines synthesis`"
    ):
        open_made(tmp_path)


def test_measures_of_copies_and_of_strangers():
    anchors = pixels(3)
    copies = anchors[:, None].repeat(1, 2, 1, 1, 1)
    features = torch.eye(3)
    found = measure_likeness(anchors, copies, features, features[:, None].repeat(1, 2, 1))
    assert found["feature_cosine"] == pytest.approx(1.0)
    assert found["unrelated_feature_cosine"] == pytest.approx(0.0)
    assert found["pixel_difference"] == found["least_pixel_difference"] == 0.0
    assert found["unrelated_pixel_difference"] == pytest.approx(
        sum(
            (anchors[i] - anchors[j]).abs().mean().item()
            for i in range(3)
            for j in range(3)
            if i != j
        )
        / 6
    )
    found = measure_likeness(
        anchors, copies.roll(1, 0), features, features.roll(1, 0)[:, None].repeat(1, 2, 1)
    )
    assert found["feature_cosine"] == pytest.approx(0.0)
    assert found["unrelated_feature_cosine"] == pytest.approx(0.5)


def test_the_page_shows_each_image_with_its_candidates(world):
    latents, made = world.cache(), open_made(make(world))
    pictures = show_candidates(latents, made, lambda p: p.flatten(1), num_examples=4)
    page, measures = fill_template("dcr.positives", "page.html", **pictures), pictures["measures"]
    assert page.count("<img") == 4 * 3
    assert f"{measures['feature_cosine']:.3f}" in page
    assert 'src="http' not in page
    for position in (0, 3, 6, 9):
        assert latents.key(position) in page


def test_candidates_are_not_made_of_damaged_latents(world):
    cache = world.cache()
    shard = cache.shards[1]
    data = bytearray(shard.read_bytes())
    data[6000] ^= 1
    shard.write_bytes(data)
    with pytest.raises(
        UserError,
        match=r"00001\.tar: its bytes are not those that were written.*--pipelines verify",
    ):
        plan_synthesis(LatentCache(cache.folder), world.diffusion, SYNTHESIS).write(
            world.folder / "positives"
        )
    assert not list((world.folder / "positives").glob("*.tar"))


def test_damaged_candidates_name_what_makes_them(world):
    folder = make(world)
    data = bytearray((folder / "00000.tar").read_bytes())
    data[6000] ^= 1
    (folder / "00000.tar").write_bytes(data)
    with pytest.raises(
        UserError, match=r"00000\.tar: .*remove that file and .*--pipelines synthesis"
    ):
        open_made(folder).check_bytes()


def test_a_candidate_that_is_not_finite_is_not_kept(world):
    plan = plan_synthesis(world.cache(), world.diffusion, SYNTHESIS)
    with torch.no_grad():
        world.diffusion.unet.conv_out.bias.fill_(float("nan"))
    with pytest.raises(
        UserError,
        match=r"a positive made of 0000\d+: latent holds NaN or infinity; give a diffusion",
    ):
        plan.write(world.folder / "positives")
    assert not list((world.folder / "positives").rglob("*.safetensors"))
