"""The signals written from their formulas, one number at a time: an independent answer for the
tests.
"""

import math
import statistics

LOOPS = {}


def formula(function):
    LOOPS[function.__name__] = function
    return function


def exponentials(values, temperature):
    return [math.exp(value / temperature) for value in values]


def by_anchor(function):
    """Turn a formula for one anchor into one for the batch."""

    def loop(positives, negatives, **parameters):
        return [function(p, n, **parameters) for p, n in zip(positives, negatives, strict=True)]

    loop.__name__ = function.__name__
    return loop


@formula
@by_anchor
def infonce(positives, negatives, temperature):
    everything = sum(exponentials(positives + negatives, temperature))
    return statistics.fmean(-math.log(e / everything) for e in exponentials(positives, temperature))


@formula
@by_anchor
def dcl(positives, negatives, temperature):
    pushed = sum(exponentials(negatives, temperature))
    return statistics.fmean(-s / temperature + math.log(pushed) for s in positives)


@formula
def dclw(positives, negatives, temperature, sigma):
    size, count = len(positives), len(positives[0])
    totals = [sum(math.exp(positives[k][p] / sigma) for k in range(size)) for p in range(count)]
    losses = []
    for i in range(size):
        pushed = math.log(sum(exponentials(negatives[i], temperature)))
        weights = [2 - size * math.exp(positives[i][p] / sigma) / totals[p] for p in range(count)]
        pulled = [w * s / temperature for w, s in zip(weights, positives[i], strict=True)]
        losses.append(statistics.fmean(pushed - pull for pull in pulled))
    return losses


@formula
@by_anchor
def sigmoid(positives, negatives, logit_scale, logit_bias):
    def no(similarity):
        return 1 - 1 / (1 + math.exp(-(logit_scale * similarity + logit_bias)))

    return -sum(math.log(1 - no(s)) for s in positives) - sum(math.log(no(s)) for s in negatives)


@formula
@by_anchor
def supcon(positives, negatives, temperature):
    denominator = math.log(sum(exponentials(positives + negatives, temperature)))
    return -statistics.fmean(s / temperature - denominator for s in positives)


@formula
@by_anchor
def debiased(positives, negatives, temperature, tau_plus):
    pulled = exponentials(positives, temperature)
    rest = sum(exponentials(negatives, temperature)) - tau_plus * len(negatives) * statistics.fmean(
        pulled
    )
    rest = max(rest / (1 - tau_plus), len(negatives) * math.exp(-1 / temperature))
    return statistics.fmean(-math.log(e / (sum(pulled) + rest)) for e in pulled)


@formula
@by_anchor
def hcl(positives, negatives, temperature, tau_plus, beta):
    count, pulled = len(negatives), exponentials(positives, temperature)
    weights = [math.exp(beta * s / temperature) for s in negatives]
    mass = sum(w * e for w, e in zip(weights, exponentials(negatives, temperature), strict=True))
    mass *= count / sum(weights)
    rest = (mass - tau_plus * count * statistics.fmean(pulled)) / (1 - tau_plus)
    rest = max(rest, count * math.exp(-1 / temperature))
    return statistics.fmean(-math.log(e / (sum(pulled) + rest)) for e in pulled)


@formula
@by_anchor
def hn_nce(positives, negatives, temperature, alpha, beta):
    pulled, pushed = exponentials(positives, temperature), exponentials(negatives, temperature)
    hardness = [math.exp(beta * s / temperature) for s in negatives]
    weights = [len(negatives) * h / sum(hardness) for h in hardness]
    denominator = alpha * sum(pulled) + sum(w * e for w, e in zip(weights, pushed, strict=True))
    return statistics.fmean(-math.log(e / denominator) for e in pulled)


@formula
@by_anchor
def cacr(positives, negatives, attraction, repulsion, t_plus, t_minus):
    def mean_distance(similarities, sharpness):
        distances = [2 - 2 * s for s in similarities]
        weights = [math.exp(sharpness * d) for d in distances]
        return sum(w * d for w, d in zip(weights, distances, strict=True)) / sum(weights)

    return attraction * mean_distance(positives, t_plus) - repulsion * mean_distance(
        negatives, -t_minus
    )


@formula
def macl(positives, negatives, temperature, alpha, a0):
    alignment = statistics.fmean(s for row in positives for s in row)
    adapted = temperature * (1 + alpha * (alignment - a0))
    losses = []
    for pulled, pushed in zip(positives, negatives, strict=True):
        mass = sum(exponentials(pushed, adapted))
        chances = [e / (e + mass) for e in exponentials(pulled, adapted)]
        losses.append(statistics.fmean(-math.log(p) / (1 - p) for p in chances))
    return losses


@formula
@by_anchor
def mv_dhel(positives, negatives, temperature):
    return -math.log(sum(exponentials(positives, temperature))) + math.log(
        sum(exponentials(negatives, temperature))
    )


@formula
@by_anchor
def polyview(positives, negatives, temperature):
    mass = sum(exponentials(negatives, temperature))
    return statistics.fmean(-math.log(e / (e + mass)) for e in exponentials(positives, temperature))


@formula
@by_anchor
def focal(positives, negatives, temperature, gamma):
    everything = sum(exponentials(positives + negatives, temperature))
    chances = [e / everything for e in exponentials(positives, temperature)]
    return statistics.fmean(-((1 - p) ** gamma) * math.log(p) for p in chances)


@formula
@by_anchor
def kernel_mixture(positives, negatives, temperature, gamma):
    def kernel(similarity):
        return math.exp(-(math.sqrt(2 - 2 * similarity) ** gamma) / temperature)

    pulled, pushed = [kernel(s) for s in positives], [kernel(s) for s in negatives]
    return statistics.fmean(-math.log(k / (sum(pulled) + sum(pushed))) for k in pulled)
