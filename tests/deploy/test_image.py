"""The image of deploy/Dockerfile, built by Buildah on a Debian that debootstrap made, and run.

No registry is asked for the base: debootstrap's smallest system of the same release takes the name
`debian:bookworm-slim`. Every line of the file is executed as it stands, for GPUs; TORCH_BACKEND=cpu
asks PyTorch's own index.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from needed import need
from project import PROJECT

pytestmark = pytest.mark.slow
BASE = "docker.io/library/debian:bookworm-slim"
AUTHORITIES = Path("/usr/local/share/ca-certificates")
IN_THE_IMAGE = {"torch", "kedro", "distributed", "ray", "faiss-cpu", "s3fs", "gcsfs", "dcr"}
SECRETS = (
    ".env",
    ".git/config",
    ".venv/bin/python",
    "conf/base/credentials.yml",
    "conf/local/credentials.yml",
    "conf/local/globals.yml",
    "conf/mine/credentials_s3.yml",
    "conf/mine/.env",
    "data/01_raw/mine/00000.tar",
    "data/hosts.key",
    "src/.env.local",
    "wandb/run-1/key",
)
"""Files of a working folder that are nobody else's business."""


class Builder:
    """Buildah with images and containers of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.words = ["buildah", "--root", folder / "images", "--runroot", folder / "running"]

    def __call__(self, *words, cwd=None):
        command = [*self.words, *words]
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=3000)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout.strip()

    def make_base(self):
        root = self.folder / "root"
        subprocess.run(["debootstrap", "--variant=minbase", "bookworm", root], check=True)
        if AUTHORITIES.is_dir():
            shutil.copytree(AUTHORITIES, root / AUTHORITIES.relative_to("/"), dirs_exist_ok=True)
        container = self("from", "scratch")
        self("copy", "--quiet", container, root, "/")
        self("commit", "--quiet", container, BASE)
        self("rm", container)

    def build(self, context):
        """Build the image; uv and pip trust what the system trusts."""
        (self.folder / "uv").mkdir()
        (self.folder / "uv/uv.toml").write_text("system-certs = true\n")
        trusted = "[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n"
        (self.folder / "pip.conf").write_text(trusted)
        mounts = [f"{self.folder}/uv:/etc/uv:ro", f"{self.folder}/pip.conf:/etc/pip.conf:ro"]
        volumes = [word for mount in mounts for word in ("--volume", mount)]
        file = ["--file", "deploy/Dockerfile", "--tag", "dcr", "."]
        kind = ["--isolation", "chroot", "--pull-never"]
        return self("build", *kind, *volumes, *file, cwd=context)


@pytest.fixture(scope="session", autouse=True)
def _needed():
    found = all(shutil.which(tool) for tool in ("buildah", "debootstrap")) and os.geteuid() == 0
    need(found, "root, buildah and debootstrap")


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    return Builder(tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """The project as it is where people work: with data, credentials and an environment."""
    folder = tmp_path_factory.mktemp("context")
    listed = ["git", "ls-files", "-z"]
    names = subprocess.run(listed, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    for name in [*names.strip("\0").split("\0"), *SECRETS]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if name in SECRETS:
            (folder / name).write_text("secret")
        else:
            shutil.copy(PROJECT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def run_in_image(builder, context):
    builder.make_base()
    print(builder.build(context)[-2000:])
    container = builder("from", "--pull-never", "localhost/dcr")
    return lambda *words: builder("run", "--isolation", "chroot", container, "--", *words)


def test_nothing_secret_is_sent_to_what_builds_the_image(builder, context, tmp_path):
    """An image of all that .dockerignore leaves, without packages."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    file = ["--file", tmp_path / "Dockerfile", "--tag", "left", "."]
    builder("build", "--isolation", "chroot", *file, cwd=context)
    container = builder("from", "--pull-never", "localhost/left")
    root = Path(builder("mount", container))
    left = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert left.isdisjoint(SECRETS)
    # What of the project's own files does go, so that the list above is known to have been tried.
    assert {path.partition("/")[0] for path in left} == {
        *("LICENSE", "README.md", "pyproject.toml", "constraints.txt", "conf", "deploy", "src")
    }
    assert {"conf/local/.gitkeep", "conf/base/globals.yml", "deploy/run.py"} <= left
    assert not any(path.startswith("deploy/slurm") for path in left)


def test_it_runs_as_nobody_and_writes_where_data_lie(run_in_image):
    assert run_in_image("id", "-u") == "1000"
    assert run_in_image("sh", "-c", "touch data/here && ls data") == "here"
    assert run_in_image("sh", "-c", "touch conf/here 2>/dev/null || echo refused") == "refused"


def test_its_packages_are_those_of_the_constraints(run_in_image):
    code = (
        "import importlib.metadata as m, json;"
        "print(json.dumps({d.name: d.version for d in m.distributions()}))"
    )
    told = json.loads(run_in_image("python", "-c", code))
    installed = {name.lower().replace("_", "-"): version for name, version in told.items()}
    text = (PROJECT / "constraints.txt").read_text()
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE))
    assert installed.keys() >= IN_THE_IMAGE
    found = {name: version for name, version in installed.items() if name in pinned}
    assert found == {name: pinned[name] for name in found}


def test_it_holds_neither_data_nor_secrets_nor_compilers(run_in_image):
    assert run_in_image("ls", "-A", "/dcr") == "conf\ndata\ndeploy"
    assert run_in_image("ls", "-A", "conf/local") == ".gitkeep"
    assert run_in_image("sh", "-c", "command -v gcc pip git || echo none") == "none"


def test_it_runs_a_recipe_to_its_end(run_in_image):
    run_in_image("python", "deploy/run.py", "scenes,validation,latents", "--env", "smoke")
    assert "00000.tar" in run_in_image("ls", "data/05_model_input/smoke/latents")
