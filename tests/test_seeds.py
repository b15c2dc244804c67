"""Random streams are named by purpose."""

import hashlib

import torch

from dcr.seeds import derive_seed, numpy_generator, torch_generator


def test_a_seed_is_63_bits_of_sha256_of_its_parts():
    digest = hashlib.sha256(b"7\x1fnoise\x1f3").digest()
    assert derive_seed(7, "noise", 3) == int.from_bytes(digest[:8], "big") >> 1


def test_purposes_do_not_share_a_stream():
    assert (
        len({derive_seed(s, p, i) for s in (0, 1) for p in ("noise", "view") for i in range(100)})
        == 400
    )
    assert derive_seed(0, "a", "b") != derive_seed(0, "ab")


def test_generators_repeat():
    assert torch.equal(
        torch.rand(3, generator=torch_generator(1, "x")),
        torch.rand(3, generator=torch_generator(1, "x")),
    )
    assert (numpy_generator(1, "x").random(3) == numpy_generator(1, "x").random(3)).all()
