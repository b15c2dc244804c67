"""The folder that is handed on: the adapter merged, in the precision asked for, with a card of
what was measured.
"""

import json
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import open_clip
import pytest
import torch
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from peft import PeftModel
from safetensors.torch import load_file
from transformers import CLIPModel, CLIPVisionModel, SiglipVisionModel

import belonging
from dcr.alignment import evaluated_hashes, tell_alignment
from dcr.errors import UserError
from dcr.evaluation.comparison import comparison_records
from dcr.export.card import model_card
from dcr.models.backbones import load_backbone
from dcr.models.backbones.conversion.clip import to_clip_model
from dcr.models.encoder import load_encoder
from dcr.parameters import (
    EvaluationParameters,
    ExportParameters,
    RecipeParameters,
    TrainingParameters,
)
from dcr.parameters.section import merge
from dcr.pipelines.export.nodes import add_data_card, compose_card, export_encoder
from dcr.training.model import prepare_tower, tower_state
from measured import comparison
from models import TEXTS, pixels, randomize_adapter, tiny_hf_clip, tiny_open_clip, tiny_siglip
from nested import nested

CONF = Path(__file__).parents[2] / "conf" / "base"
TRAINING = TrainingParameters.model_validate(
    yaml.safe_load((CONF / "parameters_training.yml").read_text())["training"]
)
SCORES = {
    name: {"zero_shot": {"acc1": value}}
    for name, value in (("base", 0.5), ("dcr", 0.4), ("naive", 0.3))
}
SETS = [{"name": "classification", "dataset": "birds", "benchmarks": ["zero_shot"]}]
INTERVALS = {name: {"zero_shot": {"acc1": [0.3, 0.6]}} for name in SCORES}
COMPARISONS = {"dcr": comparison_records([comparison("zero_shot.acc1", 0.5, 0.4, (-0.15, -0.05))])}


EVALUATION = EvaluationParameters.model_validate(
    yaml.safe_load((CONF / "parameters_evaluation.yml").read_text())["evaluation"]
)
VALIDATION = {"samples": 3, "accepted_sha256": belonging.SAMPLES}
DATA_CARD = {"accepted_sha256": belonging.SAMPLES, "licence": "cc0"}
NOTHING = SimpleNamespace(model=torch.nn.Linear(1, 1))
TRAINED = belonging.training_record(TRAINING, NOTHING, {"dcr": {}, "naive": {}})


NOT_ALIGNED = (belonging.alignment(), {})


def card(
    models=None,
    scores=SCORES,
    training=TRAINING,
    trained=TRAINED,
    evaluated=None,
    alignment=NOT_ALIGNED,
    export=None,
    backbone="b",
    **tables,
):
    recipe = RecipeParameters(
        name="demo",
        licence="mit",
        data_licence=None,
        sources=[{"name": "shards", "shards": "s", "weight": 1.0, "expectations": "e"}],
        backbone=backbone,
    )
    tables = {
        "intervals": INTERVALS,
        "comparisons": COMPARISONS,
        "validation": VALIDATION,
    } | tables
    evaluated = evaluated or belonging.this_seed(
        EVALUATION, TRAINED, scores=SCORES, intervals=INTERVALS, comparisons=COMPARISONS
    )
    return compose_card(
        training, recipe, trained, models or {}, tables["validation"], scores, tables["intervals"],
        tables["comparisons"], evaluated, *alignment, SETS, export or exported(), DATA_CARD,
    )  # fmt: skip


def exported(dtype="float32", vision_only=False, hub_benchmarks=None):
    return ExportParameters(
        dtype=dtype, vision_only=vision_only, hub_benchmarks=hub_benchmarks or {}
    )


def export(source, folder, dtype="float32", vision_only=False, form="none", hub_benchmarks=None):
    """Export a backbone with a random adapter, and with a random map where there is to be one;
    return the tower that it must equal, and with it the map."""
    trained = load_backbone(source)
    prepare_tower(trained, TRAINING.tuning)
    randomize_adapter(trained.visual.eval())
    weights = tower_state(trained, TRAINING.tuning)
    parameters, base = exported(dtype, vision_only, hub_benchmarks), load_backbone(source)
    record = belonging.training_record(TRAINING, base, {"dcr": weights})
    alignment = belonging.alignment(form)
    noise = torch.randn(base.embed_dim, base.embed_dim, generator=torch.Generator().manual_seed(3))
    matrix = torch.eye(base.embed_dim) + 0.3 * noise
    maps = (
        {"base": {}, "dcr": {f"{form}_map": matrix}} if form != "none" else {"base": {}, "dcr": {}}
    )
    aligned = belonging.alignment_record(alignment, record, maps)
    told = card(export=parameters, backbone=source)
    told |= {"alignment": tell_alignment(aligned, alignment, "dcr")}
    loaders = {name: partial(maps.get, name) for name in maps}
    adapters = {"dcr": lambda: weights}
    export_encoder(parameters, TRAINING, record, told, base, adapters, alignment, loaders, aligned)(
        folder
    )
    return trained if form == "none" else (trained, matrix)


@pytest.fixture
def source(tmp_path):
    return f"local-dir:{tiny_open_clip(tmp_path / 'base')}"


def test_the_folder_has_the_trained_features(source, tmp_path):
    trained = export(source, tmp_path / "export")
    result = load_encoder(tmp_path / "export").backbone.encode_image(pixels())
    torch.testing.assert_close(result, trained.encode_image(pixels()), atol=1e-5, rtol=1e-5)
    assert not (tmp_path / "export" / "vision").exists()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_takes_half_the_space_and_opens_everywhere(source, tmp_path, dtype):
    trained = export(source, tmp_path / "export", dtype)
    folder = tmp_path / "export"
    for name in ("model.safetensors", "open_clip_model.safetensors"):
        state = load_file(folder / name)
        assert {tensor.dtype for tensor in state.values() if tensor.is_floating_point()} == {
            getattr(torch, dtype)
        }
    expected = trained.encode_image(pixels())
    normalized = trained.preprocessing.normalize(pixels())
    with torch.no_grad():
        hf = CLIPModel.from_pretrained(folder, dtype=torch.float32).get_image_features(normalized)
        hf = getattr(hf, "pooler_output", hf)
        oc = (
            open_clip.create_model(f"local-dir:{folder}", require_pretrained=True)
            .eval()
            .encode_image(normalized)
        )
    rounding = 0.02 if dtype == "float16" else 0.1
    for result in (hf, oc, load_encoder(folder).backbone.encode_image(pixels())):
        assert (result - expected).norm() < rounding * expected.norm()


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_the_vision_tower_alone_has_the_towers_hidden_states(tmp_path, family):
    clip = family == "clip"
    source = (
        f"local-dir:{tiny_open_clip(tmp_path / 'b')}" if clip else str(tiny_siglip(tmp_path / "b"))
    )
    trained = export(source, tmp_path / "export", vision_only=True)
    folder = tmp_path / "export" / "vision"
    model_class = CLIPVisionModel if clip else SiglipVisionModel
    tower, report = model_class.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    with torch.no_grad():
        normalized = trained.preprocessing.normalize(pixels())
        states = tower.eval()(normalized, output_hidden_states=True).hidden_states
    patches = states[-2][:, 1:] if clip else states[-2]
    torch.testing.assert_close(patches, trained.patch_tokens(pixels()), atol=1e-4, rtol=0)
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    }
    assert all(name.startswith("vision_model.") for name in load_file(folder / "model.safetensors"))


def test_encoders_that_no_set_has_scored_are_handed_on():
    """An evaluation without sets opens no encoder, so its record tells of no weights."""
    nothing = {"base": {}, "dcr": {}}
    tables = {"scores": nothing, "intervals": nothing, "comparisons": {}}
    evaluated = belonging.this_seed(EVALUATION, TRAINED, **tables) | {"encoders": {}}
    told = card(evaluated=evaluated, **tables)
    assert told["scores"] == nothing
    assert "## Scores" not in model_card(told | {"base_model": "base"}, {})


def test_the_card_tells_origin_hashes_scores_and_losses(source, tmp_path):
    export(source, tmp_path / "export")
    text = (tmp_path / "export" / "README.md").read_text()
    assert "license: mit" in text
    assert f"base model `{source}`" in text
    assert "| zero_shot | acc1 | 50.0 [30.0, 60.0] | 40.0 [30.0, 60.0] |" in text
    assert "naive" not in text.partition("## Scores")[2].partition("## Known")[0]
    assert (
        "- zero_shot acc1: -10.0 points against the base model, interval [-15.0, -5.0] over 3"
        " training seeds" in text
    )
    hashes = text.partition("## Hashes")[2]
    assert all(f"| {name} | `" in hashes for name in ("data", "backbone", "validation", "recipe"))


def test_the_folder_has_its_results_for_programs_and_for_the_hub(source, tmp_path):
    folder = tmp_path / "export"
    export(source, folder, hub_benchmarks={"zero_shot.acc1": "org/birds/zero_shot"})
    results = json.loads((folder / "results.json").read_text())
    assert results["scores"] == {name: SCORES[name] for name in ("base", "dcr")}
    assert results["weights"] == evaluated_hashes({}, belonging.alignment(), TRAINED)["dcr"]
    (told,) = ModelCard.load(folder / "README.md").data.eval_results
    assert (told.task_type, told.dataset_name) == ("zero-shot-image-classification", "birds")
    assert (told.metric_type, told.metric_value) == ("acc1", 0.4)
    assert told.metric_args == {"interval": [0.3, 0.6], "base_model": 0.5}
    (entry,) = parse_eval_result_entries(
        yaml.safe_load((folder / ".eval_results/scores.yaml").read_text())
    )
    assert (entry.dataset_id, entry.task_id, entry.value) == ("org/birds", "zero_shot", 0.4)


def test_a_leaderboard_of_what_was_not_measured_is_refused_before_any_weights_are_read():
    parameters = exported(hub_benchmarks={"zero_shot.acc5": "org/birds/x"})
    sentence = r"names zero_shot.acc5, .* no score of; it has zero_s"
    with pytest.raises(UserError, match=sentence):
        card(export=parameters)


def test_a_card_lists_the_phases_of_a_method_that_has_several():
    phases = [
        {"objective": "reconstruction", "temperature": 0.3},
        {"objective": "dcr", "negatives_count": 2},
    ]
    training = other_training(method="dcr", phases={"dcr": phases})
    trained = belonging.training_record(training, NOTHING, {"dcr": {}, "naive": {}})
    evaluated = belonging.this_seed(
        EVALUATION, trained, scores=SCORES, intervals=INTERVALS, comparisons=COMPARISONS
    )
    told = card(training=training, trained=trained, evaluated=evaluated)
    text = model_card(told | {"base_model": "b"}, {})
    assert "| `1` | `reconstruction` |" in text.partition("## Phases of training")[2]
    assert "Phase 2 of training was approximate: 2 sampled negatives" in text
    assert "## Phases of training" not in model_card(card() | {"base_model": "b"}, {})


def test_a_recipe_without_evaluation_sets_gets_a_card_that_says_so():
    empty = {
        "scores": {"base": {}, "dcr": {}},
        "intervals": {"base": {}, "dcr": {}},
        "comparisons": {},
    }
    evaluated = belonging.this_seed(EVALUATION, TRAINED, **empty)
    text = model_card(card(**empty, evaluated=evaluated) | {"base_model": "b"}, {})
    assert "## Scores" not in text
    assert "Not measured: the encoders had not been evaluated" in text


def test_an_encoder_that_could_not_be_evaluated_is_named():
    with pytest.raises(
        UserError, match=r"encoder dcr has no scores.* run `kedro run --pipelines evaluation`"
    ):
        card(scores={"base": SCORES["base"]})


def test_the_commit_of_a_base_model_from_the_hub_is_told():
    found = {"backbone": {"source": "a/b", "revision": "c0ffee"}}
    assert card(found, backbone="a/b")["base_revision"] == "c0ffee"
    assert card(backbone="a/b")["base_revision"] is None


def test_the_commit_of_another_base_model_is_not_told():
    """The recipe names another model than when its models were fetched."""
    found = {"backbone": {"source": "a/b", "revision": "c0ffee"}}
    told = card(found, backbone="a/c")
    assert (told["base_model"], told["base_revision"]) == ("a/c", None)


SOURCES = {
    "open_clip": lambda folder: f"local-dir:{tiny_open_clip(folder)}",
    "clip": lambda folder: str(tiny_hf_clip(folder)),
    "siglip": lambda folder: str(tiny_siglip(folder)),
}


@pytest.mark.parametrize(
    ("family", "form"),
    [("open_clip", "image"), ("open_clip", "text"), ("clip", "image"), ("siglip", "text")],
)
@torch.no_grad()
def test_the_folder_has_the_features_of_the_aligned_encoder(tmp_path, family, form):
    with torch.enable_grad():
        trained, matrix = export(
            SOURCES[family](tmp_path / "b"), tmp_path / "export", vision_only=True, form=form
        )
    exported = load_encoder(tmp_path / "export").backbone
    images, texts = trained.encode_image(pixels()), trained.encode_text(TEXTS)
    expected = (images @ matrix, texts) if form == "image" else (images, texts @ matrix)
    torch.testing.assert_close(exported.encode_image(pixels()), expected[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(exported.encode_text(TEXTS), expected[1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        exported.patch_tokens(pixels()), trained.patch_tokens(pixels()), atol=1e-5, rtol=1e-5
    )


def test_towers_that_llava_reads_are_the_same_with_and_without_an_alignment(source, tmp_path):
    for form in ("none", "image", "text"):
        torch.manual_seed(0)  # PEFT draws from it
        export(source, tmp_path / form, vision_only=True, form=form)
    tower = (tmp_path / "none" / "vision" / "model.safetensors").read_bytes()
    for form in ("image", "text"):
        assert (tmp_path / form / "vision" / "model.safetensors").read_bytes() == tower
        assert (
            load_file(tmp_path / form / "model.safetensors").keys()
            == load_file(tmp_path / "none" / "model.safetensors").keys()
        )
    assert not (tmp_path / "none" / "adapter" / "alignment.safetensors").exists()


@pytest.mark.parametrize("form", ["image", "text"])
def test_the_cards_lines_put_the_alignment_behind_an_adapter(source, tmp_path, form):
    """What README.md tells a user of PEFT, run as it stands there."""
    export(source, tmp_path / "export", form=form)
    text = (tmp_path / "export" / "README.md").read_text()
    section = text.partition("## Alignment")[2].partition("\n## ")[0]
    code = re.search(r"```python\n(.*?)```", section, re.S)[1].replace(
        "path/to/this/folder", str(tmp_path / "export")
    )
    base = to_clip_model(load_backbone(source).model, 49407)
    model = PeftModel.from_pretrained(base, tmp_path / "export" / "adapter").merge_and_unload()
    exec(code, {"layer": model.visual_projection if form == "image" else model.text_projection})
    exported = CLIPModel.from_pretrained(tmp_path / "export")
    for name in ("visual_projection", "text_projection"):
        torch.testing.assert_close(
            getattr(model, name).weight, getattr(exported, name).weight, atol=1e-5, rtol=1e-5
        )


def test_the_card_tells_the_alignment_and_the_scores_of_both_forms(source, tmp_path):
    export(source, tmp_path / "export", form="text")
    text = (tmp_path / "export" / "README.md").read_text()
    assert "The text tower is the base model's, with its last linear layer refitted." in text
    told = text.partition("## Alignment")[2]
    assert "Chosen on held-out training images: step 1, held out loss 0.5." in told
    assert (
        "dcr is this folder's encoder, dcr_unaligned the same as trained, and base_aligned the base"
        " model" in told
    )
    names = ("base", "base_aligned", "dcr", "dcr_unaligned", "naive", "naive_unaligned")
    scores = {name: {"zero_shot": {"acc1": place / 10}} for place, name in enumerate(names)}
    intervals = {name: {"zero_shot": {"acc1": [0.0, 0.9]}} for name in names}
    parameters = belonging.alignment("text")
    maps = {name: {} for name in ("base", "dcr", "naive")}
    record = belonging.alignment_record(parameters, TRAINED, maps)
    made = evaluated_hashes(record, parameters, TRAINED)
    tables = {"scores": scores, "intervals": intervals, "comparisons": COMPARISONS}
    evaluated = belonging.this_seed(EVALUATION, TRAINED, **tables) | {"encoders": made}
    composed = card(evaluated=evaluated, alignment=(parameters, record), **tables)
    assert list(composed["scores"]) == list(composed["intervals"]) == list(names[:4])
    assert composed["alignment"] == {"form": "text", "chosen": {"step": 1, "held_out_loss": 0.5}}
    evaluated["encoders"]["dcr"] = made["dcr_unaligned"]
    with pytest.raises(
        UserError, match=r"scores of dcr are of other weights than those that training or alignment"
    ):
        card(evaluated=evaluated, alignment=(parameters, record), **tables)


def other_training(**changes):
    return TrainingParameters.model_validate(merge(TRAINING.model_dump(), nested(changes)))


def with_products(**changes):
    return TRAINED | {"products": TRAINED["products"] | changes}


OTHER = {"base": {"zero_shot": {"acc1": 0.1}}, "dcr": {"zero_shot": {"acc1": 0.2}}}
REFUSED = {
    "a learning rate that was never used": (
        {"training": other_training(**{"stage2.learning_rate": 0.5})},
        (
            r"ran with training.stage2.learning_rate 0.001, the recipe says 0.5; run `kedro run"
            r" --pipelines training"
        ),
    ),
    "another seed": (
        {"training": other_training(seed=4)},
        r"training.seed 0, the recipe says 4; .*--params",
    ),
    "another method": (
        {"training": other_training(method="naive")},
        r"training.method 'dcr', the recipe says 'naive'",
    ),
    "a record of an earlier version": ({"trained": {"hashes": {}}}, "is of an earlier version"),
    "new weights under the old scores": (
        {"trained": with_products(adapters={"dcr": "new"})},
        r"scores of dcr are of other .*--pipelines evaluation",
    ),
    "scores of an interrupted evaluation": (
        {"scores": OTHER},
        r"scores and this_seed.json are not of one evaluation",
    ),
    "other intervals": (
        {"intervals": OTHER},
        r"intervals and this_seed.json are not of one evaluation",
    ),
    "other comparisons": (
        {"comparisons": {}},
        r"comparisons and this_seed.json are not of one evaluation",
    ),
    "scores that tell of no encoders": (
        {"evaluated": {"scores": SCORES}},
        r"do not tell of which encoders",
    ),
    "counts of other samples": (
        {"validation": {"samples": 3, "accepted_sha256": "0"}},
        r"validation.json does not tell of the samples",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_card_joins_only_what_belongs_together(case):
    changes, sentence = REFUSED[case]
    with pytest.raises(UserError, match=sentence):
        card(**changes)


def test_how_training_was_walked_may_change_after_it():
    assert card(
        training=other_training(
            **{
                "execution.num_workers": 3,
                "held_out.every_steps": 1,
                "checkpoints.resume_from": "none",
            }
        )
    )


def test_weights_of_another_training_are_not_exported(source, tmp_path):
    weights, base = {"a": torch.ones(2)}, load_backbone(source)
    parameters = exported()
    record = belonging.training_record(TRAINING, base, {"dcr": weights})
    for adapters in ({"dcr": lambda: {"a": torch.zeros(2)}}, {"naive": lambda: weights}):
        with pytest.raises(
            UserError, match=r"trained weights of dcr are not those .*--pipelines training"
        ):
            export_encoder(parameters, TRAINING, record, {}, base, adapters, *NOT_ALIGNED, {})
    with torch.no_grad():
        next(base.visual.parameters()).add_(1)
    with pytest.raises(UserError, match=r"started from other weights than those of backbone"):
        export_encoder(
            parameters, TRAINING, record, {}, base, {"dcr": lambda: weights}, *NOT_ALIGNED, {}
        )


def test_what_it_was_trained_on_lies_beside_the_encoder(tmp_path):
    record = {"accepted_sha256": belonging.SAMPLES, "samples": 3}

    def write_files(folder):
        (folder / "README.md").write_text("the model card")

    add_data_card(write_files, TRAINED, "# Data", record)(tmp_path)
    assert (tmp_path / "README.md").read_text() == "the model card"
    assert (tmp_path / "data_card.md").read_text() == "# Data"
    assert json.loads((tmp_path / "data_card.json").read_text()) == record


def test_a_data_card_of_other_samples_is_refused():
    with pytest.raises(UserError, match=r"validation\.json does not tell of the samples"):
        add_data_card(lambda folder: None, TRAINED, "# Data", {"accepted_sha256": "of others"})
