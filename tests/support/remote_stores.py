"""Stores on loopback: a web server with ranges, an S3 server, the interfaces of the hub and of
Google; and a wire that cuts.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    import pytest
    from fsspec import AbstractFileSystem

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class FileServer(ThreadingHTTPServer):
    """A web server of the files in a folder, with ranges, tags and pages of links.

    ``requests`` are what it was asked, as (method, path, range); ``busy`` says of paths how many of
    the next requests are answered with ``busy_status``; of ``stalling`` paths all ranges but the
    first wait in their middle until ``go_on`` is set; of ``sizeless`` paths no answer tells how
    long it is.
    """

    daemon_threads = True

    def __init__(self, folder: Path, handler: type[BaseHTTPRequestHandler] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), handler or Files)
        self.folder = folder
        self.requests: list[tuple[str, str, str | None]] = []
        self.busy: dict[str, int] = {}
        self.busy_status = 503
        self.stalling: set[str] = set()
        self.sizeless: set[str] = set()
        self.go_on = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"


class Files(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.server.requests.append((self.command, self.path, self.headers.get("Range")))
        if self.server.busy.get(self.path):
            self.server.busy[self.path] -= 1
            return self.send(self.server.busy_status, b"", {})
        self.answer(self.server.folder / self.path.partition("?")[0].lstrip("/"))

    def answer(self, path: Path, headers: dict[str, str] | None = None):
        if path.is_dir():
            names = [p.name + "/" * p.is_dir() for p in sorted(path.iterdir())]
            links = "".join(f'<a href="{name}">{name}</a>' for name in names)
            self.send(200, links.encode(), {"Content-Type": "text/html"})
        elif path.is_file():
            self.send_range(path.read_bytes(), headers or {})
        else:
            self.send(404, b"", {})

    def send_range(self, data: bytes, headers: dict[str, str]):
        tag = hashlib.sha1(data).hexdigest()
        headers = {"ETag": f'"{tag}"', "Accept-Ranges": "bytes", **headers}
        found = _RANGE.fullmatch(self.headers.get("Range") or "")
        if found is None:
            return self.send(200, data, headers)
        start, end = int(found[1]), min(int(found[2] or len(data)), len(data) - 1)
        headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
        self.send(206, data[start : end + 1], headers)

    def send_json(self, found, status: int = 200):
        self.send(status, json.dumps(found).encode(), {"Content-Type": "application/json"})

    def send(self, status: int, data: bytes, headers: dict[str, str]):
        self.send_response(status)
        # Without a length, the end of the connection is that of the answer.
        is_sizeless = self.path in self.server.sizeless
        end = {"Connection": "close"} if is_sizeless else {"Content-Length": str(len(data))}
        for name, value in {**headers, **end}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            with suppress(OSError):  # who asked may have gone
                self.wfile.write(data[: len(data) // 2])
                is_first = (self.headers.get("Range") or "bytes=0-").startswith("bytes=0-")
                if self.path in self.server.stalling and not is_first:
                    self.server.go_on.wait()
                self.wfile.write(data[len(data) // 2 :])


class _Hub(Files):
    """The hub's interface, as its file system class asks for it; every data set of ``org`` has the
    folder's files.
    """

    def do_GET(self):
        self.server.requests.append((self.command, self.path, self.headers.get("Range")))
        path = self.path.partition("?")[0]
        if re.fullmatch(r"/api/datasets/org/\w+(/revision/\w+)?", path):
            self.send_json({"_id": "1", "id": path.split("/")[4], "sha": COMMIT, "siblings": []})
        elif re.fullmatch(r"/api/datasets/org/\w+/tree/\w+", path):
            self.send_json([self.entry(path) for path in sorted(self.server.folder.iterdir())])
        elif found := re.fullmatch(r"/datasets/org/\w+/resolve/\w+/(.+)", path):
            self.answer(self.server.folder / found[1], {"X-Repo-Commit": COMMIT})
        else:
            self.send(404, b"", {"X-Error-Code": "RepoNotFound"})

    def entry(self, path: Path) -> dict:
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        lfs = {"oid": digest, "size": len(data), "pointerSize": 130}
        oid = hashlib.sha1(data).hexdigest()
        return {"type": "file", "path": path.name, "size": len(data), "oid": oid, "lfs": lfs}


@contextmanager
def web_server(folder: Path) -> Iterator[FileServer]:
    """Serve a folder."""
    yield from _serve(FileServer(folder))


@contextmanager
def hub_server(folder: Path) -> Iterator[FileServer]:
    """Serve the files of a folder as those of the data sets of a hub."""
    yield from _serve(FileServer(folder, _Hub))


@contextmanager
def google_server(folder: Path) -> Iterator[FileServer]:
    """Serve the files of a folder as the objects of buckets of Google's store."""
    from google_store import GoogleStore

    yield from _serve(FileServer(folder, GoogleStore))


def _serve(server: FileServer) -> Iterator[FileServer]:
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class Wire:
    """A way to a server through which answers are cut at random.

    Args:
        port: of the server, on loopback.
        seed: of the cuts.
        longest: bytes after which the longest of the cut answers ends.

    Attributes:
        port: of this end.
        num_cut: how many connections were cut.
        share: of connections that are cut.
    """

    def __init__(self, port: int, seed: int, longest: int = 30_000, share: float = 0.5) -> None:
        self._random = random.Random(seed)
        self._server = port
        self._longest = longest
        self.share = share
        self.num_cut = 0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def open_again(self) -> None:
        """Let others in again under the same port, after `close`."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Let nobody in any more, as a server that is gone."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                is_cut = self._random.random() < self.share
                left = self._random.randrange(self._longest) if is_cut else None
                threading.Thread(target=self._carry, args=(client, left), daemon=True).start()

    def _carry(self, client: socket.socket, left: int | None) -> None:
        with closing(client), socket.create_connection(("127.0.0.1", self._server)) as server:
            threading.Thread(target=_pump, args=(client, server), daemon=True).start()
            with suppress(OSError):
                while data := server.recv(1 << 16):
                    if left is not None and len(data) > left:
                        client.sendall(data[:left])
                        self.num_cut += 1
                        break
                    client.sendall(data)
                    left = None if left is None else left - len(data)
            for end in (client, server):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)


@dataclass
class Store:
    """A folder that is served: its URL, and the wire that leads there.

    ``server`` answers at the other end, if it is one of this module.
    """

    url: str
    wire: Wire
    server: FileServer | None = None


def start_s3() -> int:
    """Start an S3 server (moto's, over HTTP) for the life of the process; return its port."""
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    return server.get_host_and_port()[1]


def connect_s3(monkeypatch: pytest.MonkeyPatch, port: int) -> AbstractFileSystem:
    """Have S3's client speak to a port, with credentials; return the client."""
    import s3fs

    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_MAX_ATTEMPTS": "1",  # the client's own
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    s3fs.S3FileSystem.clear_instance_cache()
    return s3fs.S3FileSystem()


@contextmanager
def serving(
    kind: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    s3_port: int | None,
    seed: int | None = None,
) -> Iterator[Store]:
    """Serve the files of a folder by ``kind`` http, s3, gs or hf, with cuts if there is a seed."""
    import fsspec.config

    from google_store import connect_google

    cuts = {"seed": seed or 0, "share": 0.0 if seed is None else 1.0}
    if s3_port is not None:
        bucket = f"bucket-{uuid4()}"
        files = connect_s3(monkeypatch, s3_port)
        files.mkdir(bucket)
        for path in folder.iterdir():
            files.pipe_file(f"{bucket}/{path.name}", path.read_bytes())
        wire = Wire(s3_port, **cuts)
        connect_s3(monkeypatch, wire.port)
        yield Store(f"s3://{bucket}", wire)
    else:
        with {"hf": hub_server, "gs": google_server, "http": web_server}[kind](folder) as server:
            wire = Wire(server.server_port, **cuts)
            monkeypatch.setitem(fsspec.config.conf, "hf", {"endpoint": wire.url})
            if kind == "gs":
                connect_google(monkeypatch, wire.url)
            url = {"hf": f"hf://datasets/org/{uuid4().hex}", "gs": f"gs://bucket-{uuid4().hex}"}
            yield Store(url.get(kind, wire.url), wire, server)
    wire.close()
