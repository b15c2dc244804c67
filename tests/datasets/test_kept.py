"""Files of the configuration that a person keeps."""

import re

import pytest
from kedro.io import DatasetError

from dcr.datasets.published import PublishedTablesDataset
from dcr.datasets.suites import SuiteDataset
from dcr.errors import UserError

kinds = pytest.mark.parametrize("kind", [SuiteDataset, PublishedTablesDataset])


@kinds
def test_a_file_that_is_not_there_names_its_key_of_globals(kind, tmp_path):
    dataset = kind(filepath=str(tmp_path / "none.yml"))
    assert not dataset.exists()
    with pytest.raises(
        UserError, match=rf"none\.yml does not exist: check `{kind.KEY}` in the recipe's"
    ):
        dataset.require()


@kinds
def test_what_is_not_in_order_names_the_file(kind, tmp_path):
    (tmp_path / "own.yml").write_text("colour: green\n")
    with pytest.raises(UserError, match=r"own\.yml"):
        kind(filepath=str(tmp_path / "own.yml")).require()


@kinds
def test_it_is_never_written(kind, tmp_path):
    path = tmp_path / "own.yml"
    with pytest.raises(DatasetError, match=re.escape("own.yml is kept by hand")):
        kind(filepath=str(path)).save({})
    assert not path.exists()
