"""Recipes are checked whole: every section, every key, in one sentence."""

from pathlib import Path

import pytest

from dcr.config import RecipeConfigLoader
from dcr.errors import UserError
from dcr.parameters import Section, TrainingParameters, build_parameters
from dcr.parameters.training import WITHOUT_EFFECT
from dcr.settings import CONFIG_LOADER_ARGS

CONF = Path(__file__).parents[1] / "conf"


@pytest.fixture
def parameters():
    return RecipeConfigLoader(str(CONF), env="local", **CONFIG_LOADER_ARGS)["parameters"]


def test_the_base_recipe_is_whole(parameters):
    sections = build_parameters(parameters)
    assert isinstance(sections["training"], TrainingParameters)
    assert set(sections) == set(parameters)


def test_no_field_has_a_default_hidden_in_code():
    assert all(field.is_required() for cls in Section.__subclasses__() for field in cls.model_fields.values())


def test_what_is_without_effect_is_a_parameter_of_training():
    assert set(TrainingParameters.model_fields) >= WITHOUT_EFFECT


@pytest.mark.parametrize("key", ["temperature", "seed", "lora_rank"])
def test_a_missing_parameter_is_named(parameters, key):
    del parameters["training"][key]
    with pytest.raises(UserError, match=rf"parameter 'training\.{key}' is missing"):
        build_parameters(parameters)


def test_an_unknown_section_is_named(parameters):
    with pytest.raises(UserError, match="unknown parameter 'latent', did you mean 'latents'"):
        build_parameters(parameters | {"latent": {}})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lora_rank", 0),
        ("lora_rank", 1.5),
        ("temperature", "warm"),
        ("mixed_precision", "fp8"),
        ("baselines", ["diva"]),
    ],
)
def test_a_value_out_of_range_is_named_with_its_rule(parameters, key, value):
    parameters["training"][key] = value
    with pytest.raises(UserError, match=rf"parameter 'training\.{key}.*input should be .*, got"):
        build_parameters(parameters)


def test_sections_cannot_be_changed(parameters):
    with pytest.raises(ValueError, match="frozen"):
        build_parameters(parameters)["training"].seed = 1


def floats():
    """Return every number with a fraction in every section, by section and name."""
    found = []
    for cls in Section.__subclasses__():
        section = cls.__name__.removesuffix("Parameters").lower()
        found += [(section, name) for name, field in cls.model_fields.items() if field.annotation is float]
    return found


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), "nan", "inf", 10**400])
def test_no_number_is_infinite_or_nan(parameters, value):
    assert ("training", "temperature") in floats()
    assert ("training", "sigmoid_logit_bias") in floats()  # of a signal, inherited
    for section, name in floats():
        changed = parameters | {section: parameters[section] | {name: value}}
        with pytest.raises(UserError, match=rf"^parameter '{section}\.{name}': "):
            build_parameters(changed)
