"""Devices by name."""

import pytest
import torch

from dcr.devices import resolve_device, tell_slow_precision
from dcr.errors import UserError


def test_auto_is_an_accelerator_if_there_is_one():
    assert (resolve_device("auto").type == "cpu") == (not torch.accelerator.is_available())


def test_float32_is_not_tf32_wherever_a_model_is_loaded():
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    resolve_device("cpu")
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_precision_that_a_processor_emulates_is_told(precision, caplog):
    tell_slow_precision(torch.device("cpu"), "no", "latents")
    tell_slow_precision(torch.device("cuda"), precision, "latents")
    assert caplog.messages == []
    tell_slow_precision(torch.device("cpu"), precision, "latents")
    assert f"latents.mixed_precision is {precision} and the device a CPU" in caplog.text


def test_a_device_by_name_and_one_that_is_not_there():
    assert resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(UserError, match="device 'abacus' is not to be had here"):
        resolve_device("abacus")
