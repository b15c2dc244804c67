import numpy as np
import open_clip
import pytest
import torch
from transformers import CLIPTokenizer

from dcr.models.backbones.conversion.clip import to_clip_model
from dcr.models.backbones.conversion.tokenizers import write_clip_tokenizer
from dcr.models.backbones.families.open_clip import OpenClipBackbone
from models import TEXTS, tiny_model_cfg

EOS = 49407


class TestTokenizer:
    SENTENCES = (
        *TEXTS,
        "Hello, world!!",
        "a photo of a cat's 3 kittens\nplaying",
        "日本語 and émigré ½ 🙂",
        "x" * 300,
    )

    @pytest.fixture(scope="class")
    def tokenizer(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("tokenizer")
        write_clip_tokenizer(folder, 20)
        return CLIPTokenizer.from_pretrained(folder)

    def test_ids_equal_open_clips_up_to_the_end_token(self, tokenizer):
        expected = open_clip.SimpleTokenizer(context_length=20)(list(self.SENTENCES)).numpy()
        ids = tokenizer(
            list(self.SENTENCES), padding="max_length", truncation=True, return_tensors="np"
        ).input_ids
        assert ids.shape == expected.shape
        real = np.arange(20) <= expected.argmax(axis=1, keepdims=True)
        assert np.array_equal(ids[real], expected[real])
        assert (ids[~real] == EOS).all()

    @torch.no_grad()
    def test_the_other_padding_gives_equal_text_features(self, tokenizer):
        backbone = OpenClipBackbone.build(tiny_model_cfg())
        ids = tokenizer(
            list(self.SENTENCES), padding="max_length", truncation=True, return_tensors="pt"
        )
        clip_model = to_clip_model(backbone.model, EOS)
        features = clip_model.text_projection(clip_model.text_model(**ids).pooler_output)
        torch.testing.assert_close(
            features, backbone.encode_text(list(self.SENTENCES)), atol=1e-5, rtol=0
        )
