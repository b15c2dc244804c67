"""Operations, kernels and activations of a step at full size, counted, and as they are predicted.

    python benchmarks/counts.py --json counts.json

It needs neither a GPU nor memory: both steps of benchmarks/step.py run on PyTorch's fake tensors,
which have shapes and nothing else:
the published formulation, and the trainer's with and without each of its exact savings, by the
rows that it holds at once. Counted are the operations of matrix products, convolutions and
attention, forward and backward, computed again ones included; calls that would start a kernel,
views and allocations aside; and the most that autograd keeps at a time, weights aside. The
trainer's step begins with cached moments, the published one encodes its images by the VAE; batches
are not drawn. Attention is fused in both, as PyTorch has it by default.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from common import environment, parser, tell
from dcr.planning.without_memory import without_memory
from dcr.training.batches import Batch
from dcr.training.cost import measure, plan
from dcr.training.counting import Operations
from two_steps import PlainStep, Setting, Step, TrainerStep

FULL = Setting("cpu", "full", 16, 224, 1, False, "bf16", "none")
ROWS = (1, 4, 16)
_NONE = dict.fromkeys(("constant_prompt", "shared_prefix", "folded_upsampling"), False)
SAVINGS: dict[str, dict[str, Any]] = {
    "none": _NONE,
    "constant_prompt": _NONE | {"constant_prompt": True},
    "shared_prefix": _NONE | {"shared_prefix": True},
    "folded_upsampling": _NONE | {"folded_upsampling": True},
    "all three": {},
    "all three, tower computed again": {"gradient_checkpointing": "tower"},
    "none, all computed again": _NONE | {"gradient_checkpointing": "all"},
}
_NO_KERNEL = (
    "_unsafe_view",
    "empty",
    "empty_like",
    "empty_strided",
    "new_empty",
    "new_empty_strided",
)


@dataclass(frozen=True)
class Counts:
    """Of a step: operations, kernels, and the most bytes that autograd keeps at a time."""

    operations: int
    kernels: int
    saved_bytes: int


class Kernels(TorchDispatchMode):
    """Counts the calls that start a kernel, or several."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        room, _, name = func._schema.name.partition("::")
        if room == "aten" and not func.is_view and name not in _NO_KERNEL:
            self.calls[name] += 1
        return func(*args, **kwargs or {})


class PeakSaved:
    """Follows what autograd keeps; a storage counts once, as long as anything keeps it.

    Args:
        modules: whose weights, buffers included, do not count.

    Attributes:
        peak: the most bytes at a time.
    """

    def __init__(self, *modules: nn.Module) -> None:
        weights = (t for m in modules for t in (*m.parameters(), *m.buffers()))
        self._weights = {t.untyped_storage()._cdata for t in weights}
        self._kept: Counter[int] = Counter()
        self._now = self.peak = 0

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Follow what is saved inside."""
        with torch.autograd.graph.saved_tensors_hooks(self._pack, _Kept.unpack):
            yield

    def _pack(self, tensor: torch.Tensor) -> _Kept:
        return _Kept(self, tensor.detach())

    def add(self, storage: torch.UntypedStorage, change: int) -> None:
        """Note that one more or one less keeps a storage; ``change`` is 1 or -1."""
        if storage._cdata in self._weights:
            return
        before = self._kept[storage._cdata] > 0
        self._kept[storage._cdata] += change
        after = self._kept[storage._cdata] > 0
        self._now += (after - before) * storage.nbytes()
        self.peak = max(self.peak, self._now)


class _Kept:
    """A saved tensor, until its graph lets go of it."""

    def __init__(self, owner: PeakSaved, tensor: torch.Tensor) -> None:
        self._owner = owner
        self._tensor = tensor
        owner.add(tensor.untyped_storage(), 1)

    def unpack(self) -> torch.Tensor:
        return self._tensor

    def __del__(self) -> None:
        self._owner.add(self._tensor.untyped_storage(), -1)


def count(step: Callable[[], object], *modules: nn.Module) -> Counts:
    """Count what a step takes, the weights of ``modules`` aside."""
    kernels = Kernels()
    saved = PeakSaved(*modules)
    with Operations() as operations, kernels, saved.watch():
        step()
    return Counts(operations.total, kernels.calls.total(), saved.peak)


def draw_batch(step: Step) -> Batch:
    """Return a batch of the step's shapes, in which nothing is drawn."""
    size, side = step.setting.batch_size, step.setting.image_size
    pixels = torch.zeros(size, 3, side, side)
    latents = torch.chunk(step.collated["moments"], 2, dim=1)[0]
    timesteps = torch.zeros(size, dtype=torch.long)
    return Batch([], pixels, pixels.clone(), latents, latents.clone(), timesteps)


def count_published(setting: Setting) -> Counts:
    """Count the published formulation's step."""
    step = PlainStep(setting)
    step.prepare()
    batch = draw_batch(step)

    def run() -> None:
        step.diffusion.encode_moments(batch.pixels)
        step.compute_gradients(batch)

    return count(run, step.model, step.diffusion.unet)


def compare(setting: Setting, savings: str, rows: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Yield rows of the table: the trainer's step as counted, and its prediction over that.

    Args:
        setting: of both steps.
        savings: a name of `SAVINGS`.
        rows: numbers of rows of the grid that are held at once.
    """
    cost = None
    for number in rows:
        step = TrainerStep(replace(setting, rows_per_chunk=number, **SAVINGS[savings]))
        step.prepare()
        step.micro_step.predict.shared_modules()  # what a row shares is found once a run
        cost = cost or measure(step.micro_step, setting.image_size)
        predicted = plan(step.micro_step, cost, {})
        batch = draw_batch(step)
        counted = count(partial(step.compute_gradients, batch), step.model, step.diffusion.unet)
        yield {
            "savings": savings,
            "rows": number,
            **asdict(counted),
            "predicted_operations": predicted.step_flops / counted.operations,
            "predicted_bytes": predicted.activation_bytes / counted.saved_bytes,
        }


@cache
def _operations(setting: Setting) -> int:
    """Return the operations of the trainer's step."""
    with without_memory():
        step = TrainerStep(setting)
        step.prepare()
        step.micro_step.predict.shared_modules()
        batch = draw_batch(step)
        with Operations() as operations:
            step.compute_gradients(batch)
    return operations.total


def useful_operations(setting: Setting) -> int:
    """Return the operations of the trainer's step but for those that are computed a second time.

    Args:
        setting: of the step. How many rows are held at once changes nothing.
    """
    plain = ("channels_last", "compile", "cuda_graphs", "deterministic")
    changes = {"gradient_checkpointing": "none"} | dict.fromkeys(plain, False)
    whole = {"device": "cpu", "rows_per_chunk": setting.batch_size}
    return _operations(replace(setting, **changes, **whole))


def main(arguments: list[str] | None = None) -> None:
    """Count both steps and tell."""
    made = parser(__doc__)
    made.add_argument("--batch-size", type=int, default=FULL.batch_size)
    made.add_argument("--image-size", type=int, default=FULL.image_size)
    options = made.parse_args(arguments)
    setting = replace(FULL, batch_size=options.batch_size, image_size=options.image_size)
    with without_memory():
        published = asdict(count_published(setting))
        rows = [row for name in SAVINGS for row in compare(setting, name, ROWS)]
    versions = environment("diffusers", "open_clip_torch", "peft")["versions"]
    tell(
        asdict(setting) | {"versions": versions, "published": published, "trainer": rows},
        options.json,
    )


if __name__ == "__main__":
    main()
