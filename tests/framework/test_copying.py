"""Pages and the encoder are copied to a store once a run has ended."""

from types import SimpleNamespace

import pytest
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node
from kedro_datasets.text import TextDataset

from dcr import settings
from dcr.data.remote import Folder
from dcr.datasets.folders import WorkingFolderDataset
from dcr.errors import UserError
from dcr.framework.copying import ResultsAreCopied
from dcr.framework.run_hooks import OneRunAtATime
from dcr.locks import LOCK, hold_if_free
from remote_stores import connect_s3


def make(*_):
    return "text", "text", "folder"


PIPELINE = Pipeline([node(make, "params:remote", ["report", "latents", "encoder"])])


@pytest.fixture
def catalog(tmp_path):
    data = tmp_path / "data"
    for name in ("06_models/r/encoder/vision/config.json", "06_models/r/encoder/.dcr.lock"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text(name)
    texts = {"report": "08_reporting/r/report.html", "latents": "05_model_input/r/latents.txt"}
    for name in texts.values():
        (data / name).parent.mkdir(parents=True)
        (data / name).write_text(name)
    return DataCatalog(
        {name: TextDataset(filepath=str(data / path)) for name, path in texts.items()}
        | {"encoder": WorkingFolderDataset(filepath=str(data / "06_models/r/encoder"))}
    )


def run(tmp_path, catalog, url):
    hook = ResultsAreCopied()
    hook.after_context_created(SimpleNamespace(project_path=tmp_path))
    catalog["params:remote"] = MemoryDataset(SimpleNamespace(publish_to=url))
    hook.before_pipeline_run(catalog)
    hook.after_pipeline_run(PIPELINE, catalog)


def test_pages_and_the_encoder_are_copied_under_their_names(
    tmp_path, catalog, s3_port, remote_cache, monkeypatch
):
    files = connect_s3(monkeypatch, s3_port)
    files.mkdir("results-of-a-test")
    run(tmp_path, catalog, "s3://results-of-a-test/mine")
    root = "results-of-a-test/mine"
    assert sorted(files.find(root)) == [
        f"{root}/06_models/r/encoder/vision/config.json",
        f"{root}/08_reporting/r/report.html",
    ]
    assert files.cat(f"{root}/08_reporting/r/report.html") == b"08_reporting/r/report.html"


def test_results_are_copied_while_no_other_run_may_write_over_them(tmp_path, catalog, monkeypatch):
    hooks = _create_hook_manager()
    for hook in settings.HOOKS:
        if isinstance(hook, OneRunAtATime | ResultsAreCopied):
            hooks.register(type(hook)())
    catalog["params:remote"] = MemoryDataset(SimpleNamespace(publish_to=str(tmp_path / "there")))
    given = {"run_params": {}, "pipeline": PIPELINE, "catalog": catalog}
    locked = []

    def look(self, source, name):
        with hold_if_free(tmp_path / "data" / "08_reporting" / "r" / LOCK) as is_free:
            locked.append(not is_free)

    monkeypatch.setattr(Folder, "send", look)
    hooks.hook.after_context_created(context=SimpleNamespace(project_path=tmp_path))
    hooks.hook.before_pipeline_run(**given)
    hooks.hook.after_pipeline_run(run_result={}, **given)
    assert locked == [True, True]
    with hold_if_free(tmp_path / "data" / "08_reporting" / "r" / LOCK) as is_free:
        assert is_free


def test_without_an_address_nothing_is_copied(tmp_path, catalog):
    before = sorted(tmp_path.rglob("*"))
    run(tmp_path, catalog, None)
    assert sorted(tmp_path.rglob("*")) == before


def test_one_process_of_several_copies(tmp_path, catalog, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    run(tmp_path, catalog, str(tmp_path / "elsewhere"))
    assert not (tmp_path / "elsewhere").exists()


def test_an_address_that_takes_nothing_is_told_before_the_run(tmp_path, catalog):
    with pytest.raises(UserError, match=r"remote\.publish_to https://host/x: nothing is written"):
        run(tmp_path, catalog, "https://host/x")
