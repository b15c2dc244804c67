"""Training draws from several sources by weight, in one order whatever the processes."""

from itertools import chain

import numpy as np
import pytest
from scipy.stats import chisquare

from dcr.seeds import numpy_generator
from dcr.training.data import StepSampler
from dcr.training.mixture import Order, Source

SMALL, MIDDLE, LARGE = range(7), range(100, 150), range(1000, 3000)
MIXTURE = [Source(SMALL, "small", 1.0), Source(MIDDLE, "middle", 2.0), Source(LARGE, "large", 5.0)]


def places(sources, first, count, seed=0):
    order = Order(sources, seed)
    return [order[place] for place in range(first, first + count)]


def of_source(drawn, source):
    return [(position, epoch) for position, epoch in drawn if position in source.positions]


def test_sources_are_drawn_by_their_weights():
    drawn = places(MIXTURE, 0, 40_000)
    counts = [len(of_source(drawn, source)) for source in MIXTURE]
    expected = [40_000 * source.weight / 8 for source in MIXTURE]
    assert sum(counts) == 40_000
    assert chisquare(counts, expected).pvalue > 1e-3
    assert chisquare(counts, [40_000 / 3] * 3).pvalue < 1e-9  # it would tell other weights


def test_which_source_comes_says_nothing_of_the_next():
    drawn = np.array([position >= 1000 for position, _ in places(MIXTURE, 0, 40_000)])
    pairs = [(drawn[:-1] == a) & (drawn[1:] == b) for a in (False, True) for b in (False, True)]
    share = 5 / 8
    expected = np.array([(1 - share) ** 2, (1 - share) * share, share * (1 - share), share**2])
    counts = [pair.sum() for pair in pairs]
    assert chisquare(counts, expected * sum(counts)).pvalue > 1e-3


def test_of_each_source_every_sample_is_seen_once_an_epoch():
    drawn = places(MIXTURE, 0, 9000)
    for source in MIXTURE:
        own, size = of_source(drawn, source), len(source.positions)
        for epoch in range(len(own) // size):
            seen = own[epoch * size : (epoch + 1) * size]
            assert sorted(seen) == [(position, epoch) for position in source.positions]


def test_a_place_holds_the_same_sample_whatever_was_asked_before():
    whole = places(MIXTURE, 0, 20_000)
    order = Order(MIXTURE, 0)
    for place in numpy_generator(1, "places").integers(0, 20_000, 50):
        assert order[int(place)] == whole[place]
    assert places(MIXTURE, 12_345, 700) == whole[12_345:13_045]
    assert places(MIXTURE, 0, 100, seed=1) != whole[:100]


def test_one_source_is_drawn_as_ever():
    expected = [
        (int(position), epoch)
        for epoch in range(3)
        for position in numpy_generator(5, "order", epoch).permutation(50)
    ]
    for source in (Source(range(50)), Source(range(50), "cc3m", 0.25)):
        assert places([source], 0, 150, seed=5) == expected


def test_a_run_killed_at_ten_random_steps_goes_on_with_one_two_and_one_process_in_one_order():
    size = 6
    cuts = sorted(numpy_generator(2, "cuts").choice(range(1, 400), 10, replace=False).tolist())
    seen, step = [], 0
    for number, end in enumerate([*cuts, 400]):
        count = 1 + number % 2  # 1 -> 2 -> 1 -> ...
        ranks = [
            list(StepSampler(MIXTURE, size, 0, range(step, end), rank, count, len(seen)))
            for rank in range(count)
        ]
        for batches in zip(*ranks, strict=True):
            seen += chain(*batches)
        step = end
    assert seen == places(MIXTURE, 0, len(seen))
    assert len(seen) > 400 * size


def test_ranks_take_pieces_that_do_not_overlap():
    ranks = [list(chain(*StepSampler(MIXTURE, 4, 0, range(250), rank, 3))) for rank in range(3)]
    whole = places(MIXTURE, 0, 3000)
    taken = [list(chain(*(whole[p : p + 4] for p in range(4 * r, 3000, 12)))) for r in range(3)]
    assert ranks == taken
    for source in MIXTURE:  # no rank sees in an epoch what another has seen in it
        own = [of_source(rank, source) for rank in ranks]
        assert sum(map(len, own)) == len(set(chain(*own)))


@pytest.mark.parametrize("scale", [1e-3, 1e6])
def test_weights_count_by_their_ratio(scale):
    scaled = [Source(s.positions, s.name, s.weight * scale) for s in MIXTURE]
    assert places(scaled, 0, 500) == places(MIXTURE, 0, 500)
