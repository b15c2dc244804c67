"""What is not finite is refused wherever weights are read, made or written; the tensor is named."""

import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dcr.datasets.tensors import SafetensorsDataset
from dcr.errors import UserError
from dcr.export.folder import write_encoder, write_open_clip
from dcr.finite import require_finite
from dcr.models.backbones import load_backbone
from dcr.models.diffusion import load_diffusion
from dcr.models.projector import Projector, load_published_projector
from diffusion_models import tiny_diffusion
from models import tiny_hf_clip, tiny_open_clip, tiny_siglip

BAD = [math.nan, math.inf, -math.inf]
CARD = {"base_model": "tiny", "recipe": "demo", "method": "dcr", "licence": "mit"}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_the_first_tensor_that_is_not_finite_is_named(bad, dtype):
    tensors = {
        "good": torch.ones(3),
        "whole": torch.tensor([1]),
        "bad": torch.tensor([[1.0, bad]], dtype=dtype),
    }
    with pytest.raises(
        UserError, match=r"^weights of x: bad holds NaN or infinity; train it again$"
    ):
        require_finite(tensors, "weights of x", "train it again")
    require_finite(
        {"good": tensors["good"], "whole": tensors["whole"], "empty": torch.ones(0)}, "x", "y"
    )


def spoil(path: Path, bad: float) -> str:
    """Put a number into the last tensor of a safetensors file; return the tensor's name."""
    tensors = load_file(path)
    name = max(
        name for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.ndim
    )
    tensors[name].view(-1)[-1] = bad
    save_file(tensors, path, metadata={"format": "pt"})
    return name


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize(
    ("make", "prefix", "weights"),
    [
        (tiny_open_clip, "local-dir:", "open_clip_model.safetensors"),
        (tiny_hf_clip, "", "model.safetensors"),
        (tiny_siglip, "", "model.safetensors"),
    ],
)
def test_a_backbone_is_finite_when_it_is_loaded(tmp_path, make, prefix, weights, bad):
    folder = make(tmp_path / "clip")
    spoil(folder / weights, bad)
    with pytest.raises(
        UserError,
        match=rf"backbone {prefix}.*clip: .* holds NaN or infinity; get or make its weights",
    ):
        load_backbone(f"{prefix}{folder}")


@pytest.fixture(scope="module")
def diffusion(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_diffusion(folder / "tokenizer").save(folder / "diffusion")
    return folder / "diffusion"


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("part", ["vae", "unet", "text_encoder"])
def test_a_diffusion_model_is_finite_when_it_is_loaded(diffusion, tmp_path, part, bad):
    folder = shutil.copytree(diffusion, tmp_path / "diffusion")
    spoil(next((folder / part).glob("*.safetensors")), bad)
    with pytest.raises(
        UserError, match=rf"diffusion, {part}: .* holds NaN or infinity; get the whole model again"
    ):
        load_diffusion(str(folder))


@pytest.mark.parametrize("part", ["vae", "unet", "text_encoder"])
def test_a_diffusion_model_is_finite_when_it_is_saved(tmp_path, part):
    model = tiny_diffusion(tmp_path / "tokenizer")
    with torch.no_grad():
        next(getattr(model, part).parameters()).fill_(math.inf)
    with pytest.raises(UserError, match=r"holds NaN or infinity; train it again"):
        model.save(tmp_path / "diffusion")


@pytest.mark.parametrize("bad", BAD)
def test_adapters_and_projectors_are_finite_when_they_are_saved_and_when_they_are_loaded(
    tmp_path, bad
):
    dataset = SafetensorsDataset(
        filepath=str(tmp_path / "w.safetensors"), made_by="kedro run --pipelines training"
    )
    dataset.save({"a": torch.ones(2)})
    with pytest.raises(Exception, match=r"w\.safetensors: a holds NaN or infinity"):
        dataset.save({"a": torch.tensor([1.0, bad])})
    assert torch.equal(dataset.load()["a"], torch.ones(2))  # what was there stays
    spoil(tmp_path / "w.safetensors", bad)
    with pytest.raises(Exception, match=r"a holds NaN or infinity; make it again with `kedro run"):
        dataset.load()


@pytest.mark.parametrize("bad", BAD)
def test_a_projector_from_elsewhere_is_finite(tmp_path, bad):
    state = Projector(4, 6).state_dict()
    save_file(state, tmp_path / "p.safetensors")
    load_published_projector(tmp_path / "p.safetensors")
    state["3.bias"][2] = bad
    torch.save(state, tmp_path / "p.bin")
    with pytest.raises(
        UserError, match=r"p\.bin is not a projector's .*3\.bias holds NaN or infinity"
    ):
        load_published_projector(tmp_path / "p.bin")


@pytest.mark.parametrize("bad", BAD)
def test_an_encoder_that_is_not_finite_is_not_written_in_any_format(tmp_path, bad):
    """Not left out as a format that cannot express it, either."""
    backbone = load_backbone(f"local-dir:{tiny_open_clip(tmp_path / 'clip')}")
    with torch.no_grad():
        backbone.model.text_projection[0, 0] = bad
    for write in (
        lambda: write_encoder(tmp_path / "e", backbone, None, CARD),
        lambda: write_open_clip(tmp_path / "e", backbone),
    ):
        with pytest.raises(
            UserError, match=r"weights in torch\.float32: text_projection holds NaN or infinity"
        ):
            write()
    assert not (tmp_path / "e").exists()


def test_a_weight_too_large_for_half_precision_is_named(tmp_path):
    backbone = load_backbone(f"local-dir:{tiny_open_clip(tmp_path / 'clip')}")
    with torch.no_grad():
        backbone.model.text_projection[0, 0] = 1e6
    with pytest.raises(
        UserError, match=r"torch\.float16: text_projection .* set export\.dtype to float32"
    ):
        write_encoder(tmp_path / "e", backbone, None, CARD, dtype=torch.float16)
    write_encoder(tmp_path / "e", backbone, None, CARD, dtype=torch.bfloat16)


def test_an_adapter_that_is_not_finite_is_not_written(tmp_path):
    backbone = load_backbone(f"local-dir:{tiny_open_clip(tmp_path / 'clip')}")
    with pytest.raises(UserError, match=r"a\.lora_A\.weight holds NaN or infinity"):
        adapter = {"config": {}, "weights": {"a.lora_A.weight": torch.tensor([math.nan])}}
        write_encoder(tmp_path / "e", backbone, adapter, CARD)
