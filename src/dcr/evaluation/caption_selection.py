"""Which images and captions of a group belong together, by all rules from one embedding of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dcr.data.benchmark_sets import CaptionSelectionSet, Group
from dcr.errors import UserError
from dcr.evaluation.embedding import Embedder
from dcr.evaluation.features import measure_drift
from dcr.evaluation.long_texts import CutTexts, count_cut
from dcr.evaluation.overriding import override_groups
from dcr.evaluation.results import EvaluationOptions, Items, Result, outcomes_of, score
from dcr.metrics.caption_selection import (
    RULES,
    answer_groups,
    clip_benchmark_scores,
    compare_groups,
    selection_scores,
)
from dcr.metrics.guessing import chance_of, rules_of
from dcr.metrics.mmvp import mmvp_scores
from dcr.metrics.retrieval import alignment_scores

TASK = "image_caption_selection"
_UNIT = "group of images and captions"
_MEMBERS_AT_A_TIME = 16384  # images and captions, of as many groups as have them


@dataclass(frozen=True)
class _Selection:
    """Groups with the embeddings of their members.

    Attributes:
        groups: all of the set.
        images: (N, d), of its samples.
        texts: (T, d), of its captions, each once.
        captions: of each group, the places of its captions among ``texts``.
        cut: the captions that are cut.
    """

    groups: Sequence[Group]
    images: np.ndarray
    texts: np.ndarray
    captions: Sequence[tuple[int, ...]]
    cut: CutTexts

    @property
    def items(self) -> Items:
        """What is resampled: groups, all alike."""
        return Items(_UNIT, [group.name for group in self.groups])


def evaluate_caption_selection(
    embedder: Embedder,
    dataset: CaptionSelectionSet,
    options: EvaluationOptions,
    reference: Embedder | None = None,
) -> Iterator[Result]:
    """The share of groups that are answered right, by each rule that asks something of all groups.

    Where the set has several types also each type's share and their mean, by one rule: that of the
    set's published numbers, or the first that it can be asked. With ``options.compare_features``
    also how far images lie from their captions, and their drift from ``reference``'s.

    Args:
        embedder: the encoder; it embeds each image and each caption once.
        dataset: the set; an item of its resamples is a group.
        options: see `EvaluationOptions`.
        reference: the encoder that features are compared with; None leaves the drift out.

    Raises:
        UserError: no rule asks something of all groups.
    """
    selection = _embed(embedder, dataset)
    rules = _rules_of_all(dataset, selection.groups)
    correct = _answer(selection)
    yield _measure_rules(dataset, selection, correct, rules, options)
    types = [group.type for group in selection.groups]
    if dataset.has_type_scores and len(set(types)) > 1:
        rule = next((rule for rule in dataset.published_rules if rule in rules), rules[0])
        yield _measure_types(dataset, selection, correct[rule], rule, options)
    if not options.compare_features:
        return
    yield _measure_alignment(dataset, selection, options)
    if reference is not None:
        before = reference.split(dataset.splits["test"], f"{dataset.name} test")
        items = Items("image", [str(number) for number in range(len(before))])
        yield measure_drift("caption_drift", dataset.name, before, selection.images, items, options)


def _embed(embedder: Embedder, dataset: CaptionSelectionSet) -> _Selection:
    images = embedder.split(dataset.splits["test"], f"{dataset.name} test")
    groups = embedder.words((dataset.fingerprint, "groups"), lambda: list(dataset.groups()))
    if dataset.is_overridden:
        groups = override_groups(dataset, groups)
    places: dict[str, int] = {}
    captions = [
        tuple(places.setdefault(caption, len(places)) for caption in group.captions)
        for group in groups
    ]
    texts = embedder.texts(list(places), f"{dataset.name} captions")
    cut = count_cut(embedder.backbone, list(places), "captions")
    return _Selection(groups, images, texts, captions, cut)


def _answer(selection: _Selection) -> dict[str, np.ndarray]:
    """Return by rule which groups are answered right, (G,) bool.

    Groups of one shape are answered together.
    """
    groups = selection.groups
    alike = defaultdict(list)
    for number, group in enumerate(groups):
        alike[len(group.images), len(group.captions), group.pairing].append(number)
    correct = {rule: np.zeros(len(groups), dtype=bool) for rule in RULES}
    asked = dict.fromkeys(RULES, 0)
    for (num_images, num_captions, pairing), numbers in alike.items():
        step = max(1, _MEMBERS_AT_A_TIME // (num_images + num_captions))
        for start in range(0, len(numbers), step):
            part = numbers[start : start + step]
            images = selection.images[[groups[number].images for number in part]]
            texts = selection.texts[[selection.captions[number] for number in part]]
            for rule, answers in answer_groups(compare_groups(images, texts), pairing).items():
                correct[rule][part] = answers
                asked[rule] += len(part)
    return {rule: answers for rule, answers in correct.items() if asked[rule] == len(groups)}


def _rules_of_all(dataset: CaptionSelectionSet, groups: Sequence[Group]) -> list[str]:
    """Return the rules that ask something of every group."""
    shapes = {(len(group.images), len(group.captions), group.pairing) for group in groups}
    by_shape = [rules_of(*shape) for shape in shapes]
    found = [rule for rule in RULES if all(rule in rules for rules in by_shape)]
    if not found:
        raise UserError(
            f"{dataset.folder}: no rule asks something of all its groups: give each a wrong caption"
            " for an image, or a wrong image for a caption"
        )
    return found


def _chance(groups: Sequence[Group], rule: str) -> float:
    chances = [
        chance_of(len(group.images), len(group.captions), group.pairing)[rule] for group in groups
    ]
    return float(np.mean(chances))


def _measure_rules(
    dataset: CaptionSelectionSet,
    selection: _Selection,
    correct: dict[str, np.ndarray],
    rules: Sequence[str],
    options: EvaluationOptions,
) -> Result:
    answers = {rule: correct[rule] for rule in rules}
    chance = {rule: _chance(selection.groups, rule) for rule in rules}
    items = selection.items
    scored = score(lambda counts: selection_scores(answers, counts), items, options.bootstrap)
    return Result(
        "caption_selection",
        dataset.name,
        TASK,
        **scored,
        outcomes=[
            row
            for rule in rules
            for row in outcomes_of(items.ids, [rule] * len(items.ids), answers[rule])
        ],
        extra={
            **clip_benchmark_scores(correct),
            **{f"chance_{rule}": value for rule, value in chance.items()},
            "captions_cut": selection.cut.share,
        },
        rules={rule: rule for rule in rules},
        chance=chance,
        notes=[*_tell_rules(selection.groups, rules), *selection.cut.tell()],
    )


def _tell_rules(groups: Sequence[Group], rules: Sequence[str]) -> list[str]:
    """Say which rules leave nothing to choose in some group, so that they are not scored."""
    if not (absent := [rule for rule in RULES if rule not in rules]):
        return []
    shapes = sorted({(len(group.images), len(group.captions)) for group in groups})
    told = ", ".join(f"{images} and {captions}" for images, captions in shapes[:3])
    more = " and others" if len(shapes) > 3 else ""
    return [f"not scored by {', '.join(absent)}: groups have {told}{more} images and captions"]


def _measure_types(
    dataset: CaptionSelectionSet,
    selection: _Selection,
    correct: np.ndarray,
    rule: str,
    options: EvaluationOptions,
) -> Result:
    types = [_type_name(group) for group in selection.groups]
    items = Items(_UNIT, selection.items.ids, types)
    scored = score(lambda counts: mmvp_scores(correct, types, counts), items, options.bootstrap)
    by_type = {
        kind: _chance(
            [g for g, own in zip(selection.groups, types, strict=True) if own == kind], rule
        )
        for kind in dict.fromkeys(types)
    }
    return Result(
        "caption_types",
        dataset.name,
        TASK,
        **scored,
        outcomes=outcomes_of(items.ids, types, correct),
        rules=dict.fromkeys(scored["scores"], rule),
        chance={"mean": float(np.mean(list(by_type.values()))), **by_type},
    )


def _type_name(group: Group) -> str:
    """Return the metric that stands for the group's type; ``mean`` is taken."""
    return "type mean" if group.type == "mean" else group.type or "other"


def _measure_alignment(
    dataset: CaptionSelectionSet, selection: _Selection, options: EvaluationOptions
) -> Result:
    """Of each pair that belongs together; those of a group are resampled together."""
    cells = [
        (number, group.images[image], selection.captions[number][caption])
        for number, group in enumerate(selection.groups)
        for image, caption in group.pairing
    ]
    owner, images, texts = np.array(cells).T
    pairs = np.arange(len(cells))

    def alignment(counts: np.ndarray) -> dict[str, np.ndarray]:
        """Return the alignment, groups drawn ``counts`` (..., G) times, and their pairs with it."""
        return alignment_scores(
            selection.images[images], selection.texts[texts], pairs, counts[..., owner]
        )

    scored = score(alignment, selection.items, options.bootstrap)
    return Result("caption_alignment", dataset.name, "text_alignment", **scored)
