"""What Kedro-Viz draws: layers in an order without a circle, and nodes that can be filtered by
their pipeline.
"""

import re
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from kedro_viz.services.layers import sort_layers

from dcr.pipeline_registry import register_pipelines

CONF = Path(__file__).parents[2] / "conf" / "base"
PIPELINES = register_pipelines()


def layers():
    """Return the layer that the catalog gives each dataset."""
    found = {}
    for path in CONF.glob("catalog*.yml"):
        entries = yaml.safe_load(re.sub(r"\$\{[^}]*\}", "x", path.read_text(encoding="utf-8")))
        for name, entry in entries.items():
            found[name] = (entry.get("metadata") or {}).get("kedro-viz", {}).get("layer")
    return found


def graph_of(pipeline):
    """Return nodes and what depends on each, as Kedro-Viz has them."""
    nodes, children, known = {}, defaultdict(set), layers()
    for node in pipeline.nodes:
        nodes[node.name] = SimpleNamespace(layer=None)
        for name in {*node.inputs, *node.outputs}:
            nodes[f"data {name}"] = SimpleNamespace(layer=known.get(name))
        for name in node.inputs:
            children[f"data {name}"].add(node.name)
        children[node.name] |= {f"data {name}" for name in node.outputs}
    return nodes, children


@pytest.mark.parametrize("name", list(PIPELINES))
def test_layers_have_no_circle(name):
    nodes, children = graph_of(PIPELINES[name])
    there = {node.layer for node in nodes.values()} - {None}
    assert set(sort_layers(nodes, children)) == there  # nothing where there is a circle


def test_the_layers_of_the_whole_chain_stand_in_the_datas_way():
    found = sort_layers(*graph_of(PIPELINES["__default__"]))
    last = [
        layer
        for layer in found
        if layer in ("primary", "model_input", "models", "model_output", "reporting")
    ]
    assert last == ["primary", "model_input", "models", "model_output", "reporting"]


def test_every_dataset_on_disk_has_a_layer():
    without = {name for name, layer in layers().items() if layer is None}
    assert without <= {"latent_plan", "product", "trained_base_models"}  # in memory


def test_nodes_are_tagged_with_their_pipeline():
    for name, pipeline in PIPELINES.items():
        if name != "__default__":
            assert {tag for node in pipeline.nodes for tag in node.tags} == {name}
    tags = {tag for node in PIPELINES["__default__"].nodes for tag in node.tags}
    assert tags == {
        "scenes",
        "validation",
        "latents",
        "training",
        "alignment",
        "evaluation",
        "export",
        "reporting",
    }
