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
from dcr.datasets.sample_tables import SampleTablesDataset, SelectedSamplesDataset
from dcr.datasets.shards import ShardsDataset
from dcr.parameters import RecipeParameters, ValidationParameters
from dcr.pipelines.validation import create_pipeline

CONF = Path(__file__).parents[2] / "conf"
SETS = ("mmvp_vlm", "classification", "retrieval")


def run(shards: str | list[str], folder: Path, **changes) -> None:
    """Run the pipeline with the demo's parameters and suite, no evaluation sets and one process."""
    base, demo = (
        yaml.safe_load((CONF / env / "parameters_validation.yml").read_text())["validation"]
        for env in ("base", "demo")
    )
    policies = base["policies"] | demo["policies"] | changes.pop("policies", {})
    chosen = changes.pop("sets", [])
    backbone = changes.pop("backbone", "b")
    parameters = base | demo | {"n_jobs": 1, **changes, "policies": policies}
    catalog = {
        "params:validation": MemoryDataset(ValidationParameters(**parameters)),
        "params:recipe": MemoryDataset(
            RecipeParameters(
                name="r", licence=None, data_licence="cc0-1.0", shards=shards, backbone=backbone
            )
        ),
        "params:evaluation.sets": MemoryDataset(chosen),
        "expectation_suite": MemoryDataset(
            yaml.safe_load((CONF / "base" / "expectations.yml").read_text())
        ),
        "models": MemoryDataset({}),
        "shards": ShardsDataset(filepath=shards, made_by="kedro run --pipelines scenes"),
        **{name: MemoryDataset(partial(open_set, folder / name)) for name in SETS},
        "more_sets": MemoryDataset({}),
        "evaluation_images": SelectedSamplesDataset(
            filepath=str(folder / "evaluation_images.parquet")
        ),
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
    SequentialRunner().run(create_pipeline(), DataCatalog(catalog))


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]))
