"""Requests that are made again where that can help, and one sentence where it cannot."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from dcr.data.remote.settings import current_settings
from dcr.data.remote.urls import redact
from dcr.errors import UserError

T = TypeVar("T")

_LONGEST_WAIT = 60.0  # seconds
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
_LOGINS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile of the AWS command line",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or `gcloud auth application-default login`",
    "hf": "HF_TOKEN, or `hf auth login`, or is there no such repository?",
}
_ABSENT = (404, 410)
_DENIED = (401, 403)
_CHANGED = (412,)
_FORBIDDEN = re.compile(r"Forbidden: \S+\n")  # gcsfs's, which carries no status
_PASSING = (408, 425, 429)
# Whose errors tell of a network; other errors are ours, or the disk's.
_CLIENTS = frozenset(
    [
        *("aiohttp", "aiobotocore", "botocore", "s3fs", "gcsfs", "google", "httpx", "httpx2"),
        *("httpcore", "httpcore2", "huggingface_hub", "requests", "urllib3", "fsspec"),
    ]
)


def retrying(
    request: Callable[[], T],
    url: str,
    on_failure: Callable[[], None] | None = None,
    name: str = "",
    action: str = "read",
) -> T:
    """Return what ``request`` returns, which is made again while it fails as connections do.

    Args:
        request: without arguments; of a remote store alone, as an error of the disk would be taken
            for one of the network.
        url: that it is about.
        on_failure: called before each further try.
        name: that the URL has in messages, else itself.
        action: what is done to it, as a participle, for messages: read, written, listed, removed.

    Raises:
        UserError: there is no such object, no access, no client, or `num_tries` failed in a row.
    """
    settings = current_settings()
    wait = settings.first_wait_seconds
    for number in range(1, settings.num_tries + 1):
        try:
            return request()
        except UserError:
            raise
        except Exception as exc:
            sentence = _permanent(exc, url, action)
            if sentence is None and not _is_of_a_client(exc):
                raise
            if sentence is None and number == settings.num_tries:
                sentence = _give_up(exc, number, action)
            if sentence is not None:
                raise UserError(f"{name or redact(url)} {sentence}") from exc
        time.sleep(min(wait, _LONGEST_WAIT))
        wait *= 2
        if on_failure is not None:
            on_failure()
    raise AssertionError("num_tries is positive")


def is_absent(exc: BaseException) -> bool:
    """Tell whether an error says that there is nothing under the name."""
    status = _status(exc)
    return status in _ABSENT if status else _is_plain_absence(exc)


def is_denied(exc: BaseException) -> bool:
    """Tell whether an error says that this user may not see what is under the name."""
    return (
        _status(exc) in _DENIED
        or isinstance(exc, PermissionError)
        or _lacks_login(exc)
        or any(isinstance(one, OSError) and _FORBIDDEN.match(str(one)) for one in _causes(exc))
    )


def lacking(protocol: str, library: object) -> str:
    """Return the rest of a sentence on a URL of a ``protocol`` whose ``library`` is missing."""
    extra = _EXTRAS.get(protocol)
    advice = f"pip install 'dcr[{extra}]'" if extra else "install it"
    return f"needs a library that is not installed ({library}): {advice}"


def _permanent(exc: Exception, url: str, action: str) -> str | None:
    """Return what no further try would change, None if one may help."""
    protocol = url.partition("://")[0]
    if isinstance(exc, ImportError):
        return lacking(protocol, exc)
    if is_absent(exc) and action == "written":
        return "cannot be written: its bucket or repository is not there, make it or name another"
    if is_absent(exc):
        return "is not there: was it moved or removed, or is the name misspelt?"
    if is_denied(exc):
        extra = _EXTRAS.get(protocol, protocol)
        login = _LOGINS.get(extra)
        given = f"set {login}" if login else "the server asks for a login, and none is sent"
        return f"cannot be {action} without credentials ({_describe(exc)}): {given}"
    if _status(exc) in _CHANGED:
        return f"changed while it was {action}: run again"
    if isinstance(exc, ValueError) and not isinstance(exc, OSError):
        return f"cannot be {action}: {_describe(exc)}"
    status = _status(exc)
    if status is not None and 400 <= status < 500 and status not in _PASSING:
        return f"cannot be {action}: {_describe(exc)}"
    return None


def _give_up(exc: Exception, number: int, action: str) -> str:
    times = "once" if number == 1 else f"{number} times in a row"
    return (
        f"cannot be {action}, tried {times} ({_describe(exc)}): what is finished is kept, run again"
        " when the server answers"
    )


def _describe(exc: BaseException) -> str:
    cause = _causes(exc)[-1]
    words = " ".join(redact(str(cause)).split())[:200]
    return f"{type(cause).__name__}: {words}" if words else type(cause).__name__


def _causes(exc: BaseException) -> list[BaseException]:
    """Return an error and what it was raised from, innermost last."""
    found = [exc]
    while (cause := found[-1].__cause__) is not None and cause not in found:
        found.append(cause)
    return found


def _status(exc: BaseException) -> int | None:
    """Return the status that a server answered with, by any of the clients."""
    return next((status for one in _causes(exc) for status in _statuses(one)), None)


def _statuses(exc: BaseException) -> Iterator[int]:
    response = getattr(exc, "response", None)
    if isinstance(response, dict):  # botocore's
        found = [response.get("ResponseMetadata", {}).get("HTTPStatusCode")]
    else:
        found = [getattr(response, "status_code", None), getattr(exc, "status", None)]
        if type(exc).__module__.startswith("gcsfs"):  # aiohttp numbers its own errors so, too
            found += [getattr(exc, "code", None)]
    yield from (int(one) for one in found if isinstance(one, int | str) and str(one).isdigit())


def _is_plain_absence(exc: BaseException) -> bool:
    """Tell absence from fsspec's HTTP files, which say so of whatever fails."""
    return isinstance(exc, FileNotFoundError) and not any(
        _is_of_a_client(one) for one in _causes(exc)[1:]
    )


def _lacks_login(exc: BaseException) -> bool:
    words = ("NoCredentials", "PartialCredentials", "CredentialRetrieval", "DefaultCredentials")
    names = [cls.__name__ for one in _causes(exc) for cls in type(one).__mro__]
    return any(name.startswith(words) for name in names)


def _is_of_a_client(exc: BaseException) -> bool:
    modules = {cls.__module__.partition(".")[0] for cls in type(exc).__mro__}
    return isinstance(exc, OSError | TimeoutError | EOFError) or not _CLIENTS.isdisjoint(modules)
