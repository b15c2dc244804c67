"""Parts of one result of which there may be none."""

import torch

from dcr.datasets.partitions import OptionalPartitionsDataset


def dataset(folder):
    parts = {
        "type": "dcr.datasets.tensors.SafetensorsDataset",
        "made_by": "kedro run --pipelines alignment",
    }
    return OptionalPartitionsDataset(
        path=str(folder / "parts"), filename_suffix=".safetensors", dataset=parts
    )


def test_what_was_never_saved_is_empty(tmp_path):
    assert dataset(tmp_path).exists()
    assert dataset(tmp_path).load() == {}


def test_names_of_seeds_are_names_of_parts(tmp_path):
    names = ["base", "dcr", "dcr@2"]
    dataset(tmp_path).save(
        {name: {"text_map": torch.full((2, 2), float(place))} for place, name in enumerate(names)}
    )
    loaded = dataset(tmp_path).load()
    assert sorted(loaded) == names
    assert loaded["dcr@2"]()["text_map"].tolist() == [[2.0, 2.0], [2.0, 2.0]]


def test_a_save_of_none_removes_those_of_before(tmp_path):
    parts = dataset(tmp_path)
    parts.save({"dcr": {"text_map": torch.eye(2)}})
    assert list(parts.load()) == ["dcr"]
    parts.save({})
    assert parts.load() == {}
    assert (tmp_path / "parts").is_dir()
