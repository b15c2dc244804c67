from pathlib import Path

import pytest
import yaml
from kedro.io import DatasetError

from benchmark_folders import write_classification, write_mmvp, write_retrieval
from dcr.datasets.benchmark_sets import BenchmarkSetDataset
from dcr.datasets.folders import FolderDataset
from dcr.datasets.json_lines import JSONLinesDataset
from dcr.datasets.partitions import WholePartitionsDataset
from dcr.errors import UserError
from dcr.files import RECORD


@pytest.fixture
def folder(tmp_path):
    return FolderDataset(
        filepath=str(tmp_path / "layer" / "things"), made_by="kedro run --pipelines scenes"
    )


def names(place):
    return sorted(path.name for path in place.iterdir() if path.name != RECORD)


def test_a_folder_is_saved_by_its_writer_and_loaded_as_its_path(folder, tmp_path):
    folder.save(lambda target: (target / "a.txt").write_text("a"))
    assert folder.exists()
    assert folder.load() == tmp_path / "layer" / "things"
    assert (folder.load() / "a.txt").read_text() == "a"


def test_a_missing_folder_names_the_command_that_makes_it(folder):
    assert not folder.exists()
    with pytest.raises(
        DatasetError, match="does not exist; make it with `kedro run --pipelines scenes`"
    ) as error:
        folder.load()
    assert isinstance(error.value.__cause__, UserError)


def test_a_writer_that_fails_leaves_the_old_folder_whole(folder):
    folder.save(lambda target: (target / "old.txt").write_text("old"))

    def fail(target):
        (target / "new.txt").write_text("half")
        raise OSError("disk full")

    with pytest.raises(DatasetError, match="disk full"):
        folder.save(fail)
    assert names(folder.load()) == ["old.txt"]
    assert [path.name for path in folder.load().parent.iterdir()] == ["things"]


def test_a_new_save_replaces_all_files(folder):
    folder.save(lambda target: (target / "old.txt").write_text("old"))
    folder.save(lambda target: (target / "new.txt").write_text("new"))
    assert names(folder.load()) == ["new.txt"]


def test_what_the_user_put_there_is_told_before_a_save_and_kept_by_it(folder):
    folder.save(lambda target: (target / "old.txt").write_text("old"))
    folder.check_target()
    (folder.load() / "notes.txt").write_text("mine")
    with pytest.raises(
        UserError, match=r"notes\.txt in it is not on the record of what this project made"
    ):
        folder.check_target()
    with pytest.raises(DatasetError, match=r"notes\.txt"):
        folder.save(lambda target: None)
    assert names(folder.load()) == ["notes.txt", "old.txt"]


def test_partitions_replace_all_of_an_earlier_save(tmp_path):
    dataset = WholePartitionsDataset(
        path=str(tmp_path / "parts"), dataset="json.JSONDataset", filename_suffix=".json"
    )
    dataset.save({"a": 1, "b": 2})
    dataset.save({"c": 3})
    assert {name: load() for name, load in dataset.load().items()} == {"c": 3}
    assert names(tmp_path / "parts") == ["c.json"]
    (tmp_path / "parts" / "mine.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"mine\.json in it is not on the record"):
        dataset.save({"d": 4})


def test_a_benchmark_set_is_opened_only_when_asked_for(tmp_path):
    dataset = BenchmarkSetDataset(
        filepath=str(tmp_path / "mmvp"), made_by="kedro run --pipelines scenes"
    )
    open_later = dataset.load()
    with pytest.raises(UserError, match="make it with `kedro run --pipelines scenes`"):
        open_later()
    dataset.save(lambda target: (target.rmdir(), write_mmvp(target)))
    assert len(open_later().pairs) == 4


def test_a_benchmark_set_is_called_by_its_path_in_the_project(tmp_path, monkeypatch):
    """Kedro hands on absolute paths; what is told of a set must not name this machine's folders."""
    folder = tmp_path / "project"
    write_mmvp(folder / "sets" / "mmvp")
    (tmp_path / "notebooks").mkdir()
    open_set, open_absent = (
        BenchmarkSetDataset(filepath=str(folder / "sets" / name), made_by=None).load()
        for name in ("mmvp", "absent")
    )
    monkeypatch.chdir(folder)
    assert open_set().folder == "sets/mmvp"
    with pytest.raises(UserError, match=r"^sets/absent does not exist"):
        open_absent()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert open_set().folder == str(folder / "sets" / "mmvp")


@pytest.mark.parametrize(
    ("write", "found"),
    [
        (write_mmvp, "mmvp_vlm"),
        (write_classification, "classification"),
        (write_retrieval, "retrieval"),
    ],
)
@pytest.mark.parametrize("kind", ["mmvp_vlm", "classification", "retrieval"])
def test_a_set_of_another_kind_than_its_key_is_refused(tmp_path, write, found, kind):
    write(tmp_path / "set")
    open_later = BenchmarkSetDataset(
        filepath=str(tmp_path / "set"), made_by="...", kind=kind
    ).load()
    if kind == found:
        assert open_later().notes == ()
        return
    with pytest.raises(UserError, match=f"is a set of kind {found}, but the recipe says {kind}; "):
        open_later()


def test_the_catalog_knows_the_kind_of_its_sets():
    catalog = yaml.safe_load(
        (Path(__file__).parents[2] / "conf" / "base" / "catalog_evaluation.yml").read_text()
    )
    for name in ("mmvp_vlm", "classification", "retrieval"):
        assert catalog[name]["kind"] == name


def test_json_lines_are_appended_once(tmp_path):
    dataset = JSONLinesDataset(filepath=str(tmp_path / "report" / "results.jsonl"))
    first, second = (
        {"dataset": "a", "metrics": {"acc1": 0.1}},
        {"dataset": "a", "metrics": {"acc1": 0.2}},
    )
    dataset.save([first, first])
    once = (tmp_path / "report" / "results.jsonl").read_bytes()
    dataset.save([first])
    assert (tmp_path / "report" / "results.jsonl").read_bytes() == once
    dataset.save([second, first])
    assert dataset.load() == [first, second]


def test_a_broken_line_is_named_and_kept(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text('{"a": 1}\n{"b": \n')
    with pytest.raises(DatasetError, match="record 2, is no JSON"):
        JSONLinesDataset(filepath=str(path)).save([{"c": 1}])
    assert path.read_text() == '{"a": 1}\n{"b": \n'


def test_a_line_separator_inside_a_json_string_ends_no_record(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text('{"dataset": "a\u2028b\x85c"}\n', encoding="utf-8")
    dataset = JSONLinesDataset(filepath=str(path))
    dataset.save([{"dataset": "d"}])
    assert dataset.load() == [{"dataset": "a\u2028b\x85c"}, {"dataset": "d"}]
