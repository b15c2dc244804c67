"""HTML pages that hold all they show, so they open offline.

A content security policy forbids every request.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

THUMBNAIL_SIDE = 224


def fill_template(package: str, template: str, **context: Any) -> str:
    """Return a template filled in; text is escaped, and a name that it lacks is an error.

    Args:
        package: whose folder ``templates`` holds the template, which extends this package's
            ``base.html``.
        context: the template's names.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("dcr.pages")]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    return environment.get_template(template).render(context)


def to_data_uri(image: Image.Image) -> str:
    """Return an image, at most 224 px a side, as a data URI: PNG when small, JPEG above 64 px."""
    from PIL import Image

    from dcr.data.decoding import to_rgb

    image = to_rgb(image).copy()
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    kind = "PNG" if max(image.size) <= 64 else "JPEG"
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 88} if kind == "JPEG" else {"optimize": True}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
