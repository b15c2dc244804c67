"""docs/architecture.md agrees with the sources: what it names is there, and a step goes the way
that it tells.
"""

import re
import sys
from pathlib import Path

import dcr
from project import PROJECT
from training_world import open_micro_step, write_world

PACKAGE = Path(dcr.__file__).parent
TEXT = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_every_file_and_folder_that_it_names_is_there():
    named = [
        name
        for name in re.findall(r"`([^`\s]+)`", TEXT)
        if name.endswith((".py", "/", ".yml", ".yaml", ".toml"))
    ]
    assert len(named) > 60
    for name in named:
        if "<" not in name:
            assert any(list(root.glob(name)) for root in (PACKAGE, PROJECT)), name


def test_every_room_is_in_its_table():
    table = TEXT.split("## The rooms")[1].split("\n## ")[0]
    for folder in PACKAGE.iterdir():
        if folder.is_dir() and folder.name != "__pycache__":
            assert f"`{folder.name}/`" in table, folder.name


def test_a_step_enters_the_files_in_the_order_that_it_tells(tmp_path):
    section = TEXT.split("## The way of a step")[1].split("\n## ")[0]
    told = re.findall(r"^\d\. `([^`]+)`", section, flags=re.MULTILINE)
    micro_step, collated = open_micro_step(write_world(tmp_path))
    micro_step(collated, 0, 2)  # what is made once
    entered = []

    def note(frame, event, argument):
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(PACKAGE):
            entered.append(path.relative_to(PACKAGE).as_posix())

    sys.setprofile(note)
    try:
        micro_step(collated, 1, 2)
    finally:
        sys.setprofile(None)
    assert [name for name in dict.fromkeys(entered) if name in told] == told
    assert len(told) == 8
    own = {name for name in entered if name.startswith(("training/", "losses/dcr"))}
    beside = {
        "training/distributed/columns.py",
        "training/contrast.py",
        "training/distributed/processes.py",
        "training/objectives/base.py",
        "training/runs.py",
    }
    assert own <= set(told) | beside
