"""A recipe's models by their shapes: from the folders that are here, else as they are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch._subclasses.fake_tensor import unset_fake_temporarily

from dcr.data.sources import (
    STABLE_DIFFUSION,
    backbone_location,
    backbone_model,
    cached_folder,
    diffusion_folder,
    diffusion_models,
    parse_hub_model,
)
from dcr.models.architectures import BACKBONES, build_backbone, build_diffusion
from dcr.models.backbones import Backbone
from dcr.models.backbones.families import find_family
from dcr.models.diffusion import Diffusion
from dcr.models.diffusion_source import read_diffusion
from dcr.parameters import PretrainingParameters
from dcr.planning.without_memory import without_memory


@dataclass(frozen=True)
class Outlines:
    """Builds a recipe's models, new ones every time, with random weights or none.

    Attributes:
        backbone, diffusion: build one, while `opened`.
        has_memory: whether they are small enough to have weights.
    """

    backbone: Callable[[], Backbone]
    diffusion: Callable[[], Diffusion]
    has_memory: bool = False

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Open what the models are built and measured in."""
        if self.has_memory:
            yield
            return
        with without_memory():
            yield


def outlines(backbone: str, diffusion: str) -> Outlines:
    """Return the outlines of models that are here, or whose configuration is known.

    Args:
        backbone, diffusion: as a recipe names them.
    """
    return Outlines(lambda: outline_backbone(backbone), lambda: outline_diffusion(diffusion))


def outlines_of_pretraining(parameters: PretrainingParameters) -> Outlines:
    """Return the outlines of the models that pipeline `scenes` trains by ``parameters``."""
    from dcr.models.noise_schedule import build_scheduler
    from dcr.scenes.pretrain_clip import build_clip
    from dcr.scenes.pretrain_text import build_text_encoder
    from dcr.scenes.pretrain_unet import build_unet
    from dcr.scenes.pretrain_vae import build_vae

    def diffusion() -> Diffusion:
        """Return VAE, UNet and text encoder, untrained."""
        side = parameters.image_size // 2 ** (len(parameters.vae_block_channels) - 1)
        parts = build_vae(parameters), build_unet(parameters, side), build_scheduler()
        return Diffusion(*parts, *build_text_encoder(parameters))

    return Outlines(lambda: build_clip(parameters), diffusion, has_memory=True)


def outline_backbone(source: str) -> Backbone:
    """Return a backbone of the shapes that ``source`` has, as a recipe names it.

    Raises:
        UserError: it is neither here nor known.
    """
    on_hub = backbone_model(source)
    if on_hub is not None:
        model, kind = on_hub
        if model.repo_id in BACKBONES and cached_folder(kind, model) is None:
            return build_backbone(model.repo_id)
    location = backbone_location(source)
    return find_family(location).outline(location)


def outline_diffusion(source: str) -> Diffusion:
    """Return a diffusion model of the shapes that ``source`` has, as a recipe names it.

    Raises:
        UserError: it is neither here nor known.
    """
    models = diffusion_models(source)
    if all(cached_folder("diffusers", model) is None for model in models):
        known = {
            mirror.repo_id: name
            for name, mirrors in STABLE_DIFFUSION.items()
            for mirror in map(parse_hub_model, mirrors)
            if mirror
        }
        names = [known[model.repo_id] for model in models if model.repo_id in known]
        if names:
            return build_diffusion(names[0])
    read = read_diffusion(diffusion_folder(source), source)
    with unset_fake_temporarily():  # whose numbers are looked at
        scheduler = read.build_scheduler()
    parts = [read.build(part) for part in ("vae", "unet", "text_encoder")]
    return Diffusion(parts[0], parts[1], scheduler, parts[2], read.load_tokenizer(), source)
