"""Validation of shards at URLs: the manifest of local ones, and what is finished stays."""

import json
import pickle

import pandas as pd
import pytest

from corpus import good_samples
from dcr.data.shards import write_shard
from dcr.faults import explain
from dcr.validation.measuring import plan_measuring
from validation_run import run
from validation_tables import LIMITS


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    for number in range(3):
        write_shard(folder, f"{number:05d}", good_samples(4, first=4 * number))
    return folder


@pytest.fixture(scope="module")
def local(shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    run(str(shards), folder)
    return results(folder)


def results(folder):
    """Return all that validation says of the samples."""
    found = {
        name: pd.read_parquet(folder / name).to_json()
        for name in ("manifest.parquet", "rejected.parquet")
    }
    return found | {"summary": json.loads((folder / "validation.json").read_text())}


@pytest.mark.parametrize(("kind", "seed"), [("http", 3), ("s3", 4), ("gs", None), ("hf", None)])
def test_manifest_and_counts_are_those_of_local_shards(serve, shards, local, tmp_path, kind, seed):
    """Over connections that are cut, but for Google's and the hub's clients, which wait then."""
    store = serve(kind, shards, seed)
    run(f"{store.url}/{{00000..00002}}.tar", tmp_path / "remote")
    assert results(tmp_path / "remote") == local
    assert seed is None or store.wire.num_cut


def test_when_the_server_is_gone_finished_shards_stay_and_the_rest_is_done_later(
    serve, shards, local, tmp_path
):
    store = serve("http", shards)
    urls = [f"{store.url}/{number:05d}.tar" for number in range(3)]
    answer = store.server.RequestHandlerClass.send_range

    def go_when_asked_for_the_last(handler, data, headers):
        if handler.path.endswith("00002.tar") and handler.command == "GET":
            store.wire.close()
        answer(handler, data, headers)

    store.server.RequestHandlerClass.send_range = go_when_asked_for_the_last
    try:
        with pytest.raises(Exception, match="run again when the server answers") as told:
            run(urls, tmp_path / "remote")
    finally:
        store.server.RequestHandlerClass.send_range = answer
    assert explain(told.value)
    finished = sorted((tmp_path / "remote" / "samples").glob("0000[01].parquet"))
    assert len(finished) == 2
    inodes = [path.stat().st_ino for path in finished]
    store.wire.open_again()
    run(urls, tmp_path / "remote")
    assert [path.stat().st_ino for path in finished] == inodes
    assert results(tmp_path / "remote") == local


def test_workers_that_were_started_elsewhere_read_by_the_recipes_settings(
    serve, shards, monkeypatch
):
    """As those of a Dask or Ray cluster, which have nothing of this process's environment."""

    class Elsewhere:
        def run(self, function, calls, lost):
            function = pickle.loads(pickle.dumps(function))
            with monkeypatch.context() as there:
                there.delenv("DCR_REMOTE")
                yield from (function(*call) for call in calls)

    store = serve("http", shards)
    store.server.busy = {"/00000.tar": 5}
    plan = plan_measuring({f"{store.url}/00000.tar": "0"}, LIMITS, Elsewhere())
    (table,) = plan.make({})
    assert table.record["num_samples"] == 4
