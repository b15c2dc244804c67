"""The demo's base models: the loop that trains them, what is measured of them, and when they
count as current.
"""

from __future__ import annotations

import dataclasses
import io
import multiprocessing
from typing import ClassVar

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from dcr.data.shards import Sample, write_shard
from dcr.errors import UserError
from dcr.fingerprints import weights_hash
from dcr.parameters import PretrainingParameters
from dcr.scenes import pretrain, pretrain_clip, pretrain_data, pretrain_text, pretrain_unet
from dcr.scenes.pretrain_record import checks_fingerprint, fingerprint, is_current
from dcr.scenes.world import caption, sample_attributes


def untrained_text_encoder(parameters):
    build = pretrain_text.build_text_encoder
    return pretrain_data.seeded(lambda: build(parameters), parameters.seed, "text encoder")[0]


def png(size=(32, 32), value=0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def sample(number: int, image: bytes) -> Sample:
    return Sample(
        f"{number:03d}", image, "png", f"caption {number}", {"attributes": {"class": number}}
    )


class TestImages:
    def test_are_read_in_order_of_shards_and_samples(self, tmp_path):
        shards = [
            str(write_shard(tmp_path, name, [sample(n, png(value=n)) for n in numbers]))
            for name, numbers in (("0", (1, 2)), ("1", (3,)))
        ]
        images = pretrain_data.load_images(shards, 32)
        assert images.images[:, 0, 0, 0].tolist() == [1, 2, 3]
        assert images.images.shape == (3, 3, 32, 32)
        assert images.captions == ["caption 1", "caption 2", "caption 3"]
        assert [a["class"] for a in images.attributes] == [1, 2, 3]

    def test_that_cannot_be_decoded_are_left_out(self, tmp_path):
        shard = write_shard(
            tmp_path, "0", [sample(1, png()), sample(2, b"no image"), sample(3, png()[:40])]
        )
        assert pretrain_data.load_images([str(shard)], 32).captions == ["caption 1"]

    def test_are_resized_as_the_backbone_does(self, tmp_path, backbone):
        coarse = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        shard = write_shard(tmp_path, "0", [sample(1, buffer.getvalue())])
        pixels = pretrain_data.load_images([str(shard)], 32).pixels(torch.tensor([0]))
        assert torch.equal(pixels[0], backbone.preprocess(picture))

    def test_without_attributes_are_no_scenes(self, tmp_path):
        shard = write_shard(tmp_path, "0", [Sample("0", png(), "png", "a caption")])
        with pytest.raises(UserError, match="no image with attributes"):
            pretrain_data.load_images([str(shard)], 32)

    def test_held_out_are_the_last(self, images):
        training, held_out = pretrain_data.split_images(images, 5)
        assert training.captions == images.captions[:7]
        assert held_out.captions == images.captions[7:]
        with pytest.raises(UserError, match="num_held_out must be below"):
            pretrain_data.split_images(images, 12)


class TestOptimise:
    def test_finds_the_least_squares_solution(self):
        generator = np.random.default_rng(0)
        x, y = generator.standard_normal((64, 3)), generator.standard_normal(64)
        solution = np.linalg.lstsq(x, y, rcond=None)[0]
        inputs, targets, model = (
            torch.tensor(x).float(),
            torch.tensor(y).float(),
            torch.nn.Linear(3, 1, bias=False),
        )
        pretrain_data.optimise(
            model,
            lambda i: (model(inputs[i])[:, 0] - targets[i]).square().mean(),
            64,
            300,
            64,
            0.05,
            0,
            "line",
        )
        np.testing.assert_allclose(model.weight.detach().numpy()[0], solution, atol=0.01)
        assert not model.training

    def test_draws_every_item_once_before_any_twice(self):
        model, seen = torch.nn.Linear(1, 1), []

        def batch_loss(indices):
            seen.extend(indices.tolist())
            return model(torch.ones(1, 1)).sum()

        pretrain_data.optimise(model, batch_loss, 6, 3, 4, 0.1, 0, "order")
        assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6))
        assert seen[:6] != seen[6:]

    def test_first_weights_depend_on_the_seed_alone(self):
        def build():
            return torch.nn.Linear(4, 4).weight

        state = torch.random.get_rng_state()
        first = pretrain_data.seeded(build, 0, "a")
        assert torch.equal(torch.random.get_rng_state(), state)
        torch.rand(3)
        assert torch.equal(pretrain_data.seeded(build, 0, "a"), first)
        assert not torch.equal(pretrain_data.seeded(build, 1, "a"), first)


class TestUsedTokens:
    def test_train_to_the_same_rows_as_the_whole_embedding(self, parameters):
        tokens = torch.tensor([[49406, 320, 1125, 49407, 49407], [49406, 736, 49407, 49407, 49407]])
        directions = torch.randn(
            5, parameters.unet_text_width, generator=torch.Generator().manual_seed(0)
        )
        untrained, whole, shrunk = (
            pretrain_data.seeded(lambda: pretrain_text.build_text_encoder(parameters)[0], 0, "any")
            for _ in range(3)
        )

        def train(model, tokens):
            def batch_loss(indices):
                return (model(tokens[indices]).last_hidden_state - directions).square().mean()

            pretrain_data.optimise(model, batch_loss, 2, 5, 2, 0.05, 0, "tokens")

        train(whole, tokens)
        with pretrain_data.only_used_tokens(shrunk, tokens) as renumbered:
            assert shrunk.get_input_embeddings().num_embeddings == 5
            train(shrunk, renumbered)
        states = [dict(model.named_parameters()) for model in (untrained, whole, shrunk)]
        used = tokens.unique()
        for name in states[0]:
            rows = used if "token_embedding" in name else slice(None)
            first, expected, found = (state[name][rows] for state in states)
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
            # Softmax does not see the keys' bias.
            assert (expected - first).abs().max() > 0.01 or name.endswith("k_proj.bias")
        others = torch.ones(49408, dtype=torch.bool).index_fill(0, used, False)
        assert torch.equal(
            shrunk.get_input_embeddings().weight[others],
            untrained.get_input_embeddings().weight[others],
        )

    def test_are_numbered_in_their_own_order_so_that_the_end_token_stays_the_highest(
        self, backbone
    ):
        tokens = torch.tensor([[49406, 900, 7, 49407, 0], [49406, 7, 49407, 0, 0]])
        with pretrain_data.only_used_tokens(backbone.model, tokens) as renumbered:
            assert renumbered.tolist() == [[3, 2, 1, 4, 0], [3, 1, 4, 0, 0]]


def test_timesteps_have_a_normal_logit():
    draw = pretrain_unet.draw_timesteps(20_000, 1000, torch.Generator().manual_seed(0))
    assert draw.dtype == torch.int64
    assert 0 <= draw.min() < draw.max() < 1000
    shares = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9])
    expected = torch.distributions.Normal(0, 1).cdf(shares.logit())
    below = (draw[:, None] < 1000 * shares).float().mean(dim=0)
    assert torch.allclose(below, expected, atol=0.01)
    largest = pretrain_unet.draw_timesteps(20_000, 1, torch.Generator().manual_seed(0))
    assert largest.max() == 0


class TestJointTraining:
    def test_trains_the_text_encoder_with_the_unet(self, diffusion, parameters):
        unet = pretrain_data.seeded(
            lambda: pretrain_unet.build_unet(parameters, 8), parameters.seed, "unet"
        )
        text_encoder = untrained_text_encoder(parameters)
        for trained, first in ((diffusion.unet, unet), (diffusion.text_encoder, text_encoder)):
            before = dict(first.named_parameters())
            for name, weight in trained.named_parameters():
                assert not torch.equal(weight, before[name]), name
                assert not weight.requires_grad
                assert weight.dtype == torch.float32
            assert not trained.training

    def test_trains_the_tokens_of_full_captions_and_no_others(self, diffusion, images, parameters):
        first = untrained_text_encoder(parameters).get_input_embeddings().weight
        changed = (diffusion.text_encoder.get_input_embeddings().weight != first).any(dim=1)
        seen = diffusion.tokenize([caption(a) for a in images.attributes]).input_ids.unique()
        assert changed.nonzero()[:, 0].tolist() == seen.tolist()

    def test_takes_the_empty_prompt_through_the_text_encoder(self, images, vae, parameters):
        """Where every caption is emptied, words are never read, so that weight decay alone
        shortens their rows.
        """
        emptied = parameters.model_copy(update={"empty_prompt_share": 1 - 1e-9})
        diffusion = pretrain_unet.train_unet(images, vae, emptied)
        trained, first = (
            e.get_input_embeddings().weight
            for e in (diffusion.text_encoder, untrained_text_encoder(emptied))
        )
        turned = 1 - torch.cosine_similarity(trained, first, dim=1)
        ends = diffusion.tokenize([""]).input_ids.unique()
        assert (turned > 1e-3).nonzero()[:, 0].tolist() == ends.tolist()
        assert turned.index_fill(0, ends, 0).max() < 1e-5

    def test_knows_nothing_of_clips_size(self, diffusion, images, vae, parameters):
        other = parameters.model_copy(
            update={"clip_text_width": 16, "clip_text_layers": 1, "clip_embed_dim": 8}
        )
        again = pretrain_unet.train_unet(images, vae, other)
        for part in ("unet", "text_encoder"):
            assert weights_hash(getattr(again, part)) == weights_hash(getattr(diffusion, part))
        config = diffusion.text_encoder.config
        assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (
            32,
            1,
            2,
        )
        assert diffusion.unet.config.cross_attention_dim == 32

    def test_depends_on_the_seed(self, diffusion, images, vae, parameters):
        other = pretrain_unet.train_unet(images, vae, parameters.model_copy(update={"seed": 1}))
        for part in ("unet", "text_encoder"):
            assert weights_hash(getattr(other, part)) != weights_hash(getattr(diffusion, part))


class TestModels:
    def test_text_side_gives_clips_own_tokens(self, backbone, diffusion):
        texts = ["", "a photo of a near red fish with a sun"]
        model, tokens = backbone.model, backbone.tokenize(texts)
        with torch.no_grad():
            hidden = model.token_embedding(tokens) + model.positional_embedding
            expected = model.ln_final(model.transformer(hidden, attn_mask=model.attn_mask))
        text_encoder, tokenizer = pretrain_text.text_side(backbone)
        states = dataclasses.replace(
            diffusion, text_encoder=text_encoder, tokenizer=tokenizer
        ).encode_prompts(texts)
        for states_of_one, expected_of_one, ids in zip(states, expected, tokens, strict=True):
            length = ids.argmax() + 1  # behind the end token the two tokenizers pad differently
            torch.testing.assert_close(
                states_of_one[:length], expected_of_one[:length], atol=1e-5, rtol=0
            )

    def test_scaled_latents_have_variance_one(self, diffusion, images):
        mean, logvar = diffusion.encode_moments(images.pixels(torch.arange(len(images))))
        draws = mean + (logvar / 2).exp() * torch.randn(
            (100, *mean.shape), generator=torch.Generator().manual_seed(0)
        )
        assert diffusion.scale_latents(draws).std().item() == pytest.approx(1, abs=0.02)

    def test_the_longest_caption_fits_the_context(self, backbone, images):
        end = backbone.tokenizer.eot_token_id
        assert all((ids == end).any() for ids in backbone.tokenize(images.captions))

    def test_latents_are_eight_pixels_wide_and_the_unet_knows(self, diffusion, images, parameters):
        assert diffusion.encode_moments(images.pixels(torch.arange(1)))[0].shape == (
            1,
            parameters.latent_channels,
            8,
            8,
        )
        assert diffusion.unet.config.sample_size == 8

    def test_clip_is_trained_on_the_tokens_it_saw_and_no_others(self, backbone, images, parameters):
        untrained = pretrain_data.seeded(
            lambda: pretrain_clip.build_clip(parameters), parameters.seed, "clip"
        )
        changed = (
            backbone.model.token_embedding.weight != untrained.model.token_embedding.weight
        ).any(dim=1)
        seen = backbone.tokenize(images.captions).unique()
        assert changed.nonzero()[:, 0].tolist() == seen.tolist()


def train_until_killed(parameters, shards):
    pretrain.train_base_models(parameters, shards)


class TestTwoProcesses:
    """CLIP is trained in another process, which has no end of its own."""

    @pytest.fixture(autouse=True)
    def nothing_goes_on(self):
        """Whatever happens, no process of it is there at the end; pools of other tests may be."""
        before = multiprocessing.active_children()
        yield
        assert [one for one in multiprocessing.active_children() if one not in before] == []

    @pytest.fixture
    def shards(self, tmp_path):
        attributes = [sample_attributes(0, "test", n) for n in range(4)]
        samples = [
            Sample(f"{n}", png(value=n), "png", caption(a), {"attributes": a})
            for n, a in enumerate(attributes)
        ]
        return [str(write_shard(tmp_path, "0", samples))]

    def test_a_mistake_of_the_user_is_told_once(self, parameters, shards, capfd):
        with pytest.raises(UserError, match="num_held_out must be below the 4 images"):
            pretrain.train_base_models(parameters.model_copy(update={"num_held_out": 4}), shards)
        assert "Traceback" not in capfd.readouterr().err

    def test_a_failure_beside_it_ends_it(self, parameters, shards, monkeypatch):
        def fail(*_):
            raise ValueError("no VAE")

        monkeypatch.setattr(pretrain, "train_vae", fail)
        with pytest.raises(ValueError, match="no VAE"):
            pretrain.train_base_models(
                parameters.model_copy(update={"num_held_out": 1, "clip_steps": 10**6}), shards
            )

    def test_its_own_failure_is_told(self, parameters, shards, capfd):
        """An embedding of no width cannot be built."""
        with pytest.raises(
            RuntimeError, match="the process that trained CLIP ended without a result"
        ):
            pretrain.train_base_models(
                parameters.model_copy(update={"num_held_out": 1, "clip_embed_dim": -1}), shards
            )
        assert "Traceback" in capfd.readouterr().err

    @pytest.mark.slow
    def test_it_does_not_outlive_a_run_that_is_killed(self, parameters, shards):
        endless = parameters.model_copy(
            update={"num_held_out": 1, "clip_steps": 10**6, "vae_steps": 10**6}
        )
        run = multiprocessing.get_context("spawn").Process(
            target=train_until_killed, args=(endless, shards)
        )
        run.start()
        while not (started := psutil.Process(run.pid).children(recursive=True)):
            run.join(0.1)
        run.kill()
        run.join()
        assert psutil.wait_procs(started, timeout=60)[1] == []


class TestRecord:
    OF_CHECKS: ClassVar = {"check_draws", "check_condition", "min_known_details"}

    @pytest.mark.parametrize("name", sorted(PretrainingParameters.model_fields))
    def test_every_parameter_trains_again_but_those_of_the_checks_and_the_draws_measure_again(
        self, name, parameters
    ):
        value = getattr(parameters, name)
        other = (
            not value
            if isinstance(value, bool)
            else [*value, 8]
            if isinstance(value, list)
            else value + 1
        )
        other = parameters.model_copy(update={name: other})
        assert (fingerprint(other, []) == fingerprint(parameters, [])) == (name in self.OF_CHECKS)
        assert (checks_fingerprint(other) != checks_fingerprint(parameters)) == (
            name == "check_draws"
        )

    def test_fingerprint_follows_the_bytes_of_the_shards(self, parameters, tmp_path):
        shard = tmp_path / "0.tar"
        shard.write_bytes(b"one")
        first = fingerprint(parameters, [str(shard)])
        assert fingerprint(parameters, [str(shard)]) == first
        shard.write_bytes(b"two")
        assert fingerprint(parameters, [str(shard)]) != first

    def test_models_are_current_only_as_recorded(self):
        record = {"fingerprint": "f", "sha256": {"clip": "a", "diffusion": "b"}}
        assert is_current(record, "f", {"clip": "a", "diffusion": "b"})
        assert not is_current(record, "g", {"clip": "a", "diffusion": "b"})
        assert not is_current(record, "f", {"clip": "a", "diffusion": "c"})
        assert not is_current(record, "f", {"clip": "a", "diffusion": None})
        assert not is_current({}, "f", {"clip": None, "diffusion": None})
