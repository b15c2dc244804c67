"""What `pip install dcr` gives outside the repository, without the extra `pipeline` and with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib

import pytest
import torch
from PIL import Image

from dcr.errors import UserError
from dcr.extras import needs_extra
from dcr.models.encoder import load_encoder
from environments import bare_python, build_wheel, install, link_packages
from models import tiny_hf_clip, tiny_open_clip, tiny_siglip
from project import PROJECT, copy_project

DECLARED = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
USE = """
import importlib, pkgutil, sys, torch, dcr, dcr.losses, dcr.metrics
from PIL import Image
for room in (dcr.losses, dcr.metrics):
    for module in pkgutil.iter_modules(room.__path__):
        importlib.import_module(f"{room.__name__}.{module.name}")
dcr.Projector, dcr.dcr_loss
picture = [Image.new("RGB", (40, 30), "teal")]
encoders = [dcr.load_encoder(folder) for folder in sys.argv[2:]]
features = [f for e in encoders for f in (e.encode_image(picture), e.encode_text(["a fish"]))]
torch.save(features, sys.argv[1])
"""


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoders")
    made = {"open_clip": tiny_open_clip, "clip": tiny_hf_clip, "siglip": tiny_siglip}
    return [str(make(folder / name)) for name, make in made.items()]


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A folder of the packages that the bare installation has, and no others."""
    folder = tmp_path_factory.mktemp("bare") / "packages"
    names = link_packages(folder, DECLARED["dependencies"])
    assert not {"kedro", "pandas", "pyarrow", "diffusers", "dvc", "plotly", "peft"} & set(names)
    return folder


def expected(encoders):
    picture = [Image.new("RGB", (40, 30), "teal")]
    loaded = [load_encoder(folder) for folder in encoders]
    return [f for e in loaded for f in (e.encode_image(picture), e.encode_text(["a fish"]))]


def same(path, encoders):
    found = torch.load(path, weights_only=True)
    pairs = zip(found, expected(encoders), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


def test_encoders_losses_and_metrics_need_the_bare_packages_alone(encoders, packages, tmp_path):
    done = bare_python("-c", USE, "features", *encoders, packages=packages, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert same(tmp_path / "features", encoders)


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (["-m", "dcr", "--env", "smoke"], "the command line needs kedro"),
        (
            ["-m", "dcr.embed", ".", "table.parquet", "--encoder"],
            "a table of embeddings needs pyarrow",
        ),
    ],
)
def test_what_is_missing_is_named_with_the_extra_that_has_it(
    encoders, packages, tmp_path, arguments, missing
):
    arguments += encoders[:1] if "dcr.embed" in arguments else []
    done = bare_python(*arguments, packages=packages, cwd=tmp_path)
    assert done.returncode == 1
    said = f"Error: {missing}, which is not installed: `pip install 'dcr[pipeline]'`"
    assert done.stderr.splitlines()[-1] == said
    assert "Traceback" not in done.stderr


def test_a_module_of_the_project_that_is_missing_is_no_package():
    with pytest.raises(ModuleNotFoundError, match=r"dcr\.nowhere"), needs_extra("pipeline", "it"):
        import dcr.nowhere  # noqa: F401
    with (
        pytest.raises(UserError, match=r"it needs nowhere, .*`pip install 'dcr"),
        needs_extra("x", "it"),
    ):
        import nowhere.inside  # noqa: F401


def test_the_tools_of_development_bring_the_pipelines():
    assert "dcr[pipeline]" in DECLARED["optional-dependencies"]["dev"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = copy_project(folder / "source")
    for name in ("README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    return build_wheel(folder, source)


@pytest.mark.slow
def test_a_wheel_in_an_empty_environment_loads_encoders(wheel, encoders, tmp_path):
    python = install(tmp_path / "environment", str(wheel))
    subprocess.run([python, "-c", USE, "features", *encoders], check=True, cwd=tmp_path)
    assert same(tmp_path / "features", encoders)
    site = next((tmp_path / "environment").glob("lib/python*/site-packages"))
    assert (site / "dcr").is_dir()
    assert not (site / "kedro").exists()


@pytest.mark.slow
def test_a_wheel_with_the_pipelines_runs_the_smoke_recipe_outside_the_repository(wheel, tmp_path):
    python = install(tmp_path / "environment", f"dcr[pipeline] @ {wheel.as_uri()}")
    shutil.copytree(PROJECT / "conf", tmp_path / "here" / "conf")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["DO_NOT_TRACK"] = "1"
    path = f"{python.parent}{os.pathsep}{environment['PATH']}"
    run = {"cwd": tmp_path / "here", "env": environment | {"PATH": path}, "timeout": 1800}
    subprocess.run([python.parent / "dcr", "--env", "smoke"], check=True, **run)
    encoder = tmp_path / "here/data/06_models/smoke/encoder"
    subprocess.run([python, "-c", USE, "features", encoder], check=True, **run)
    assert same(tmp_path / "here/features", [encoder])
    assert (tmp_path / "here/data/08_reporting/smoke/report.html").is_file()
