"""Published numbers are data: a file that is not in order is told with its name and the key."""

import re
from copy import deepcopy

import pytest
import yaml

from dcr.datasets.published import PublishedTablesDataset
from dcr.errors import UserError
from dcr.framework.config_loader import RecipeConfigLoader
from dcr.published.tables import check_tables
from dcr.settings import CONFIG_LOADER_ARGS
from project import PROJECT
from published_example import example

FILES = sorted((PROJECT / "conf").glob("*/published.yml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_every_file_of_the_project_is_in_order(path):
    tables = PublishedTablesDataset(filepath=str(path)).load()
    assert tables.tables
    stated = {name for table in tables.tables for name in (*table.values, *table.improvements)}
    unused = set(tables.encoders) - stated
    assert unused == {n for n in unused if tables.encoders[n].base is None}


def test_every_recipe_names_a_file_that_is_there():
    for path in sorted((PROJECT / "conf").glob("*/globals.yml")):
        if path.parent.name != "base":
            loader = RecipeConfigLoader(
                str(PROJECT / "conf"), env=path.parent.name, **CONFIG_LOADER_ARGS
            )
            assert (PROJECT / loader["globals"]["published"]).is_file()


TABLE = "tables.0"
NO_NUMBER = "input should be a valid number"
NO_ENCODER = "is none of the file's encoders"


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (f"{TABLE}.values", {"shrap": 1.0}, f"{TABLE}.values: 'shrap' {NO_ENCODER}, did you mean"),
        (f"{TABLE}.improvements", {"plain": 1.0}, f"{TABLE}.improvements: 'plain' has no base"),
        (f"{TABLE}.source", "papr", "'papr' is none of the file's sources, did you mean 'paper'?"),
        (f"{TABLE}.values", {}, f"{TABLE}: states no number"),
        (f"{TABLE}.values", {"plain": "much"}, f"'{TABLE}.values.plain': {NO_NUMBER}"),
        (f"{TABLE}.unit", "points", "should be 'percent' or 'fraction', got 'points'"),
        (f"{TABLE}.items", 0, f"'{TABLE}.items': input should be greater than 0, got 0"),
        (f"{TABLE}.rounding", -0.1, f"'{TABLE}.rounding': input should be greater than or equal"),
        (f"{TABLE}.sets", [], f"'{TABLE}.sets'"),
        (f"{TABLE}.rul", "x", f"'{TABLE}.rul', did you mean 'rule'?"),
        (
            "encoders.sharp.base",
            "plane",
            f"sharp.base: 'plane' {NO_ENCODER}, did you mean",
        ),
        ("encoders.sharp.base", "sharp", "encoders.sharp.base: 'sharp' has a base itself"),
        ("encoders.a b", {"name": "a", "method": "b"}, "encoders.a b: a name must be a plain word"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_key(place, value, words):
    values = example()
    inner = values
    *way, last = place.split(".")
    for key in way:
        inner = inner[int(key) if key.isdecimal() else key]
    inner[last] = value
    with pytest.raises(UserError, match=re.escape(words)) as error:
        check_tables(values, "conf/mine/published.yml")
    assert "conf/mine/published.yml" in str(error.value)


def test_a_number_that_stands_twice_in_one_table_is_told():
    values = example()
    values["tables"].append(deepcopy(values["tables"][0]))
    with pytest.raises(
        UserError, match=r"tables\.1: mmvp_vlm\.mean of 'Table 1' stands in tables\.0"
    ):
        check_tables(values, "a.yml")


@pytest.mark.parametrize("key", ["rule", "items", "rounding", "unit", "sets", "source"])
def test_nothing_that_a_number_needs_has_a_default(key):
    values = example()
    del values["tables"][0][key]
    with pytest.raises(UserError, match=rf"'tables\.0\.{key}' is missing"):
        check_tables(values, "a.yml")


def test_a_file_that_is_not_there_or_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.yml does not exist: check `published`"):
        PublishedTablesDataset(filepath=str(tmp_path / "nowhere.yml")).require()
    (tmp_path / "broken.yml").write_text("tables: [\n")
    with pytest.raises(UserError, match=r"broken\.yml, line \d"):
        PublishedTablesDataset(filepath=str(tmp_path / "broken.yml")).require()


def test_columns_are_fractions_by_method_and_the_first_table_counts():
    values = example()
    again = deepcopy(values["tables"][0]) | {"title": "Table 2", "values": {"plain": 21.0}}
    tables = check_tables({**values, "tables": [*values["tables"], again]}, "a.yml")
    columns = tables.columns("plain")
    assert columns.name == "Plain"
    assert columns.places == ["arXiv 0000.00000"]
    assert columns.scores == {
        "original": {"mmvp_vlm.mean": pytest.approx(0.2)},
        "DCR": {"mmvp_vlm.mean": pytest.approx(0.333)},
    }
    with pytest.raises(UserError, match=r"'plan' is no base encoder .*, did you mean 'plain'"):
        tables.columns("plan")


def test_what_is_published_of_openais_encoder():
    columns = PublishedTablesDataset(filepath=str(PROJECT / "conf/base/published.yml")).load()
    scores = columns.columns("openai_vitl14_224").scores
    assert scores["original"]["mmvp_vlm.mean"] == pytest.approx(0.192)
    assert scores["DCR"] == pytest.approx(
        {
            "mmvp_vlm.mean": 0.333,
            "clustering.nmi": 0.76,
            "clustering.acc": 0.67,
            "clustering.ari": 0.54,
        }
    )
    assert "un2CLIP" not in columns.columns("siglip_so400m_224").scores


def test_documents_that_state_a_number_twice_agree_within_its_rounding():
    """DCR's README and GenHancer's print the same pairs of one base as 19.2 and 19.3."""
    values = yaml.safe_load((PROJECT / "conf/base/published.yml").read_text(encoding="utf-8"))
    tables = check_tables(values, "published.yml")
    seen = {}
    for table in tables.tables:
        for name, value in table.values.items():
            seen.setdefault((name, table.key), []).append((value, table.rounding))
    assert any(len(found) > 2 for found in seen.values())
    for found in seen.values():
        numbers = [value for value, _ in found]
        assert max(numbers) - min(numbers) <= 2 * max(rounding for _, rounding in found) + 1e-9
