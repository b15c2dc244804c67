"""What is a URL, and what in it nobody else may read."""

from __future__ import annotations

import re

from dcr.errors import UserError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_LOCAL = ("file://", "local://")
_LOGIN = re.compile(r"(://)[^/\s'\"@]*@")
_QUERY = re.compile(r"(://[^\s'\"?]*\?)[^\s'\"]*=[^\s'\"]*")


def is_remote(path: str) -> bool:
    """Tell whether ``path`` is a URL, and not one of a local file."""
    return bool(_SCHEME.match(path)) and not path.startswith(_LOCAL)


def check_url(url: str, what: str) -> None:
    """Refuse a URL that holds a secret, as manifests, logs and pages would hold it, too.

    Args:
        url: or a path, which holds none.
        what: that names it, for the message.

    Raises:
        UserError: it holds a login or the query of a signed address.
    """
    if redact(url) != url:
        raise UserError(
            f"{what} {redact(url)!r}: a URL with a login or a query (?name=value) is not read, as"
            " it would stand in logs and pages; credentials come from the environment, see"
            " docs/inputs.md"
        )


def redact(text: str) -> str:
    """Return ``text``, such as a library's message, without logins and queries of its URLs."""
    return _LOGIN.sub(r"\1...@", _QUERY.sub(r"\1...", text))
