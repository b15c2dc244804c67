"""Nodes of pipelines `scenes` and `scenes_validation`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcr.parameters import PretrainingParameters, ScenesParameters

if TYPE_CHECKING:
    from dcr.models.backbones import Backbone
    from dcr.models.diffusion import Diffusion

Writer = Callable[[Path], None]


def draw_shards(
    parameters: ScenesParameters, drawn: dict[str, Any], hashes: dict[str, str | None]
) -> Iterator[Writer]:
    """Draw the training images, one shard at a time.

    Nothing is yielded, and so nothing saved, if they are there.

    Args:
        parameters: section `scenes`.
        drawn: what the last run recorded of its folders and their fingerprint, {} before the first.
        hashes: of the folders as they are now, None for one that is missing.
    """
    yield from _unless_drawn("shards", "write_shards", parameters, drawn, hashes)


def draw_mmvp_vlm(
    parameters: ScenesParameters, drawn: dict[str, Any], hashes: dict[str, str | None]
) -> Iterator[Writer]:
    """Draw the MMVP-VLM set, from images that the shards do not hold, if it is not there.

    ``parameters``, ``drawn`` and ``hashes`` are as in `draw_shards`.
    """
    yield from _unless_drawn("mmvp_vlm", "write_mmvp", parameters, drawn, hashes)


def draw_classification(
    parameters: ScenesParameters, drawn: dict[str, Any], hashes: dict[str, str | None]
) -> Iterator[Writer]:
    """Draw the classification set, likewise.

    ``parameters``, ``drawn`` and ``hashes`` are as in `draw_shards`.
    """
    yield from _unless_drawn("classification", "write_classification", parameters, drawn, hashes)


def draw_retrieval(
    parameters: ScenesParameters, drawn: dict[str, Any], hashes: dict[str, str | None]
) -> Iterator[Writer]:
    """Draw the retrieval set, likewise.

    ``parameters``, ``drawn`` and ``hashes`` are as in `draw_shards`.
    """
    yield from _unless_drawn("retrieval", "write_retrieval", parameters, drawn, hashes)


def draw_segmentation(
    parameters: ScenesParameters, drawn: dict[str, Any], hashes: dict[str, str | None]
) -> Iterator[Writer]:
    """Draw the segmentation set, likewise.

    ``parameters``, ``drawn`` and ``hashes`` are as in `draw_shards`.
    """
    yield from _unless_drawn("segmentation", "write_segmentation", parameters, drawn, hashes)


def draw_validation_mmvp_vlm(
    parameters: ScenesParameters, drawn: dict[str, Any], hashes: dict[str, str | None]
) -> Iterator[Writer]:
    """Draw another MMVP-VLM set, if it is not there.

    Its images are neither in the shards nor in the test set. ``parameters`` are those of the test
    set; ``drawn`` and ``hashes`` tell of the folders of `scenes_validation`.
    """
    yield from _unless_drawn(
        "mmvp_vlm", "write_mmvp", parameters, drawn, hashes, split="validation"
    )


def draw_validation_classification(
    parameters: ScenesParameters, drawn: dict[str, Any], hashes: dict[str, str | None]
) -> Iterator[Writer]:
    """Draw another classification set, likewise.

    ``parameters``, ``drawn`` and ``hashes`` are as in `draw_shards`.
    """
    yield from _unless_drawn(
        "classification", "write_classification", parameters, drawn, hashes, split="validation"
    )


def draw_validation_retrieval(
    parameters: ScenesParameters, drawn: dict[str, Any], hashes: dict[str, str | None]
) -> Iterator[Writer]:
    """Draw another retrieval set, likewise.

    ``parameters``, ``drawn`` and ``hashes`` are as in `draw_shards`.
    """
    yield from _unless_drawn(
        "retrieval", "write_retrieval", parameters, drawn, hashes, split="validation"
    )


def _unless_drawn(
    name: str,
    writer: str,
    parameters: ScenesParameters,
    drawn: dict[str, Any],
    hashes: dict[str, str | None],
    **options: str,
) -> Iterator[Writer]:
    from dcr.scenes import sets, voc
    from dcr.scenes.record import is_drawn, scenes_fingerprint

    if not is_drawn(name, drawn, scenes_fingerprint(parameters), hashes):
        write = getattr(voc if name == "segmentation" else sets, writer)
        yield lambda folder: write(folder, parameters, **options)


def record_scenes(
    parameters: ScenesParameters, hashes: dict[str, str | None], *_drawn: Any
) -> dict[str, Any]:
    """Note what was drawn from what.

    The folders come in so that they are written before they are hashed.

    Args:
        parameters: section `scenes`. hashes: of the folders, by dataset.
    """
    from dcr.scenes.record import scenes_fingerprint

    return {"fingerprint": scenes_fingerprint(parameters), "sha256": hashes}


def train_base_models(
    parameters: PretrainingParameters,
    shards: list[str],
    previous: dict[str, Any],
    hashes: dict[str, str | None],
) -> dict[str, Any]:
    """Train the small CLIP, and VAE, UNet and text encoder, unless they are there already.

    Args:
        parameters: section `pretraining`.
        shards: paths of the tars to train on.
        previous: the last run's record, {} before the first.
        hashes: of the folders that the models are written to, as these are now; None for one that
            is missing.

    Returns:
        ``backbone`` and ``diffusion``, or {}.
    """
    from dcr.scenes.pretrain import train_base_models
    from dcr.scenes.pretrain_record import fingerprint, is_current

    if is_current(previous, fingerprint(parameters, shards), hashes):
        return {}
    backbone, diffusion = train_base_models(parameters, shards)
    return {"backbone": backbone, "diffusion": diffusion}


def keep_base_clip(trained: dict[str, Any]) -> Iterator[Backbone]:
    """Write the CLIP that was ``trained``.

    Nothing is yielded, and so nothing written, if none was.
    """
    if trained:
        yield trained["backbone"]


def keep_base_diffusion(trained: dict[str, Any]) -> Iterator[Diffusion]:
    """Write the diffusion model that was ``trained``, likewise."""
    if trained:
        yield trained["diffusion"]


def measure_base_models(
    parameters: PretrainingParameters,
    shards: list[str],
    backbone: Backbone,
    diffusion: Diffusion,
    previous: dict[str, Any],
    hashes: dict[str, str | None],
) -> dict[str, Any]:
    """Measure base models on held-out images; record what they were made from and how they are.

    Args:
        parameters: section `pretraining`: how many images are held out, and how often noise is
            drawn for each.
        shards: paths of the tars that the images lie in.
        backbone, diffusion: the models as they were read from disk.
        previous: the last run's record, which is returned if it is of the same models and checks.
        hashes: of the folders that the models lie in.
    """
    from dcr.fingerprints import weights_hash
    from dcr.scenes import pretrain_checks as checks
    from dcr.scenes.pretrain_data import load_images, split_images
    from dcr.scenes.pretrain_record import checks_fingerprint, fingerprint

    parts = ("vae", "unet", "text_encoder")
    models = {"backbone": backbone.model, **{part: getattr(diffusion, part) for part in parts}}
    measured = {
        "fingerprint": fingerprint(parameters, shards),
        "checks": checks_fingerprint(parameters),
        "sha256": hashes,
        "weights": {name: weights_hash(model) for name, model in models.items()},
    }
    if all(previous.get(name) == value for name, value in measured.items()):
        return previous
    _, held_out = split_images(load_images(shards, parameters.image_size), parameters.num_held_out)
    backbone = backbone.to("cpu")  # as both were trained
    diffusion = diffusion.to("cpu")
    errors = checks.noise_errors(diffusion, held_out, parameters.check_draws, parameters.seed)
    details = checks.detail_errors(diffusion, held_out, parameters.check_draws, parameters.seed)
    return {
        **measured,
        "clip": {
            "zero_shot_acc1": checks.zero_shot_accuracy(backbone, held_out),
            "statement_distance": checks.statement_distances(backbone),
        },
        "vae": {"psnr": checks.reconstruction_psnr(diffusion.vae, held_out)},
        "unet": errors,
        "details": details,
    }


def check_base_models(parameters: PretrainingParameters, record: dict[str, Any]) -> None:
    """Require of the UNet what the recipe asks.

    Models that fail stay recorded, so that nothing is trained again.

    Args:
        parameters: section `pretraining`, with the least that is required.
        record: what `measure_base_models` found.

    Raises:
        UserError: the UNet does not use its condition, or tells too few details.
    """
    from dcr.scenes import pretrain_checks as checks

    if parameters.check_condition:
        checks.check_condition(record["unet"])
    checks.check_details(record["details"], parameters.min_known_details, parameters.unet_steps)
