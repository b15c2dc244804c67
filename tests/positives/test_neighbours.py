"""CLIP-guided resampling on similarities made by hand, and shared by two processes."""

import pytest
import torch
from torch import multiprocessing
from torch.nn import functional as F

from dcr.losses.infonce import InfoNCE
from dcr.positives.neighbours import (
    Resampler,
    Resampling,
    easy_negatives,
    false_negatives,
    false_positives,
    nearest_neighbours,
    resample,
    resampled_losses,
)
from dcr.training.distributed.processes import Processes
from training_world import fork_server

# Row i is image i. Its own view stands on the diagonal, and is in row 2 not even the nearest.
CLIP = torch.tensor(
    [
        [0.9, 0.1, 0.8, 0.2, 0.3],
        [0.5, 0.7, 0.4, 0.6, 0.1],
        [0.3, 0.8, 0.2, 0.1, 0.4],
        [0.2, 0.3, 0.4, 0.6, 0.5],
        [0.1, 0.2, 0.3, 0.4, 1.0],
    ]
)
ROWS = torch.arange(5)
RULES = ["add_new_positive", "drop_false_negative", "drop_easy_negative", "drop_false_positive"]


def places(mask):
    return [row.nonzero().flatten().tolist() for row in mask]


def test_the_new_positive_is_the_nearest_other_image():
    assert nearest_neighbours(CLIP, ROWS).tolist() == [2, 3, 1, 4, 3]


def test_false_negatives_are_the_nearest_and_never_the_own_view():
    assert places(false_negatives(CLIP, ROWS, 0.05)) == [[2], [3], [1], [4], [3]]
    assert places(false_negatives(CLIP, ROWS, 0.5)) == [[2, 4], [0, 3], [1, 4], [2, 4], [2, 3]]


def test_easy_negatives_are_the_farthest_and_never_the_own_view():
    assert places(easy_negatives(CLIP, ROWS, 0.10)) == [[1], [4], [3], [0], [0]]


def test_false_positives_are_the_anchors_least_like_their_own_view():
    assert false_positives(CLIP.diagonal(), 0.10).tolist() == [False, False, True, False, False]
    assert false_positives(CLIP.diagonal(), 0.40).tolist() == [False, False, True, True, False]


@pytest.mark.parametrize("share", [0.99, 1.0])
def test_something_is_always_left(share):
    assert (false_negatives(CLIP, ROWS, share).sum(dim=1) == 3).all()
    assert (easy_negatives(CLIP, ROWS, share).sum(dim=1) == 3).all()
    assert false_positives(CLIP.diagonal(), share).sum() == 4


def test_some_rows_of_a_larger_batch_know_which_images_they_are():
    rows = torch.tensor([2, 3])
    assert nearest_neighbours(CLIP[2:4], rows).tolist() == [1, 4]
    assert places(false_negatives(CLIP[2:4], rows, 0.05)) == [[1], [4]]


def test_a_new_positive_needs_three_images():
    with pytest.raises(ValueError, match="at least 3 images for a new positive, got 2"):
        nearest_neighbours(CLIP[:2, :2], ROWS[:2])


@pytest.fixture
def contrasts():
    """Two positives a row (a view, a target) and the negatives of a batch of five."""
    generator = torch.Generator().manual_seed(0)
    positives, negatives = 2 * torch.rand(2, 5, 5, generator=generator, dtype=torch.float64) - 1
    return positives[:, :2], negatives.masked_fill(torch.eye(5, dtype=torch.bool), -torch.inf)


def losses(contrasts, rule, share=0.1):
    resampling = Resampler(rule, share)(CLIP.double(), CLIP.double().diagonal(), ROWS)
    return resampled_losses(InfoNCE(0.2), *contrasts, resampling, num_shared=1)


def row_loss(positives, negatives):
    return InfoNCE(0.2)(torch.stack(positives)[None], torch.stack(negatives)[None])[0]


def test_half_of_the_loss_is_with_the_new_positive_and_the_target(contrasts):
    positives, negatives = contrasts
    for i, found in enumerate(losses(contrasts, "add_new_positive")):
        near = [2, 3, 1, 4, 3][i]
        own = row_loss([*positives[i]], [negatives[i, k] for k in range(5) if k != i])
        new = row_loss(
            [negatives[i, near], positives[i, 1]],
            [negatives[i, k] for k in range(5) if k not in (i, near)],
        )
        assert found.item() == pytest.approx(((own + new) / 2).item(), abs=1e-12)


@pytest.mark.parametrize(
    ("rule", "dropped"),
    [("drop_false_negative", [2, 3, 1, 4, 3]), ("drop_easy_negative", [1, 4, 3, 0, 0])],
)
def test_dropped_negatives_do_not_count(contrasts, rule, dropped):
    positives, negatives = contrasts
    for i, found in enumerate(losses(contrasts, rule)):
        expected = row_loss(
            [*positives[i]], [negatives[i, k] for k in range(5) if k not in (i, dropped[i])]
        )
        assert found.item() == pytest.approx(expected.item(), abs=1e-12)


def test_the_mean_runs_over_the_anchors_that_are_kept(contrasts):
    plain = InfoNCE(0.2)(*contrasts)
    found = losses(contrasts, "drop_false_positive")
    assert found[2] == 0
    assert found.mean().item() == pytest.approx(plain[[0, 1, 3, 4]].mean().item(), abs=1e-12)


def test_without_resampling_it_is_the_signal(contrasts):
    found = resampled_losses(InfoNCE(0.2), *contrasts, Resampling(), num_shared=1)
    assert torch.equal(found, InfoNCE(0.2)(*contrasts))


@pytest.mark.parametrize("rule", RULES)
def test_chunks_of_rows_give_the_same(contrasts, rule):
    resampling = Resampler(rule, 0.1)(CLIP.double(), CLIP.double().diagonal(), ROWS)
    parts = [
        resampled_losses(
            InfoNCE(0.2), *(t[rows] for t in contrasts), resampling.rows(rows), num_shared=1
        )
        for rows in ROWS.split(2)
    ]
    assert torch.allclose(torch.cat(parts), losses(contrasts, rule), atol=1e-12)


def clip_features():
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, 6, 4, generator=generator)  # not of unit length: `resample` scales them


def ask_in_a_rank(rank, count, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=count
    )
    processes = Processes(rank, count, torch.device("cpu"))
    own = processes.local_slice(3)
    features, views = (part[own] for part in clip_features())
    found = {
        rule: vars(resample(features, views, own.start, processes.all_gather, Resampler(rule, 0.3)))
        for rule in RULES
    }
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_find_what_one_finds_in_the_whole_batch(tmp_path):
    fork_server()
    multiprocessing.start_processes(
        ask_in_a_rank, (2, tmp_path), nprocs=2, start_method="forkserver"
    )
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    features, views = clip_features()
    for rule in RULES:
        whole = vars(resample(features, views, 0, lambda tensor: tensor, Resampler(rule, 0.3)))
        for name, expected in whole.items():
            parts = [rank[rule][name] for rank in ranks]
            assert (expected is None) == (parts[0] is None)
            if expected is not None:
                assert torch.allclose(torch.cat(parts).double(), expected.double()), (rule, name)


def test_similarities_are_cosines():
    features, views = clip_features()
    cosines = F.normalize(features, dim=-1) @ F.normalize(views, dim=-1).T
    found = resample(features, views, 0, lambda tensor: tensor, Resampler("add_new_positive", 0.0))
    assert found.neighbours.tolist() == cosines.fill_diagonal_(-2).argmax(dim=1).tolist()
