import numpy as np
import pytest

from dcr.metrics.retrieval import alignment_scores, rank_matches, retrieval_scores

OWNER = np.array([0, 0, 1, 2, 2, 2, 3, 4, 4, 5])


def example(noise: float = 1.0):
    generator = np.random.default_rng(0)
    images = generator.normal(size=(6, 8)).astype(np.float32)
    return images, images[OWNER] + noise * generator.normal(size=(10, 8)).astype(np.float32)


def recalls_plainly(images, texts, k):
    """CLIP_benchmark's definition with loops: a query counts if any right item is among its
    first k.
    """

    def cosine(a, b):
        return float(a @ b / np.sqrt((a @ a) * (b @ b)))

    image_hits = []
    for text, owner in zip(texts, OWNER, strict=True):
        order = sorted(range(len(images)), key=lambda index: -cosine(text, images[index]))
        image_hits.append(owner in order[:k])
    text_hits = []
    for index, image in enumerate(images):
        order = sorted(range(len(texts)), key=lambda number: -cosine(image, texts[number]))
        text_hits.append(any(OWNER[number] == index for number in order[:k]))
    return np.mean(image_hits), np.mean(text_hits)


def ranks_of(images, texts):
    index = np.arange(len(images))
    return rank_matches(texts, images, OWNER, index), rank_matches(images, texts, index, OWNER)


@pytest.mark.parametrize("noise", [0.1, 1.0, 3.0])
def test_recalls_equal_a_plain_loop(noise):
    images, texts = example(noise)
    scores = retrieval_scores(*ranks_of(images, texts), OWNER, [1, 2, 5])
    for k in (1, 2, 5):
        by_text, by_image = recalls_plainly(images, texts, k)
        assert scores[f"image_retrieval_recall@{k}"] == pytest.approx(by_text)
        assert scores[f"text_retrieval_recall@{k}"] == pytest.approx(by_image)


def test_a_constant_encoder_retrieves_nothing():
    images, texts = example()
    scores = retrieval_scores(*ranks_of(np.ones_like(images), texts), OWNER, [1, 5])
    assert scores["image_retrieval_recall@1"] == scores["image_retrieval_recall@5"] == 0


def test_images_are_drawn_with_their_captions():
    images, texts = example()
    image_ranks, text_ranks = ranks_of(images, texts)
    counts = np.array([2, 0, 1, 0, 3, 0])
    scores = retrieval_scores(image_ranks, text_ranks, OWNER, [1], counts)
    expected = np.average(image_ranks < 1, weights=counts[OWNER])
    assert scores["image_retrieval_recall@1"] == pytest.approx(expected)
    assert scores["text_retrieval_recall@1"] == pytest.approx(
        np.average(text_ranks < 1, weights=counts)
    )


def test_alignment_equals_a_plain_loop():
    images, texts = example()
    unit_images = [image / np.linalg.norm(image) for image in images]
    unit_texts = [text / np.linalg.norm(text) for text in texts]
    scores = alignment_scores(images, texts, OWNER)
    cosines = [
        float(text @ unit_images[owner]) for text, owner in zip(unit_texts, OWNER, strict=True)
    ]
    gap = np.linalg.norm(np.mean(unit_images, axis=0) - np.mean(unit_texts, axis=0))
    assert scores["paired_cosine"] == pytest.approx(np.mean(cosines), abs=1e-6)
    assert scores["modality_gap"] == pytest.approx(gap, abs=1e-6)


def test_alignment_under_counts_equals_repeated_images():
    images, texts = example()
    counts = np.array([[1, 1, 1, 1, 1, 1], [0, 2, 0, 1, 2, 1]])
    repeated = np.repeat(np.arange(6), counts[1])
    captions = [texts[index == OWNER] for index in repeated]
    owner = np.repeat(np.arange(6), [len(part) for part in captions])
    expected = alignment_scores(images[repeated], np.concatenate(captions), owner)
    scores = alignment_scores(images, texts, OWNER, counts)
    for name, value in expected.items():
        assert scores[name][1] == pytest.approx(value, abs=1e-6)


def test_a_query_without_a_match_is_an_error():
    with pytest.raises(ValueError, match="must have a matching item"):
        rank_matches(np.eye(2), np.eye(2), np.array([0, 1]), np.array([0, 0]))
