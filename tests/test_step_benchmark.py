"""The benchmark of the step, as far as it goes without a GPU: both steps agree, and what is
asked is measured.
"""

import sys
from dataclasses import replace
from functools import partialmethod
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import measuring
import step as benchmark
import step_table
from counts import useful_operations
from dcr import dcr_loss
from dcr.models.backbones.families.open_clip import OpenClipBackbone
from dcr.training.unet.upsampling import FoldedUpsampling
from two_steps import PlainStep, Setting, TrainerStep, build_models, published_loss, tower_config

SETTING = Setting("cpu", "small", 2, 64, 1, False, "no", "none", split_gates=True)


@pytest.fixture(scope="module")
def steps():
    return [kind(SETTING) for kind in (PlainStep, TrainerStep)]


def test_both_steps_have_the_same_loss_and_gradient(steps):
    (expected, expected_gradient), (loss, gradient) = (step.compare(2) for step in steps)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert (gradient - expected_gradient).norm() <= 1e-5 * expected_gradient.norm()
    assert expected_gradient.count_nonzero() > 0.9 * expected_gradient.numel()


@pytest.mark.gpu
def test_both_steps_have_the_same_loss_and_gradient_on_a_gpu(steps):
    torch.backends.cudnn.allow_tf32 = False
    expected, expected_gradient = steps[0].compare(2)
    for kind in (PlainStep, TrainerStep):
        loss, gradient = kind(replace(SETTING, device="cuda")).compare(2)
        assert loss == pytest.approx(expected, rel=1e-4)
        assert (gradient - expected_gradient).norm() <= 1e-3 * expected_gradient.norm()


def test_the_loss_as_its_formula_stands_is_the_librarys():
    generator = torch.Generator().manual_seed(0)
    grid, views, targets = (
        torch.randn(*s, 4, 2, 2, generator=generator, dtype=torch.float32)
        for s in ((3, 3), (3,), (3,))
    )
    assert published_loss(grid, views, targets).item() == pytest.approx(
        dcr_loss(grid, views, targets).item(), rel=1e-5
    )


def test_both_steps_run_as_on_a_gpu_in_bf16():
    for kind in (PlainStep, TrainerStep):
        step = kind(replace(SETTING, mixed_precision="bf16", gradient_checkpointing="tower"))
        step.prepare()
        step(0)
        assert step.diffusion.unet.dtype == torch.bfloat16
        assert all(p.grad.isfinite().all() for p in step.model.trainable().values())


def test_on_a_gpu_the_models_are_those_of_the_paper():
    setting = benchmark.parse(["--device", "cuda"])[1]
    assert setting == Setting("cuda", "full", 16, 224, 2, False, "bf16", "tower")
    with torch.device("meta"):
        model, diffusion = build_models(replace(setting, device="meta"))
    numbers = [
        sum(p.numel() for p in part.parameters()) for part in (diffusion.unet, diffusion.vae)
    ]
    assert numbers == [865_910_724, 83_653_863]  # Stable Diffusion 2.1's
    assert (model.backbone.embed_dim, diffusion.unet.config.cross_attention_dim) == (768, 1024)


@pytest.mark.parametrize("image_size", [224, 336, 384])
def test_the_full_tower_takes_every_size(image_size):
    setting = replace(benchmark.parse(["--device", "cuda"])[1], image_size=image_size)
    with torch.device("meta"):
        backbone = OpenClipBackbone.build(tower_config(setting))
        features = backbone.visual(torch.zeros(1, 3, image_size, image_size))
    assert features.shape == (1, 768)


def test_on_a_cpu_they_are_scaled_down_and_gates_are_split():
    options, setting = benchmark.parse(["--batch-size", "4", "--device", "cpu"])
    assert setting == Setting("cpu", "small", 4, 128, 2, False, "no", "none", split_gates=True)
    assert options.json is None


def test_without_a_compiler_it_is_told_what_to_do(monkeypatch, capsys):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(SystemExit, match="2"):
        benchmark.parse(["--device", "cpu", "--compile"])
    assert "there is no C++ compiler" in capsys.readouterr().err
    assert not benchmark.parse(["--device", "cpu"])[1].compile
    monkeypatch.setenv("CXX", sys.executable)  # a program that there is
    assert benchmark.parse(["--device", "cpu", "--compile"])[1].compile


def test_a_compiled_step_has_the_same_loss_and_gradient(steps, monkeypatch):
    """The traced graphs, without a compiler; the benchmark itself compares with one."""
    graphs = []

    def run_as_traced(graph, _):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(
        torch.nn.Module, "compile", partialmethod(torch.nn.Module.compile, backend=run_as_traced)
    )
    expected, expected_gradient = steps[0].compare(2)
    loss, gradient = TrainerStep(replace(SETTING, compile=True)).compare(2)
    assert graphs
    assert loss == pytest.approx(expected, rel=1e-5)
    assert (gradient - expected_gradient).norm() <= 1e-5 * expected_gradient.norm()


def test_the_table_has_every_number_of_rows_with_and_without_each_saving():
    flags = [
        tuple(row[name] for name in step_table.FLAGS) for row in step_table.variants(8, "cuda")
    ]
    assert len(set(flags)) == len(flags) == 4 * len(step_table.VARIANTS)
    assert {flag[0] for flag in flags} == {1, 2, 4, 8}
    for number, name in enumerate(step_table.FLAGS[1:], start=1):
        assert len({flag[number] for flag in flags}) == 2, name


def test_on_a_cpu_the_table_leaves_cuda_graphs_out():
    assert not any(row["cuda_graphs"] for row in step_table.variants(8, "cpu"))
    assert any(row["compile"] for row in step_table.variants(8, "cpu"))


def test_what_cannot_be_taken_back_comes_last():
    """Folded upsampling, split gates, layout, checkpoints and compiled blocks stay in the models,
    which all rows share.
    """
    flags = list(step_table.variants(8, "cuda"))
    names = ("folded_upsampling", "split_gates", "channels_last", "compile", "cuda_graphs")
    staying = dict.fromkeys(names, False)
    for name, before in (staying | {"gradient_checkpointing": "none"}).items():
        values = [row[name] for row in flags]
        assert before not in values[values.index(values[-1]) :]


def noting(measure_row):
    """Return a way to measure a row that also tells what was left in the models."""

    def measured(step, flags):
        found = measure_row(step, flags)
        unet, tower = step.diffusion.unet, step.model.tower
        weight = unet.conv_out.weight
        return found | {
            "folded": any(isinstance(layer, FoldedUpsampling) for layer in unet.modules()),
            "laid_out": weight.is_contiguous(memory_format=torch.channels_last),
            "recomputed": tower.transformer.grad_checkpointing,
        }

    return measured


class TestTheTable:
    @pytest.fixture(scope="class")
    def table(self):
        """Its first variant and one with all savings, and checkpoints, of a setting that has them
        itself.
        """
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(step_table, "VARIANTS", (step_table.VARIANTS[0], step_table.VARIANTS[8]))
            patch.setattr(step_table, "measure_row", noting(step_table.measure_row))
            setting = replace(SETTING, gradient_checkpointing="tower", channels_last=True)
            return step_table.measure_table(setting, 1000)

    def test_each_row_was_measured(self, table):
        assert len(table) == 4
        for row in table:
            assert row["seconds"] > 0
            assert row["host_seconds"] == pytest.approx(row["seconds"], rel=0.05)
            assert row["mebibytes"] is not None

    def test_each_row_has_the_models_that_it_tells(self, table):
        for row in table:
            is_plain = row["gradient_checkpointing"] == "none"
            assert row["folded"] == row["laid_out"] == row["recomputed"] != is_plain

    def test_rows_for_which_no_time_is_left_are_told(self):
        assert {row["seconds"] for row in step_table.measure_table(SETTING, 0)} == {None}


def test_what_is_computed_again_is_not_useful():
    plain = useful_operations(SETTING)
    assert useful_operations(replace(SETTING, gradient_checkpointing="tower")) == plain
    for name in ("constant_prompt", "shared_prefix", "folded_upsampling"):
        assert useful_operations(replace(SETTING, **{name: False})) > plain, name


@pytest.mark.parametrize("on_gpu", [False, True])
def test_waiting_for_a_gpus_numbers_is_none_of_the_hosts_time(monkeypatch, on_gpu):
    def step(number):
        torch.zeros(2).tolist()
        torch.zeros(1).item()

    ticks = iter(range(100))
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: next(ticks))
    monkeypatch.setattr(torch.Tensor, "is_cuda", on_gpu)
    found = measuring.time_step(step, "cpu")
    waited = 2 * on_gpu + 1  # a tick for each number read, and one at the end
    assert found.passed - found.host == waited
    assert found.host > 0


@pytest.mark.parametrize("limit", [0, 1, 2, 7, 8, 21])
def test_the_largest_batch_is_found(limit):
    assert benchmark.largest(lambda size: size <= limit) == limit


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A10", 125e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA RTX A4000", None),
    ],
)
def test_peaks_are_found_by_the_whole_name(name, peak):
    assert benchmark.peak_operations(name) == peak
