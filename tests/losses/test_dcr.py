"""The DCR loss against a loop from the paper's formula, its limit cases, and its rows."""

import math

import pytest
import torch

from dcr import dcr_loss
from dcr.losses.dcr import dcr_loss_rows, dcr_similarities

BATCH, SHAPE = 5, (4, 3, 3)


@pytest.fixture
def grid():
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    return draw(BATCH, BATCH, *SHAPE), draw(BATCH, *SHAPE), draw(BATCH, *SHAPE)


def loss_by_loops(predictions, view_predictions, targets, temperature):
    """The formula of the paper, one number at a time."""

    def similarity(a, b):
        a, b = a.flatten().tolist(), b.flatten().tolist()
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))

    total = 0.0
    for i in range(len(predictions)):
        anchor = predictions[i, i]
        positives = [similarity(anchor, view_predictions[i]), similarity(anchor, targets[i])]
        negatives = [
            similarity(anchor, predictions[i, k]) for k in range(len(predictions)) if k != i
        ]
        denominator = sum(math.exp(s / temperature) for s in positives + negatives)
        total += 0.5 * sum(-math.log(math.exp(s / temperature) / denominator) for s in positives)
    return total / len(predictions)


@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
def test_equals_a_loop_written_from_the_formula(grid, temperature):
    expected = loss_by_loops(*grid, temperature)
    assert dcr_loss(*grid, temperature=temperature).item() == pytest.approx(expected, abs=1e-10)


def test_is_log_2_when_both_positives_match_and_negatives_are_opposite(grid):
    anchors = grid[1]
    predictions = -anchors[:, None].repeat(1, BATCH, 1, 1, 1)
    predictions[range(BATCH), range(BATCH)] = anchors
    assert dcr_loss(predictions, anchors, anchors, 0.05).item() == pytest.approx(
        math.log(2), abs=1e-10
    )


def test_is_log_of_batch_plus_one_when_the_condition_is_ignored(grid):
    anchors = grid[1]
    predictions = anchors[:, None].expand(-1, BATCH, -1, -1, -1)
    assert dcr_loss(predictions, anchors, anchors).item() == pytest.approx(
        math.log(BATCH + 1), abs=1e-10
    )


def test_rows_give_the_loss_and_gradients_of_the_whole_grid(grid):
    whole = [t.clone().requires_grad_() for t in grid]
    dcr_loss(*whole).backward()
    parts = [t.clone().requires_grad_() for t in grid]
    for rows in torch.arange(BATCH).split(2):
        (dcr_loss_rows(*(t[rows] for t in parts), rows, 0.1).sum() / BATCH).backward()
    for a, b in zip(whole, parts, strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-10, rtol=0)


def test_gradient_agrees_with_finite_differences():
    generator = torch.Generator().manual_seed(1)
    shapes = [(3, 3, 2, 2, 2), (3, 2, 2, 2), (3, 2, 2, 2)]
    grid = [
        torch.randn(s, dtype=torch.float64, generator=generator, requires_grad=True) for s in shapes
    ]
    assert torch.autograd.gradcheck(dcr_loss, grid)


def test_nothing_is_detached(grid):
    leaves = [t.clone().requires_grad_() for t in grid]
    dcr_loss(*leaves).backward()
    assert all(t.grad.abs().sum() > 0 for t in leaves)
    assert all(leaves[0].grad[i, k].abs().sum() > 0 for i in range(BATCH) for k in range(BATCH))


def test_stays_finite_at_small_temperature_in_bfloat16(grid):
    predictions, views, targets = (t.bfloat16().requires_grad_() for t in grid)
    loss = dcr_loss(predictions, views, targets, temperature=0.01)
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    assert torch.isfinite(predictions.grad).all()


@pytest.mark.parametrize("temperature", [0.0, -0.1, float("nan")])
def test_refuses_a_temperature_that_is_not_positive(grid, temperature):
    with pytest.raises(ValueError, match="temperature must be > 0"):
        dcr_loss(*grid, temperature=temperature)


def test_refuses_shapes_that_do_not_fit(grid):
    predictions, views, targets = grid
    with pytest.raises(ValueError, match=r"predictions must have shape \(B, B, ...\)"):
        dcr_loss(predictions[:, :-1], views, targets)
    with pytest.raises(ValueError, match="view_predictions must have shape"):
        dcr_loss(predictions, views[:-1], targets)
    with pytest.raises(ValueError, match="targets must have shape"):
        dcr_loss(predictions, views, targets[..., :-1])


def test_several_views_are_positives_beside_the_target(grid):
    predictions, view_predictions, targets = grid
    several = torch.stack([view_predictions, view_predictions.roll(1, 0)], dim=1)
    rows = torch.arange(BATCH)
    positives, negatives = dcr_similarities(predictions, several, targets, rows)
    for i in rows.tolist():
        others = [several[i, 0], several[i, 1], targets[i]]
        expected = [
            torch.cosine_similarity(predictions[i, i].flatten(), p.flatten(), dim=0) for p in others
        ]
        assert torch.allclose(positives[i], torch.stack(expected), atol=1e-12)
    one_view, same_negatives = dcr_similarities(predictions, view_predictions, targets, rows)
    assert torch.equal(one_view, positives[:, [0, 2]])
    assert torch.equal(same_negatives, negatives)
    with pytest.raises(ValueError, match="view_predictions must have shape"):
        dcr_similarities(predictions, several[:-1], targets, rows)
