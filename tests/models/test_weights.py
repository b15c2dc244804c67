"""Files of weights: what is read, under which names, and what is said of those that are damaged
or do not fit.
"""

import json
import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dcr.errors import UserError
from dcr.models.backbones import load_backbone
from dcr.models.weights import find_weights, fit, read_weights
from models import pixels, tiny_hf_clip, tiny_open_clip


class Tower(nn.Module):
    """A model with the names of image towers."""

    def __init__(self):
        super().__init__()
        self.visual = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
        self.head = nn.Linear(2, 2)
        self.logit_scale = nn.Parameter(torch.ones([]))


@pytest.fixture
def model():
    return Tower()


@pytest.fixture
def state(model):
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(tensor.shape, generator=generator)
        for name, tensor in model.state_dict().items()
    }


def prefixed(prefix):
    return lambda state: {prefix + name: tensor for name, tensor in state.items()}


FORMS = {
    "as it is": lambda state: state,
    "data parallel": prefixed("module."),
    "compiled": prefixed("_orig_mod."),
    "compiled and data parallel": prefixed("module._orig_mod."),
    "compiled tower": lambda state: {
        name.replace("visual.", "visual._orig_mod."): t for name, t in state.items()
    },
    "sharded blocks": lambda state: {
        name.replace("visual.0.", "visual.0._fsdp_wrapped_module."): t for name, t in state.items()
    },
    "inside a lightning module": prefixed("model."),
    "nested": prefixed("model.clip."),
    "a tower's name": prefixed("visual."),
    "in state_dict": lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"state": {}}},
    "in model": lambda state: {"model": prefixed("module.")(state), "step": 5},
    "in model_state_dict": lambda state: {"model_state_dict": state},
    "twice": lambda state: {"state_dict": {"model": state}},
    "with a scale of one number": lambda state: (
        state | {"logit_scale": state["logit_scale"].reshape(1)}
    ),
    "with old buffers": lambda state: (
        state | {"visual.embeddings.position_ids": torch.arange(3)[None]}
    ),
    "in double precision": lambda state: {name: tensor.double() for name, tensor in state.items()},
}


@pytest.mark.parametrize("form", FORMS)
def test_prefixes_and_wrappers_of_trainers_are_stripped(tmp_path, model, state, form):
    torch.save(FORMS[form](state), tmp_path / "weights.pt")
    fitted = fit(read_weights(tmp_path / "weights.pt"), model, tmp_path / "weights.pt")
    model.load_state_dict(fitted)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("write", [tiny_open_clip, tiny_hf_clip])
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod."])
def test_backbones_read_them_too(tmp_path, write, prefix):
    from safetensors.torch import load_file

    source = ("local-dir:" if write is tiny_open_clip else "") + str(write(tmp_path / "m"))
    expected = load_backbone(source).encode_image(pixels())
    path = next((tmp_path / "m").glob("*.safetensors"))
    save_file(prefixed(prefix)(load_file(path)), path, metadata={"format": "pt"})
    assert torch.equal(load_backbone(source).encode_image(pixels()), expected)


MISFITS = {
    "missing": (
        lambda state: without(state, "head.weight"),
        r"1 weight is missing \(head\.weight\)",
    ),
    "unexpected": (
        lambda state: state | {f"extra.{i}": torch.ones(1) for i in range(5)},
        r"5 weights are unexpected \(extra\.0, extra\.1, extra\.2 \.\.\.\)",
    ),
    "another shape": (
        lambda state: state | {"visual.0.weight": torch.ones(4, 5)},
        r"1 weight is of another shape \(visual\.0\.weight: \[4, 5\] in the file, \[4, 3\] there\)",
    ),
    "a quantised type": (
        lambda state: state | {"head.weight": torch.ones(2, 2, dtype=torch.int8)},
        r"1 weight is of a type that says nothing without a scale \(head\.weight: torch\.int8\)",
    ),
    "a float of eight bits": (
        lambda state: state | {"head.weight": torch.ones(2, 2).to(torch.float8_e4m3fn)},
        "float8_e4m3fn",
    ),
    "the tower alone": (
        lambda state: {
            name: tensor for name, tensor in state.items() if name.startswith("visual.")
        },
        r"3 weights are missing \(head\.bias, head\.weight, logit_scale\); name the model",
    ),
}


def without(state, name):
    return {key: tensor for key, tensor in state.items() if key != name}


@pytest.mark.parametrize("only_shapes", [False, True])
@pytest.mark.parametrize("case", MISFITS)
def test_what_does_not_fit_is_named(tmp_path, model, state, case, only_shapes):
    change, told = MISFITS[case]
    path = tmp_path / "model.safetensors"
    save_file(change(state), path)
    with pytest.raises(UserError, match=told) as caught:
        fit(read_weights(path, only_shapes), model, path)
    assert str(path) in str(caught.value)


def test_shapes_are_read_from_the_header_alone(tmp_path, state, monkeypatch):
    save_file(state, tmp_path / "model.safetensors")
    monkeypatch.setattr("safetensors.torch.load_file", None)
    shapes = read_weights(tmp_path / "model.safetensors", only_shapes=True)
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in shapes.items()} == {
        name: (tensor.shape, tensor.dtype) for name, tensor in state.items()
    }
    assert all(tensor.is_meta for tensor in shapes.values())


class TestDamaged:
    @pytest.mark.parametrize("name", ["model.safetensors", "model.pt", "model.bin"])
    @pytest.mark.parametrize("only_shapes", [False, True])
    @pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, 0.5, -1])
    def test_a_cut_file_is_named(self, tmp_path, state, name, only_shapes, keep):
        path = tmp_path / name
        (save_file if name.endswith("s") else torch.save)(state, path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * keep) if isinstance(keep, float) else keep])
        with pytest.raises(
            UserError, match=rf"{name} (is empty|is no whole safetensors file|cannot be loaded)"
        ):
            read_weights(path, only_shapes)

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(UserError, match=r"model\.pt is missing"):
            read_weights(tmp_path / "model.pt")
        with pytest.raises(
            UserError, match=r"no weights: one of a\.safetensors, b\.bin must lie in it"
        ):
            find_weights(tmp_path, ["a.safetensors", "b.bin"])

    @pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {1: torch.ones(1)}, torch.ones(2)])
    def test_a_file_without_tensors_by_name_is_told(self, tmp_path, content):
        torch.save(content, tmp_path / "model.pt")
        with pytest.raises(UserError, match="holds no tensors by name"):
            read_weights(tmp_path / "model.pt")


class TestHostile:
    @pytest.mark.parametrize("protocol", [0, 2, 4])
    @pytest.mark.parametrize("name", ["model.pt", "model.bin", "model.pth", "model.pkl"])
    def test_nothing_but_tensors_is_unpickled(self, tmp_path, name, protocol):
        class Malice:
            def __reduce__(self):
                return (open, (str(tmp_path / "ran"), "w"))

        for content in (pickle.dumps({"a": Malice()}, protocol), self._archive(tmp_path, Malice())):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(UserError, match=f"{name} cannot be loaded"):
                read_weights(tmp_path / name)
            assert not (tmp_path / "ran").exists()

    @staticmethod
    def _archive(tmp_path, malice):
        torch.save({"weight": malice}, tmp_path / "archive.pt")
        return (tmp_path / "archive.pt").read_bytes()

    def test_an_archive_that_would_unpack_to_gigabytes_is_refused(self, tmp_path, state):
        path = tmp_path / "model.pt"
        torch.save(state, path)
        with (
            zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
            archive.open("model/data/99", "w") as member,
        ):
            for _ in range(100):
                member.write(bytes(1 << 20))
        with pytest.raises(UserError, match=r"model\.pt cannot be loaded.*it would unpack to"):
            read_weights(path)

    @pytest.mark.parametrize(
        "name", ["../other.safetensors", "/etc/passwd", "sub/part.safetensors", 3]
    )
    def test_an_index_names_no_file_elsewhere(self, tmp_path, name):
        path = tmp_path / "model.safetensors.index.json"
        path.write_text(json.dumps({"weight_map": {"a": name}}))
        with pytest.raises(UserError, match="must name, in weight_map, files that lie beside it"):
            read_weights(path)

    def test_a_missing_part_is_named(self, tmp_path, state):
        save_file(state, tmp_path / "model-00001-of-00002.safetensors")
        parts = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
        path = tmp_path / "model.safetensors.index.json"
        path.write_text(json.dumps({"weight_map": dict(enumerate(parts))}))
        with pytest.raises(UserError, match=r"model-00002-of-00002\.safetensors is missing"):
            read_weights(path)


def test_parts_are_joined(tmp_path, state):
    names = sorted(state)
    for part, chosen in (("a", names[:2]), ("b", names[2:])):
        save_file({name: state[name] for name in chosen}, tmp_path / f"{part}.safetensors")
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(
        json.dumps(
            {
                "weight_map": {
                    name: "a.safetensors" if name in names[:2] else "b.safetensors"
                    for name in names
                }
            }
        )
    )
    assert read_weights(path).keys() == state.keys()
