"""What makes the demo's images be drawn again."""

from __future__ import annotations

import pytest
import yaml

from dcr.parameters import ScenesParameters
from dcr.scenes.record import is_drawn, scenes_fingerprint
from project import PROJECT

PARAMETERS = yaml.safe_load((PROJECT / "conf/base/parameters_scenes.yml").read_text())["scenes"]


def fingerprint(**changes):
    return scenes_fingerprint(ScenesParameters(**PARAMETERS | changes))


def changed(value):
    return value / 2 if isinstance(value, float) else value + 1


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_every_parameter_counts_but_the_number_of_processes(name):
    same = fingerprint(**{name: changed(PARAMETERS[name])}) == fingerprint()
    assert same == (name == "n_jobs")


def test_a_folder_is_drawn_if_its_bytes_are_those_recorded_for_the_same_fingerprint():
    record = {"fingerprint": "a", "sha256": {"shards": "1", "mmvp_vlm": None}}
    assert is_drawn("shards", record, "a", {"shards": "1"})
    assert not is_drawn("shards", record, "b", {"shards": "1"})
    assert not is_drawn("shards", record, "a", {"shards": "2"})
    assert not is_drawn("mmvp_vlm", record, "a", {"mmvp_vlm": None})
    assert not is_drawn("shards", {}, "a", {"shards": "1"})
