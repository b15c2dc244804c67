"""One encoder after the other: its map, how it was chosen, and what the encoder becomes by it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dcr.alignment.contrast import Contrast
from dcr.alignment.folding import IMAGE_MAP, TEXT_MAP, check_form
from dcr.alignment.ridge_map import blend, fit_ridge_map
from dcr.alignment.samples import Latents, Split, choose_samples, embed_captions, embed_samples
from dcr.alignment.text_map import TextMapOptions, fit_text_map, mix_maps
from dcr.encoder_names import BASE
from dcr.fingerprints import tensors_hash
from dcr.latents import LatentCache
from dcr.progress import show_progress

if TYPE_CHECKING:
    from dcr.models.backbones import Backbone
    from dcr.parameters import AlignmentParameters


@dataclass(frozen=True)
class Alignment:
    """What was found for one encoder.

    Attributes:
        maps: ``{IMAGE_MAP or TEXT_MAP: (d, d) float32}``; embeddings become ``embeddings @ map``.
        chosen: ridge, share or step, and what spoke for it on held-out images.
        tried: tables of what was compared, by what was varied.
    """

    maps: dict[str, torch.Tensor]
    chosen: dict[str, float]
    tried: dict[str, list[dict[str, float]]]


Sides = tuple[np.ndarray, np.ndarray]
"""Embeddings of the samples to fit on and of those to choose by, (N, d) and (M, d)."""

_WITH_CAPTIONS = {"image": (False, False), "text": (True, True), "blend": (False, True)}
"""Whether a form reads the captions of the samples to fit on, and of those to choose by."""


class Aligner:
    """Fits alignments of any number of encoders to one base, on the images that training saw.

    What depends on the base alone is embedded once. The text tower is the base's in every encoder,
    since training touches the image tower only.

    Args:
        parameters: of section `alignment`; ``form`` must not be none.
        latents: the training's.
        validation_fraction: the training's.
        base: the model that training started from.

    Raises:
        UserError: the form does not go with the model, or too few samples have captions.
    """

    def __init__(
        self,
        parameters: AlignmentParameters,
        latents: Latents,
        validation_fraction: float,
        base: Backbone,
    ) -> None:
        check_form(parameters.form, base)
        if isinstance(latents, LatentCache):
            latents.check_bytes()
        self._parameters = parameters
        self._latents = latents
        self._base = base
        self._contrast = Contrast.of(base)
        self.splits = choose_samples(
            latents,
            validation_fraction,
            parameters.max_images,
            parameters.seed,
            _WITH_CAPTIONS[parameters.form],
        )

    def fit(self, encoder: Backbone, name: str) -> Alignment:
        """Return the alignment of an encoder; ``name`` is for progress and errors."""
        images = self._base_images if encoder is self._base else self._embed(encoder, name)
        fit = {"image": self._fit_image, "text": self._fit_text, "blend": self._fit_blend}[
            self._parameters.form
        ]
        return fit(images)

    def _fit_image(self, images: Sides) -> Alignment:
        matrix, ridge, cosines = self._solve(images, self._base_images)
        tried = {
            "ridges": [{"ridge": r, "held_out_cosine": cosine} for r, cosine in cosines.items()]
        }
        return Alignment(
            {IMAGE_MAP: _tensor(matrix)}, {"ridge": ridge, "held_out_cosine": cosines[ridge]}, tried
        )

    def _fit_blend(self, images: Sides) -> Alignment:
        """As `_fit_image`, but of the way to that map only the share with the least loss."""
        p = self._parameters
        whole = self._fit_image(images)
        matrix = whole.maps[IMAGE_MAP].double().numpy()
        captions = torch.from_numpy(np.array(self._texts[1]))
        losses = {}
        for share in p.shares:
            mapped = _tensor(images[1] @ blend(matrix, share))
            losses[share] = self._contrast.held_out(mapped, captions, p.batch_size)
        share = min(losses, key=losses.__getitem__)
        tried = {"shares": [{"share": s, "held_out_loss": loss} for s, loss in losses.items()]}
        chosen = {"ridge": whole.chosen["ridge"], "share": share, "held_out_loss": losses[share]}
        return Alignment({IMAGE_MAP: _tensor(blend(matrix, share))}, chosen, whole.tried | tried)

    def _fit_text(self, images: Sides) -> Alignment:
        options = TextMapOptions(
            **{f.name: getattr(self._parameters, f.name) for f in fields(TextMapOptions)}
        )
        texts, held_out_texts = self._texts
        assert texts is not None  # the form reads both
        assert held_out_texts is not None
        pairs = (images[0], texts)
        held_out = (images[1], held_out_texts)
        matrix, step, losses = fit_text_map(
            pairs, held_out, self._contrast, options, self._base.device
        )
        tried = {"steps": [{"step": s, "held_out_loss": loss} for s, loss in losses.items()]}
        chosen = {"step": step, "held_out_loss": losses[step]}
        if share := self._parameters.closed_form_share:
            closed_form, ridge, cosines = self._solve((texts, held_out_texts), images)
            matrix = mix_maps(matrix, closed_form, share)
            out_images, out_texts = (torch.from_numpy(np.array(part)) for part in held_out)
            loss = self._contrast.held_out(
                out_images, out_texts @ matrix, self._parameters.batch_size
            )
            chosen |= {"closed_form_share": share, "ridge": ridge, "held_out_loss": loss}
            tried["ridges"] = [
                {"ridge": r, "held_out_cosine": cosine} for r, cosine in cosines.items()
            ]
        return Alignment({TEXT_MAP: matrix}, chosen, tried)

    def _solve(self, inputs: Sides, targets: Sides) -> tuple[np.ndarray, float, dict[float, float]]:
        """Return the map that brings inputs nearest to targets, its ridge, cosines by ridge."""
        size = self._parameters.embedding_batch_size

        def pieces() -> Iterator[Sides]:
            for start in range(0, len(inputs[0]), size):
                rows = slice(start, start + size)
                yield inputs[0][rows], targets[0][rows]

        return fit_ridge_map(pieces(), (inputs[1], targets[1]), self._parameters.ridges)

    @cached_property
    def _base_images(self) -> Sides:
        return self._embed(self._base, "base")

    @cached_property
    def _texts(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Unit embeddings of both splits' captions, None where the form does not read them."""
        fit, held_out = self.splits
        return self._embed_captions(fit), self._embed_captions(held_out)

    def _embed_captions(self, part: Split) -> np.ndarray | None:
        if part.captions is None:
            return None
        size = self._parameters.embedding_batch_size
        return embed_captions(self._base, part.captions, size, "embed captions")

    def _embed(self, encoder: Backbone, name: str) -> Sides:
        p = self._parameters
        sizes = (p.embedding_batch_size, p.num_workers)
        what = f"embed images, {name}"
        fit, held_out = (
            embed_samples(encoder, self._latents, part, *sizes, what) for part in self.splits
        )
        return fit, held_out


def align_encoders(
    parameters: AlignmentParameters,
    latents: Latents,
    validation_fraction: float,
    encoders: Mapping[str, Callable[[], Backbone]],
) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]]:
    """Align every encoder to the base, one after the other.

    Args:
        parameters: of section `alignment`; its ``form`` must not be none.
        latents: those that training read: their images, and their captions where the form asks for
            them.
        validation_fraction: the training's share of held-out samples, so that the split is the
            same.
        encoders: what loads them, by their names as trained, `base` among them; one at a time is in
            memory beside it.

    Returns:
        the maps by encoder, and the record of all, see `dcr.alignment.record`.
    """
    started = time.monotonic()
    base = encoders[BASE]()
    aligner = Aligner(parameters, latents, validation_fraction, base)
    maps = {}
    told = {}
    for name, load in show_progress(encoders.items(), desc="align", unit="encoder"):
        begun = time.monotonic()
        encoder = base if name == BASE else load()
        found = aligner.fit(encoder, name)
        maps[name] = found.maps
        told[name] = {
            "chosen": found.chosen,
            "tried": found.tried,
            "seconds": round(time.monotonic() - begun, 2),
            "maps_hash": tensors_hash(found.maps),
        }
    return maps, {
        "form": parameters.form,
        "parameters": parameters.course(),
        "num_images": len(aligner.splits[0]),
        "num_held_out": len(aligner.splits[1]),
        "encoders": told,
        "seconds": round(time.monotonic() - started, 2),
    }


def _tensor(matrix: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(matrix, dtype=np.float32))
