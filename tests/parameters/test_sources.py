"""Recipes that name several sources, and what is wrong with some."""

import shutil
from pathlib import Path

import pytest
import yaml
from kedro.framework.project import configure_project

from dcr.errors import UserError
from dcr.framework.config_loader import RecipeConfigLoader
from dcr.parameters import build_parameters
from dcr.settings import CONFIG_LOADER_ARGS

CONF = Path(__file__).parents[2] / "conf"
CC3M = {"name": "cc3m", "shards": ["a/{0..3}.tar", "b"], "weight": 3}
OWN = {"name": "own", "shards": "own", "weight": 1.5, "expectations": "conf/mine/own.yml"}


@pytest.fixture
def conf(tmp_path):
    """A folder of recipes with those that others extend."""
    for name in ("base", "photographs"):
        shutil.copytree(CONF / name, tmp_path / name)
    return tmp_path


def config(conf, name="mine", extends="photographs", **values):
    configure_project("dcr")
    folder = conf / name
    folder.mkdir()
    own = {"recipe": name, "extends": extends, "backbone": "org/name", **values}
    (folder / "globals.yml").write_text(yaml.safe_dump(own))
    return RecipeConfigLoader(str(conf), env=name, **CONFIG_LOADER_ARGS)


def test_sources_take_the_place_of_the_shards_that_are_inherited(conf):
    loader = config(conf, sources=[CC3M, OWN])
    checked = loader.check_recipe()
    assert checked.shards == ["a/{0..3}.tar", "b", "own"]
    assert [(s.name, s.weight, s.expectations) for s in checked.sources] == [
        ("cc3m", 3, "conf/base/expectations.yml"),  # the recipe's, where it names none
        ("own", 1.5, "conf/mine/own.yml"),
    ]
    assert loader["catalog"]["shards"]["filepath"] == checked.shards
    suites = loader["catalog"]["expectation_suites"]["sources"]
    assert [source["name"] for source in suites] == ["cc3m", "own"]
    recipe = build_parameters(loader["parameters"])["recipe"]
    assert recipe.weights == {"cc3m": 3.0, "own": 1.5}


def test_shards_take_the_place_of_the_sources_that_are_inherited(conf):
    config(conf, "several", sources=[CC3M, OWN])
    checked = config(conf, "one", extends="several", shards="own").check_recipe()
    assert checked.shards == "own"
    assert [source.name for source in checked.sources] == ["shards"]


def test_plain_shards_are_one_source_with_the_recipes_suite(conf):
    checked = config(conf, shards=["a", "b"], expectations="conf/mine/own.yml").check_recipe()
    assert [vars(source) for source in checked.sources] == [
        {
            "name": "shards",
            "shards": ["a", "b"],
            "weight": 1.0,
            "expectations": "conf/mine/own.yml",
        }
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sources": [CC3M | {"weight": 0}]}, r"weight"),
        ({"sources": [CC3M | {"weight": -1}]}, r"weight"),
        ({"sources": [CC3M | {"weight": float("inf")}]}, r"weight"),
        ({"sources": [CC3M | {"weight": "much"}]}, r"weight"),
        ({"sources": [CC3M, OWN | {"name": "CC3M"}]}, r"has 2 sources of the name 'cc3m'"),
        ({"sources": [CC3M | {"name": "../cc3m"}]}, r"name"),
        ({"sources": [{"name": "cc3m", "shards": "a"}]}, r"weight"),
        ({"sources": [CC3M | {"wieght": 1}]}, r"wieght"),
        ({"sources": []}, r"'sources': names no source: give one at least, or `shards`"),
        ({"sources": "cc3m"}, r"sources"),
        ({"sources": [CC3M | {"shards": []}]}, r"shards"),
        (
            {"sources": [CC3M, OWN | {"shards": []}]},
            r"'sources\.1\.shards': must be a folder",
        ),
        (
            {"sources": [CC3M, OWN | {"shards": ""}]},
            r"'sources\.1\.shards': must be a folder",
        ),
        (
            {"sources": [CC3M, OWN | {"shards": ["b"]}]},
            r"'b' in both 'cc3m' and 'own': leave",
        ),
    ],
)
def test_a_wrong_source_is_told_in_one_sentence(conf, values, message):
    with pytest.raises(UserError, match=message) as told:
        config(conf, **values).check_recipe()
    assert "mine/globals.yml" in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"shards": ""}, "shards"),
        ({"shards": []}, "shards"),
        ({"shards": ["a", ""]}, "shards"),
        ({"shards": 5}, "shards"),
        ({"shards": {"a": "b"}}, "shards"),
        ({"shards": "a", "expectations": ""}, "expectations"),
        ({"shards": "a", "expectations": 5}, "expectations"),
        ({"shards": "a", "expectations": ["a"]}, "expectations"),
    ],
)
def test_of_plain_shards_a_mistake_is_told_under_the_key_that_was_written(conf, values, key):
    with pytest.raises(UserError, match=rf"globals\.yml: '{key}': "):
        config(conf, **values).check_recipe()


def test_both_shards_and_sources_are_refused(conf):
    with pytest.raises(UserError, match=r"mine/globals.yml sets both `shards` and `sources`"):
        config(conf, shards="own", sources=[CC3M])
