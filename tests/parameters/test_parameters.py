"""Recipes are checked whole: every section, every key, in one sentence."""

import re
import shutil
import sys
from functools import reduce
from importlib import import_module
from operator import attrgetter, getitem
from pathlib import Path

import pytest

from dcr.errors import UserError
from dcr.framework.config_loader import RecipeConfigLoader
from dcr.parameters import RecipeParameters, Section, TrainingParameters, build_parameters
from dcr.parameters.section import Checked, merge
from dcr.parameters.training import WITHOUT_EFFECT
from dcr.settings import CONFIG_LOADER_ARGS
from nested import nested

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture
def parameters():
    return RecipeConfigLoader(str(CONF), env="local", **CONFIG_LOADER_ARGS)["parameters"]


def test_the_base_recipe_is_whole(parameters):
    sections = build_parameters(parameters)
    assert isinstance(sections["training"], TrainingParameters)
    assert set(sections) == set(parameters)


def classes(cls):
    """Yield a section's class and those of the sections in it."""
    yield cls
    for field in cls.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Checked):
            yield from classes(field.annotation)


def test_no_field_has_a_default_hidden_in_code():
    """But for the numbers of signals, whose published values stand in a signal's own file."""
    for section in Section.__subclasses__():
        for cls in classes(section):
            assert all(field.is_required() for field in cls.model_fields.values())


def test_what_is_without_effect_is_a_parameter_of_training(parameters):
    training = build_parameters(parameters)["training"]
    for name in WITHOUT_EFFECT:
        attrgetter(name)(training)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("https://host/folder", "nothing is written to web servers"),
        ("s3://key:word@bucket/folder", "a login or a query"),
        ("nosuch://folder", "Protocol not known: nosuch"),
        ("gs://bucket/folder", r"not installed \(gcsfs\): pip install 'dcr\[gs\]'"),
    ],
)
@pytest.mark.parametrize("key", ["training.checkpoints.sync", "remote.publish_to"])
def test_a_place_that_takes_no_copies_is_told_with_the_recipe_and_shows_no_secret(
    parameters, monkeypatch, key, url, sentence
):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    import_module("fsspec.registry")  # whose class may have been imported before
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "gs", raising=False)
    *sections, name = key.split(".")
    reduce(getitem, sections, parameters)[name] = url
    with pytest.raises(UserError, match=rf"{key} .*{sentence}") as told:
        build_parameters(parameters)
    assert "word" not in str(told.value)


@pytest.mark.parametrize("key", ["loss.temperature", "seed", "tuning.lora.rank", "signal.name"])
def test_a_missing_parameter_is_named(parameters, key):
    *sections, name = f"training.{key}".split(".")
    del reduce(getitem, sections, parameters)[name]
    with pytest.raises(UserError, match=rf"parameter 'training\.{key}' is missing"):
        build_parameters(parameters)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("sed", "seed"),
        ("tuning.lora.rnk", "rank"),
        ("temperature", "loss.temperature"),
        ("stage1_learning_rate", "stage1.learning_rate"),
        ("lora_rank", "tuning.lora.rank"),
    ],
)
def test_an_unknown_parameter_is_told_with_the_known_one_that_is_near(parameters, key, meant):
    changed = merge(parameters, nested({f"training.{key}": 1}))
    words = f"unknown parameter 'training.{key}', did you mean '{meant}'"
    with pytest.raises(UserError, match=re.escape(words)):
        build_parameters(changed)


@pytest.mark.parametrize(
    ("signal", "words"),
    [
        ("dcl", "must be a section of values by name (name), got 'dcl'"),
        ({"name": "hcl", "gama": 1}, "signal hcl has no number 'gama'; its numbers are"),
        ({"name": "hc"}, "there is no signal 'hc'; did you mean 'hcl'"),
        ({"name": "infonce", "beta": 1}, "signal infonce has no number 'beta'"),
        ({"name": "focal", "gamma": 0.5}, "gamma must be 0 or at least 1, got 0.5"),
        ({"name": "hcl", "beta": -1.0}, "beta must be >= 0, got -1.0"),
        ({"name": "hcl", "beta": float("nan")}, "beta must be a finite number"),
        ({"name": "mochi", "num_mixed": 1.5}, "num_mixed must be a whole number, got 1.5"),
        ({"name": "dcl", "temperature": True}, "temperature must be a finite number, got True"),
    ],
)
def test_a_signals_numbers_are_checked_by_its_own_file(parameters, signal, words):
    changed = parameters | {"training": parameters["training"] | {"signal": signal}}
    with pytest.raises(UserError, match=re.escape(f"'training.signal': {words}")):
        build_parameters(changed)


@pytest.mark.parametrize(
    ("benchmarks", "words"),
    [
        ({"zero_shot.acc1": "birds"}, "zero_shot.acc1: write org/dataset/task"),
        ({"zero_shot.acc1": "org/birds"}, "zero_shot.acc1: write org/dataset/task"),
        ({"zero_shot": "org/birds/zero_shot"}, "zero_shot: write <benchmark>.<metric>"),
    ],
)
def test_a_leaderboard_without_a_place_or_a_metric_is_refused(parameters, benchmarks, words):
    changed = merge(parameters, {"export": {"hub_benchmarks": benchmarks}})
    with pytest.raises(UserError, match=rf"parameter 'export.hub_benchmarks': {re.escape(words)}"):
        build_parameters(changed)


def test_an_unknown_section_is_named(parameters):
    with pytest.raises(UserError, match="unknown parameter 'latent', did you mean 'latents'"):
        build_parameters(parameters | {"latent": {}})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tuning.lora.rank", 0),
        ("tuning.lora.rank", 1.5),
        ("loss.temperature", "warm"),
        ("mixed_precision", "fp8"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_rule(parameters, key, value):
    parameters = merge(parameters, nested({f"training.{key}": value}))
    with pytest.raises(UserError, match=rf"parameter 'training\.{key}.*input should be .*, got"):
        build_parameters(parameters)


@pytest.mark.parametrize("name", ["clip_vision_width", "clip_text_width", "unet_text_width"])
def test_a_tower_of_the_demos_models_has_whole_heads(parameters, name):
    head_width = parameters["pretraining"]["clip_head_width"]
    for value in (head_width // 2, 3 * head_width + 1):
        parameters["pretraining"][name] = value
        rule = (
            rf"'pretraining\.{name}': must be a multiple of clip_head_width {head_width}, got"
            rf" {value}"
        )
        with pytest.raises(UserError, match=rule):
            build_parameters(parameters)
    parameters["pretraining"][name] = 3 * head_width
    build_parameters(parameters)


PHASES = {"long": [{"objective": "reconstruction", "max_train_steps": 9}, {"objective": "dcr"}]}
WRONG_PHASES = {
    "unknown number": (
        {"phases": {"long": [{"objective": "dcr", "learning_rat": 1.0}]}},
        (
            r"^unknown parameter 'training\.phases\.long\.0\.learning_rat', did you mean"
            r" 'learning_rate'\?"
        ),
    ),
    "no objective": (
        {"phases": {"long": [{}]}},
        r"'training\.phases\.long\.0\.objective' is missing",
    ),
    "another stage's objective": (
        {"phases": {"long": [{"objective": "end_to_end"}]}},
        (
            r"'training\.phases\.long\.0\.objective': input should be 'dcr', 'reconstruction' or"
            r" 'naive', got 'end_to_end'"
        ),
    ),
    "no phase": (
        {"phases": {"long": []}},
        r"'training\.phases\.long': list should have at least 1 item",
    ),
    "name of an encoder": (
        {"phases": {"x_aligned": PHASES["long"]}},
        r"x_aligned': must be small letters",
    ),
    "name of a flat method alone": (
        {"phases": {"end_to_end": PHASES["long"]}},
        r"end_to_end': must be small",
    ),
    "name of a run": ({"phases": {"stage1": PHASES["long"]}}, r"stage1': must be small letters"),
    "unknown method": (
        {"method": "lang", "phases": PHASES},
        r"'training\.method': must be dcr, .* or a name in training\.phases, got 'lang'",
    ),
    "unknown baseline": (
        {"baselines": ["dcr", "diva"]},
        r"'training\.baselines\.1': must be dcr, .*, got 'diva'",
    ),
    "numbers that do not go together": (
        {"phases": {"long": [{"objective": "dcr", "timestep_min": 0.5, "timestep_max": 0.4}]}},
        (
            r"'training': phases\.long\.0\.timestep_max must be > timestep_min 0\.5, got 0\.4 with"
            r" the recipe's "
        ),
    ),
    "a phase that the recipe's published loss does not know": (
        {
            "published": ["loss"],
            "phases": {"long": [{"objective": "dcr", "negatives_count": 2}]},
        },
        r"'training': phases\.long\.0: published must be without loss where batches\.negatives_",
    ),
    "the published method in phases": (
        {"published": "all", "method": "long", "phases": PHASES},
        (
            r"'training': published: all is one phase of the recipe's numbers, but phases\.long"
            r" says otherwise: "
        ),
    ),
    "a seed twice": ({"stage2_seeds": [1, 2, 1]}, r"'training\.stage2_seeds': must be seeds that"),
    "the recipe's seed again": (
        {"seed": 3, "stage2_seeds": [3]},
        r"'training\.stage2_seeds': must be seeds that",
    ),
    "no seed": (
        {"stage2_seeds": [-1]},
        r"'training\.stage2_seeds\.0': input should be greater than or equal to 0",
    ),
}


@pytest.mark.parametrize("case", WRONG_PHASES)
def test_what_is_wrong_with_phases_and_seeds_is_said(parameters, case):
    changes, sentence = WRONG_PHASES[case]
    # The recipe's name its own phases, which the case may replace.
    own = parameters["training"] | {"baselines": []}
    with pytest.raises(UserError, match=sentence) as caught:
        build_parameters(parameters | {"training": own | changes})
    assert "\n" not in str(caught.value)


PUBLISHED_STAGE1 = {"published": "all", "method": "dcr", "phases": {}, "stage1.loss": "dcr"}
AT_ODDS = {
    "graphs of what is not compiled": (
        {"execution.cuda_graphs": True},
        r"'training': execution\.cuda_graphs are made of compiled blocks: set compile to true",
    ),
    "graphs of what is computed again": (
        {
            "execution.cuda_graphs": True,
            "compile": True,
            "execution.gradient_checkpointing": "all",
        },
        r"'training': execution\.cuda_graphs do not go with gradient_checkpointing all",
    ),
    "a published contrast over another batch": (
        PUBLISHED_STAGE1,
        r"'training': stage1\.train_batch_size 64 and gradient_accumulation_steps 1 must be"
        r" stage2's 12 and 1 where published is all and stage1\.loss dcr",
    ),
}


def built_with(parameters, **changes):
    own = parameters["training"] | {"baselines": []}
    selection = parameters["selection"] | {"candidates": []}
    training = merge(own, nested({k: v for k, v in changes.items() if k != "phases"}))
    training |= {k: v for k, v in changes.items() if k == "phases"}
    return build_parameters(parameters | {"training": training, "selection": selection})


@pytest.mark.parametrize("case", AT_ODDS)
def test_what_is_at_odds_within_training_is_said(parameters, case):
    changes, sentence = AT_ODDS[case]
    with pytest.raises(UserError, match=sentence) as caught:
        built_with(parameters, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes", [{"stage1.train_batch_size": 12}, {"stage1.projector_file": "p.safetensors"}]
)
def test_the_published_stage_1_has_stage_2s_batch_or_is_given(parameters, changes):
    assert built_with(parameters, **PUBLISHED_STAGE1 | changes)


def test_the_published_method_may_stand_in_phases_as_the_one_phase_it_is(parameters):
    changes = {
        "published": "all",
        "method": "dcr",
        "baselines": [],
        "phases": {"dcr": [{"objective": "dcr"}]} | PHASES,
    }
    # The recipe's have phases that are not the published one.
    selection = parameters["selection"] | {"candidates": []}
    build_parameters(
        parameters | {"training": parameters["training"] | changes, "selection": selection}
    )


def test_sections_cannot_be_changed(parameters):
    with pytest.raises(ValueError, match="frozen"):
        build_parameters(parameters)["training"].seed = 1


def floats(cls, prefix):
    """Yield the dotted name of every number with a fraction in a section."""
    for name, field in cls.model_fields.items():
        kind = field.annotation
        if kind is float:
            yield f"{prefix}.{name}"
        elif isinstance(kind, type) and issubclass(kind, Checked):
            yield from floats(kind, f"{prefix}.{name}")


FLOATS = [
    name
    for section in Section.__subclasses__()
    for name in floats(section, section.__name__.removesuffix("Parameters").lower())
]


@pytest.mark.parametrize(
    "value", [float("inf"), float("-inf"), float("nan"), "nan", "inf", 10**400]
)
def test_no_number_is_infinite_or_nan(parameters, value):
    assert "training.tuning.lora.alpha" in FLOATS
    for name in FLOATS:
        with pytest.raises(UserError, match=rf"^parameter '{re.escape(name)}': "):
            build_parameters(merge(parameters, nested({name: value})))


class TestLicence:
    RECORD = {"backbone": {"source": "org/name@c0ffee", "licence": "mit"}}  # noqa: RUF012

    def licence(self, stated, record, backbone="org/name@c0ffee"):
        own = RecipeParameters(
            name="mine",
            licence=stated,
            data_licence=None,
            sources=[{"name": "shards", "shards": "s", "weight": 1.0, "expectations": "e"}],
            backbone=backbone,
        )
        return own.with_licence(record).licence

    def test_is_what_the_recipe_states(self):
        assert self.licence("apache-2.0", self.RECORD) == "apache-2.0"

    def test_is_else_what_was_found_with_the_weights(self):
        assert self.licence(None, self.RECORD) == "mit"

    def test_is_unknown_before_they_were_looked_at_and_for_other_weights(self):
        assert self.licence(None, {}) == "unknown"
        assert self.licence(None, self.RECORD, backbone="/data/clip") == "unknown"


def test_no_value_of_the_demo_reaches_a_recipe_that_does_not_extend_it(tmp_path):
    recipe = tmp_path / "conf" / "mine"
    shutil.copytree(CONF, tmp_path / "conf")
    recipe.mkdir()
    (recipe / "globals.yml").write_text(
        "recipe: mine\npipelines: [validation]\nshards: s\nbackbone: b\ndiffusion: d\n"
    )
    loader = RecipeConfigLoader(str(tmp_path / "conf"), env="mine", **CONFIG_LOADER_ARGS)
    loader.check_recipe()
    sections = build_parameters(loader["parameters"])
    assert sections["recipe"].licence is None
    assert sections["evaluation"].model_name == "mine"
    assert sections["validation"].min_image_size == 224
    told = str([loader["globals"], loader["parameters"], loader["catalog"]])
    assert not re.search(
        r"\bdemo\b|\b135\b|\btwenty\b", told.replace("kedro run --pipelines scenes", "")
    )


@pytest.mark.parametrize(("written", "taken"), [(False, "no"), ("no", "no"), ("bf16", "bf16")])
def test_yamls_false_is_the_choice_no(parameters, written, taken):
    parameters["training"]["mixed_precision"] = written
    assert build_parameters(parameters)["training"].mixed_precision == taken


def test_yamls_true_is_no_choice_where_there_is_no_yes(parameters):
    parameters["training"]["mixed_precision"] = True
    with pytest.raises(UserError, match=r"'training\.mixed_precision'.*got True"):
        build_parameters(parameters)
