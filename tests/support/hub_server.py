"""A stand-in of the Hugging Face hub on this machine: the addresses that its client writes to.

Uploads go as the hub's documentation of its HTTP interface has it: who am I, make a repository or
branch, ask how each file is to be sent, send large ones by Git LFS, and commit. What arrived can be
downloaded again by the same client. Of Xet, the other way for large files, it has what goes wrong.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest

TOKEN = "hf_of_a_test"
USER = {"type": "user", "name": "ann", "orgs": [{"name": "lab"}, {"name": "readers"}]}
MAY_WRITE = ("ann", "lab")
LARGE = (".safetensors", ".bin")


class Repository:
    """Branches of one repository, each a list of commits (files by name)."""

    def __init__(self, private: bool) -> None:
        self.private = private
        self.branches: dict[str, list[dict[str, bytes]]] = {
            "main": [{".gitattributes": b"*.safetensors filter=lfs\n"}]
        }


class Hub(ThreadingHTTPServer):
    """The server, with all that it holds and what it was asked; `break_at` ends connections."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.break_at: str | None = None
        self.metadata_errors: list[str] = []
        self.messages: list[str] = []
        self.xet_token = 200
        self.xet_storage = 200

    @property
    def endpoint(self) -> str:
        """The address that takes the place of https://huggingface.co."""
        return f"http://127.0.0.1:{self.server_port}"

    def files(self, repo_id: str, branch: str = "main") -> dict[str, bytes]:
        """What a branch holds now."""
        return self.repositories[repo_id].branches[branch][-1]

    def num_commits(self, repo_id: str, branch: str = "main") -> int:
        """How many commits a branch has, the hub's own first one included."""
        return len(self.repositories[repo_id].branches[branch])

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def _answer(self, method: str) -> None:
        path = unquote(self.path.partition("?")[0])
        self.server.requests.append(f"{method} {path}")
        if self.server.break_at and re.search(self.server.break_at, f"{method} {path}"):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.body = self._read()
        for pattern, needs_token, act in _ROUTES:
            if match := re.fullmatch(pattern, f"{method} {path}"):
                if needs_token and self.headers.get("authorization") != f"Bearer {TOKEN}":
                    self._refuse(401, "Invalid username or password.")
                else:
                    act(self, *match.groups())
                return
        self._refuse(404, f"there is no {method} {path} here")

    def _read(self) -> bytes:
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, content: object, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self._write(200, data, {"Content-Type": "application/json"} | (headers or {}))

    def _refuse(self, status: int, reason: str, code: str = "", **more: str) -> None:
        headers = {"Content-Type": "application/json"} | ({"X-Error-Code": code} if code else {})
        self._write(status, json.dumps({"error": reason, **more}).encode(), headers)

    def _write(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    # ---- what is asked ----

    def answer_whoami(self) -> None:
        self._send(USER)

    def answer_create(self) -> None:
        asked = json.loads(self.body)
        repo_id = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] not in MAY_WRITE:
            self._refuse(403, f"You don't have the rights to create a model under {repo_id}")
        elif repo_id in self.server.repositories:
            url = f"{self.server.endpoint}/{repo_id}"
            self._refuse(409, "You already created this model repo", url=url)
        else:
            is_private = asked.get("visibility") == "private" or bool(asked.get("private"))
            self.server.repositories[repo_id] = Repository(is_private)
            self._send({"url": f"{self.server.endpoint}/{repo_id}"})

    def answer_branch(self, repo_id: str, branch: str) -> None:
        branches = self.server.repositories[repo_id].branches
        if branch in branches:
            self._refuse(409, "Reference already exists")
        else:
            branches[branch] = list(branches["main"])
            self._send({})

    def answer_validate(self) -> None:
        errors = [{"message": message} for message in self.server.metadata_errors]
        data = json.dumps({"errors": errors, "warnings": []}).encode()
        self._write(400 if errors else 200, data, {"Content-Type": "application/json"})

    def answer_preupload(self, repo_id: str, branch: str) -> None:
        there = self.server.files(repo_id, branch)
        self._send(
            {
                "files": [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                        "shouldIgnore": False,
                        "oid": _oid(file["path"], there.get(file["path"])),
                    }
                    for file in json.loads(self.body)["files"]
                ]
            }
        )

    def answer_batch(self, repo_id: str) -> None:
        objects = []
        for one in json.loads(self.body)["objects"]:
            place = f"{self.server.endpoint}/lfs/{one['oid']}"
            if one["oid"] not in self.server.objects:
                actions = {"upload": {"href": place}, "verify": {"href": f"{place}/verify"}}
                one = {**one, "actions": actions}
            objects.append(one)
        self._send({"transfer": "basic", "objects": objects})

    def answer_put(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            self._refuse(400, "the content has another hash")
        else:
            self.server.objects[oid] = self.body
            self._send({})

    def answer_xet_token(self, *_: str) -> None:
        place = {"X-Xet-Cas-Url": f"{self.server.endpoint}/xet", "X-Xet-Access-Token": "t"}
        place["X-Xet-Token-Expiration"] = str(int(time.time()) + 3600)
        told = {
            "casUrl": place["X-Xet-Cas-Url"],
            "accessToken": "t",
            "exp": int(time.time()) + 3600,
        }
        status = self.server.xet_token
        self._send(told, place) if status == 200 else self._refuse(status, "no token for you")

    def answer_xet(self, _: str) -> None:
        """Refuse, or answer what is no answer: of Xet's storage there is no more."""
        status = self.server.xet_storage
        self._send({}) if status == 200 else self._refuse(status, "no")

    def answer_verify(self, oid: str) -> None:
        asked = json.loads(self.body)
        found = self.server.objects.get(oid, b"")
        self._send({}) if len(found) == asked["size"] else self._refuse(400, "not all arrived")

    def answer_commit(self, repo_id: str, branch: str) -> None:
        files = dict(self.server.files(repo_id, branch))
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
            elif item["key"] == "header":
                self.server.messages.append(value["summary"])
        commits = self.server.repositories[repo_id].branches[branch]
        commits.append(files)
        url = f"{self.server.endpoint}/{repo_id}/commit/{_sha(commits)}"
        answer = {"success": True, "commitOid": _sha(commits), "commitUrl": url}
        self._send(answer)

    def answer_info(self, repo_id: str, revision: str | None = None) -> None:
        repository = self.server.repositories.get(repo_id)
        if repository is None:
            self._refuse(404, "Repository not found", "RepoNotFound")
            return
        commits = self._commits(repository, revision)
        siblings = [{"rfilename": name, "size": len(data)} for name, data in commits[-1].items()]
        told = {"_id": "1", "id": repo_id, "private": repository.private, "siblings": siblings}
        self._send(told | {"sha": _sha(commits)})

    def _commits(self, repository: Repository, revision: str | None) -> list[dict[str, bytes]]:
        """A branch, or that whose head a commit is."""
        named = repository.branches.get(revision or "main")
        return named or next(c for c in repository.branches.values() if _sha(c) == revision)

    def answer_tree(self, repo_id: str, revision: str) -> None:
        files = self._commits(self.server.repositories[repo_id], revision)[-1]
        self._send(
            [
                {"type": "file", "path": name, "size": len(data), "oid": _oid(name, data)}
                for name, data in files.items()
            ]
        )

    def answer_resolve(self, repo_id: str, revision: str, name: str) -> None:
        commits = self._commits(self.server.repositories[repo_id], revision)
        data = commits[-1][name]
        self._send(data, {"X-Repo-Commit": _sha(commits), "ETag": f'"{_oid(name, data)}"'})


def _oid(name: str, data: bytes | None) -> str | None:
    """What the hub names a file's content by: sha256 of large files, git's hash of small ones."""
    if data is None:
        return None
    if name.endswith(LARGE):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _sha(commits: list[dict[str, bytes]]) -> str:
    told = [[name, _oid(name, data)] for name, data in sorted(commits[-1].items())]
    return hashlib.sha1(json.dumps([len(commits), told]).encode()).hexdigest()


_ID = r"([\w.-]+/[\w.-]+)"
# Pattern of method and path, whether it takes a token, and what is done.
_ROUTES = (
    ("GET /api/whoami-v2", True, _Handler.answer_whoami),
    ("POST /api/repos/create", True, _Handler.answer_create),
    ("POST /api/validate-yaml", True, _Handler.answer_validate),
    (rf"POST /api/models/{_ID}/branch/(.+)", True, _Handler.answer_branch),
    (rf"POST /api/models/{_ID}/preupload/(.+)", True, _Handler.answer_preupload),
    (rf"POST /api/models/{_ID}/commit/(.+)", True, _Handler.answer_commit),
    (rf"POST /{_ID}\.git/info/lfs/objects/batch", True, _Handler.answer_batch),
    (r"PUT /lfs/(\w+)", False, _Handler.answer_put),
    (r"POST /lfs/(\w+)/verify", True, _Handler.answer_verify),
    (rf"GET /api/models/{_ID}/xet-write-token/(.+)", True, _Handler.answer_xet_token),
    (r"(?:GET|HEAD|POST|PUT) /xet/(.*)", False, _Handler.answer_xet),
    (rf"GET /api/models/{_ID}", False, _Handler.answer_info),
    (rf"GET /api/models/{_ID}/revision/(.+)", False, _Handler.answer_info),
    (rf"GET /api/models/{_ID}/tree/(\w+)", False, _Handler.answer_tree),
    (rf"(?:GET|HEAD) /{_ID}/resolve/(\w+)/(.+)", False, _Handler.answer_resolve),
)


def point_client_at(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the hub's client in this process talk to a server, and send large files by Git LFS."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)


@contextmanager
def hub_server() -> Iterator[Hub]:
    """A hub that runs while the block does."""
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
