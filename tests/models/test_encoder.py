"""Text features of `dcr.load_encoder` against the libraries' own."""

import logging

import pytest
import torch

import dcr
from dcr.errors import UserError
from models import TEXTS, tiny_hf_clip, tiny_model_cfg, tiny_open_clip, tiny_siglip
from timm_models import tiny_open_clip_siglip

LONG = "two dots on a striped wall " * 20
WRITE = {
    "open_clip": tiny_open_clip,
    "open_clip siglip": tiny_open_clip_siglip,
    "clip": tiny_hf_clip,
    "siglip": tiny_siglip,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("encoders")
    return {name: write(root / name) for name, write in WRITE.items()}


@torch.no_grad()
def expected_features(name, folder, texts):
    if name.startswith("open_clip"):
        import open_clip

        source = f"local-dir:{folder}"
        return (
            open_clip.create_model(source)
            .eval()
            .encode_text(open_clip.get_tokenizer(source)(texts))
        )
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder).eval()
    length = model.config.text_config.max_position_embeddings
    tokens = AutoTokenizer.from_pretrained(folder)(
        texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
    )
    return model.get_text_features(input_ids=tokens.input_ids).pooler_output


@pytest.mark.parametrize("name", WRITE)
@pytest.mark.parametrize("batch_size", [1, 3, 256])
def test_text_features_are_the_librarys_own(folders, name, batch_size):
    texts = [*TEXTS, LONG]
    features = dcr.load_encoder(folders[name]).encode_text(texts, batch_size=batch_size)
    assert features.dtype == torch.float32
    torch.testing.assert_close(
        features, expected_features(name, folders[name], texts), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("name", WRITE)
def test_texts_that_were_cut_are_counted(folders, name, caplog):
    encoder = dcr.load_encoder(folders[name])
    with caplog.at_level(logging.WARNING, "dcr"):
        encoder.encode_text(["a red fish"])
        assert "were cut" not in caplog.text
        encoder.encode_text([LONG, "a red fish", LONG])
    assert caplog.messages[-1].startswith("2 of 3 texts have more than ")


def test_batches_bound_what_is_encoded_at_once(folders, monkeypatch):
    encoder = dcr.load_encoder(folders["clip"])
    sizes = []
    own = encoder.backbone.encode_text
    monkeypatch.setattr(
        encoder.backbone, "encode_text", lambda texts: sizes.append(len(texts)) or own(texts)
    )
    assert encoder.encode_text(["a"] * 10, batch_size=4).shape == (10, 24)
    assert sizes == [4, 4, 2]


def test_no_texts_are_no_features(folders):
    assert dcr.load_encoder(folders["clip"]).encode_text([]).shape == (0, 24)


@pytest.mark.parametrize("texts", ["a red fish", [1, 2], [None], ["a", b"b"]])
def test_what_is_no_list_of_texts_is_told(folders, texts):
    with pytest.raises(UserError, match="texts must be a list of strings"):
        dcr.load_encoder(folders["clip"]).encode_text(texts)


def test_a_tokenizer_of_another_model_is_told(tmp_path):
    model_cfg = tiny_model_cfg()
    model_cfg["text_cfg"]["vocab_size"] = 64
    encoder = dcr.load_encoder(tiny_open_clip(tmp_path / "m", model_cfg))
    with pytest.raises(
        UserError, match="makes the token 49407, but its text tower has embeddings for 64"
    ):
        encoder.encode_text(["a"])


@pytest.mark.parametrize("name", ["open_clip siglip", "clip", "siglip"])
def test_an_encoder_without_text_side_is_told(tmp_path, name):
    folder = WRITE[name](tmp_path / "m")
    for path in folder.glob("*token*"):
        path.unlink()
    encoder = dcr.load_encoder(folder)
    with pytest.raises(UserError, match="has no tokenizer, so it has no text side"):
        encoder.encode_text(["a"])
