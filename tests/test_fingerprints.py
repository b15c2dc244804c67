"""What keys depend on: the code that makes a result and no other, on a copy of the sources in
which lines change.
"""

from __future__ import annotations

import ast
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml

import dcr
import latent_world
import models
from benchmark_folders import write_retrieval
from dcr import fingerprints
from dcr.data.benchmark_sets import open_set
from dcr.evaluation import Embedder, EvaluationOptions
from dcr.evaluation.cache import EncoderFingerprint
from dcr.evaluation.one_set import evaluate_set
from dcr.fingerprints import LIBRARIES, SOURCES, code_hash
from dcr.models.backbones import load_backbone
from dcr.parameters import (
    EvaluationParameters,
    PretrainingParameters,
    ScenesParameters,
    SynthesisParameters,
)
from dcr.pipelines.synthesis.nodes import synthesize_positives
from dcr.scenes import pretrain_record
from dcr.scenes.record import scenes_fingerprint
from dcr.source_graph import Sources
from dcr.training import fingerprint as training
from dcr.validation.measuring import fingerprint_shard
from project import PROJECT
from validation_tables import LIMITS

PACKAGE = Path(dcr.__file__).parent

# By an edited source, the results that are made again for it; of all others the keys stay.
# Candidates follow the latents that they are made of, which stay the same here.
LATENTS, MODELS = {"latents", "candidates"}, {"base models", "checks of base models"}
OF_ENCODERS = {"embeddings", "results", "checkpoints", *MODELS}
EDITS = {
    "data/transforms.py": OF_ENCODERS,
    "models/backbones/families/open_clip.py": OF_ENCODERS,
    "models/backbones/families/siglip.py": {"checkpoints"},
    "data/decoding.py": {*OF_ENCODERS, "rows", "scenes", "latents"},
    "data/crops.py": {"checkpoints", *LATENTS},
    "latents/encoding.py": {"checkpoints", *LATENTS},
    "latents/making.py": {"latents"},
    "positives/clsp.py": {"candidates"},
    "data/views.py": {"checkpoints"},
    "losses/dcr.py": {"checkpoints"},
    "training/batches.py": {"checkpoints"},
    "evaluation/embedding.py": {"embeddings", "results"},
    "evaluation/retrieval.py": {"results"},
    "metrics/bootstrap.py": {"embeddings", "results"},
    "validation/images.py": {"rows"},
    # Of checkpoints, since a training without a cache reads shards itself.
    "data/shards/tar_headers.py": {"rows", "results", "latents", "checkpoints", *MODELS},
    "scenes/drawing.py": {"scenes"},
    "scenes/pretrain_unet.py": MODELS,
    "scenes/pretrain_checks.py": {"checks of base models"},
}

# Of what shows, starts or plans, and of the checks of parameters, no result is made.
IDLE = (
    "validation/page.py",
    "reporting/page.py",
    "reporting/templates/report.html",
    "sweep/page.py",
    "pages/__init__.py",
    "cli.py",
    "framework/hooks.py",
    "framework/make_dvc.py",
    "export/card.py",
    "export/folder.py",
    # How bytes come; what they are, hashes and marks tell.
    "data/remote/__init__.py",
    "data/remote/objects.py",
    "data/remote/retrying.py",
    "data/remote/tree.py",
    "parameters/__init__.py",
    "parameters/validation.py",
    "latents/plan.py",
    "latents/verifying.py",
    "training/distributed/launcher.py",
    "training/distributed/worker.py",
    "pipelines/training/nodes.py",
    "selection/search.py",
)


class Keys:
    """Stands for the cache: notes the keys it is asked for and computes nothing."""

    def __init__(self):
        self.found = []

    def embeddings(self, key, compute, description):
        return np.zeros((1, 3), np.float32)

    def results(self, key, compute):
        self.found.append(key)
        return []


def section(cls, name):
    return cls(**yaml.safe_load((PROJECT / f"conf/base/parameters_{name}.yml").read_text())[name])


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Return a function that asks the keys of every kind of result."""
    folder = tmp_path_factory.mktemp("world")
    world = latent_world.World.make(folder)
    backbone = load_backbone(f"local-dir:{models.tiny_open_clip(folder / 'clip')}")
    retrieval = open_set(write_retrieval(folder / "retrieval"))
    options = EvaluationOptions.of(section(EvaluationParameters, "evaluation"))
    scenes, pretraining, synthesis = (
        section(cls, name)
        for cls, name in (
            (ScenesParameters, "scenes"),
            (PretrainingParameters, "pretraining"),
            (SynthesisParameters, "synthesis"),
        )
    )
    cache = world.cache()

    def result_key():
        noted = Keys()
        evaluate_set(Embedder(backbone, 1, 0, noted), retrieval, options)
        return noted.found

    def ask():
        code_hash.cache_clear()
        return {
            "embeddings": EncoderFingerprint.of(backbone),
            "results": result_key(),
            "latents": world.plan().keys,
            "candidates": synthesize_positives(synthesis, cache, world.diffusion).keys,
            "rows": fingerprint_shard(world.shards[0], LIMITS),
            "scenes": scenes_fingerprint(scenes),
            "base models": pretrain_record.fingerprint(pretraining, []),
            "checks of base models": pretrain_record.checks_fingerprint(pretraining),
            "checkpoints": training.code_hash(),
        }

    yield ask
    code_hash.cache_clear()


@pytest.fixture(scope="module")
def before(keys):
    """The keys of the sources as they are."""
    return keys()


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A copy of the project's sources, elsewhere."""
    return Path(
        shutil.copytree(
            PACKAGE,
            tmp_path_factory.mktemp("copy") / "dcr",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    )


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


@contextmanager
def lines_added(sources, names, monkeypatch):
    texts = {name: (sources / name).read_text() for name in names}
    try:
        for name, text in texts.items():
            (sources / name).write_text(f"{text}\nCHANGED = True\n")
        monkeypatch.setattr(fingerprints, "SOURCES", Sources(sources))
        yield
    finally:
        for name, text in texts.items():
            (sources / name).write_text(text)


def test_a_copy_of_the_sources_elsewhere_changes_no_key(keys, before, sources, monkeypatch):
    monkeypatch.setattr(fingerprints, "SOURCES", Sources(sources))
    assert keys() == before


@pytest.mark.parametrize("edited", EDITS)
def test_a_changed_line_changes_the_keys_of_what_it_makes_and_no_other(
    keys, before, sources, monkeypatch, edited
):
    with lines_added(sources, [edited], monkeypatch):
        assert changed(before, keys()) == EDITS[edited]


def test_a_changed_line_of_a_page_or_a_command_changes_no_key(keys, before, sources, monkeypatch):
    with lines_added(sources, IDLE, monkeypatch):
        assert changed(before, keys()) == set()


def test_the_code_of_a_process_is_what_it_started_with(sources, monkeypatch):
    """A worker and the node that waits for it agree, though a source is edited meanwhile."""
    code_hash.cache_clear()
    first = training.code_hash()
    with lines_added(sources, ["data/views.py"], monkeypatch):
        assert training.code_hash() == first
        code_hash.cache_clear()
        assert training.code_hash() != first
    code_hash.cache_clear()


@pytest.mark.parametrize(
    ("makers", "library"),
    [
        (("dcr.evaluation.one_set",), "scikit-learn"),
        (("dcr.latents.making",), "pillow"),
        (("dcr.training.stages",), "diffusers"),
        (("dcr.models.backbones.families.open_clip",), "open_clip_torch"),
    ],
)
def test_another_version_of_a_library_that_computes_counts_and_another_build_does_not(
    monkeypatch, makers, library
):
    def hash_with(versions):
        code_hash.cache_clear()
        monkeypatch.setattr(fingerprints, "version", lambda name: versions.get(name, "1.0"))
        return code_hash(*makers)

    before = hash_with({library: "2.0"})
    assert hash_with({library: "2.0+cu128"}) == before
    assert hash_with({library: "2.1"}) != before
    assert hash_with({library: "2.0", "kedro": "9.0", "tqdm": "9.0"}) == before
    code_hash.cache_clear()


def test_a_class_stands_for_its_module_and_those_of_its_bases():
    from dcr.models.backbones.families.open_clip import OpenClipBackbone

    class Own(OpenClipBackbone):
        """Of no module of the project."""

    assert code_hash(Own) == code_hash(OpenClipBackbone)
    assert code_hash(OpenClipBackbone) == code_hash(
        "dcr.models.backbones.families.open_clip", "dcr.models.backbones.base"
    )


# Libraries that read, write, show, start or describe, and change no value.
OTHERS = {
    *(
        "accelerate",
        "braceexpand",
        "click",
        "distributed",
        "dvclive",
        "fsspec",
        "great_expectations",
    ),
    *(
        "huggingface_hub",
        "jinja2",
        "joblib",
        "kedro",
        "kedro_datasets",
        "markupsafe",
        "mlflow",
        "omegaconf",
        "pandas",
    ),
    *(
        "plotly",
        "psutil",
        "pyarrow",
        "pydantic",
        "ray",
        "safetensors",
        "scmrepo",
        "threadpoolctl",
        "tqdm",
    ),
    *("wandb", "yaml"),
    # Of the extra of likenesses, whose own key has its version where it searched.
    "faiss",
    # Of the extra `mieb`, which most have not: a set of mteb's has its version in its own hash, so
    # that no other set's results depend on it. `datasets` reads what is hashed.
    *("datasets", "mteb"),
}


def test_every_library_of_the_project_is_known_to_compute_or_not_to():
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.partition(".")[0])
    outside = found - sys.stdlib_module_names - {"dcr"}
    assert outside == set(LIBRARIES) | OTHERS


SHOWN = {
    *(
        "pages",
        "reporting",
        "cli",
        "framework",
        "settings",
        "faults",
    ),
    *(
        "pipelines",
        "pipeline_registry",
        "datasets",
        "export",
        "sweep",
        "selection",
        "ledger",
    ),
}
MAKERS = {
    "checkpoints": (
        "dcr.training.stages",
        "dcr.training.views",
        "dcr.models.backbones",
        "dcr.models.diffusion",
    ),
    "embeddings": (
        "dcr.evaluation.embedding",
        "dcr.models.backbones.families.open_clip",
        "dcr.models.backbones.families.clip",
        "dcr.models.backbones.families.siglip",
    ),
    "results": ("dcr.evaluation.one_set",),
    "latents": ("dcr.latents.making",),
    "rows": ("dcr.validation.measuring",),
    "scenes": ("dcr.scenes.sets",),
}


@pytest.mark.parametrize("what", ["checkpoints", "embeddings", "results"])
def test_how_a_backbone_is_written_is_not_among_the_code_of_a_result(what):
    reached = SOURCES.reached(MAKERS[what])
    assert not {name for name in reached if name.startswith("dcr.models.backbones.forms")}
    assert not {name for name in reached if name.startswith("dcr.models.backbones.conversion")}
    assert "dcr.models.backbones.forms.clip" in SOURCES.reached(["dcr.export.folder"])


@pytest.mark.parametrize("what", MAKERS)
def test_nothing_that_shows_or_starts_is_among_the_code_of_a_result(what):
    reached = SOURCES.reached(MAKERS[what])
    rooms = {name.split(".")[1] for name in reached} | {
        ".".join(name.split(".")[1:3]) for name in reached
    }
    assert not rooms & SHOWN
    own = {
        "checkpoints": "training",
        "rows": "validation",
        "results": "evaluation",
        "embeddings": "evaluation",
    }
    others = set(own.values()) - {own.get(what)}
    assert not rooms & others
