"""What a module runs through, on the project's own sources, and against what Python calls when
a pipeline runs.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import dcr
from dcr.source_graph import Sources
from project import PROJECT

PACKAGE = Path(dcr.__file__).parent
SOURCES = Sources(PACKAGE)

# Prints the modules of the project of which a run calls a function, those that are called by
# imports apart.
_RUN = """
import atexit, sys, threading
sys.argv = ["kedro", *sys.argv[1:]]
called = set()
def note(frame, event, argument):
    name = frame.f_globals.get("__name__", "")
    code = frame.f_code
    # Of modules and classes it has no flag 1, of what a decorator writes it has no file.
    written = code.co_flags & 1 and code.co_filename.endswith(".py")
    if event == "call" and name.startswith("dcr.") and written:
        called.add(name)
from kedro.framework.startup import bootstrap_project
import kedro.runner.task
original = kedro.runner.task.Task.execute
def noted(self):
    sys.setprofile(note)
    threading.setprofile(note)
    try:
        return original(self)
    finally:
        sys.setprofile(None)
kedro.runner.task.Task.execute = noted
atexit.register(lambda: print("called:", *sorted(called)))
from kedro.framework.cli.cli import main
main()
"""


def covered(path: str, sources: list[str]) -> bool:
    return any(path == source or path.startswith(f"{source}/") for source in sources)


def write(folder: Path, files: dict[str, str]) -> Sources:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return Sources(folder)


def test_imports_in_functions_count_and_so_do_modules_started_by_name():
    sources = SOURCES.listed(["dcr.pipelines.training.nodes"])
    assert covered("training/jobs.py", sources)  # imported in a node
    assert covered("training/distributed/worker.py", sources)  # started in processes of its own
    assert covered("losses/infonce.py", sources)
    assert covered("pipelines/training/nodes.py", sources)


def test_templates_belong_to_those_who_fill_them_and_so_does_what_they_extend():
    sweep, latents = (
        SOURCES.listed([f"dcr.pipelines.{name}.nodes"]) for name in ("sweep", "latents")
    )
    for template in ("sweep/templates/page.html", "pages/templates/base.html"):
        assert covered(template, sweep)
        assert not covered(template, latents)


def test_what_is_imported_for_type_checking_alone_does_not_count():
    assert not covered("models/diffusion.py", SOURCES.listed(["dcr.pipelines.latents.nodes"]))


def test_a_pipeline_does_not_run_through_the_others():
    sources = SOURCES.listed(["dcr.pipelines.validation.pipeline"])
    assert not covered("training/trainer.py", sources)
    assert [source for source in sources if source.startswith("pipelines/")] == [
        "pipelines/validation/nodes.py",
        "pipelines/validation/pipeline.py",
        "pipelines/validation/telling_nodes.py",
    ]


def test_every_source_is_there_and_none_twice():
    sources = SOURCES.listed(["dcr.pipelines.reporting.nodes", "dcr.datasets.models"])
    assert sources == sorted(set(sources))
    assert all((PACKAGE / source).exists() for source in sources)
    assert not [s for s in sources for other in sources if s != other and s.startswith(f"{other}/")]


def test_a_module_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match=r"dcr\.nothing is no module"):
        SOURCES.listed(["dcr.nothing"])


@pytest.mark.parametrize(
    "taken",
    [
        "from dcr.carrier import fetch",
        "from dcr.carrier.fetching import fetch",
        "from dcr.carrier.deep.inner import wait",
        "import dcr.carrier",
        "def f():\n    from dcr.carrier import FROM_HERE",
    ],
)
@pytest.mark.parametrize("mark", ["HANDS_ON_BYTES = True\n", ""])
def test_a_room_that_hands_on_bytes_has_no_part_in_the_hash_of_those_that_take_of_it(
    tmp_path, taken, mark
):
    files = {
        "carrier/__init__.py": f"from dcr.carrier.fetching import fetch\nFROM_HERE = 1\n{mark}",
        "carrier/fetching.py": "from dcr.waiting import wait\ndef fetch(): ...\n",
        "carrier/deep/__init__.py": "",
        "carrier/deep/inner.py": "def wait(): ...\n",
        "waiting.py": "def wait(): ...\n",
        "maker.py": f"{taken}\nimport dcr.other\n",
        "other.py": "",
    }

    def hash_with(name, text):
        return write(tmp_path, files | {name: files[name] + text}).hash(["dcr.maker"])

    before = hash_with("maker.py", "")
    assert hash_with("other.py", "NEW = 1\n") != before
    for name in write(tmp_path, files).listed(["dcr.maker"]):
        is_own = name in ("maker.py", "other.py") or not mark
        assert (hash_with(name, "NEW = 1\n") != before) == is_own
    assert len(write(tmp_path, files).listed(["dcr.maker"])) > 2


FRONT = {
    "room/__init__.py": (
        "from dcr.room.one import first\nfrom dcr.room.two import second as other\nimport"
        " dcr.room.two\nfrom dcr.shelf import LABEL\nFROM_HERE = 1\n"
    ),
    "room/one.py": "def first(): ...\n",
    "room/two.py": "import json\ndef second(): ...\n",
    "shelf/__init__.py": "from dcr.shelf.labels import LABEL\n",
    "shelf/labels.py": "LABEL = 'x'\n",
}


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        ("from dcr.room import first", {"dcr.room.one"}),
        ("from dcr.room import other", {"dcr.room.two"}),
        ("from dcr.room import LABEL", {"dcr.shelf.labels"}),  # through two fronts
        ("from dcr.room import one", {"dcr.room.one"}),
        ("from dcr.room.one import first", {"dcr.room.one"}),
        ("from .room import first", {"dcr.room.one"}),
        ("def f():\n    from dcr.room import first", {"dcr.room.one"}),
        ("START = ['-m', 'dcr.room.two']", {"dcr.room.two"}),
        (
            "from dcr.room import FROM_HERE",
            {"dcr.room", "dcr.room.one", "dcr.room.two", "dcr.shelf.labels"},
        ),
        ("import dcr.room", {"dcr.room", "dcr.room.one", "dcr.room.two", "dcr.shelf.labels"}),
    ],
)
def test_a_name_that_a_package_hands_on_leads_to_the_module_that_defines_it(
    tmp_path, taken, expected
):
    sources = write(tmp_path, {**FRONT, "user.py": f"{taken}\n"})
    assert sources.reached(["dcr.user"]) == {"dcr.user"} | expected


def test_a_package_that_looks_through_its_folder_imports_what_lies_there(tmp_path):
    listing = "from pkgutil import iter_modules\ndef all(): return [*iter_modules(__path__)]\n"
    shelf = {
        "shelf/__init__.py": listing,
        "shelf/one.py": "import dcr.room\n",
        "shelf/part/__init__.py": "",
        "shelf/part/inner.py": "",
        "shelf/notes/readme.txt": "",
        "room.py": "",
        "user.py": "from dcr.shelf import all\n",
    }
    reached = {"dcr.user", "dcr.shelf", "dcr.shelf.one", "dcr.shelf.part", "dcr.room"}
    assert write(tmp_path, shelf).reached(["dcr.user"]) == reached


def test_a_module_that_looks_through_its_folder_imports_what_lies_beside_it(tmp_path):
    listing = "from pkgutil import iter_modules\ndef all(): return [*iter_modules(['here'])]\n"
    shelf = {
        "shelf/__init__.py": "",
        "shelf/all_of_it.py": listing,
        "shelf/one.py": "import dcr.room\n",
        "room.py": "",
        "user.py": "from dcr.shelf.all_of_it import all\n",
    }
    reached = {"dcr.user", "dcr.shelf.all_of_it", "dcr.shelf.one", "dcr.room"}
    assert write(tmp_path, shelf).reached(["dcr.user"]) == reached


def test_the_front_of_a_package_has_no_effect_but_to_hand_on_or_to_define():
    """Else the ways round it would be wrong."""
    import ast

    allowed = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
    for front in PACKAGE.rglob("__init__.py"):
        for node in ast.parse(front.read_text()).body:
            typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            assert isinstance(node, allowed) or typing or docstring, f"{front}: {ast.unparse(node)}"


def test_libraries_are_those_of_all_that_is_reached(tmp_path):
    sources = write(
        tmp_path, {**FRONT, "user.py": "import numpy.linalg\nfrom dcr.room import other\n"}
    )
    assert sources.libraries(["dcr.user"]) == {"numpy", "json"}


def test_a_folder_stands_for_its_files_only_where_all_of_them_are_meant(tmp_path):
    sources = write(tmp_path, {**FRONT, "user.py": "import dcr.room\n"})
    assert sources.listed(["dcr.user"]) == ["room", "shelf/labels.py", "user.py"]


def test_a_hash_of_sources_is_that_of_their_names_and_bytes_wherever_they_lie(tmp_path):
    def hash_of(place, **files):
        named = {name.replace("_", "/") + ".py": text for name, text in files.items()}
        return write(tmp_path / place, {"part/__init__.py": "", **named}).hash(["dcr.user"])

    files = {
        "user": "import dcr.part.one, dcr.part.two\n",
        "part_one": "a = 1\n",
        "part_two": "b = 1\n",
    }
    first = hash_of("here", **files)
    assert hash_of("there/and/further", **files) == first
    assert hash_of("written in another order", **dict(reversed(files.items()))) == first
    assert hash_of("and with what is not imported", **files, other="c = 1\n") == first
    assert hash_of("edited", **files | {"part_two": "b = 2\n"}) != first
    moved = {"user": "import dcr.part.one, dcr.part.three\n", "part_three": "b = 1\n"}
    assert hash_of("renamed", part_one=files["part_one"], **moved) != first
    (tmp_path / "here/part/__pycache__").mkdir()
    (tmp_path / "here/part/__pycache__/one.cpython-311.pyc").write_bytes(b"bytes")
    assert Sources(tmp_path / "here").hash(["dcr.user"]) == first


@pytest.mark.xdist_group("smoke")
@pytest.mark.parametrize("pipeline", ["validation", "export"])
def test_whatever_a_run_calls_is_a_dependency_of_its_stage(smoke_project, pipeline):
    command = [sys.executable, "-c", _RUN, "run", "--env", "smoke", "--pipelines", pipeline]
    done = subprocess.run(command, cwd=smoke_project, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    stage = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"][pipeline]
    sources = [dep.removeprefix("src/dcr/") for dep in stage["deps"] if dep.startswith("src/dcr/")]
    called = done.stdout.rpartition("called:")[2].split()
    assert f"dcr.pipelines.{pipeline}.nodes" in called
    # What Kedro calls beside nodes.
    around = {
        "dcr.framework.hooks",
        "dcr.framework.run_hooks",
        "dcr.framework.session",
        "dcr.faults",
        "dcr.framework.outcome",
    }
    # Every run reads the record of `models` for the licence.
    around |= {"dcr.datasets.atomic", "dcr.datasets.records"}
    for name in {*called} - around:
        parts = name.split(".")[1:]
        module = PACKAGE.joinpath(*parts)
        path = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
        assert covered(path.relative_to(PACKAGE).as_posix(), sources), name
