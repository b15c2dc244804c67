"""MMVP-VLM's pairs as groups of two images and two captions."""

from __future__ import annotations

from dcr.data.benchmark_sets.caption_selection.groups import CaptionSelectionSet, Group
from dcr.data.benchmark_sets.files import Folder
from dcr.data.benchmark_sets.mmvp_vlm import MMVPSet, open_mmvp


def open_mmvp_pairs(folder: Folder) -> CaptionSelectionSet:
    """Open an MMVP-VLM folder for all rules of caption selection.

    image_score is its own, and by it the kind mmvp_vlm scores the types. Its images are embedded
    and kept as those of `MMVPSet`, so that a recipe which lists the folder under both kinds embeds
    them once.

    Args:
        folder: as for `dcr.data.benchmark_sets.mmvp_vlm.open_mmvp`.

    Raises:
        UserError: as there.
    """
    mmvp = open_mmvp(folder)
    groups = tuple(_group(mmvp, number) for number in range(len(mmvp.pairs)))
    return CaptionSelectionSet(
        mmvp.name,
        mmvp.folder,
        {"test": [mmvp]},
        groups=lambda: groups,
        published_rules=("image_score",),
        has_type_scores=False,
        notes=mmvp.notes,
    )


def _group(mmvp: MMVPSet, number: int) -> Group:
    pair = mmvp.pairs[number]
    return Group(
        f"{pair.ids[0]}-{pair.ids[1]}",
        (2 * number, 2 * number + 1),
        pair.texts,
        ((0, 0), (1, 1)),
        pair.type,
    )
