"""Where the images of a set lie, which people keep in folders of several names."""

from __future__ import annotations

from collections.abc import Sequence

from dcr.data.benchmark_sets.files import Folder
from dcr.data.benchmark_sets.inside import check_path
from dcr.errors import UserError


def find_images(folder: Folder, candidates: Sequence[str], image: str, where: str) -> str:
    """Return which of ``candidates`` holds the first image, with a slash behind it.

    It is "" for the set's folder itself.

    Args:
        folder: the set's, a local one.
        candidates: folders in it, "" for itself, in the order in which they are looked at.
        image: path of the first image in one of them.
        where: file and line that name it, for the error.

    Raises:
        UserError: none holds it.
    """
    check_path(image, where)
    for name in candidates:
        prefix = f"{name}/" if name else ""
        if folder.has_file(prefix + image):
            return prefix
    places = ", ".join(folder.place(name) for name in candidates)
    raise UserError(f"{where}: the image {image} is missing; it was looked for in {places}")
