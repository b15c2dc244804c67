"""Packages that the bare installation lacks, named with the extra that has them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dcr.errors import UserError


@contextmanager
def needs_extra(extra: str, what: str) -> Iterator[None]:
    """Tell which of the package's extras has what the block cannot import.

    Args:
        extra: of pyproject.toml.
        what: that cannot be done without it, in words.

    Raises:
        UserError: a package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as exc:
        if str(exc.name).partition(".")[0] == "dcr":
            raise
        raise UserError(
            f"{what} needs {exc.name}, which is not installed: `pip install 'dcr[{extra}]'`"
        ) from exc
