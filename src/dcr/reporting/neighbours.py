"""The images that an encoder holds for most alike to a query, before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dcr.data.benchmark_sets import ClassificationSet
from dcr.errors import UserError
from dcr.metrics.drift import find_neighbours
from dcr.pages import to_data_uri

if TYPE_CHECKING:
    from dcr.evaluation import Embedder


def show_neighbours(
    dataset: ClassificationSet,
    embedders: Mapping[str, Embedder],
    queries: Sequence[str],
    num_neighbours: int,
) -> list[dict[str, Any]]:
    """Return for each query the nearest other test images by every encoder.

    Args:
        dataset: the set, of which the test split is searched.
        embedders: the encoders by name.
        queries: keys of test images.
        num_neighbours: images shown for a query and encoder, nearest first by cosine.

    Returns:
        a row a query: ``image``, ``label`` and ``encoders``, by name a list of ``image``, ``label``
        and ``same``, whether the class is the query's; images as data URIs. No row for no query,
        and then no image is read.

    Raises:
        UserError: a query is no key of the test split.
    """
    if not queries:
        return []
    samples = [(sample.key, sample.label) for sample in dataset.samples("test")]
    keys = {key: row for row, (key, _) in enumerate(samples)}
    if unknown := [query for query in queries if query not in keys]:
        raise UserError(
            f"reporting.neighbour_queries: {dataset.folder} has no test image {unknown[0]!r}; one"
            f" is {samples[0][0]!r}"
        )
    rows = [keys[query] for query in queries]
    places = np.array(rows)
    found = {
        name: find_neighbours(
            embedder.split(dataset.splits["test"], f"{dataset.name} test"), num_neighbours, places
        )
        for name, embedder in embedders.items()
    }
    wanted = {*rows, *(int(row) for nearest in found.values() for row in nearest.ravel())}
    images = {
        row: to_data_uri(s.image) for row, s in enumerate(dataset.samples("test")) if row in wanted
    }

    def show(row: int) -> dict[str, Any]:
        """Return image and class of the test image at ``row`` of the split."""
        return {"image": images[row], "label": dataset.class_names[samples[row][1]]}

    return [
        show(row)
        | {
            "encoders": {
                name: [
                    show(int(r)) | {"same": samples[int(r)][1] == samples[row][1]}
                    for r in nearest[position]
                ]
                for name, nearest in found.items()
            }
        }
        for position, row in enumerate(rows)
    ]
