"""Maps of an alignment put into the models that they belong to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any

from dcr.alignment.record import check_maps
from dcr.encoder_names import BASE, aligned_name, unaligned_name
from dcr.errors import UserError

if TYPE_CHECKING:
    import torch

    from dcr.models.backbones import Backbone
    from dcr.models.backbones.projection import Projection

Maps = Mapping[str, "torch.Tensor"]
IMAGE_MAP = "image_map"
TEXT_MAP = "text_map"
"""Names of the tensor in an alignment's file: which side of the model it goes behind."""


def apply_maps(backbone: Backbone, maps: Mapping[str, torch.Tensor]) -> Backbone:
    """Fold an alignment's maps into a backbone, in place, and return it.

    Args:
        backbone: the encoder that the maps were fitted for, as trained.
        maps: ``{IMAGE_MAP or TEXT_MAP: (d, d)}`` with d the width of its embeddings.

    Raises:
        UserError: the map is of another width, or the model has no layer that it could be folded
            into.
    """
    for name, matrix in maps.items():
        if tuple(matrix.shape) != (backbone.embed_dim,) * 2:
            raise UserError(
                f"the {name} is {tuple(matrix.shape)}, but {backbone.source} has embeddings of"
                f" {backbone.embed_dim}: it is of another model; run `kedro run --pipelines"
                " alignment,evaluation`"
            )
        _projection(backbone, name).fold(backbone.model, matrix)
    return backbone


def check_form(form: str, backbone: Backbone) -> None:
    """Refuse a form whose map cannot be folded into this model.

    Args:
        form: ``image``, ``text`` or ``blend``.
        backbone: the model; the tower that the form changes must end in a linear layer.

    Raises:
        UserError: it does not.
    """
    _projection(backbone, TEXT_MAP if form == "text" else IMAGE_MAP)


def _projection(backbone: Backbone, name: str) -> Projection:
    if name == TEXT_MAP:
        if (found := backbone.text_projection()) is None:
            raise UserError(
                "alignment.form text needs a linear layer at the end of the text tower, and that"
                f" of {backbone.source} has none; set alignment.form to none, or to image where the"
                " image tower has one"
            )
        return found
    if (found := backbone.image_projection()) is None:
        raise UserError(
            "alignment.form image and blend need a linear layer at the end of the image tower, and"
            f" that of {backbone.source} ends in a pooling that adds an MLP to its own input (as"
            " SigLIP's), into which no map can be folded; set alignment.form to text"
        )
    return found


def both_forms(
    encoders: Mapping[str, Callable[[], Backbone]],
    alignments: Mapping[str, Callable[[], Maps]],
    record: Mapping[str, Any],
) -> dict[str, Callable[[], Backbone]]:
    """Return what loads every encoder, aligned and as trained, by its name; the base first.

    Names are those of `dcr.encoder_names`.

    Args:
        encoders: what loads them, by their names as trained, `base` among them; copies of them are
            changed.
        alignments: what loads their maps, by the same names.
        record: `alignment.json`, which maps must agree with.
    """
    found = {BASE: encoders[BASE]}
    for name, load in encoders.items():
        found[aligned_name(name)] = partial(load_aligned, name, load, alignments, record)
        found[unaligned_name(name)] = load
    return found


def load_aligned(
    name: str,
    load: Callable[[], Backbone],
    alignments: Mapping[str, Callable[[], Maps]],
    record: Mapping[str, Any],
) -> Backbone:
    """Return a copy of what ``load`` gives with the encoder's maps folded in.

    Args:
        name: the encoder's, as trained.
        load: what loads it as trained.
        alignments: what loads each encoder's maps, by its name as trained.
        record: `alignment.json`, which the maps must agree with.

    Raises:
        UserError: the maps are not those of the record.
    """
    return apply_maps(deepcopy(load()), load_maps(name, alignments, record))


def load_maps(
    name: str, alignments: Mapping[str, Callable[[], Maps]], record: Mapping[str, Any]
) -> Maps:
    """Return an encoder's maps, {} where there are none for it.

    Args:
        name: the encoder's, as trained.
        alignments: what loads each encoder's maps, by the same names.
        record: `alignment.json`.

    Raises:
        UserError: they are not those of the record.
    """
    maps = alignments[name]() if name in alignments else {}
    check_maps(record, name, maps)
    return maps
