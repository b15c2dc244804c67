"""The learning rate's decay, against diffusers' schedules."""

import pytest
import torch
from diffusers.optimization import get_scheduler

from dcr.training.state import build_optimizer, decay_factor, set_learning_rate
from training_world import parameters, run_of

STEPS = 7


def weight():
    return torch.nn.Parameter(torch.zeros(2))


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_a_decay_is_that_of_diffusers_without_warm_up(decay):
    optimizer = torch.optim.AdamW([weight()], lr=1.0)
    schedule = get_scheduler(decay, optimizer, num_warmup_steps=0, num_training_steps=STEPS)
    for step in range(1, STEPS + 1):
        assert decay_factor(decay, step, STEPS) == pytest.approx(
            schedule.get_last_lr()[0], abs=1e-12
        )
        optimizer.step()
        schedule.step()


def test_without_decay_the_rate_is_the_same_to_the_last_bit():
    run = run_of(parameters(**{"stage2.learning_rate": 0.1 + 0.2}), "dcr")
    optimizer = build_optimizer({"a": weight()}, run)
    assert [set_learning_rate(optimizer, run, step) for step in (1, 3, 6)] == [0.1 + 0.2] * 3


def test_a_rate_depends_on_the_step_alone_and_falls_for_tower_and_projector_alike():
    p = parameters(
        **{"stage2.learning_rate_decay": "linear", "stage1.learning_rate": 0.02},
        end_to_end_max_train_steps=4,
    )
    run = run_of(p, "end_to_end")
    optimizer = build_optimizer({"tower.a": weight(), "projector.b": weight()}, run)
    for step in (4, 1, 3, 3):  # in any order, as after a resumed run
        assert set_learning_rate(optimizer, run, step) == pytest.approx(
            p.stage2.learning_rate * (5 - step) / 4
        )
        assert optimizer.param_groups[1]["lr"] == pytest.approx(0.02 * (5 - step) / 4)
