"""Each pipeline ends with its result in one line."""

import logging

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro_datasets.json import JSONDataset

from corpus import good_samples
from dcr.data.shards import write_shard
from dcr.datasets.shards import ShardsDataset
from dcr.framework.outcome import TOLD_BY, Outcomes
from dcr.pipeline_registry import register_pipelines


@pytest.fixture
def told(tmp_path, caplog):
    """Returns a function that saves a dataset and gives the lines that this brought."""
    caplog.set_level(logging.INFO, "dcr.framework.outcome")

    class Reporting:
        detail_measures, separation_measures = (
            ("mmvp_vlm.mean",),
            ("clustering.acc", "clustering.nmi"),
        )
        text_measures = ("zero_shot.acc1",)

    values = {
        "validation_summary": {"shards": 8, "samples": 8000, "accepted": 7961, "rejected": 39},
        "training_record": {
            "runs": {
                "stage1": {"steps": 300, "seconds": 50.2},
                "dcr": {"steps": 1000, "seconds": 41.7},
            }
        },
        "scores": {
            "base": {"clustering": {"acc": 0.55}},
            "dcr": {"clustering": {"acc": 0.76}, "mmvp_vlm": {"mean": 0.3}},
            "dcr@2": {"clustering": {"acc": 0.7}},
            "dcr_unaligned": {"clustering": {"acc": 0.1}},
        },
        "alignment_record": {
            "form": "text",
            "encoders": {
                "base": {"chosen": {"step": 50, "held_out_loss": 1.23456}},
                "dcr": {"chosen": {"step": 0}},
            },
        },
        "latents_verification": {"failures": {"00001": "torn"}, "num_shards": 40},
        "base_models": {
            "unet": {"true_caption": 0.39, "empty_prompt": 0.43},
            "details": {
                "count": {"known": False},
                "color": {"known": True},
                "orientation": {"known": False},
            },
        },
        "params:reporting": Reporting(),
    }
    catalog = DataCatalog(
        {name: MemoryDataset(value, copy_mode="assign") for name, value in values.items()}
    )
    for name in ("shards", "adapters", "encoder", "validation_page", "report"):
        catalog[name] = JSONDataset(filepath=str(tmp_path / f"{name}.json"))
    hook = Outcomes()
    hook.before_pipeline_run(catalog)

    def save(name):
        caplog.clear()
        hook.after_dataset_saved(name)
        return [message.replace(f"{tmp_path}/", "") for message in caplog.messages]

    save.catalog = catalog
    return save


def test_alignment_tells_what_was_chosen_for_each_encoder(told):
    line = (
        "alignment: form text; base step 50, held out loss 1.235; dcr step 0; see alignment_record"
    )
    assert told("alignment_record") == [line]
    told.catalog["alignment_record"] = MemoryDataset({"form": "none", "encoders": {}})
    assert told("alignment_record") == ["alignment: form none; see alignment_record"]


def test_validation_tells_how_many_of_those_found_were_accepted(told):
    assert told("manifest") == [
        "validation: 7,961 of 8,000 samples accepted, in 8 shards; see validation_page.json"
    ]


def test_validation_tells_in_the_same_line_what_of_the_shards_was_passed_over(told, tmp_path):
    folder = tmp_path / "of shards"
    write_shard(folder, "00000", good_samples(2))
    (folder / ".hidden").touch()
    (folder / "notes.md").touch()
    told.catalog["shards"] = ShardsDataset(filepath=str(folder))
    told.catalog.load("shards")
    (line,) = told("manifest")
    assert "samples accepted, in 1 shards; passed over: " in line
    assert "hidden" in line


def test_training_tells_its_runs_and_where_its_weights_are(told):
    assert told("training_record") == [
        "training: stage1 300 steps in 50 s, dcr 1,000 steps in 42 s; trained weights are"
        " adapters.json"
    ]


def test_evaluation_tells_the_headline_scores_as_means_over_seeds(told):
    (line,) = told("this_seed")
    assert line.startswith(
        "evaluation: base: clustering.acc 55.0; dcr over 2 seeds: mmvp_vlm.mean 30.0,"
        " clustering.acc 73.0; see "
    )


def test_others_tell_what_they_found_or_where_to_look(told):
    assert told("latents_verification")[0].startswith("verify: 1 of 40 shards fail; see ")
    (line,) = told("base_models")
    assert "noise error 0.390 with true caption, 0.430 with empty prompt" in line
    assert line.endswith("; the UNet cannot tell count, orientation")
    assert told("encoder") == ["export: the encoder to hand on is encoder.json"]
    assert told("report") == ["reporting: see report.json"]
    assert told("outcomes") == []


def test_every_pipeline_that_writes_through_the_catalog_tells_its_result():
    """Of ingest, latents and synthesis the library tells, which knows what was kept."""
    silent = {
        name
        for name, pipeline in register_pipelines().items()
        if not pipeline.all_outputs() & set(TOLD_BY)
        and name not in ("ingest", "latents", "embedding")
    }
    assert silent == set()
