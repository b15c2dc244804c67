"""The projector and the identity that its broadcast condition has in cross-attention."""

import pytest
import torch
from diffusers.models.attention_processor import Attention
from safetensors.torch import save_file
from torch import nn

from dcr import Projector
from dcr.errors import UserError
from dcr.models.projector import condition, load_published_projector


def test_is_layernorm_linear_gelu_linear():
    projector = Projector(6, 10).double()
    features = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    w = projector.state_dict()
    normed = (features - features.mean(1, keepdim=True)) / (
        features.var(1, keepdim=True, correction=0) + 1e-5
    ).sqrt()
    hidden = (normed * w["0.weight"] + w["0.bias"]) @ w["1.weight"].T + w["1.bias"]
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    assert torch.allclose(projector(features), hidden @ w["3.weight"].T + w["3.bias"], atol=1e-12)


def test_the_condition_adds_the_projection_to_every_token():
    empty, projection = torch.randn(1, 7, 4), torch.randn(2, 4)
    tokens = condition(empty, projection)
    assert tokens.shape == (2, 7, 4)
    assert all(
        torch.equal(tokens[b, t], empty[0, t] + projection[b]) for b in range(2) for t in range(7)
    )


@pytest.mark.parametrize("heads", [1, 4])
def test_one_vector_on_every_token_shifts_cross_attention_by_a_constant(heads):
    """cross_attention(q, U + p) = cross_attention(q, U) + W_o W_v p, with diffusers' own
    attention.
    """
    torch.manual_seed(0)
    attention = Attention(query_dim=16, cross_attention_dim=12, heads=heads, dim_head=8).double()
    nn.init.normal_(attention.to_out[0].bias)
    query = torch.randn(2, 5, 16, dtype=torch.float64)
    tokens, projection = (
        torch.randn(1, 7, 12, dtype=torch.float64),
        torch.randn(2, 12, dtype=torch.float64),
    )
    shifted = attention(query, encoder_hidden_states=condition(tokens, projection))
    plain = attention(query, encoder_hidden_states=tokens.expand(2, -1, -1))
    bias = projection @ attention.to_v.weight.T @ attention.to_out[0].weight.T
    assert torch.allclose(shifted, plain + bias[:, None, :], atol=1e-12)


class TestFiles:
    @pytest.mark.parametrize("prefix", ["", "module.", "project_clip.", "module.project_clip."])
    def test_a_published_checkpoint_is_read(self, tmp_path, prefix):
        projector = Projector(6, 10)
        path = tmp_path / "checkpoint-project-clip-100000.bin"
        torch.save(
            {prefix + name: tensor.bfloat16() for name, tensor in projector.state_dict().items()},
            path,
        )
        state = load_published_projector(path)
        assert list(state) == list(projector.state_dict())
        for name, tensor in projector.state_dict().items():
            assert torch.equal(state[name], tensor.bfloat16().float())

    def test_our_own_file_is_read(self, tmp_path):
        state = Projector(6, 10).state_dict()
        save_file(state, tmp_path / "projector.safetensors")
        read = load_published_projector(tmp_path / "projector.safetensors")
        assert all(torch.equal(read[name], state[name]) for name in state)

    def test_another_state_dict_is_told(self, tmp_path):
        torch.save(nn.Linear(2, 3).state_dict(), tmp_path / "a.bin")
        with pytest.raises(UserError, match="not a projector's checkpoint"):
            load_published_projector(tmp_path / "a.bin")
        with pytest.raises(UserError, match=r"nowhere\.bin is not a projector's checkpoint"):
            load_published_projector(tmp_path / "nowhere.bin")

    def test_a_malicious_pickle_is_refused(self, tmp_path):
        class Malice:
            def __reduce__(self):
                return (open, (str(tmp_path / "ran"), "w"))

        torch.save({"1.weight": Malice()}, tmp_path / "a.bin")
        with pytest.raises(UserError, match="not a projector's checkpoint"):
            load_published_projector(tmp_path / "a.bin")
        assert not (tmp_path / "ran").exists()
