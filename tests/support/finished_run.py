"""A finished run in miniature, with answers drawn so that DCR separates classes and loses names.

DCR was trained with three seeds, reconstruction with two of them, the naive sum with one; DCR and
base were aligned. Everything the page reads is derived from one table of answers, as in a real run:
scores are its means, intervals and replicates come from the project's bootstrap.
"""

from __future__ import annotations

import copy
import io
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from dcr.evaluation.comparison import comparison_records
from dcr.evaluation.judge import Judge
from dcr.evaluation.measurements import measure, measurements_table, read_measurements
from dcr.evaluation.results import Items, Result, outcomes_of, score
from dcr.evaluation.tables import intervals_table, outcomes_table, scores_table
from dcr.metrics.bootstrap import Bootstrap
from dcr.metrics.embeddings import weighted_mean
from dcr.metrics.mmvp import mmvp_scores
from dcr.metrics.probes import probe_scores
from dcr.metrics.zero_shot import zero_shot_scores
from dcr.reporting.methods import Methods, gather

TYPES = (
    "Orientation and Direction",
    "Presence of Specific Features",
    "State and Condition",
    "Quantity and Count",
    "Positional and Relational Context",
    "Color and Appearance",
    "Structural Characteristics",
    "Texts",
    "Viewpoint and Perspective",
)
ATTRIBUTES = (
    "orientation",
    "presence",
    "state",
    "count",
    "position",
    "color",
    "structure",
    "text",
    "viewpoint",
)
ENCODERS = (
    "base",
    "dcr",
    "dcr@1",
    "dcr@2",
    "reconstruction",
    "reconstruction@1",
    "naive",
    "dcr_unaligned",
    "dcr_unaligned@1",
    "dcr_unaligned@2",
    "base_aligned",
)
METHODS = ("dcr", "reconstruction", "naive")
NUM_PAIRS = 15  # of each type
MEASURES = {
    "detail": ["probes.mean"],
    "class separation": ["clustering.between_class_share", "clustering.acc"],
    "text scores": ["mmvp_vlm.mean", "zero_shot.acc1"],
}
BOOTSTRAP = Bootstrap(num_resamples=200, confidence=0.95, seed=0)

# Chance of a right answer by method: MMVP-VLM, clustering, zero-shot, probes.
RATES = {
    "base": (0.42, 0.55, 0.92, 0.67),
    "dcr": (0.43, 0.76, 0.84, 0.70),
    "reconstruction": (0.45, 0.56, 0.91, 0.72),
    "naive": (0.40, 0.68, 0.86, 0.67),
    "dcr_unaligned": (0.42, 0.76, 0.78, 0.70),
    "base_aligned": (0.42, 0.55, 0.93, 0.67),
}


@cache
def results() -> dict[str, list[Result]]:
    """Results of all encoders; answers of one item are correlated over encoders, as they are in
    a run.
    """
    found: dict[str, list[Result]] = {encoder: [] for encoder in ENCODERS}
    for place, (benchmark, groups, size) in enumerate(_benchmarks()):
        shared = np.random.default_rng(place).random(len(groups) * size)
        for number, encoder in enumerate(ENCODERS):
            generator = np.random.default_rng([7, place, number])
            draws = np.where(
                generator.random(len(shared)) < 0.8, shared, generator.random(len(shared))
            )
            correct = draws < RATES[encoder.partition("@")[0]][place]
            found[encoder].append(_result(benchmark, groups, size, correct))
    return found


def _benchmarks():
    classes = tuple(str(i) for i in range(20))
    return (
        ("mmvp_vlm", TYPES, NUM_PAIRS),
        ("clustering", classes, 20),
        ("zero_shot", classes, 20),
        ("probes", ATTRIBUTES, 100),
    )


def _result(benchmark: str, groups: tuple[str, ...], size: int, correct: np.ndarray) -> Result:
    """The result of ``size`` answers for each group, group by group."""
    of_each = np.repeat(groups, size)
    if benchmark == "probes":  # every detail is asked of the same images
        names = [f"{index:05d}" for index in range(size)]
        by_detail = dict(zip(groups, correct.reshape(len(groups), size), strict=True))
        items, statistics = Items("image", names), lambda counts: probe_scores(by_detail, counts)
        names = names * len(groups)
    elif benchmark == "mmvp_vlm":
        names = [f"{2 * index + 1}-{2 * index + 2}" for index in range(len(correct))]
        items = Items("pair of images", names, of_each)
        statistics = lambda counts: mmvp_scores(correct, of_each, counts)  # noqa: E731
    else:
        names = [f"{index:05d}" for index in range(len(correct))]
        items = Items("image", names)
        statistics = partial(_pooled, benchmark, correct, of_each)
    scored = score(statistics, items, BOOTSTRAP)
    return Result(
        benchmark, "scenes20", "task", **scored, outcomes=outcomes_of(names, of_each, correct)
    )


def _pooled(
    benchmark: str, correct: np.ndarray, classes: np.ndarray, counts: np.ndarray
) -> dict[str, np.ndarray]:
    """Scores of all answers, and others that follow from them, since there are no features to
    measure.
    """
    pooled = weighted_mean(correct, counts)
    if benchmark == "zero_shot":
        return zero_shot_scores(np.where(correct, 0, 3), classes, counts)
    return {
        "acc": pooled,
        "nmi": 0.15 + 0.85 * pooled,
        "ari": pooled - 0.08,
        "between_class_share": 0.3 + 0.5 * pooled,
    }


def outcomes() -> pd.DataFrame:
    """What each encoder answered, item by item."""
    return outcomes_table(results())


def scores() -> dict:
    """Scores of every encoder."""
    return scores_table(copy.deepcopy(results()))


def intervals() -> dict:
    """Intervals of every encoder's scores."""
    return intervals_table(results())


def measurements(*without: str) -> pd.DataFrame:
    """Every measure in every resample, but of the benchmarks that are named."""
    table = measurements_table(measure(results()))
    return table[~table["benchmark"].isin(without)].reset_index(drop=True)


def comparisons(*without: str) -> dict:
    """What `comparisons.json` tells."""
    judge = Judge(read_measurements(measurements(*without)), 0.95, METHODS)
    return {
        name: comparison_records(judge.compare("base", name))
        for name in judge.names
        if name != "base"
    }


def methods(rivals: tuple[str, ...] = ("reconstruction",)) -> Methods:
    """The encoders as the pages see them."""
    judge = Judge(read_measurements(measurements()), 0.95, METHODS)
    return gather(judge, scores(), comparisons(), "base", "dcr", rivals)


def losses() -> dict[str, pd.DataFrame]:
    """Loss logs of four runs as training writes them: the held-out error stands on every tenth
    row.
    """
    shapes = {
        "stage1": (300, 0.9, 0.42),
        "dcr": (100, 2.4, 1.3),
        "reconstruction": (100, 0.44, 0.41),
        "naive": (100, 1.9, 1.2),
    }
    result = {}
    for number, (run, (steps, first, last)) in enumerate(shapes.items()):
        generator = np.random.default_rng(number)
        decay = np.exp(-np.arange(steps) / steps * 5)
        noise = generator.lognormal(0, 0.12, steps)
        frame = pd.DataFrame(
            {"step": np.arange(1, steps + 1), "loss": (last + (first - last) * decay) * noise}
        )
        frame["learning_rate"], frame["grad_norm"] = 1e-3, generator.lognormal(-1, 0.3, steps)
        frame["validation_loss"] = np.where(frame["step"] % 10 == 0, 0.42 + 0.05 * decay, np.nan)
        if run in ("dcr", "naive"):
            frame["alignment"], frame["uniformity"] = 0.02 * noise, -1.5 - 0.5 * (1 - decay)
            frame["conflict_cosine"] = np.where(frame["step"] % 50 == 0, -0.2, np.nan)
        if run == "dcr":
            frame["effective_negatives"], frame["target_gradient_share"] = (
                4 + 7 * decay,
                0.8 * np.ones(steps),
            )
        result[run] = frame
    return result


def training_record() -> dict:
    """What training records of its runs."""
    seconds = {"stage1": 50.2, "dcr": 41.7, "reconstruction": 7.4, "naive": 9.1}
    batch = {"stage1": 64, "dcr": 12, "reconstruction": 12, "naive": 12}
    runs = {
        run: {
            "objective": "reconstruction" if run == "stage1" else run,
            "seconds": seconds[run],
            "steps": 300 if run == "stage1" else 100,
            "samples_per_second": (300 if run == "stage1" else 100) * batch[run] / seconds[run],
            "trainable_parameters": 6240 if run == "stage1" else 147456,
        }
        for run in seconds
    }
    names = ("data", "backbone", "vae", "unet")
    hashes = {name: f"{number:x}a3f5c09e1b7d264" * 4 for number, name in enumerate(names)}
    return {"seed": 0, "runs": runs, "hashes": hashes}


def validation_summary() -> dict:
    """What validation counted."""
    return {
        "shards": 8,
        "samples": 8000,
        "accepted": 7961,
        "rejected": 39,
        "reasons": {"unreadable image": 21, "caption empty": 12, "duplicate image": 6},
        "unreadable_bytes": 0,
    }


def sets() -> list[dict]:
    """Which sets were evaluated."""
    return [
        {
            "name": "mmvp_vlm",
            "kind": "mmvp_vlm",
            "folder": "sets/mmvp_vlm",
            "dataset": "mmvp_vlm",
            "benchmarks": ["mmvp_vlm"],
            "notes": [],
            "published_rules": ["image_score"],
            "rules": {"mmvp_vlm": {"mean": {"rule": "image_score", "chance": 0.25}}},
        },
        {
            "name": "classification",
            "kind": "classification",
            "folder": "sets/scenes20",
            "dataset": "scenes20",
            "benchmarks": ["clustering", "zero_shot", "probes"],
            "notes": ["left out: hidden folders: 1 (.git)"],
            "published_rules": [],
            "rules": {},
        },
    ]


def base_models_record() -> dict:
    """Noise error of the demo's UNet under three conditions, and what it and the text tower
    tell apart.
    """
    rises = {
        "class": (0.3788, 0.0051),
        "color": (0.0986, 0.0031),
        "count": (0.0001, 0.0002),
        "text": (0.0003, 0.0002),
    }
    return {
        "unet": {"true_caption": 0.3921, "empty_prompt": 0.4318, "wrong_caption": 0.4487},
        "details": {
            name: {"rise": rise, "standard_error": error, "known": rise > 3 * error}
            for name, (rise, error) in rises.items()
        },
        "clip": {"statement_distance": {"color": 0.31, "count": 0.02, "text": 0.0199}},
    }


def conditions() -> dict:
    """Noise error of the projector's condition before and after stage 1."""
    return {
        "projector": {
            "empty_prompt": 0.4318,
            "before": 0.4733,
            "after": 0.4102,
            "wrong_image": 0.4577,
        }
    }


def draw_image(seed: int, side: int = 32) -> Image.Image:
    """A small picture that stands for a scene."""
    generator = np.random.default_rng(seed)
    sky, ground, thing = (tuple(int(c) for c in generator.integers(40, 230, 3)) for _ in range(3))
    image = Image.new("RGB", (side, side), sky)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, side * 2 // 3, side, side), fill=ground)
    x, y = generator.integers(4, side // 2, 2)
    draw.ellipse((int(x), int(y), int(x) + side // 2, int(y) + side // 3), fill=thing)
    return image


def write_mmvp(folder: Path) -> Path:
    """Write an MMVP-VLM folder whose pairs are the ones in the outcomes."""
    rows, details = [], ("a red fish", "a blue fish")
    for number in range(len(TYPES) * NUM_PAIRS):
        kind = TYPES[number // NUM_PAIRS]
        place = folder / "MLLM_VLM Images" / kind
        place.mkdir(parents=True, exist_ok=True)
        for side in (0, 1):
            question = 2 * number + 1 + side
            draw_image(question).save(place / f"{question}.jpg", quality=95)
            rows.append((question, kind, details[side]))
    frame = pd.DataFrame(rows, columns=["Question ID", "Type", "Statement"])
    frame.to_csv(folder / "Questions.csv", index=False)
    return folder


def synthetic_positives() -> dict:
    """Pictures that pipeline `synthesis` left, of two images with three candidates each."""
    from dcr.pages import to_data_uri

    rows = [
        {"key": f"0000{i}", "images": [to_data_uri(draw_image(4 * i + n)) for n in range(4)]}
        for i in range(2)
    ]
    measures = {
        "feature_cosine": 0.355, "unrelated_feature_cosine": 0.309, "pixel_difference": 0.171,
        "least_pixel_difference": 0.054, "unrelated_pixel_difference": 0.212,
    }  # fmt: skip
    return {"measures": measures, "rows": rows}


def png(seed: int) -> bytes:
    """The bytes of a small PNG."""
    buffer = io.BytesIO()
    draw_image(seed).save(buffer, "PNG")
    return buffer.getvalue()


def run(mmvp_folder: Path):
    """Everything the page shows of this run, as :class:`dcr.reporting.page.Run`, and its
    figures.
    """
    from dcr.data.benchmark_sets import open_set
    from dcr.reporting import figures, images, loss_curves
    from dcr.reporting.contrast import plot_contrast
    from dcr.reporting.p_against_d import plot_p_against_d
    from dcr.reporting.page import Run

    table, found = outcomes(), methods()
    mmvp = open_set(mmvp_folder).pairs
    pairs = images.choose_examples(mmvp, 4)
    originals = np.stack([np.asarray(images.open_images(pair)[0]) / 255 for pair in pairs])
    columns = {
        "original": originals,
        "vae": originals * 0.98,
        "empty_prompt": 1 - originals,
        "base": originals**2,
        "dcr": originals**0.8,
    }
    page = Run(
        recipe="example",
        methods=found,
        measures=MEASURES,
        confidence=0.95,
        validation=validation_summary(),
        sets=sets(),
        base_models=base_models_record(),
        conditions=conditions(),
        training=training_record(),
        models={
            "facts": [("Image tower", "0.9 M weights, 32 px, 64 features")],
            "hashes": {"encoder": "e" * 64},
        },
        flips=images.find_flipped_pairs(mmvp, table, "base", "dcr", num_shown=6),
        reconstructions=images.tabulate_images(
            columns,
            [
                {"type": pair.type, "statement": images.show_statement(pair.texts[0])}
                for pair in pairs
            ],
            original="original",
        ),
        notes=["The world is drawn, not photographed."],
        parameters={
            "training": {
                "seed": 0,
                "loss": {"temperature": 0.1},
                "positives": {"source": "augmentation"},
            }
        },
        synthesis=synthetic_positives(),
        selection=["3 settings were tried.", "Chosen was <one>."],
    )
    shown = found.without_forms()
    measures = (MEASURES["detail"], MEASURES["class separation"])
    charts = {
        "radar": figures.plot_radar(shown.scores),
        "p_against_d": plot_p_against_d(shown.scores, shown.intervals, shown.encoders, *measures),
        "losses": loss_curves.plot_losses(losses(), {"dcr": {"floor, log 2": 0.693}}, window=9),
        "contrast": plot_contrast(losses(), window=9),
    }
    return page, charts
