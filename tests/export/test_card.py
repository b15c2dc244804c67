"""What an encoder's card tells, and when."""

from huggingface_hub import ModelCard

from dcr.evaluation.comparison import comparison_records
from dcr.export.card import model_card
from measured import comparison

CARD = {"base_model": "tiny", "recipe": "demo", "method": "dcr", "licence": "apache-2.0"}


def test_tells_scores_hashes_settings_and_what_got_worse():
    scores = {
        "base": {"mmvp_vlm": {"mean": 0.192}},
        "dcr": {
            "mmvp_vlm": {"mean": 0.333},
            "zero_shot": {"acc1": 0.5},
            "text_alignment/one": {"modality_gap": 0.8},
        },
    }
    text = model_card(
        {
            **CARD,
            "scores": scores,
            "hashes": {"manifest": "ab12"},
            "settings": {"seed": 0},
            "base_model": "org/clip@main",
            "base_revision": "c0ffee",
            "intervals": {"dcr": {"mmvp_vlm": {"mean": [0.25, 0.41]}}},
            "comparisons": comparison_records(
                [
                    comparison("zero_shot.acc1", 0.5, 0.44, (-0.08, -0.03), num_seeds=1),
                    comparison("mmvp_vlm.mean", 0.19, 0.33, (0.05, 0.2)),
                    comparison("mmvp_vlm.Texts", 0.4, 0.2, (-0.3, -0.1)),
                    comparison("text_alignment.modality_gap", 0.9, 0.8, (-0.2, -0.05)),
                ]
            ),
        },
        missing={},
    )
    assert "license: apache-2.0" in text
    assert "base_model: org/clip\n" in text
    assert "at commit `c0ffee`" in text
    assert "| mmvp_vlm | mean | 19.2 | 33.3 [25.0, 41.0] |" in text
    assert "| zero_shot | acc1 | - | 50.0 |" in text
    assert "| text_alignment/one | modality_gap | - | 0.800 |" in text
    assert "| manifest | `ab12` |" in text
    assert "| seed | `0` |" in text
    losses = text.partition("## Known losses")[2]
    assert (
        "- zero_shot acc1: -6.0 points against the base model, interval [-8.0, -3.0] over the"
        " test items" in losses
    )
    assert losses.partition("##")[0].count("\n- ") == 1


def test_the_crop_that_lies_a_pixel_apart_is_told_where_there_is_one():
    told = "transformers crops one pixel from where open_clip"
    assert told in model_card({**CARD, "resize_mode": "shortest"}, {})
    assert told not in model_card({**CARD, "resize_mode": "squash"}, {})
    assert told not in model_card(
        {**CARD, "resize_mode": "shortest"}, {"transformers": "It has none."}
    )


def test_says_that_nothing_was_measured_or_lost():
    assert "Not measured" in model_card(CARD, {})
    same = comparison_records([comparison("zero_shot.acc1", 0.5, 0.49, (-0.04, 0.02))])
    assert "None beyond the interval of the difference in zero_shot acc1" in model_card(
        {**CARD, "comparisons": same}, {}
    )


def test_the_head_links_paper_and_base_model_and_names_the_licence_as_the_hub_does():
    def head(**changes):
        return ModelCard(model_card(CARD | changes, {})).data

    on_hub = head(base_model="hf-hub:org/clip@main", base_revision="c0ffee")
    assert (on_hub.base_model, on_hub["base_model_relation"]) == ("org/clip", "finetune")
    assert "arxiv:2603.04803" in on_hub.tags
    assert head(base_model="/data/clip").base_model is None
    assert head(licence="Apache-2.0").license == "apache-2.0"
    named = head(licence="our own: see below")
    assert (named.license, named.license_name) == ("other", "our own: see below")


def test_the_head_has_shares_alone_and_of_many_their_mean():
    scores = {"dcr": {"mmvp_vlm": {"mean": 0.5, "Texts": 0.1}, "feature_drift": {"cosine": 0.9}}}
    sets = {"mmvp_vlm": "MMVP VLM\n# no heading", "feature_drift": "x"}
    card = CARD | {"base_model": "a: b", "scores": scores, "sets": sets}
    (told,) = ModelCard(model_card(card, {})).data.eval_results
    assert (told.metric_name, told.metric_value) == ("mmvp_vlm mean", 0.5)
    assert (told.dataset_type, told.metric_args) == ("MMVP-VLM---no-heading", None)
    assert ModelCard(model_card(CARD | {"scores": scores}, {})).data.eval_results is None
