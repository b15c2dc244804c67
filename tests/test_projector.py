"""The projector and the identity that its broadcast condition has in cross-attention."""

import pytest
import torch
from diffusers.models.attention_processor import Attention
from torch import nn

from dcr import Projector
from dcr.projector import condition


def test_is_layernorm_linear_gelu_linear():
    projector = Projector(6, 10).double()
    features = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    w = projector.state_dict()
    normed = (features - features.mean(1, keepdim=True)) / (features.var(1, keepdim=True, correction=0) + 1e-5).sqrt()
    hidden = (normed * w["0.weight"] + w["0.bias"]) @ w["1.weight"].T + w["1.bias"]
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    assert torch.allclose(projector(features), hidden @ w["3.weight"].T + w["3.bias"], atol=1e-12)


def test_the_condition_adds_the_projection_to_every_token():
    empty, projection = torch.randn(1, 7, 4), torch.randn(2, 4)
    tokens = condition(empty, projection)
    assert tokens.shape == (2, 7, 4)
    assert all(torch.equal(tokens[b, t], empty[0, t] + projection[b]) for b in range(2) for t in range(7))


@pytest.mark.parametrize("heads", [1, 4])
def test_one_vector_on_every_token_shifts_cross_attention_by_a_constant(heads):
    """cross_attention(q, U + p) = cross_attention(q, U) + W_o W_v p, with diffusers' own attention."""
    torch.manual_seed(0)
    attention = Attention(query_dim=16, cross_attention_dim=12, heads=heads, dim_head=8).double()
    nn.init.normal_(attention.to_out[0].bias)
    query = torch.randn(2, 5, 16, dtype=torch.float64)
    tokens, projection = torch.randn(1, 7, 12, dtype=torch.float64), torch.randn(2, 12, dtype=torch.float64)
    shifted = attention(query, encoder_hidden_states=condition(tokens, projection))
    plain = attention(query, encoder_hidden_states=tokens.expand(2, -1, -1))
    bias = projection @ attention.to_v.weight.T @ attention.to_out[0].weight.T
    assert torch.allclose(shifted, plain + bias[:, None, :], atol=1e-12)
