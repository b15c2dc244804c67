"""Pipeline `validation` as a process of its own, to be killed: python validation_run.py SHARDS
FOLDER.
"""

import sys
from functools import partial
from pathlib import Path

import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from kedro_datasets.json import JSONDataset
from kedro_datasets.text import TextDataset

from dcr.data.benchmark_sets import open_set
from dcr.datasets.folders import FolderDataset
from dcr.datasets.sample_tables import (
    OptionalSampleTablesDataset,
    SampleTablesDataset,
    SelectedSamplesDataset,
)
from dcr.datasets.shards import ShardsDataset
from dcr.datasets.suites import SuitesDataset
from dcr.parameters import LikenessParameters, RecipeParameters, ValidationParameters
from dcr.parameters.sources import with_sources
from dcr.pipelines import likeness, validation

CONF = Path(__file__).parents[2] / "conf"
SETS = ("mmvp_vlm", "classification", "retrieval")


def run(shards: str | list[str], folder: Path, encoder=None, limits=None, **changes) -> None:
    """Run the pipeline with the demo's parameters and suite, no evaluation sets and one process.

    With an ``encoder`` pipeline `likeness` runs, too; ``limits`` are changes of its parameters.
    """
    base, demo = (
        yaml.safe_load((CONF / env / "parameters_validation.yml").read_text())["validation"]
        for env in ("base", "demo")
    )
    policies = base["policies"] | demo["policies"] | changes.pop("policies", {})
    chosen = changes.pop("sets", [])
    backbone = changes.pop("backbone", encoder.source if encoder else "b")
    suite = str(CONF / "base" / "expectations.yml")
    globals_ = with_sources(
        {"shards": shards, "sources": changes.pop("sources", None), "expectations": suite}
    )
    sources = globals_["sources"]
    parameters = base | demo | {"n_jobs": 1, **changes, "policies": policies}
    looked = yaml.safe_load((CONF / "base" / "parameters_likeness.yml").read_text())["likeness"]
    catalog = {
        "params:likeness": MemoryDataset(LikenessParameters(**looked | (limits or {}))),
        "likenesses": OptionalSampleTablesDataset(filepath=str(folder / "likenesses")),
        "evaluation_features": MemoryDataset(copy_mode="assign"),
        "sample_features": SampleTablesDataset(filepath=str(folder / "features")),
        "evaluation_cache": MemoryDataset(folder / "cache"),
        "backbone": MemoryDataset(encoder, copy_mode="assign"),
        "params:validation": MemoryDataset(ValidationParameters(**parameters)),
        "params:recipe": MemoryDataset(
            RecipeParameters(
                name="r", licence=None, data_licence="cc0-1.0", sources=sources, backbone=backbone
            )
        ),
        "params:evaluation.sets": MemoryDataset(chosen),
        "expectation_suites": SuitesDataset(sources=sources),
        "models": MemoryDataset({}),
        "shards": ShardsDataset(
            filepath=globals_["shards"], made_by="kedro run --pipelines scenes"
        ),
        **{name: MemoryDataset(partial(open_set, folder / name)) for name in SETS},
        "more_sets": MemoryDataset({}),
        "evaluation_images": SelectedSamplesDataset(
            filepath=str(folder / "evaluation_images.parquet")
        ),
        "tokenizer": FolderDataset(filepath=str(folder / "tokenizer"), made_by="kedro run"),
        "samples": SampleTablesDataset(filepath=str(folder / "samples")),
        "judged_samples": SampleTablesDataset(filepath=str(folder / "judged")),
        "validation_summary": JSONDataset(filepath=str(folder / "validation.json")),
        "expectation_results": JSONDataset(filepath=str(folder / "expectations.json")),
        "validation_page": TextDataset(filepath=str(folder / "validation.html")),
        "data_card": TextDataset(filepath=str(folder / "data_card.md")),
        "data_card_record": JSONDataset(filepath=str(folder / "data_card.json")),
        "rejected": SelectedSamplesDataset(filepath=str(folder / "rejected.parquet")),
        "manifest": SelectedSamplesDataset(filepath=str(folder / "manifest.parquet")),
    }
    pipeline = validation.create_pipeline()
    if encoder is not None:
        pipeline += likeness.create_pipeline()
    SequentialRunner().run(pipeline, DataCatalog(catalog))


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]))
