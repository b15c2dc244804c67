"""Recipes and commands on the pages that people read are such as the project understands."""

import itertools
import shlex
import shutil

import pytest
from kedro.framework.project import configure_project

from dcr.framework.config_loader import RecipeConfigLoader
from dcr.parameters import build_parameters
from dcr.pipeline_registry import register_pipelines
from dcr.settings import CONFIG_LOADER_ARGS
from doc_blocks import PAGES, commands_of_kedro, recipe_files
from project import PROJECT

READERS = {"mine", "<recipe>"}  # what pages call a recipe of the reader's own
EXTENDING = "extending.md"  # its recipe needs the code that it tells of; test_adding_*.py take both
PLACES = [
    (page, recipe)
    for page in PAGES
    if page.name != EXTENDING
    for recipe in sorted({path.split("/")[1] for path in recipe_files(page)})
]


@pytest.mark.parametrize(
    ("page", "recipe"), PLACES, ids=[f"{page.name}-{recipe}" for page, recipe in PLACES]
)
def test_a_recipe_that_a_page_tells_to_write_is_understood(page, recipe, tmp_path):
    shutil.copytree(PROJECT / "conf", tmp_path / "conf")
    for path, content in recipe_files(page).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(content, encoding="utf-8")
    configure_project("dcr")
    loader = RecipeConfigLoader(str(tmp_path / "conf"), recipe, **CONFIG_LOADER_ARGS)
    assert loader.check_recipe().recipe == recipe
    assert build_parameters(loader["parameters"])["recipe"].name == recipe


def options_of(command):
    words = shlex.split(command.replace("…", ""))
    return dict(itertools.pairwise(words))


@pytest.fixture(scope="module")
def parameters():
    """Every parameter of the demo, by section."""
    configure_project("dcr")
    loader = RecipeConfigLoader(str(PROJECT / "conf"), "demo", **CONFIG_LOADER_ARGS)
    sections = build_parameters(loader["parameters"])
    return {name: section.model_dump() for name, section in sections.items()}


@pytest.fixture(scope="module")
def pipelines():
    return register_pipelines().keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_name_recipes_pipelines_and_parameters_that_there_are(page, parameters, pipelines):
    own = {path.split("/")[1] for path in recipe_files(page)}
    recipes = {path.name for path in (PROJECT / "conf").iterdir()} | READERS | own
    for command in commands_of_kedro(page):
        options = options_of(command)
        assert options.get("--env", "mine") in recipes, command
        named = options.get("--pipelines", options.get("--pipeline", ""))
        assert set(filter(None, named.split(","))) <= pipelines, command
        for setting in filter(None, options.get("--params", "").split(",")):
            section = parameters
            for part in setting.partition("=")[0].split("."):
                assert part in section, command
                section = section[part]


def test_there_is_something_to_look_at():
    assert len(PLACES) >= 5
    assert sum(len(commands_of_kedro(page)) for page in PAGES) > 30
