"""Pipeline `models` against a hub of its own on this machine: what is downloaded, verified and
told.
"""

import hashlib
import json
import logging
import re
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dcr.data.sources import HubModel, cached_folder
from dcr.errors import UserError
from dcr.files import sha256_file
from dcr.models.backbones import load_backbone
from dcr.models.hub import fetch_models
from diffusion_models import tiny_diffusion
from hub_server import point_client_at
from models import tiny_hf_clip, tiny_model_cfg, tiny_open_clip

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SOURCE = f"hf-hub:org/name@{COMMIT}"


def hub_files():
    """Return the files of a repository that holds a tiny open_clip model, and what nobody needs."""
    with tempfile.TemporaryDirectory() as root:
        model_cfg = tiny_model_cfg()
        model_cfg["text_cfg"]["vocab_size"] = 64
        folder = tiny_open_clip(Path(root, "m"), model_cfg)
        model = {path.name: path.read_bytes() for path in folder.iterdir()}
    return model | {
        "README.md": b"---\nlicense: other\nlicense_name: some-licence\n---\n# A model\n",
        "open_clip_pytorch_model.bin": b"the same weights as a pickle",
        "model.onnx": b"not needed",
    }


FILES = hub_files()
WEIGHTS = FILES["open_clip_model.safetensors"]


class Hub(BaseHTTPRequestHandler):
    """The few addresses of the hub that its client asks for."""

    def do_HEAD(self):
        self._answer(head=True)

    def do_GET(self):
        self._answer()

    def log_message(self, *_):
        pass

    def _answer(self, head=False):
        self.server.requests.append(self.path)
        path = self.path.partition("?")[0]
        file = re.fullmatch(r"/org/name/resolve/\w+/(.+)", path)
        if path in (f"/api/models/org/name/revision/{revision}" for revision in ("main", COMMIT)):
            card = {"license": "other", "license_name": "some-licence"}
            siblings = [{"rfilename": name, "size": len(data)} for name, data in FILES.items()]
            info = {
                "_id": "1",
                "id": "org/name",
                "sha": COMMIT,
                "siblings": siblings,
                "cardData": card,
            }
            self._send(json.dumps(info).encode(), {"Content-Type": "application/json"}, head)
        elif path == f"/api/models/org/name/tree/{COMMIT}":
            tree = [
                {"type": "file", "path": name, "size": len(d), "oid": etag(name)}
                for name, d in FILES.items()
            ]
            self._send(json.dumps(tree).encode(), {"Content-Type": "application/json"}, head)
        elif file and file[1] in FILES:
            self._send(
                FILES[file[1]], {"X-Repo-Commit": COMMIT, "ETag": f'"{etag(file[1])}"'}, head
            )
        else:
            self.send_error(404)

    def _send(self, data, headers, head):
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if not head:
            self.wfile.write(data)


def etag(name):
    """Return what the hub names a file's content by: sha256 of large files, git's hash of small
    ones.
    """
    data = FILES[name]
    if name.endswith((".safetensors", ".bin", ".onnx")):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.requests = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    point_client_at(endpoint, monkeypatch)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    yield server
    server.shutdown()
    server.server_close()


def fetch(source=SOURCE, sha256=None, previous=None):
    return fetch_models({"backbone": source}, sha256 or {}, previous or {})["backbone"]


def test_only_what_is_needed_is_downloaded_and_described(hub):
    record = fetch()
    assert set(record["files"]) == {
        "README.md",
        "open_clip_config.json",
        "open_clip_model.safetensors",
    }
    assert record["files"]["open_clip_model.safetensors"] == {
        "bytes": len(WEIGHTS), "sha256": hashlib.sha256(WEIGHTS).hexdigest()
    }  # fmt: skip
    assert (record["revision"], record["licence"], record["source"]) == (
        COMMIT,
        "some-licence",
        SOURCE,
    )
    assert not any("onnx" in path or ".bin" in path for path in hub.requests)


def test_size_and_licence_are_told_before_the_download(hub, caplog):
    with caplog.at_level(logging.INFO, "dcr"):
        fetch()
    assert "org/name@0123" in caplog.messages[0]
    assert "licence some-licence" in caplog.messages[0]
    asked = [path for path in hub.requests if path.startswith(("/api/models/", "/org/"))]
    assert asked[0].startswith("/api/models/")


def test_a_second_time_downloads_nothing(hub):
    fetch()
    hub.requests.clear()
    fetch()
    assert not [path for path in hub.requests if "resolve" in path]


def test_without_network_the_cache_serves(hub):
    first = fetch()
    hub.shutdown()
    hub.server_close()
    assert fetch() == first


def test_without_network_and_cache_the_reason_is_told(hub):
    hub.shutdown()
    hub.server_close()
    with pytest.raises(UserError, match=r"cannot be downloaded .* give a local folder"):
        fetch()


def test_an_unknown_repository_is_told(hub):
    with pytest.raises(UserError, match="org/nome@main cannot be downloaded"):
        fetch("hf-hub:org/nome")


def test_a_branch_is_warned_of_and_its_commit_noted(hub, caplog):
    assert fetch("hf-hub:org/name@main")["revision"] == COMMIT
    assert "not pinned to a commit" in caplog.text


@pytest.mark.parametrize("name", ["open_clip_model.safetensors", "open_clip_config.json"])
def test_a_damaged_file_in_the_cache_is_found(hub, name):
    fetch()
    path = cached_folder("open_clip", HubModel("org/name", COMMIT)) / name
    path.write_bytes(b"damaged")
    with pytest.raises(UserError, match=f"{name} is damaged"):
        fetch()


def test_a_pinned_hash_must_hold(hub):
    name = "open_clip_model.safetensors"
    assert fetch(sha256={name: hashlib.sha256(WEIGHTS).hexdigest()})
    with pytest.raises(UserError, match=r"models\.sha256 expects 00"):
        fetch(sha256={name: "00"})
    with pytest.raises(UserError, match=r"models\.sha256 names other\.bin, which no model has"):
        fetch(sha256={"other.bin": "00"})


def test_a_local_folder_needs_no_network_and_its_change_is_noticed(tmp_path, caplog):
    folder = tiny_hf_clip(tmp_path / "m")
    (folder / "holiday.jpg").write_bytes(b"1")
    record = fetch(str(folder))
    assert set(record["files"]) == {
        *(
            "config.json",
            "model.safetensors",
            "preprocessor_config.json",
            "tokenizer.json",
            "tokenizer_config.json",
        )
    }
    assert record["files"]["config.json"]["sha256"] == sha256_file(folder / "config.json")
    assert (record["revision"], record["licence"]) == (None, "unknown")
    assert "not the file" not in caplog.text
    (folder / "tokenizer_config.json").write_text("{}")
    fetch(str(folder), previous={"backbone": record})
    assert "tokenizer_config.json is not the file that the last check saw" in caplog.text


def test_what_a_branch_names_loads_once_it_was_downloaded(hub):
    fetch("hf-hub:org/name@main")
    assert load_backbone("hf-hub:org/name@main").embed_dim == 24


@pytest.mark.parametrize("role", ["backbone", "diffusion"])
def test_a_folder_that_holds_no_model_is_no_verified_files(tmp_path, role):
    (tmp_path / "holiday.jpg").write_bytes(b"1")
    (tmp_path / "notes.txt").write_text("2")
    with pytest.raises(
        UserError, match=r"has neither config\.json|holds no whole model, as it has no"
    ):
        fetch_models({role: str(tmp_path)}, {}, {})


@pytest.mark.parametrize("prefix", ["", "local-dir:"])
def test_a_model_whose_weights_do_not_fit_is_refused_before_any_is_loaded(
    tmp_path, prefix, monkeypatch
):
    folder = (tiny_open_clip if prefix else tiny_hf_clip)(tmp_path / "m")
    path = folder / ("open_clip_config.json" if prefix else "config.json")
    path.write_text(
        path.read_text()
        .replace('"width": 32', '"width": 40')
        .replace('"projection_dim": 24', '"projection_dim": 8')
    )
    monkeypatch.setattr("safetensors.torch.load_file", None)
    with pytest.raises(UserError, match="safetensors does not fit the model"):
        fetch(f"{prefix}{folder}")


def test_a_diffusion_model_that_needs_other_inputs_is_refused(tmp_path):
    tiny_diffusion(tmp_path / "tokenizer").save(tmp_path / "m")
    assert len(fetch_models({"diffusion": str(tmp_path / "m")}, {}, {})["diffusion"]["files"]) >= 9
    path = tmp_path / "m/unet/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"in_channels": 9}))
    with pytest.raises(UserError, match="its unet takes 9 channels, and its vae makes 4"):
        fetch_models({"diffusion": str(tmp_path / "m")}, {}, {})


def test_a_diffusion_model_that_cannot_be_had_is_told(hub):
    with pytest.raises(UserError, match="sd-9: no such folder"):
        fetch_models({"diffusion": "sd-9"}, {}, {})
    with pytest.raises(UserError, match="choose one in diffusers' folder layout"):
        fetch_models({"diffusion": "org/name"}, {}, {})
