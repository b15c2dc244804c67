"""What a scheduler gives is compared with the recipe before anything trains."""

import pytest
from kedro.framework.project import configure_project

from dcr.errors import UserError
from dcr.framework.hosts import check_training_hosts, join_training
from project import PROJECT

CONF = str(PROJECT / "conf")


@pytest.fixture(autouse=True)
def _project():
    configure_project("dcr")


def check(hosts, gpus, **processes):
    check_training_hosts("smoke", CONF, {"training": {"processes": processes}}, hosts, gpus)


def test_what_the_recipe_says_is_taken():
    check(1, 0)
    check(1, 1)
    check(2, 8, num_hosts=2, num_processes=8)
    check(2, 0, num_hosts=2, num_processes=8)
    check(1, 2, num_methods_at_once=2)
    check(1, 0, num_methods_at_once=2)


@pytest.mark.parametrize(
    ("hosts", "gpus", "processes", "sentence"),
    [
        (2, 0, {}, r"num_hosts is 1 and the scheduler gives 2 host\(s\)"),
        (1, 8, {"num_hosts": 2, "num_processes": 8}, r"num_hosts is 2 .* gives 1 host\(s\)"),
        (1, 8, {}, r"num_processes is 1 .* gives 8 GPU\(s\) on each host"),
        (1, 1, {"num_methods_at_once": 2}, r"num_processes is 2 .* gives 1 GPU\(s\)"),
    ],
)
def test_other_hosts_or_gpus_are_refused(hosts, gpus, processes, sentence):
    with pytest.raises(UserError, match=sentence):
        check(hosts, gpus, **processes)


def test_there_is_nothing_to_join_where_one_host_trains():
    with pytest.raises(UserError, match=r"num_hosts is 1, so there is nothing to join"):
        join_training("smoke", CONF, {})
