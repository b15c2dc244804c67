"""A recipe's cost is the sum of its parts."""

from dataclasses import replace

import pytest
import yaml

from dcr.parameters import LatentsParameters, PlanParameters
from dcr.planning.cards import CARDS
from dcr.planning.outlines import outlines
from dcr.planning.recipe import MAX_BATCH, hours, plan_recipe
from dcr.planning.tables import as_text
from training_world import CONF, EXACT_SAVINGS, parameters, write_world

MEMORIES = [0.001, 24, 48]
KEPT = {"execution.cache_features": True}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    world = write_world(tmp_path_factory.mktemp("world"))
    found = outlines(f"local-dir:{world / 'clip'}", str(world / "diffusion"))
    return replace(found, has_memory=True)  # of tensors this small faster than without


def planned(models, latents=None, **changes):
    values = yaml.safe_load((CONF.parent / "parameters_latents.yml").read_text())["latents"]
    assumed = PlanParameters(num_images=1000, share_of_peak=0.5, memories_gb=MEMORIES)
    section = LatentsParameters(**values | (latents or {}))
    return plan_recipe(parameters(**changes), section, assumed, models)


@pytest.fixture(scope="module")
def plan(models):
    return planned(models, baselines=["reconstruction", "naive"], stage2_seeds=[1])


def test_hours_are_operations_over_what_a_card_reaches():
    a100 = CARDS[0]
    assert hours(int(312e12 * 3600), a100, "bf16", 0.5) == pytest.approx(2)
    assert hours(int(19.5e12 * 3600), a100, "no", 1.0) == pytest.approx(1)


def test_every_stage_method_and_seed_is_there(plan):
    names = ["stage1", "dcr", "reconstruction", "naive", "dcr@1", "reconstruction@1", "naive@1"]
    assert [run.name for run in plan.runs] == names == list(plan.runs_hours)
    for run in plan.runs:
        assert run.flops == run.one_row.step_flops * run.num_steps
        assert run.num_samples == 6 * 4


def test_the_whole_is_the_sum_of_latents_and_runs(plan):
    assert plan.flops == plan.latents.flops + sum(run.flops for run in plan.runs)
    for card in CARDS:
        parts = [plan.latents_hours, *plan.runs_hours.values()]
        assert plan.hours[card.name] == pytest.approx(sum(part[card.name] for part in parts))


def test_processes_compute_their_steps_each(models):
    one, two = (planned(models, **{"processes.num_processes": n}).runs[1] for n in (1, 2))
    assert two.flops == 2 * one.flops
    assert two.num_samples == 2 * one.num_samples
    assert two.one_row == one.one_row


def test_the_tower_encodes_each_crop_once_where_features_are_kept(models):
    often = {"stage1.max_train_steps": 750}  # 3000 samples of 1000 images
    kept, asked = planned(models, **often | KEPT), planned(models, **often)
    assert asked.runs[0].flops - kept.runs[0].flops == 2000 * kept.tower_flops
    assert kept.runs[1] == asked.runs[1]
    assert kept.runs[0].feature_bytes == 1000 * 4 * models.backbone().embed_dim
    assert "; features of stage 1 " in as_text("recipe", kept)
    assert "features" not in as_text("recipe", asked).partition("With another setting")[0]
    assert "training.execution.cache_features=true" in [one.setting for one in asked.savings]


def test_features_that_would_be_read_less_than_once_are_not_kept(models):
    two = {"crops_per_image": 2}
    for latents, steps in [({}, 250), (two, 499), ({"mode": "online"}, 750)]:
        changes = {"stage1.max_train_steps": steps}
        asked = planned(models, latents, **changes)
        assert planned(models, latents, **changes, **KEPT).runs == asked.runs
        assert "training.execution.cache_features=true" not in [s.setting for s in asked.savings]


def test_images_of_all_processes_widen_the_grid(models):
    wide = {"processes.num_processes": 2, "batches.gather_negatives": True}
    alone = planned(models, **{"processes.num_processes": 2}).runs[1]
    assert planned(models, **wide).runs[1].one_row.step_flops > alone.one_row.step_flops


def test_crops_are_encoded_once_or_in_every_step(models):
    cached = planned(models, {"crops_per_image": 3}).latents
    online = planned(models, {"mode": "online"})
    assert cached.num_crops == 3000
    assert online.latents.num_crops == sum(run.num_samples for run in online.runs) == 48
    assert online.latents.num_bytes == 0
    assert cached.flops / 3000 == online.latents.flops / 48


def test_what_fits_grows_with_memory(plan):
    for run in plan.runs:
        nothing, some, more = run.fits
        assert (nothing.rows, nothing.max_batch_size) == (0, 0)
        assert some.rows == more.rows == run.batch_size
        assert 2 < some.max_batch_size <= more.max_batch_size <= MAX_BATCH


def test_an_imported_projector_has_no_stage_1(models):
    plan = planned(models, **{"stage1.projector_file": "projector.bin"})
    assert [run.name for run in plan.runs] == ["dcr"]


def test_seeds_stand_together_in_the_tables_and_apart_in_the_hours(plan):
    text = as_text("tiny", plan)
    assert "tiny: 1,000 images of 32 px, 1 process;" in text
    assert text.count("naive (each of 2 seeds)") == 3
    assert "naive@1" not in text
    assert "at 50% of each card's dense peak" in text


def test_tables_say_where_nothing_fits_and_what_is_not_counted(plan):
    text = as_text("tiny", plan)
    assert "0.001 GB" in text
    assert "nothing" in text
    assert "Not counted: validation" in text
    assert all(card.source in text for card in CARDS)


def test_tables_say_which_cards_keep_the_towers_blocks(models):
    auto = planned(models, **{"execution.gradient_checkpointing": "auto"})
    assert [fit.keeps_tower for fit in auto.runs[1].fits] == [False, True, True]
    assert "4 of 4, tower kept, batch" in as_text("tiny", auto)
    again = planned(models, **{"execution.gradient_checkpointing": "tower"})
    assert "tower kept" not in as_text("tiny", again)
    assert auto.flops == again.flops


class TestSavings:
    def settings(self, plan):
        return {saving.setting: saving for saving in plan.savings}

    def test_exact_savings_are_told_by_their_numbers(self, plan):
        setting = ",".join(f"training.{name}=true" for name in EXACT_SAVINGS)
        assert self.settings(plan)[setting].flops < plan.flops

    def test_what_computes_the_unets_blocks_again_goes_with_folded_upsampling_alone(self, models):
        again = planned(models, **{"execution.gradient_checkpointing": "all"})
        found = self.settings(again)
        assert found["training.execution.folded_upsampling=true"].flops < again.flops
        assert not any("constant_prompt" in setting for setting in found)

    def test_fewer_baselines_and_seeds_cost_what_the_others_do(self, plan):
        found = self.settings(plan)
        own = plan.latents.flops + plan.runs[0].flops
        methods = [run.flops for run in plan.runs[1:4]]
        assert found["training.baselines=[]"].flops == own + 2 * methods[0]
        assert found["training.stage2_seeds=[]"].flops == own + sum(methods)

    def test_one_row_and_recomputed_blocks_take_less_memory(self, plan):
        found = self.settings(plan)
        assert found["training.execution.rows_per_chunk=1"].flops == plan.flops
        assert found["training.execution.rows_per_chunk=1"].memory_bytes < plan.memory_bytes
        again = found["training.execution.gradient_checkpointing=tower"]
        assert again.flops > plan.flops

    def test_bf16_is_told_in_hours(self, plan):
        saving = self.settings(plan)["training.mixed_precision=bf16"]
        assert all(saving.hours[card.name] < plan.hours[card.name] for card in CARDS)

    def test_what_is_set_already_or_changes_nothing_is_left_out(self, models):
        phase = {"objective": "dcr", "negatives_count": 2}
        changes = {"phases": {"dcr": [phase]}, "mixed_precision": "bf16"}
        found = self.settings(planned(models, **changes, **EXACT_SAVINGS))
        assert {*found} == {
            "training.execution.gradient_checkpointing=tower",
            "training.execution.rows_per_chunk=1",
        }
