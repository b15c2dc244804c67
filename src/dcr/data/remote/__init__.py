"""Files at URLs that fsspec opens: S3, Google's storage, the hub, web servers.

They are asked again where a connection breaks, and kept on disk as far as there is room.
"""

from dcr.data.remote.folder import Folder, check_target
from dcr.data.remote.objects import NoSize, RemoteObject, look_up
from dcr.data.remote.opening import look_up_now, open_file
from dcr.data.remote.retrying import is_absent, retrying
from dcr.data.remote.settings import RemoteSettings, current_settings, use_settings
from dcr.data.remote.tree import Tree, exists, has_marks
from dcr.data.remote.urls import check_url, is_remote, redact

HANDS_ON_BYTES = True
"""No key of a kept result holds this room's code; see `dcr.source_graph`. What is read is known by
its own hash or mark.
"""

__all__ = [
    "Folder",
    "NoSize",
    "RemoteObject",
    "RemoteSettings",
    "Tree",
    "check_target",
    "check_url",
    "current_settings",
    "exists",
    "has_marks",
    "is_absent",
    "is_remote",
    "look_up",
    "look_up_now",
    "open_file",
    "redact",
    "retrying",
    "use_settings",
]
