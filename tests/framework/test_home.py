"""A run from any folder, with any configuration, as an installed package: the project's paths
mean the same files.
"""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from corpus import encode
from dcr.files import sha256_folder
from dcr.framework.home import conf_folder, name_the_user, project_folder
from environments import build_wheel
from project import PROJECT, copy_project, run


@pytest.fixture
def project(tmp_path):
    """A project whose recipe packs pictures, which it names by a path relative to the project."""
    folder = copy_project(tmp_path / "project")
    put_pictures(folder)
    (folder / "conf/own").mkdir()
    (folder / "conf/own/globals.yml").write_text("extends: smoke\nrecipe: own\nshards: shards\n")
    (folder / "conf/own/parameters_ingest.yml").write_text("ingest:\n  images: my/pictures\n")
    return folder


def put_pictures(folder):
    (folder / "my/pictures").mkdir(parents=True)
    for seed in range(3):
        (folder / f"my/pictures/{seed}.jpg").write_bytes(encode(seed=seed))
        (folder / f"my/pictures/{seed}.txt").write_text(f"picture number {seed}")


def ingest(cwd, *arguments, command=("kedro", "run"), check=True):
    return run(*command, "--env", "own", "--pipelines", "ingest", *arguments, cwd=cwd, check=check)


def lines(result):
    """What a run says, without the times."""
    return [line.partition(" ")[2] for line in result.stderr.splitlines()]


def test_a_project_is_found_from_the_folders_in_it_and_is_the_working_directory_elsewhere(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(PROJECT / "src/dcr")
    assert project_folder() == PROJECT
    assert conf_folder() == PROJECT / "conf"
    monkeypatch.chdir(tmp_path)
    assert project_folder() == tmp_path
    assert conf_folder("/elsewhere") == conf_folder("/elsewhere").absolute()


def test_a_run_from_a_subfolder_is_the_run_from_the_top(project):
    top = ingest(project)
    written = sha256_folder(project / "shards")
    shutil.rmtree(project / "shards")
    (project / "below/it").mkdir(parents=True)
    below = ingest(project / "below/it")
    assert sha256_folder(project / "shards") == written
    assert lines(below)[:-1] == lines(top)[:-1]  # the last tells seconds
    assert not list((project / "below/it").iterdir())


def test_the_module_runs_from_a_subfolder(project):
    ingest(project / "my", command=(sys.executable, "-m", "dcr"))
    assert (project / "shards/00000.tar").is_file()


def test_a_configuration_may_lie_elsewhere_and_be_named_by_a_relative_path(project, tmp_path):
    shutil.move(project / "conf/own", tmp_path / "own")
    shutil.copytree(project / "conf", tmp_path / "settings")
    shutil.move(tmp_path / "own", tmp_path / "settings/own")
    ingest(project / "my", "--conf-source", "../../settings")
    assert (project / "shards/00000.tar").is_file()


def test_an_archive_of_configuration_is_refused_since_no_recipe_could_extend_another(
    project, tmp_path
):
    archive = shutil.make_archive(str(tmp_path / "conf"), "gztar", project, "conf")
    result = ingest(project, "--conf-source", archive, check=False)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "conf.tar.gz is not a folder: unpack" in result.stderr.splitlines()[-1]


def test_a_user_without_a_name_gets_one_and_others_keep_theirs(monkeypatch):
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    name_the_user()
    assert getpass.getuser() == f"uid{os.getuid()}"
    monkeypatch.setenv("LOGNAME", "somebody")
    name_the_user()
    assert getpass.getuser() == "somebody"


@pytest.mark.slow
@pytest.mark.xdist_group("smoke")
def test_training_goes_on_under_a_number_without_a_home_a_cache_or_a_temporary_folder(
    smoke_project, tmp_path
):
    if os.getuid() or not shutil.which("setpriv"):
        pytest.skip("needs root, to become nobody, and setpriv")
    project = shutil.copytree(smoke_project, tmp_path / "project")
    shutil.rmtree(project / "data/06_models/smoke/checkpoints")
    for place in (tmp_path.parent.parent, tmp_path.parent, tmp_path):
        place.chmod(0o755)
    run("chown", "-R", "12345:12345", str(project), cwd=tmp_path)
    # Python may lie in root's home.
    may_read = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    nobody = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", *may_read]
    nowhere = [
        f"{name}=/nonexistent"
        for name in ("HOME", "HF_HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    ]
    command = [sys.executable, "-m", "dcr", "--env", "smoke", "--pipelines", "training"]
    result = run(*nobody, "env", "-u", "LOGNAME", "-u", "USER", *nowhere, *command, cwd=project)
    assert "left out" not in result.stderr
    assert (project / "data/06_models/smoke/projector.safetensors").stat().st_uid == 12345


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """What `kedro package` installs, unpacked; built without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = copy_project(folder / "source")
    for name in ("README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    with zipfile.ZipFile(build_wheel(folder, source)) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_a_wheel_holds_every_file_of_the_package_that_is_not_a_module(wheel):
    def others(folder):
        return {
            p.relative_to(folder)
            for p in folder.rglob("*")
            if p.is_file() and p.suffix not in (".py", ".pyc")
        }

    assert others(wheel / "dcr") == others(PROJECT / "src/dcr")


def test_an_installed_wheel_runs_in_any_folder_with_a_configuration_of_its_own(
    wheel, project, tmp_path
):
    here = tmp_path / "here"
    shutil.copytree(project / "conf", here / "conf")
    put_pictures(here)
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    code = "import sys, dcr; from dcr.__main__ import main; print(dcr.__file__); main()"
    arguments = ["--env", "own", "--pipelines", "ingest"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=here,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(wheel))
    assert (here / "shards/00000.tar").is_file()
    assert "INFO    " in done.stderr, "the log is not that of conf/logging.yml"


def test_the_console_script_has_the_projects_other_commands_too(wheel, tmp_path):
    entry = next(wheel.glob("*.dist-info")) / "entry_points.txt"
    assert "dcr = dcr.__main__:main" in entry.read_text()
    assert (
        "--template" in run(sys.executable, "-m", "dcr", "make-set", "--help", cwd=tmp_path).stdout
    )
