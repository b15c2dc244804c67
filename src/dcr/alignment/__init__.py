"""After stage 2: a linear map, folded into a tower's last layer, that rejoins images and texts.

``image`` maps the trained tower's embeddings to the base's, in closed form and without captions;
``text`` refits the text side to the trained tower's embeddings; ``blend`` goes a share of the first
way. `dcr.alignment.fitting` finds the maps; those who only use them need no more than what is here.
"""

from dcr.alignment.folding import (
    IMAGE_MAP,
    TEXT_MAP,
    apply_maps,
    both_forms,
    load_aligned,
    load_maps,
)
from dcr.alignment.record import check_alignment, check_maps, evaluated_hashes, tell_alignment

__all__ = [
    "IMAGE_MAP",
    "TEXT_MAP",
    "apply_maps",
    "both_forms",
    "check_alignment",
    "check_maps",
    "evaluated_hashes",
    "load_aligned",
    "load_maps",
    "tell_alignment",
]
