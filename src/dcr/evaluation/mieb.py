"""Tasks of MIEB, scored by mteb itself on an encoder of ours (Xiao et al., 2025, MIEB).

mteb asks for embeddings of images and texts and computes its own metrics. Where a task's metric is
a mean over items, and mteb tells what it found of each, its interval is a bootstrap over these
items, as of every other measure; of other tasks the score alone is told.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dcr.data.benchmark_sets import MiebSet
from dcr.data.benchmark_sets.files import decode_image
from dcr.data.benchmark_sets.mteb_tasks import mteb_told
from dcr.errors import UserError
from dcr.evaluation.embedding import Embedder, embed_images, embed_texts
from dcr.evaluation.results import EvaluationOptions, Items, Result, outcomes_of, score
from dcr.metrics.embeddings import weighted_mean

if TYPE_CHECKING:
    from PIL import Image

BENCHMARK = "mieb"
_TEXTS_AT_A_TIME = 256
_ROUNDING = 1e-6  # of mteb's own mean over items, some of which are in float32


def build_model(embedder: Embedder) -> Any:
    """Return an ``EncoderProtocol`` of mteb around the encoder of ``embedder``.

    Images are preprocessed as the encoder itself says; of inputs with both an image and a text the
    sum of the two embeddings is given, as mteb's own CLIP does. Likeness is the cosine.
    """
    from mteb.models.abs_encoder import AbsEncoder
    from mteb.models.model_meta import ModelMeta

    class Model(AbsEncoder):  # type: ignore[misc]  # mteb has types, but they are not read
        """An encoder of ours as mteb calls it."""

        mteb_model_meta = ModelMeta.create_empty(
            {"name": "dcr/encoder", "revision": "", "modalities": ["image", "text"]}
        )

        def __init__(self) -> None:
            self.model = None

        def encode(self, inputs: Any, **options: Any) -> np.ndarray:
            """Return the embeddings (N, d), float32, of the rows of ``inputs``.

            Args:
                inputs: a loader of batches, each a dict of lists.
                options: of the task; they change nothing.
            """
            found = []
            if "image" in inputs.dataset.features:
                found.append(_encode_images(embedder, inputs))
            if "text" in inputs.dataset.features:
                found.append(_encode_texts(embedder, inputs))
            if not found:
                raise UserError("mteb asks for embeddings of neither images nor texts")
            return np.asarray(np.sum(found, axis=0))

    return Model()


def _encode_images(embedder: Embedder, inputs: Iterable[dict[str, Any]]) -> np.ndarray:
    images = (image for batch in inputs for image in batch["image"])
    what = "images of mteb's task"
    return embed_images(
        embedder.backbone, images, embedder.batch_size, what, embedder.num_workers, _open
    )


def _open(image: Any) -> Image.Image:
    """Return an image that comes encoded, as from our reader, or decoded, as from mteb's own."""
    if isinstance(image, dict):
        return decode_image(image["bytes"], "mteb's task")
    opened: Image.Image = image
    return opened


def _encode_texts(embedder: Embedder, inputs: Iterable[dict[str, Any]]) -> np.ndarray:
    texts = [text for batch in inputs for text in batch["text"]]
    return embed_texts(embedder.backbone, texts, _TEXTS_AT_A_TIME, "texts of mteb's task")


def evaluate_mieb(
    embedder: Embedder, dataset: MiebSet, options: EvaluationOptions
) -> Iterator[Result]:
    """Score an encoder on one task, by the task's own main metric and others that it computes.

    Args:
        embedder: the encoder.
        dataset: the task.
        options: of which batch size and resampling matter here.

    Raises:
        UserError: the task's data cannot be read, or mteb cannot score the encoder on it.
    """
    task = dataset.load()
    with _told(task):
        found, predictions = _run(embedder, task)
    items = _items_of(task, predictions)
    metric = task.metadata.main_score
    extra = {
        name: float(np.mean([scores[name] for scores in found]))
        for name in found[0]
        if all(isinstance(scores.get(name), int | float) for scores in found)
    }
    main = extra.pop("main_score")
    extra.pop(metric, None)
    if metric in items and abs(items[metric].mean() - main) < _ROUNDING:
        yield _measure(dataset, task, items[metric].astype(np.float64), extra, options)
        return
    note = "mteb tells no items of this task: its score stands without an interval"
    yield Result(
        BENCHMARK, dataset.name, task.metadata.type, {metric: main}, {}, "task", "", {},
        extra=extra, notes=[note],
    )  # fmt: skip


def _told(task: Any) -> AbstractContextManager[None]:
    """Tell in a sentence if mteb fails at its own ``task``; our mistakes keep their traceback."""
    return mteb_told(
        f"mteb cannot score its task {task.metadata.name}", "see whether its data are as it says"
    )


def _run(embedder: Embedder, task: Any) -> tuple[list[dict[str, Any]], list[Any]]:
    """Return the scores of every split and subset, and what mteb tells of the items of each.

    mteb writes predictions as JSON, which are gigabytes for a thousand classes: they are kept here.
    """
    model = build_model(embedder)
    found: list[dict[str, Any]] = []
    kept: list[Any] = []
    task._save_task_predictions = lambda predictions, *_, **__: kept.append(predictions)
    for split in task.eval_splits:
        with tempfile.TemporaryDirectory() as folder:
            scores = task.evaluate(
                model,
                split,
                encode_kwargs={"batch_size": embedder.batch_size, "show_progress_bar": False},
                prediction_folder=Path(folder),
            )
        found += scores.values()
    return found, kept


def _items_of(task: Any, predictions: list[Any]) -> dict[str, np.ndarray]:
    """Return each item's value by metric, (N,), where the metric is the mean over items.

    It is {} where mteb does not tell, or there are several splits or subsets.
    """
    if len(predictions) != 1 or len(task.eval_splits) != 1:
        return {}
    (split,) = task.eval_splits
    if task.metadata.type == "ZeroShotClassification":
        return zero_shot_items(task, split, predictions[0])
    if task.metadata.type == "Compositionality":
        return _group_items(task, predictions[0])
    if task.metadata.type == "ImageClassification":
        return _probe_items(task, split, predictions[0])
    return {}


def zero_shot_items(task: Any, split: str, predictions: list[list[float]]) -> dict[str, np.ndarray]:
    """Return ``accuracy`` (N,), bool: which images of a ``split`` the highest score is right for.

    ``predictions`` are the scores of the classes, image by image.
    """
    with _told(task):
        labels = task._normalize_labels(
            task.dataset[split][task.label_column_name], task.get_candidate_labels()
        )
    return {"accuracy": np.argmax(predictions, axis=1) == np.asarray(labels)}


def _probe_items(task: Any, split: str, predictions: list[list[Any]]) -> dict[str, np.ndarray]:
    """Return in how many of the task's experiments each item is told right, as a share."""
    labels = np.asarray(task.dataset[split][task.label_column_name])
    found = np.asarray(predictions)
    if found.shape[1:] != labels.shape:  # cross-validation, or several labels an image
        return {}
    return {"accuracy": np.mean(found == labels, axis=0)}


def _group_items(task: Any, predictions: list[list[list[float]]]) -> dict[str, np.ndarray]:
    """Return the task's own metrics of each group of images and captions."""
    import torch

    scores = [torch.tensor(group) for group in predictions]
    with _told(task):
        found = [task._compute_metrics([one], *one.shape) for one in scores]
    return {name: np.array([metrics[name] for metrics in found]) for name in found[0]}


def _measure(
    dataset: MiebSet,
    task: Any,
    items: np.ndarray,
    extra: dict[str, float],
    options: EvaluationOptions,
) -> Result:
    metric = task.metadata.main_score
    ids = [str(place) for place in range(len(items))]

    def means(counts: np.ndarray) -> dict[str, np.ndarray]:
        """Return the task's metric, items drawn ``counts`` (..., N) times."""
        return {metric: weighted_mean(items, counts)}

    return Result(
        BENCHMARK,
        dataset.name,
        task.metadata.type,
        **score(means, Items("item of the task", ids), options.bootstrap),
        outcomes=outcomes_of(ids, [metric] * len(ids), items),
        extra=extra,
    )
