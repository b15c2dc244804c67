"""Sets of groups of images and captions, of which an encoder is to tell which belong together.

One reader a layout; all give a `CaptionSelectionSet`. Words are in memory, images stream.
"""

from __future__ import annotations

from collections.abc import Callable

from dcr.data.benchmark_sets.caption_selection.aro import is_aro, open_aro
from dcr.data.benchmark_sets.caption_selection.groups import CaptionSelectionSet, Group
from dcr.data.benchmark_sets.caption_selection.jsonl import is_jsonl, open_jsonl
from dcr.data.benchmark_sets.caption_selection.mmvp_pairs import open_mmvp_pairs
from dcr.data.benchmark_sets.caption_selection.sugar_crepe import is_sugar_crepe, open_sugar_crepe
from dcr.data.benchmark_sets.caption_selection.web_dataset import open_web_dataset
from dcr.data.benchmark_sets.caption_selection.whats_up import is_whats_up, open_whats_up
from dcr.data.benchmark_sets.caption_selection.winoground import is_winoground, open_winoground
from dcr.data.benchmark_sets.caption_selection.writing import write_jsonl
from dcr.data.benchmark_sets.files import Folder

__all__ = [
    "CaptionSelectionSet",
    "Group",
    "find_caption_selection",
    "open_mmvp_pairs",
    "open_web_dataset",
    "write_jsonl",
]

Opener = Callable[[Folder], CaptionSelectionSet]

_LAYOUTS: tuple[tuple[Callable[[Folder], bool], Opener], ...] = (
    (is_jsonl, open_jsonl),
    (is_sugar_crepe, open_sugar_crepe),
    (is_aro, open_aro),
    (is_whats_up, open_whats_up),
    (is_winoground, open_winoground),
)


def find_caption_selection(folder: Folder) -> Opener | None:
    """Return what opens a local ``folder`` of caption selection, None if it is no such folder.

    Its files are of caption selection alone. MMVP-VLM's folder and tars are of other kinds as well,
    see `open_mmvp_pairs` and `open_web_dataset`.
    """
    return next((opener for is_layout, opener in _LAYOUTS if is_layout(folder)), None)
