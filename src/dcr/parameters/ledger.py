"""The ledger of published numbers."""

from __future__ import annotations

from dcr.parameters.section import Section


class LedgerParameters(Section):
    """Which encoders of this recipe stand for encoders of the published tables."""

    own: dict[str, str | None]
