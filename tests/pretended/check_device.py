"""The test of the test: mistakes that only a GPU would tell, planted where they are made, are
found.
"""

from dataclasses import replace

import pytest
import torch

from dcr.latents.encoding import MomentsEncoder
from dcr.losses import infonce as infonce_module
from dcr.training import batches, step
from dcr.training.distributed.columns import Columns
from dcr.training.objectives import dcr as objective
from dcr.training.precision import Precision
from latent_world import OPTIONS, World
from pretended_device import DEVICE, DeviceError, Pretended, PretendedDevice
from pretended_world import waits_of_step
from training_world import open_micro_step, write_world


@pytest.fixture(scope="module")
def device():
    with PretendedDevice() as device:
        yield device


@pytest.fixture(scope="module")
def opened(device, tmp_path_factory):
    world = write_world(tmp_path_factory.mktemp("world"))
    micro_step, collated = open_micro_step(
        world, device=DEVICE, **{"loss.target_weight": 0.3, "execution.shared_prefix": True}
    )
    micro_step(collated, 0, 2)
    return micro_step, collated


# Each plants a mistake through ``monkeypatch``, which takes it out again.


def draw_on_the_device_from_the_cpus_generator(monkeypatch):
    def normal(self, shape, purpose):
        return torch.randn(self.num_samples, *shape, generator=torch.Generator(), device=DEVICE)

    monkeypatch.setattr(batches.Draws, "normal", normal)


def forget_to_move_the_images(monkeypatch):
    monkeypatch.setattr(
        batches, "to_pixels", lambda crops, device: crops.permute(0, 3, 1, 2).float() / 255
    )


def forget_to_move_a_constant(monkeypatch):
    def infonce(positives, negatives, temperature, weights=None, negatives_factor=1.0):
        losses = infonce_module.infonce(positives, negatives, temperature)
        return losses[:, None].expand(-1, 2) @ torch.tensor(weights)

    monkeypatch.setattr(objective, "infonce", infonce)


def make_a_table_on_the_cpu_and_index_it_by_timesteps(monkeypatch):
    make_batch = batches.make_batch

    def weighted(collated, diffusion, *args, **kwargs):
        batch = make_batch(collated, diffusion, *args, **kwargs)
        batch.weights = torch.linspace(1, 2, diffusion.num_timesteps)[batch.timesteps]
        return batch

    monkeypatch.setattr(step, "make_batch", weighted)


def make_the_mask_of_negatives_on_the_cpu(monkeypatch):
    def mask(positives, negatives):
        negatives.masked_fill(torch.eye(*negatives.shape) > 0, 0.0)

    monkeypatch.setattr(objective, "dcr_similarities", _after(objective.dcr_similarities, mask))


def hand_a_tensor_to_numpy(monkeypatch):
    monkeypatch.setattr(Columns, "__len__", lambda self: len(self.leaf.detach().numpy()))


def gather_others_columns_on_the_cpu(monkeypatch):
    def for_every(self, rows):
        return torch.zeros(len(rows), *self.leaf.shape) + self.leaf

    monkeypatch.setattr(Columns, "for_every", for_every)


@pytest.mark.parametrize(
    "plant",
    [
        draw_on_the_device_from_the_cpus_generator,
        forget_to_move_the_images,
        forget_to_move_a_constant,
        make_a_table_on_the_cpu_and_index_it_by_timesteps,
        make_the_mask_of_negatives_on_the_cpu,
        hand_a_tensor_to_numpy,
        gather_others_columns_on_the_cpu,
    ],
    ids=lambda plant: plant.__name__,
)
def test_what_a_gpu_refuses_is_refused(opened, monkeypatch, plant):
    micro_step, collated = opened
    micro_step(collated, 0, 2)
    plant(monkeypatch)
    with pytest.raises(DeviceError):
        micro_step(collated, 0, 2)


def test_a_part_that_was_not_moved_is_refused(opened):
    micro_step, collated = opened
    projector = micro_step.model.projector.to("cpu")
    with pytest.raises(DeviceError, match="all tensors on one device, got cuda:0 and cpu"):
        micro_step(collated, 0, 2)
    projector.to(DEVICE)
    micro_step(collated, 0, 2)


# Each makes a chunk wait.


def ask_for_a_number(monkeypatch):
    monkeypatch.setattr(
        Precision, "backward", _before(Precision.backward, lambda _, loss: loss.item())
    )


def branch_on_a_value(monkeypatch):
    monkeypatch.setattr(
        Precision, "backward", _before(Precision.backward, lambda _, loss: bool(loss > 0))
    )


def send_a_list_to_the_device(monkeypatch):
    def weigh(positives, negatives):
        positives.new_tensor([0.3, 0.7])

    monkeypatch.setattr(objective, "dcr_similarities", _after(objective.dcr_similarities, weigh))


def index_by_a_mask(monkeypatch):
    def select(positives, negatives):
        assert len(positives[positives > -2])

    monkeypatch.setattr(objective, "dcr_similarities", _after(objective.dcr_similarities, select))


def index_from_the_cpu(monkeypatch):
    def select(columns, rows):
        columns.leaf[torch.arange(len(rows))]

    monkeypatch.setattr(Columns, "for_every", _before(Columns.for_every, select))


def copy_a_value_to_the_host(monkeypatch):
    def log(positives, negatives):
        positives.detach().cpu()

    monkeypatch.setattr(objective, "dcr_similarities", _after(objective.dcr_similarities, log))


def _before(function, first):
    def both(*args):
        first(*args)
        return function(*args)

    return both


def _after(function, then):
    def both(*args):
        found = function(*args)
        then(*found)
        return found

    return both


@pytest.mark.parametrize(
    "plant",
    [
        ask_for_a_number,
        branch_on_a_value,
        send_a_list_to_the_device,
        index_by_a_mask,
        index_from_the_cpu,
        copy_a_value_to_the_host,
    ],
    ids=lambda plant: plant.__name__,
)
def test_a_wait_in_the_loop_is_counted_once_a_chunk_and_by_its_line(
    opened, device, monkeypatch, plant
):
    micro_step, collated = opened
    plant(monkeypatch)
    found = waits_of_step(micro_step, collated, device, rows=1)
    (place,) = [place for place in found if place.startswith("tests/pretended/check_device.py:")]
    assert found[place] == len(collated["keys"])
    assert found.total() == len(collated["keys"]) + 1


def test_a_copy_that_was_not_waited_for_is_rubbish(device, tmp_path):
    world = World.make(tmp_path, num_shards=1, images_per_shard=1)
    encoder = MomentsEncoder(world.diffusion.vae, replace(OPTIONS, mixed_precision="no"), DEVICE)
    launched = encoder.launch(torch.zeros(2, 32, 32, 3, dtype=torch.uint8))
    assert launched.parameters.isnan().all()
    assert encoder.finish(launched, ["a", "b"]).isfinite().all()
    assert launched.parameters.isfinite().all()


def test_a_copy_is_waited_for_on_its_own_device_and_not_on_the_current_one(
    device, tmp_path, monkeypatch
):
    world = World.make(tmp_path, num_shards=1, images_per_shard=1)
    encoder = MomentsEncoder(world.diffusion.vae, OPTIONS, DEVICE)
    monkeypatch.setattr(device, "is_current", False)
    assert encoder.encode(torch.zeros(2, 32, 32, 3, dtype=torch.uint8), ["a", "b"]).isfinite().all()
    event = torch.cuda.Event()
    copied = torch.ones(3).to(DEVICE).to("cpu", non_blocking=True)
    event.record()
    event.synchronize()
    assert copied.isnan().all()


def test_an_event_recorded_too_early_says_nothing_of_the_copy(device):
    event = torch.cuda.Event()
    event.record()
    copied = torch.ones(3).to(DEVICE).to("cpu", non_blocking=True)
    event.synchronize()
    assert copied.isnan().all()


def test_what_a_gpu_allows_is_allowed(device):
    tensor = torch.arange(6.0).to(DEVICE)
    found = [
        tensor * torch.tensor(2.0),
        torch.tensor(2.0) * tensor,
        tensor.masked_fill(tensor > 3, torch.tensor(0.0)),
    ]
    assert all(isinstance(t, Pretended) and t.device == DEVICE for t in found)
    assert found[0].cpu().tolist() == [0, 2, 4, 6, 8, 10]
    host = torch.zeros(6)
    assert host.copy_(tensor) is host
    assert not isinstance(host, Pretended)
    assert host.tolist() == [0, 1, 2, 3, 4, 5]


def test_moving_a_module_leaves_its_parameters_the_same_objects(device):
    module = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    module.to(DEVICE)(torch.ones(1, 2).to(DEVICE)).sum().backward()
    before = module.weight.detach().clone()
    optimizer.step()
    assert module.weight.device == DEVICE
    assert not torch.equal(module.weight, before)
