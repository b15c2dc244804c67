"""Devices by name."""

import os

import pytest
import torch

from dcr.devices import deterministic_algorithms, resolve_device, tell_slow_precision
from dcr.errors import UserError


def test_auto_is_an_accelerator_if_there_is_one():
    assert (resolve_device("auto").type == "cpu") == (not torch.accelerator.is_available())


def test_float32_is_not_tf32_wherever_a_model_is_loaded():
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    resolve_device("cpu")
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_deterministic_algorithms_are_asked_for_until_the_end(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    del os.environ["CUBLAS_WORKSPACE_CONFIG"]
    with deterministic_algorithms(False):
        assert not torch.are_deterministic_algorithms_enabled()
        assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    with pytest.raises(ZeroDivisionError), deterministic_algorithms(True):
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        raise ZeroDivisionError
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_workspace_that_was_chosen_stays(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    with deterministic_algorithms(True):
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


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
