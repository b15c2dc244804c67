"""Dask and Ray on real local clusters of two workers; needs the extra `cluster`."""

import os
import sys

import pytest

from corpus import good_samples
from dcr.data.shards import write_shard
from dcr.errors import UserError
from dcr.validation.measuring import measure_shard, plan_measuring
from dcr.validation.workers import Workers
from validation_tables import LIMITS, measure_and_name_worker


@pytest.fixture
def shards(tmp_path):
    return {
        str(write_shard(tmp_path, f"{i}", good_samples(3, first=3 * i))): f"{i}" for i in range(8)
    }


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_a_cluster_of_two_workers_gives_the_same_rows(shards, backend, monkeypatch):
    # Workers are processes of their own.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    calls = [(path, name, LIMITS) for path, name in shards.items()]
    found = list(Workers(backend, 2).run(measure_and_name_worker, calls))
    assert len({process for process, _ in found} - {os.getpid()}) == 2
    tables = {table.record["shard"]: table for _, table in found}
    for path, name in shards.items():
        assert tables[name].rows.equals(measure_shard(path, name, LIMITS).rows)
        assert tables[name].record == measure_shard(path, name, LIMITS).record


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_a_cluster_does_only_what_is_missing(shards, backend, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    plan = plan_measuring(shards, LIMITS, Workers(backend, 2))
    known = {
        name: measure_shard(path, name, LIMITS).record["fingerprint"]
        for path, name in shards.items()
    }
    known["3"] = "another"
    assert [table.record["shard"] for table in plan.make(known)] == ["3"]


@pytest.mark.slow
def test_a_scheduler_that_is_named_gives_its_workers(shards, monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    calls = [(path, name, LIMITS) for path, name in shards.items()]
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        workers = Workers("dask", -1, cluster.scheduler_address)
        found = list(workers.run(measure_and_name_worker, calls))
    assert len({process for process, _ in found} - {os.getpid()}) == 2
    assert {table.record["shard"] for _, table in found} == set(shards.values())


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_is_named():
    with pytest.raises(
        UserError, match=r"validation\.cluster 'tcp://127\.0\.0\.1:9': no Dask scheduler answers"
    ):
        list(Workers("dask", 2, "tcp://127.0.0.1:9").run(len, [([],)]))
