"""Weights under a model's name get the activation and the pixels they were trained with, or a
warning.
"""

import json
import logging

import open_clip
import pytest
import torch
from open_clip.pretrained import _PRETRAINED

from dcr.errors import UserError
from dcr.models.backbones import load_backbone
from dcr.models.backbones.open_clip.source import read_source
from dcr.models.backbones.torchscript import activation_of
from models import pixels, tiny_model_cfg, tiny_open_clip

MEAN = (0.1, 0.2, 0.3)


@pytest.fixture
def name(tmp_path, monkeypatch):
    """Return a model's name that open_clip knows, with gelu, and with quick_gelu under
    ``-quickgelu``.
    """
    name = f"tiny-{tmp_path.name}".replace("_", "-")
    for suffix, quick in (("", False), ("-quickgelu", True)):
        (tmp_path / f"{name}{suffix}.json").write_text(json.dumps(tiny_model_cfg(quick_gelu=quick)))
        open_clip.add_model_config(tmp_path / f"{name}{suffix}.json")
    monkeypatch.setitem(_PRETRAINED, name, {})
    return name


def embedding(folder):
    return load_backbone(f"local-dir:{folder}").encode_image(pixels())


def write(tmp_path, quick, file="weights.pt", traced=False):
    """Write a model in one file; return its path and the embedding that is right for it."""
    folder = tiny_open_clip(
        tmp_path / f"folder {quick}", tiny_model_cfg(quick_gelu=quick), {"mean": MEAN}
    )
    model = open_clip.create_model(f"local-dir:{folder}").eval()
    path = tmp_path / file
    if traced:
        example = (torch.rand(1, 3, 32, 32), torch.zeros(1, 20, dtype=torch.long))
        torch.jit.trace(model, example, check_trace=False).save(str(path))
    else:
        torch.save(model.state_dict(), path)
    return path, embedding(folder)


def same_activation(backbone, expected):
    """Tell whether a backbone gives the embedding; its mean may differ, as a bare file does not
    tell it.
    """
    shifted = type(backbone.preprocessing)(
        32, MEAN, (0.26862954, 0.26130258, 0.27577711), "bicubic", "shortest"
    )
    return torch.allclose(backbone.visual(shifted.normalize(pixels())), expected, atol=1e-5)


class TestActivation:
    @pytest.mark.parametrize("suffix", ["", "-quickgelu"])
    @pytest.mark.parametrize("quick", [True, False])
    def test_an_archive_shows_its_own_whatever_the_name_says(
        self, tmp_path, name, quick, suffix, caplog
    ):
        path, expected = write(tmp_path, quick, traced=True)
        assert activation_of(path) is quick
        backbone = load_backbone(f"{name}{suffix}/{path}")
        assert backbone.model_cfg["quick_gelu"] is quick
        assert same_activation(backbone, expected)
        assert "does not say" not in caplog.text

    @pytest.mark.parametrize("quick", [True, False])
    def test_a_file_is_known_by_the_name_under_which_it_was_published(
        self, tmp_path, name, quick, monkeypatch, caplog
    ):
        path, expected = write(tmp_path, quick, "b32_400m.pt")
        entry = {
            "url": "https://nowhere/b32_400m.pt",
            "quick_gelu": quick,
            "mean": MEAN,
            "resize_mode": "shortest",
        }
        monkeypatch.setitem(_PRETRAINED, name, {"meta": entry})
        backbone = load_backbone(f"{name}/{path}")
        assert same_activation(backbone, expected)
        assert torch.allclose(backbone.encode_image(pixels()), expected, atol=1e-5)
        assert "does not say" not in caplog.text

    def test_a_file_that_says_nothing_warns_in_a_sentence(self, tmp_path, name, caplog):
        path, expected = write(tmp_path, False)
        assert same_activation(load_backbone(f"{name}/{path}"), expected)
        assert [record.levelname for record in caplog.records].count("WARNING") == 1
        assert (
            f"gelu is taken; weights of OpenAI, MetaCLIP and DFN need {name}-quickgelu"
            in caplog.text
        )

    def test_who_names_the_activation_is_not_warned(self, tmp_path, name, caplog):
        path, expected = write(tmp_path, True)
        assert same_activation(load_backbone(f"{name}-quickgelu/{path}"), expected)
        assert not caplog.records

    def test_every_published_tag_has_its_own(self, tmp_path, monkeypatch, caplog):
        caplog.set_level(logging.ERROR)
        (tmp_path / "weights.safetensors").write_bytes(b"x")
        monkeypatch.setattr(
            "dcr.models.backbones.open_clip.tags.cached_tag_file",
            lambda tag: tmp_path / "weights.safetensors",
        )
        pairs = [
            pair for pair in open_clip.list_pretrained() if open_clip.get_model_config(pair[0])
        ]
        native = [pair for pair in pairs if is_native(open_clip.get_model_config(pair[0]))]
        assert len(native) > 60
        for model, tag in native:
            source = read_source(f"{model}/{tag}")
            entry = open_clip.get_pretrained_cfg(model, tag)
            assert bool(source.model_cfg.get("quick_gelu")) == bool(entry.get("quick_gelu")), (
                model,
                tag,
            )
            assert source.preprocess_cfg["mean"] == entry["mean"]


def is_native(model_cfg):
    is_ours = "hf_model_name" not in model_cfg["text_cfg"] and "multimodal_cfg" not in model_cfg
    return is_ours and "timm_model_name" not in model_cfg["vision_cfg"]


class TestPreprocessing:
    def test_a_bare_file_gets_what_all_published_weights_of_its_model_agree_on(
        self, tmp_path, name, monkeypatch
    ):
        path, _ = write(tmp_path, False)
        tags = {
            "a": {"mean": MEAN, "std": (0.5, 0.5, 0.5), "resize_mode": "squash"},
            "b": {"mean": MEAN, "std": (0.25, 0.5, 0.5), "resize_mode": "squash"},
        }
        monkeypatch.setitem(_PRETRAINED, name, tags)
        preprocessing = load_backbone(f"{name}/{path}").preprocessing
        assert (preprocessing.mean, preprocessing.resize_mode) == (MEAN, "squash")
        assert preprocessing.std == pytest.approx((0.26862954, 0.26130258, 0.27577711))

    @pytest.mark.parametrize(
        ("preprocess_cfg", "told"),
        [
            (
                {"interpolation": "nearest"},
                "the interpolation must be one of bicubic, bilinear, got 'nearest'",
            ),
            (
                {"resize_mode": "stretch"},
                "the resize mode must be one of shortest, squash, longest, got 'stretch'",
            ),
            ({"mean": [0.5, 0.5]}, "mean must be three finite numbers"),
            ({"std": [0.5, 0.0, 0.5]}, "std must be three finite numbers, std above 0"),
            ({"mean": ["a", "b", "c"]}, "mean must be three finite numbers"),
            ({"mean": [float("nan")] * 3}, "mean must be three finite numbers"),
        ],
    )
    def test_what_would_be_read_as_something_else_is_refused(self, tmp_path, preprocess_cfg, told):
        folder = tiny_open_clip(tmp_path / "m", preprocess_cfg=preprocess_cfg)
        with pytest.raises(UserError, match=told):
            load_backbone(f"local-dir:{folder}")

    def test_a_folder_that_states_none_warns(self, tmp_path, caplog):
        folder = tiny_open_clip(tmp_path / "m")
        path = folder / "open_clip_config.json"
        path.write_text(json.dumps({"model_cfg": json.loads(path.read_text())["model_cfg"]}))
        load_backbone(f"local-dir:{folder}")
        assert (
            "has no preprocess_cfg: OpenAI's mean and std, bicubic and shortest are taken"
            in caplog.text
        )


def test_position_embeddings_of_another_size_are_not_stretched_in_silence(tmp_path, name):
    path, _ = write(tmp_path, False)
    config = tmp_path / f"{name}-64.json"
    model_cfg = tiny_model_cfg(quick_gelu=False)
    model_cfg["vision_cfg"]["image_size"] = 64
    config.write_text(json.dumps(model_cfg))
    open_clip.add_model_config(config)
    with pytest.raises(
        UserError, match=r"visual\.positional_embedding: \[17, 32\] in the file, \[65, 32\] there"
    ):
        load_backbone(f"{name}-64/{path}")


def test_a_logit_bias_that_is_missing_is_not_taken_for_zero(tmp_path):
    folder = tiny_open_clip(tmp_path / "m")
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"]["init_logit_bias"] = -10
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"1 weight is missing \(logit_bias\)"):
        load_backbone(f"local-dir:{folder}")
