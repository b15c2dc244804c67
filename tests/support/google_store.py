"""A stand-in of Google Cloud Storage: as much of its JSON interface as gcsfs asks for.

Objects are the files of a folder, the same ones in every bucket but ``nowhere``. It was written by
Google's description of the interface (cloud.google.com/storage/docs/json_api/v1) and by what gcsfs
takes of the answers; no machine of Google's was asked.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

from remote_stores import Files

if TYPE_CHECKING:
    import pytest

UPDATED = "2026-01-01T00:00:00.000000Z"
REFUSALS = {
    401: "Anonymous caller does not have storage.objects.get access to the object.",
    403: "user@example.com does not have storage.objects.list access to the bucket.",
}


class GoogleStore(Files):
    """``server.refusal`` is a status of `REFUSALS` that all requests get, None as it begins."""

    def do_GET(self):
        self.server.requests.append((self.command, self.path, self.headers.get("Range")))
        path, _, query = self.path.partition("?")
        kind, _, rest = path.partition("/storage/v1/b/")
        bucket, _, name = rest.partition("/o")
        name = unquote(name.removeprefix("/"))
        if status := getattr(self.server, "refusal", None):
            self.send_json({"error": {"code": status, "message": REFUSALS[status]}}, status)
        elif bucket == "nowhere" or (name and not (self.server.folder / name).is_file()):
            self.send_json({"error": {"code": 404, "message": "Not Found"}}, 404)
        elif not rest.partition("/o")[1]:
            self.send_json({"kind": "storage#bucket", "name": bucket})
        elif not name:
            given = {key: values[0] for key, values in parse_qs(query).items()}
            self.list_objects(bucket, given.get("prefix", ""), given.get("delimiter"))
        elif kind == "/download":
            self.answer(self.server.folder / name)
        else:
            self.send_json(self.resource(bucket, name))

    def do_POST(self):
        """Insert an object, by gcsfs's multipart upload of a description and the bytes."""
        bucket = self.path.partition("/storage/v1/b/")[2].partition("/o")[0]
        body = self.rfile.read(int(self.headers["Content-Length"]))  # or it begins the next request
        if bucket == "nowhere":
            return self.send_json({"error": {"code": 404, "message": "Not Found"}}, 404)
        mark = self.headers["Content-Type"].partition("boundary=")[2].strip("\"'").encode()
        _, described, data, _ = body.split(b"--" + mark)
        name = json.loads(described.partition(b"\n\n")[2] or described.partition(b"\r\n\r\n")[2])
        path = self.server.folder / name["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.partition(b"\n\n")[2].removesuffix(b"\n"))
        return self.send_json(self.resource(bucket, name["name"]))

    def list_objects(self, bucket: str, prefix: str, delimiter: str | None):
        """Answer with the objects whose names begin with a prefix, those in folders as such."""
        root = self.server.folder
        names = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
        items, folders = [], set()
        for name in sorted(name for name in names if name.startswith(prefix)):
            head, mark, _ = name.removeprefix(prefix).partition(delimiter or "\0")
            if mark:
                folders.add(f"{prefix}{head}{mark}")
            else:
                items.append(self.resource(bucket, name))
        found = {"kind": "storage#objects", "items": items, "prefixes": sorted(folders)}
        self.send_json({key: value for key, value in found.items() if value})

    def resource(self, bucket: str, name: str) -> dict:
        """Return what the interface says of an object; numbers are texts there."""
        path: Path = self.server.folder / name
        data = path.read_bytes()
        digest = hashlib.md5(data)
        return {
            "kind": "storage#object",
            "bucket": bucket,
            "name": name,
            "size": str(len(data)),
            "md5Hash": base64.b64encode(digest.digest()).decode(),
            "generation": str(int(digest.hexdigest()[:12], 16)),
            "contentType": "application/octet-stream",
            "timeCreated": UPDATED,
            "updated": UPDATED,
        }


def connect_google(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Have Google's client speak to a URL, as one who shows no credentials."""
    import fsspec.config
    from gcsfs.extended_gcsfs import BucketType, ExtendedGcsFileSystem

    async def plain(self, bucket):
        """Answer in the place of another interface, which tells buckets with folders apart."""
        return BucketType.NON_HIERARCHICAL

    monkeypatch.setattr(ExtendedGcsFileSystem, "_get_bucket_type", plain)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
    monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon"})
    ExtendedGcsFileSystem.clear_instance_cache()
