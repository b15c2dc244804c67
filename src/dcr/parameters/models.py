"""The models that a recipe starts from."""

from __future__ import annotations

from dcr.parameters.section import Section


class ModelsParameters(Section):
    """What pipeline `models` downloads and verifies."""

    backbone: str
    diffusion: str | None
    more_encoders: dict[str, str]
    sha256: dict[str, str]
