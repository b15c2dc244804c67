"""Words for the names of scores and runs in files; a name without words stands for itself."""

from __future__ import annotations

from collections.abc import Mapping

from dcr.encoder_names import ALIGNED, UNALIGNED, EncoderName, split_run

Scores = Mapping[str, Mapping[str, Mapping[str, float]]]
"""{encoder: {benchmark: {metric: value}}}"""

Intervals = Mapping[str, Mapping[str, Mapping[str, tuple[float, float]]]]
"""{encoder: {benchmark: {metric: (low, high)}}}"""

ENCODERS = {
    "base": "Base",
    "dcr": "DCR",
    "reconstruction": "Reconstruction",
    "naive": "Naive sum",
    "end_to_end": "End to end",
}

FORMS = {"": "", ALIGNED: ", aligned", UNALIGNED: ", as trained"}

RUNS = {**ENCODERS, "stage1": "Stage 1: projector"}

BENCHMARKS = {
    "mmvp_vlm": "MMVP-VLM",
    "clustering": "Clustering",
    "zero_shot": "Zero-shot classification",
    "probes": "Attribute probes",
    "retrieval": "Retrieval",
    "linear_probe": "Class probes",
    "text_alignment": "Text alignment",
    "feature_geometry": "Geometry of features",
    "feature_drift": "Drift from the base",
    "retrieval_drift": "Drift from the base, retrieval's images",
    "mmvp_drift": "Drift from the base, MMVP-VLM's images",
    "mmvp_alignment": "Text alignment, MMVP-VLM",
    "caption_selection": "Caption selection",
    "caption_types": "Caption selection by type",
    "caption_alignment": "Text alignment, caption selection",
    "caption_drift": "Drift from the base, caption selection's images",
    "segmentation": "Segmentation by patches",
    "mieb": "MIEB",
}

TEXT_BENCHMARKS = (
    "mmvp_vlm",
    "caption_selection",
    "caption_types",
    "zero_shot",
    "retrieval",
    "text_alignment",
    "mmvp_alignment",
    "caption_alignment",
)
"""Those that ask images and texts together; all others ask the image features alone."""

EXPLANATIONS = {
    "mmvp_vlm": (
        "Two images differ in one detail and two statements name it. A pair counts if both"
        " statements find their image; guessing gives 25 %. It asks the image tower and the text"
        " tower together."
    ),
    "caption_selection": (
        "A group holds images and captions of which some belong together. How often they are told"
        " apart depends on the rule, which stands beside each score; a tie is a miss."
    ),
    "caption_types": "The same groups type by type, by one rule, and the mean over types.",
    "caption_alignment": "The cosine of an image and its caption, of pairs that belong together.",
    "caption_drift": "The same on the images of caption selection.",
    "mieb": (
        "Tasks of the Massive Image Embedding Benchmark, scored by mteb by their own main metrics."
    ),
    "segmentation": (
        "The class of each pixel, read off the frozen patch tokens, those that LLaVA reads, by a"
        " linear layer and by nearest patches; scored by the mean over classes of intersection over"
        " union. It asks what the tokens hold beside the image's one embedding."
    ),
    "clustering": (
        "k-means on the image features, with as many clusters as classes, matched to the labels: do"
        " classes fall apart by themselves? This is D-Ability. The between-class share is what part"
        " of the variance of the features, brought to unit length, lies between the means of"
        " classes: 0 if all means are one, 100 if every class is one point. It needs no k-means,"
        " and so it varies less."
    ),
    "zero_shot": (
        "Each image is named by the closest text. Stage 2 trains the image tower alone, so this"
        " tells whether images and texts still speak one language."
    ),
    "probes": (
        "A linear classifier reads each detail off the frozen image features, which it"
        " standardises: is the detail there at all? This is P-Ability, without the text tower."
    ),
    "retrieval": (
        "Finding the caption of an image, and the image of a caption, among all of the set."
    ),
    "linear_probe": (
        "The class, read off the frozen image features by a linear classifier, which standardises"
        " them, and by nearest neighbours."
    ),
    "text_alignment": (
        "The cosine of an image and its caption, and the distance between the means of all images"
        " and all captions. They tell how far the image tower has drifted from the text tower;"
        " neither has a better end."
    ),
    "feature_geometry": (
        "The mean cosine of two images of one class and of two classes, and how evenly the features"
        " fill their sphere (uniformity: 0 is one point, lower is more even). None has a better end"
        " by itself."
    ),
    "feature_drift": (
        "How like the base encoder's features are on the same images: linear CKA, and the share of"
        " nearest neighbours that stayed; 1 is unchanged."
    ),
    "retrieval_drift": "The same on the images of the retrieval set.",
    "mmvp_drift": "The same on the images of MMVP-VLM.",
    "mmvp_alignment": (
        "The cosine of an image and its own statement, and the distance between the means of the"
        " two."
    ),
}

METRICS = {
    "mean": "mean",
    "acc": "ACC",
    "nmi": "NMI",
    "ari": "ARI",
    "between_class_share": "between-class share",
    "acc1": "accuracy",
    "acc5": "top-5 accuracy",
    "mean_per_class_recall": "mean per-class recall",
    "cka": "linear CKA",
    "inner_class": "likeness within classes",
    "inter_class": "likeness between classes",
    "lp_acc1": "linear",
    "knn_acc1": "nearest neighbours",
    "linear_miou": "linear, mean IoU",
    "knn_miou": "nearest patches, mean IoU",
}

MEASURES = {
    "mmvp_vlm.mean": "MMVP-VLM",
    "clustering.acc": "clustering ACC",
    "clustering.nmi": "clustering NMI",
    "clustering.between_class_share": "between-class share",
    "retrieval.text_retrieval_recall@1": "text retrieval@1",
    "retrieval.image_retrieval_recall@1": "image retrieval@1",
    "zero_shot.acc1": "zero-shot accuracy",
    "probes.mean": "attribute probes",
}


def encoder_name(encoder: str) -> str:
    """Return the words for ``encoder``, its method, form and seed; see `dcr.encoder_names`."""
    name = EncoderName.parse(encoder)
    seed = "" if name.seed is None else f", seed {name.seed}"
    return f"{_method_words(name.method)}{FORMS[name.form]}{seed}"


def _method_words(method: str) -> str:
    """Return a method's words; names that begin with no known method's stay.

    ``reconstruction_same_compute`` is ``Reconstruction, same compute``.
    """
    if method in ENCODERS:
        return ENCODERS[method]
    known = next((name for name in ENCODERS if method.startswith(f"{name}_")), None)
    if known is None:
        return method
    return f"{ENCODERS[known]}, {method.removeprefix(f'{known}_').replace('_', ' ')}"


def run_name(run: str) -> str:
    """Return the words for the training ``run``, or for one phase of it."""
    encoder, phase = split_run(run)
    words = RUNS.get(encoder) or encoder_name(encoder)
    return words if phase is None else f"{words}, phase {phase}"


def benchmark_name(benchmark: str) -> str:
    """Return the words for a benchmark, or for one set of it, ``<benchmark>/<set>``.

    Where overrides were applied it is ``<benchmark>/<set>+overrides`` or ``<benchmark>/overrides``.
    """
    family, _, dataset = benchmark.partition("/")
    words = BENCHMARKS.get(family, family.replace("_", " "))
    name = "" if dataset == "overrides" else dataset.removesuffix("+overrides")
    with_overrides = ", with overrides" if name != dataset else ""
    return f"{words}: {name}{with_overrides}" if name else f"{words}{with_overrides}"


def metric_name(metric: str) -> str:
    """Return the words for a metric, a type or an attribute."""
    return METRICS.get(metric, metric.replace("_", " "))


def measure_name(key: str) -> str:
    """Return the words for the measure ``key``, ``benchmark.metric``, inside a sentence."""
    benchmark, _, metric = key.partition(".")
    return MEASURES.get(key, f"{benchmark_name(benchmark)} {metric_name(metric)}")
