"""Devices by name."""

import pytest
import torch

from dcr.devices import resolve_device
from dcr.errors import UserError


def test_auto_is_an_accelerator_if_there_is_one():
    assert (resolve_device("auto").type == "cpu") == (not torch.accelerator.is_available())


def test_a_device_by_name_and_one_that_is_not_there():
    assert resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(UserError, match="device 'abacus' is not to be had here"):
        resolve_device("abacus")
