"""Stage 2 on a projector from a file, as the authors published theirs."""

import pytest
import torch

from dcr.errors import UserError
from dcr.models.projector import Projector
from dcr.training import jobs
from training_world import fixed_projector, open_job, write_world


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


def test_the_file_takes_the_place_of_stage_1(world, tmp_path):
    published = fixed_projector(world)
    path = tmp_path / "checkpoint-project-clip-100000.bin"
    torch.save(published, path)
    job = open_job(
        world,
        tmp_path / "checkpoints",
        **{"stage1.projector_file": str(path), "stage2.max_train_steps": 1},
    )
    projector, errors, run = jobs.train_projector(job)
    assert all(torch.equal(projector[name], published[name]) for name in published)
    assert set(errors) == {"empty_prompt", "before", "after", "wrong_image"}
    assert run.steps == 0
    assert jobs.train_adapters(job, projector).runs["dcr"].steps == 1


def test_a_projector_of_another_condition_is_told(world, tmp_path):
    job = open_job(
        world,
        tmp_path / "checkpoints",
        **{"stage1.projector_file": "any.bin"},
        condition="patch_tokens",
    )
    with pytest.raises(UserError, match="of condition broadcast, the recipe's is patch_tokens"):
        jobs.train_projector(job)


def test_a_projector_of_another_backbone_is_told(world, tmp_path):
    torch.save(Projector(7, 16).state_dict(), tmp_path / "other.bin")
    job = open_job(
        world, tmp_path / "checkpoints", **{"stage1.projector_file": str(tmp_path / "other.bin")}
    )
    with pytest.raises(UserError, match=r"projects 7 to 16, but .* need 24 to 16"):
        jobs.train_projector(job)
