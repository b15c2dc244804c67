"""torchrun's variables: whole and consistent, or refused."""

import pytest

from dcr.errors import UserError
from dcr.ranks import read_ranks


def test_without_them_there_is_one_process():
    assert read_ranks({}) is None


def test_rank_and_number_of_processes():
    assert read_ranks({"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}) == (1, 4)
    assert read_ranks({"RANK": "0", "WORLD_SIZE": "1"}) == (0, 1)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"WORLD_SIZE": "2"}, "RANK is not"),
        ({"RANK": "0"}, "WORLD_SIZE is not"),
        ({"LOCAL_RANK": "0"}, "unset LOCAL_RANK"),
        ({"RANK": "", "WORLD_SIZE": ""}, "RANK=''"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "contradict"),
        ({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "2"}, "contradict"),
        ({"RANK": "0", "WORLD_SIZE": "0"}, "contradict"),
        ({"RANK": "-1", "WORLD_SIZE": "2"}, "RANK='-1'"),
        ({"RANK": "1.0", "WORLD_SIZE": "2"}, "RANK='1.0'"),
    ],
)
def test_what_is_stray_is_told(environment, words):
    with pytest.raises(UserError, match=words):
        read_ranks(environment)
