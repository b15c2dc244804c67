"""Pipelines `likeness` and `validation` on files, with a small encoder."""

import json
import re
import shutil
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kedro.pipeline import Pipeline

import validation_run
from corpus import good_samples
from dcr.data.benchmark_sets import open_set
from dcr.data.decoding import decode_rgb
from dcr.data.shards import Sample, name_shards, write_shard
from dcr.errors import UserError
from dcr.evaluation import Embedder
from dcr.likeness import plan_features
from dcr.models.backbones import load_backbone
from dcr.pipelines import validation
from dcr.validation.tables import SampleTables, ShardTable, TablePlan, write_tables
from made_pictures import encoded, picture
from models import tiny_open_clip

LIMITS = {
    "min_text_similarity": -1.0,
    "min_duplicate_similarity": 0.9999,
    "min_evaluation_similarity": 0.9999,
    "max_neighbour_distance": 2.0,
}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return load_backbone(f"local-dir:{tiny_open_clip(tmp_path_factory.mktemp('models') / 'clip')}")


@pytest.fixture
def folder(tmp_path):
    """Two shards of six samples; the second holds one that is not decoded, and one caption less."""
    second = good_samples(6, first=6)
    second[2] = Sample("broken", b"no image", "jpg", "a caption")
    second[3] = Sample("silent", second[3].image, "jpg", None)
    write_shard(tmp_path / "shards", "00000", good_samples(6))
    write_shard(tmp_path / "shards", "00001", second)
    return tmp_path


def run(folder: Path, backbone, **changes) -> pd.DataFrame:
    limits = {name: value for name, value in changes.items() if name in LIMITS}
    others = {name: value for name, value in changes.items() if name not in LIMITS}
    validation_run.run(str(folder / "shards"), folder, backbone, limits, **others)
    return pd.read_parquet(folder / "manifest.parquet").set_index("key")


def write_mmvp(folder, first=None, second=None) -> None:
    """Write a set of two images, of which the first is nearly the sample 000000002."""
    questions = "Question ID,Type,Statement\n1,a type,one thing\n2,a type,another\n"
    images = folder / "mmvp_vlm" / "MLLM_VLM Images" / "a type"
    images.mkdir(parents=True, exist_ok=True)
    (folder / "mmvp_vlm" / "Questions.csv").write_text(questions)
    known = decode_rgb(good_samples(1, first=2)[0].image)
    (images / "1.jpg").write_bytes(first or encoded(known, quality=97))
    (images / "2.jpg").write_bytes(second or encoded(picture(99)))


def own_features(backbone, contents):
    import torch

    with torch.inference_mode():
        pixels = torch.stack([backbone.preprocess(decode_rgb(content)) for content in contents])
        features = backbone.encode_image(pixels).numpy()
    return features / np.linalg.norm(features, axis=1, keepdims=True)


class TestFeatures:
    def plan(self, folder, backbone, with_texts=True):
        samples = SampleTables(folder / "samples")
        shards = name_shards(sorted(map(str, (folder / "shards").glob("*.tar"))))
        return plan_features(shards, samples, Embedder(backbone, 4), with_texts)

    def test_they_are_the_backbones_of_every_decoded_sample(self, folder, backbone):
        run(folder, backbone=None)
        write_tables(folder / "features", self.plan(folder, backbone))
        first, second = (table.rows for table in SampleTables(folder / "features").tables())
        contents = [sample.image for sample in good_samples(6)]
        kept = np.array(first["features"].to_pylist(), np.float32)
        np.testing.assert_allclose(kept, own_features(backbone, contents), atol=1e-3)
        assert not np.array(second["features"].to_pylist()[2]).any()
        known = [cosine is not None for cosine in second["text_similarity"].to_pylist()]
        assert known == [True, True, False, False, True, True]
        texts = backbone.encode_text([sample.caption for sample in good_samples(6)]).numpy()
        texts /= np.linalg.norm(texts, axis=1, keepdims=True)
        cosines = (own_features(backbone, contents) * texts).sum(axis=1)
        np.testing.assert_allclose(first["text_similarity"].to_numpy(), cosines, atol=1e-4)

    def test_a_run_that_was_cut_goes_on_where_it_was(self, folder, backbone, monkeypatch):
        """The second shard fails, as if the process ended there; then it alone is embedded."""
        from dcr.likeness import features

        run(folder, backbone=None)
        embed = features.embed_images
        calls = []

        def fail_second(*arguments):
            calls.append(arguments[3])
            if len(calls) == 2:
                raise KeyboardInterrupt
            return embed(*arguments)

        monkeypatch.setattr(features, "embed_images", fail_second)
        with pytest.raises(KeyboardInterrupt):
            write_tables(folder / "features", self.plan(folder, backbone))
        write_tables(folder / "features", self.plan(folder, backbone))
        assert calls == ["00000", "00001", "00001"]
        write_tables(folder / "features", self.plan(folder, backbone))
        assert len(calls) == 3

    @pytest.mark.parametrize("changed", ["captions", "text tower", "asked"])
    def test_images_are_not_embedded_again_for_what_texts_alone_depend_on(
        self, folder, backbone, monkeypatch, changed
    ):
        from dcr.likeness import features

        run(folder, backbone=None)
        write_tables(folder / "features", self.plan(folder, backbone, changed != "asked"))
        kept = [table.rows for table in SampleTables(folder / "features").tables()]
        if changed == "captions":
            samples = [replace(one, caption="another") for one in good_samples(6)]
            write_shard(folder / "shards", "00000", samples)
            run(folder, backbone=None)
        if changed == "text tower":
            backbone = deepcopy(backbone)
            backbone.model.token_embedding.weight.data += 1
        monkeypatch.setattr(features, "embed_images", lambda *_: pytest.fail("images again"))
        write_tables(folder / "features", self.plan(folder, backbone))
        made = [table.rows for table in SampleTables(folder / "features").tables()]
        assert [rows["features"] for rows in made] == [rows["features"] for rows in kept]
        assert made[0]["text_similarity"] != kept[0]["text_similarity"]

    def test_the_image_tower_alone_has_texts_embedded_again_too(self, folder, backbone):
        run(folder, backbone=None)
        write_tables(folder / "features", self.plan(folder, backbone))
        (kept, _) = (table.rows for table in SampleTables(folder / "features").tables())
        other = deepcopy(backbone)
        for weight in other.visual.parameters():
            weight.data *= 1.5
        write_tables(folder / "features", self.plan(folder, other))
        (made, _) = (table.rows for table in SampleTables(folder / "features").tables())
        assert made["features"] != kept["features"]
        assert made["text_similarity"] != kept["text_similarity"]

    def test_a_shard_that_the_recipe_no_longer_has_is_one_sentence(self, folder, backbone):
        run(folder, backbone=None)
        (folder / "shards" / "00000.tar").unlink()
        with pytest.raises(UserError, match="shard '00000', which the recipe no longer has"):
            self.plan(folder, backbone)

    def test_a_shard_that_changed_since_it_was_measured_is_refused(self, folder, backbone):
        run(folder, backbone=None)
        write_shard(folder / "shards", "00000", good_samples(6, first=40))
        with pytest.raises(UserError, match="run `kedro run --pipelines validation`"):
            write_tables(folder / "features", self.plan(folder, backbone))


class TestJudging:
    def test_limits_make_reasons_and_numbers_are_told(self, folder, backbone):
        plain = run(folder, backbone=None)
        assert "text_similarity" not in plain
        manifest = run(folder, backbone, min_text_similarity=1.0, max_neighbour_distance=0.0)
        assert manifest["text_similarity"].notna().sum() == 10
        assert manifest["neighbour_distance"].notna().all()
        found = json.loads((folder / "validation.json").read_text())["reasons"]
        assert (found["caption_mismatch"], found["outlier"]) == (10, 11)
        card = json.loads((folder / "data_card.json").read_text())
        assert card["limits"]["min_text_similarity"] == 1.0
        assert card["reasons"]["outlier"]["number"] == 11
        page = (folder / "validation.html").read_text()
        assert "image and caption tell of different things" in page
        assert "Image and caption (cosine of features)" in page

    def test_an_image_written_again_is_a_copy_and_the_page_shows_both(self, folder, backbone):
        """By its features, as perceptual hashes are not asked."""
        image = picture(77, (64, 64))
        again = Sample("again", encoded(image, "PNG"), "png", "the same")
        write_shard(
            folder / "shards",
            "00002",
            [Sample("first", encoded(image, "WEBP"), "webp", "the first"), again],
        )
        manifest = run(
            folder, backbone, min_duplicate_similarity=0.99, near_duplicate_distance=-1,
            policies={"near_duplicate_features": "warn"},
        )  # fmt: skip
        assert "near_duplicate_features" in manifest.loc["again", "reasons"]
        assert "near_duplicate_features" not in manifest.loc["first", "reasons"]
        groups = manifest["duplicate_group"].dropna()
        assert groups["first"] == groups["again"]
        page = (folder / "validation.html").read_text()
        _, _, group = page.partition('<code>first</code><span class="count">2 samples')
        assert re.findall(r'<img src="data:[^"]+" alt="sample (\w+)"', group)[:2] == [
            "first", "again",
        ]  # fmt: skip

    @pytest.mark.parametrize("broken", [[], [Sample("broken", b"no image", "jpg", "a caption")]])
    def test_a_shard_without_an_image_is_no_obstacle(self, folder, backbone, broken):
        write_shard(folder / "shards", "00002", broken)
        write_shard(folder / "shards", "00003", good_samples(10, first=20))
        manifest = run(folder, backbone, **LIMITS, policies={"shard_empty": "warn"})
        assert manifest["neighbour_distance"].notna().sum() == 21

    def test_evaluation_images_are_named(self, folder, backbone):
        write_mmvp(folder)
        manifest = run(
            folder, backbone, min_evaluation_similarity=0.9995, sets=["mmvp_vlm"],
            evaluation_image_distance=0,
            policies={"near_evaluation_features": "warn", "near_evaluation_image": "warn"},
        )  # fmt: skip
        assert manifest.loc["000000002", "evaluation_image"] == "mmvp_vlm/1"

    def test_an_evaluation_image_that_cannot_be_decoded_is_left_out(self, folder, backbone):
        """As validation leaves it out; the others of its set are looked for."""
        write_mmvp(folder, second=b"no image")
        manifest = run(
            folder, backbone, min_evaluation_similarity=0.9995, sets=["mmvp_vlm"],
            evaluation_image_distance=0, policies={"near_evaluation_features": "warn"},
        )  # fmt: skip
        assert manifest.loc["000000002", "evaluation_image"] == "mmvp_vlm/1"

    def test_a_set_of_which_no_image_is_looked_for_is_no_obstacle(self, folder, backbone):
        write_mmvp(folder, b"no image", b"none either")
        manifest = run(folder, backbone, min_evaluation_similarity=0.5, sets=["mmvp_vlm"])
        assert manifest["evaluation_image"].isna().all()

    def test_a_set_that_cannot_be_opened_is_told_before_a_sample_is_embedded(
        self, folder, backbone, monkeypatch
    ):
        from dcr.likeness import features

        write_mmvp(folder)
        run(folder, backbone=None, sets=["mmvp_vlm"])
        monkeypatch.setattr(features, "embed_images", lambda *_: pytest.fail("a sample"))
        monkeypatch.setattr(validation, "create_pipeline", lambda: Pipeline([]))
        (folder / "mmvp_vlm" / "Questions.csv").unlink()
        with pytest.raises(UserError, match=r"^evaluation sets cannot be read: mmvp_vlm: "):
            validation_run.run(str(folder / "shards"), folder, backbone, LIMITS, sets=["mmvp_vlm"])

    def test_a_set_that_changed_since_validation_is_told(self, folder, backbone, monkeypatch):
        write_mmvp(folder)
        run(folder, backbone=None, sets=["mmvp_vlm"])
        write_mmvp(folder, encoded(picture(98)))
        monkeypatch.setattr(validation, "create_pipeline", lambda: Pipeline([]))
        with pytest.raises(UserError, match="1 evaluation images changed since validation"):
            validation_run.run(str(folder / "shards"), folder, backbone, LIMITS, sets=["mmvp_vlm"])

    def test_evaluation_finds_the_embeddings_of_its_sets(self, folder, backbone, monkeypatch):
        from dcr.evaluation import EvaluationCache

        write_mmvp(folder)
        run(
            folder, backbone, min_evaluation_similarity=0.9995, sets=["mmvp_vlm"],
            policies={"near_evaluation_features": "warn"},
        )  # fmt: skip
        monkeypatch.setattr(
            type(backbone), "encode_image", lambda *_: pytest.fail("computed again")
        )
        embedder = Embedder(backbone, 4, cache=EvaluationCache(folder / "cache"))
        assert embedder.images(open_set(folder / "mmvp_vlm"), "images").shape == (2, 24)

    @pytest.mark.parametrize("changed", ["weights", "name"])
    def test_what_another_backbone_found_is_not_judged_by(
        self, folder, backbone, tmp_path, changed
    ):
        own = tmp_path / "own"
        shutil.copytree(backbone.source.removeprefix("local-dir:"), own)
        run(folder, load_backbone(f"local-dir:{own}"), max_neighbour_distance=0.0)
        limits = {"max_neighbour_distance": 0.0}
        validation_run.run(
            str(folder / "shards"), folder, limits=limits, backbone=backbone.source
        )  # the same files elsewhere
        if changed == "weights":
            (own / "more").write_text("another file of the model's")
        named = f"local-dir:{own}" if changed == "weights" else "ViT-B-32/openai"
        with pytest.raises(UserError, match="these samples by this backbone: list it"):
            validation_run.run(str(folder / "shards"), folder, limits=limits, backbone=named)

    def test_what_was_found_of_other_evaluation_images_is_not_judged_by(self, folder, backbone):
        write_mmvp(folder)
        limits = {"min_evaluation_similarity": 0.9995}
        policies = {"near_evaluation_features": "warn"}
        run(folder, backbone, **limits, sets=["mmvp_vlm"], policies=policies)
        write_mmvp(folder, encoded(picture(98)))
        with pytest.raises(UserError, match="these samples with these evaluation images: list"):
            validation_run.run(
                str(folder / "shards"), folder, limits=limits, backbone=backbone.source,
                sets=["mmvp_vlm"],
            )  # fmt: skip

    def test_tables_of_two_runs_are_not_judged_by(self, folder, backbone):
        """A second run, after an improvement of the code, was killed between its two tables."""
        limits = {"max_neighbour_distance": 0.0}
        run(folder, backbone, **limits)
        (first, *_) = SampleTables(folder / "likenesses").tables()
        table = ShardTable(first.rows, first.record | {"fingerprint": "another"})
        write_tables(folder / "likenesses", TablePlan(["00000", "00001"], lambda _: iter([table])))
        with pytest.raises(UserError, match="in one run, as it was stopped in between: list it"):
            validation_run.run(
                str(folder / "shards"), folder, limits=limits, backbone=backbone.source
            )
        run(folder, backbone, **limits)

    def test_another_version_of_faiss_compares_again(self, folder, backbone, monkeypatch):
        from dcr.likeness import comparing

        run(folder, backbone, **LIMITS)
        before = SampleTables(folder / "likenesses").records()
        monkeypatch.setattr(comparing, "faiss_version", lambda: "0.1")
        run(folder, backbone, **LIMITS)
        after = SampleTables(folder / "likenesses").records()
        assert {r["fingerprint"] for r in after}.isdisjoint({r["fingerprint"] for r in before})

    def test_limits_that_were_taken_back_leave_no_trace(self, folder, backbone):
        plain = run(folder, backbone=None)
        run(folder, backbone, max_neighbour_distance=0.0)
        pd.testing.assert_frame_equal(run(folder, backbone=None), plain)

    def test_samples_that_changed_since_are_not_judged_by_what_was_found(self, folder, backbone):
        limits = {"max_neighbour_distance": 0.0}
        run(folder, backbone, **limits)
        named = {"limits": limits, "backbone": backbone.source}
        validation_run.run(str(folder / "shards"), folder, **named, min_image_size=30)
        write_shard(folder / "shards", "00001", good_samples(6, first=50))
        with pytest.raises(UserError, match="has not compared these samples"):
            validation_run.run(str(folder / "shards"), folder, **named)

    def test_limits_without_the_pipeline_are_one_sentence(self, folder, backbone):
        with pytest.raises(UserError, match="list it in `pipelines`"):
            validation_run.run(str(folder / "shards"), folder, limits=LIMITS)

    def test_the_pipeline_without_limits_is_one_sentence(self, folder, backbone):
        with pytest.raises(UserError, match="set one of the limits"):
            validation_run.run(str(folder / "shards"), folder, backbone)

    def test_a_second_run_computes_nothing_again(self, folder, backbone, monkeypatch):
        from dcr.likeness import comparing, features

        def contents():
            return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

        run(folder, backbone, **LIMITS)
        before = contents()
        for module, name in (
            (features, "embed_images"), (features, "embed_texts"), (comparing, "build_index")
        ):  # fmt: skip
            monkeypatch.setattr(module, name, lambda *_: pytest.fail("it was computed again"))
        run(folder, backbone, **LIMITS)
        assert contents() == before
