"""How shards at URLs are read, and where results are copied to; it changes no result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, PositiveInt

from dcr.data.remote import RemoteSettings, check_target
from dcr.parameters.section import Section


class RemoteParameters(Section):
    """The cache of remote shards, what is done when a connection fails, and copies of results."""

    cache_folder: str = Field(min_length=1)
    cache_gigabytes: float = Field(gt=0)
    num_tries: PositiveInt
    first_wait_seconds: float = Field(ge=0)
    publish_to: str | None

    def check_with(self, sections: Mapping[str, Section]) -> None:
        """Refuse a place for results that takes none; ``sections`` are not looked at.

        Raises:
            UserError: see `check_target`.
        """
        if self.publish_to:
            check_target(self.publish_to, "remote.publish_to")

    def settings(self, project: Path) -> RemoteSettings:
        """Return them as `dcr.data.remote` takes them; a relative folder lies in ``project``."""
        return RemoteSettings(
            str(project / self.cache_folder),
            round(self.cache_gigabytes * 1e9),
            self.num_tries,
            self.first_wait_seconds,
        )
