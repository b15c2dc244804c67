"""The same encoder and set in, the same numbers out as clip-benchmark gives (PyPI; extra
`agreement`).
"""

import numpy as np
import pytest
import torch

from benchmark_folders import COLOURS, write_classification, write_retrieval
from caption_sets import write_caption_tars, write_sugar_crepe, write_winoground
from dcr.data.benchmark_sets import open_set
from dcr.evaluation import evaluate_encoder
from dcr.evaluation.tables import scores_table
from dcr.metrics.caption_selection import answer_groups, clip_benchmark_scores, compare_groups
from dcr.metrics.probes import predict_linear
from dcr.models.backbones import load_backbone
from evaluation_options import quick_options
from models import tiny_open_clip

pytest.importorskip("clip_benchmark", reason="install the extra `agreement`")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return load_backbone(f"local-dir:{tiny_open_clip(tmp_path_factory.mktemp('models') / 'clip')}")


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    return {
        "classification": open_set(write_classification(folder / "colours", per_class=15)),
        "retrieval": open_set(write_retrieval(folder / "captions")),
    }


@pytest.fixture(scope="module")
def ours(backbone, sets):
    return scores_table(
        {
            "base": evaluate_encoder(
                backbone, list(sets.values()), quick_options(recall_at=[1, 2, 5])
            )
        }
    )["base"]


class Loader:
    """Batches as clip-benchmark takes them from a DataLoader."""

    def __init__(self, backbone, samples, target, batch_size=16):
        self.dataset = type("Dataset", (), {"classes": list(COLOURS)})
        pixels = torch.stack([backbone.preprocess(sample.image) for sample in samples])
        targets = [target(sample) for sample in samples]
        places = range(0, len(samples), batch_size)
        self.batches = [
            (
                backbone.preprocessing.normalize(pixels[at : at + batch_size]),
                targets[at : at + batch_size],
            )
            for at in places
        ]

    def __iter__(self):
        return iter(self.batches)


def test_zero_shot_classification(backbone, sets, ours, monkeypatch):
    from clip_benchmark.metrics import zeroshot_classification

    def accuracy(output, target, topk):
        """As theirs, whose ``float`` of an array of one element newer NumPy versions refuse."""
        hits = output.topk(max(topk), 1, True, True)[1] == target[:, None]
        return [hits[:, :k].sum().item() / len(target) for k in topk]

    monkeypatch.setattr(zeroshot_classification, "accuracy", accuracy)
    dataset = sets["classification"]
    loader = Loader(backbone, list(dataset.samples("test")), lambda sample: sample.label)
    loader.batches = [(pixels, torch.tensor(labels)) for pixels, labels in loader.batches]
    names = dataset.class_names, dataset.templates
    theirs = zeroshot_classification.evaluate(
        backbone.model, loader, backbone.tokenize, *names, "cpu", amp=False
    )
    assert 0 < theirs["acc1"] < 1
    assert ours["zero_shot"] == pytest.approx(theirs, abs=1e-6)


def test_retrieval_with_several_captions_an_image(backbone, sets, ours):
    from clip_benchmark.metrics.zeroshot_retrieval import evaluate

    loader = Loader(
        backbone, list(sets["retrieval"].samples("test")), lambda sample: list(sample.captions), 4
    )
    theirs = evaluate(
        backbone.model, loader, backbone.tokenize, "cpu", amp=False, recall_k_list=[1, 2, 5]
    )
    assert len(set(theirs.values())) > 1
    assert ours["retrieval"] == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("write", [write_winoground, write_sugar_crepe, write_caption_tars])
def test_image_caption_selection(backbone, write, tmp_path):
    """Theirs takes the first candidate where similarities tie, which they do nowhere here."""
    from clip_benchmark.metrics.image_caption_selection import evaluate

    dataset = open_set(write(tmp_path / "set"))
    samples = list(dataset.samples("test"))
    groups = list(dataset.groups())
    batches = []
    for start in range(0, len(groups), 4):
        part = groups[start : start + 4]
        pixels = [
            torch.stack([backbone.preprocess(samples[place].image) for place in group.images])
            for group in part
        ]
        images = backbone.preprocessing.normalize(torch.cat(pixels))
        shape = (len(part), len(part[0].images), *images.shape[1:])
        batches.append((images.reshape(shape), [list(group.captions) for group in part]))
    theirs = evaluate(backbone.model, batches, backbone.tokenize, "cpu", amp=False)
    (ours, *_) = evaluate_encoder(backbone, [dataset], quick_options())
    assert {name: ours.extra[name] for name in theirs} == pytest.approx(theirs, abs=1e-6)
    assert 0 < theirs["text_acc"] < 1
    assert ours.scores["text_score"] == ours.extra["text_acc"]


@pytest.mark.parametrize("shape", [(2, 2), (1, 2), (1, 4), (3, 3), (2, 5)])
def test_the_same_features_are_answered_alike(shape):
    from clip_benchmark.metrics.image_caption_selection import evaluate

    num_images, num_captions = shape
    pairing = tuple((place, place) for place in range(min(shape)))
    generator = np.random.default_rng(0)
    images = generator.normal(size=(200, num_images, 12)).astype(np.float32)
    texts = generator.normal(size=(200, num_captions, 12)).astype(np.float32)
    for image, caption in pairing:
        texts[::2, caption] += 3 * images[::2, image]
    model = type("Model", (), {})()
    model.encode_image = lambda pixels: pixels.flatten(1)
    model.encode_text = lambda tokens: tokens
    batch = torch.tensor(images)[..., None, None], [list(group) for group in texts]
    theirs = evaluate(model, [batch], lambda rows: torch.tensor(np.array(rows)), "cpu", amp=False)
    ours = clip_benchmark_scores(answer_groups(compare_groups(images, texts), pairing))
    assert ours == pytest.approx(theirs, abs=1e-6)
    assert 0 < theirs["acc"] < 1


def test_linear_probe_reaches_the_same_optimum_and_differs_before_it(monkeypatch):
    """clip-benchmark stops AdamW after a number of epochs; we solve for the minimum.

    Its loop on the same standardised features, with many epochs and no weight decay, classifies
    alike where the minimum is well determined: with weak regularisation on our side the predictions
    agree on all test items. Its default of ten epochs is another number, and depends on the seed,
    the learning rate and the batch size.
    """
    from clip_benchmark.metrics import linear_probe

    # The loop asks for a GPU and needs none.
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)
    monkeypatch.setattr(torch.nn.Module, "cuda", lambda self: self)
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 500)
    features = (
        np.eye(3)[labels] @ generator.normal(size=(3, 6)) + generator.normal(size=(500, 6))
    ).astype(np.float32)
    features = (features - features[:300].mean(axis=0)) / features[:300].std(axis=0)
    dataset = torch.utils.data.TensorDataset(
        torch.tensor(features[:300]), torch.tensor(labels[:300])
    )
    loader = torch.utils.data.DataLoader(dataset, batch_size=300)
    predictions = {}
    for epochs in (10, 1000):
        model = linear_probe.train(loader, 6, 3, 0.0, 0.05, epochs, False, "cpu", seed=0)
        with torch.no_grad():
            predictions[epochs] = model(torch.tensor(features[300:])).argmax(axis=1).numpy()
    ours = predict_linear(
        features[:300],
        labels[:300],
        features[300:],
        inverse_regularization=1e6,
        max_iterations=5000,
    )
    np.testing.assert_array_equal(ours, predictions[1000])
    assert (ours != predictions[10]).any()
