"""No signal and no approximation waits for the device while chunks are walked."""

import pytest

from dcr.losses.signals import FEATURE_SIGNALS, SIGNALS
from dcr.training.contrast import Contrast
from pretended_device import DEVICE, PretendedDevice
from pretended_world import waits_of_step
from training_world import open_micro_step, parameters, write_world


@pytest.fixture(scope="module")
def device():
    with PretendedDevice() as device:
        yield device


@pytest.fixture(scope="module", params=["dcr", "naive"])
def micro_step(request, device, tmp_path_factory):
    world = write_world(tmp_path_factory.mktemp("world"))
    micro_step, collated = open_micro_step(
        world, request.param, DEVICE, **{"batches.num_views": 2, "stage2.train_batch_size": 3}
    )
    micro_step(collated, 0, 2)  # what is made once
    return micro_step, collated, device


def waits(micro_step, collated, device, **changes):
    """Return the waits of a step that walks one row at a time, having seen that they are those
    of one chunk.
    """
    contrast = changes.pop("contrast", micro_step.contrast)
    loss = micro_step.run.loss.model_copy(update=changes)
    micro_step.objective = micro_step.build_objective(micro_step.run.objective, loss, contrast)
    many, one = (
        waits_of_step(micro_step, collated, device, rows) for rows in (1, len(collated["keys"]))
    )
    assert many == one
    return many


@pytest.mark.parametrize("name", [*SIGNALS, *FEATURE_SIGNALS])
def test_signals_wait_once_for_the_loss(micro_step, name):
    if micro_step[0].run.objective == "dcr" and name in FEATURE_SIGNALS:
        pytest.skip("works on image features")
    signal = parameters(**{"signal.name": name}).signal.build(0.1)
    found = waits(*micro_step, contrast=Contrast(signal, diagnostics=True))
    assert found.total() == 1, found


@pytest.mark.parametrize(
    "changes",
    [
        {"target_weight": 0.3},
        {"target_weight": 0.0},
        {"target_weight": 1.0},
        {"reconstruction_share": 0.3},
        {"negatives_gradient": False},
        {"contrast": Contrast(is_published=True)},
        {"contrast": Contrast(synthetic_weight=0.5)},
    ],
    ids=str,
)
def test_weights_and_approximations_wait_once_for_the_loss(micro_step, changes):
    if micro_step[0].run.objective == "naive":
        pytest.skip("knows none of them")
    neutral = {
        "target_weight": 0.5,
        "reconstruction_share": 0.0,
        "negatives_gradient": True,
        "contrast": Contrast(diagnostics=True),
    }
    found = waits(*micro_step, **neutral | changes)
    assert found.total() == 1, found
