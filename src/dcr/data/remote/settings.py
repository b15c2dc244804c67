"""How remote files are read, known to a process and to all that it starts."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

_VARIABLE = "DCR_REMOTE"


@dataclass(frozen=True)
class RemoteSettings:
    """How remote files are read.

    Attributes:
        cache_folder: where whole files are kept; None keeps none.
        cache_bytes: that the folder may take.
        num_tries: how often a request is made that fails, each time.
        first_wait_seconds: before the second try; every further wait is twice as long.
    """

    cache_folder: str | None = None
    cache_bytes: int = 0
    num_tries: int = 1
    first_wait_seconds: float = 0.0


def use_settings(settings: RemoteSettings) -> None:
    """Read remote files by ``settings`` from now on, in processes that are started later, too.

    They go by the environment, as workers of every kind (joblib's, a loader's, torch's) inherit it.
    Without settings each request is made once, and nothing is kept.
    """
    os.environ[_VARIABLE] = json.dumps(asdict(settings))


def current_settings() -> RemoteSettings:
    """Return what `use_settings` was given here or in the process that started this one."""
    return RemoteSettings(**json.loads(os.environ.get(_VARIABLE, "{}")))
