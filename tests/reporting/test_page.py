"""The page: whole, self-contained, honest, and safe to open."""

import dataclasses
import html
import json
import re
from html.parser import HTMLParser

import plotly.graph_objects as go
import pytest
from plotly.offline import get_plotlyjs

import finished_run
from dcr.evaluation.comparison import comparison_records
from dcr.evaluation.judge import Judge
from dcr.evaluation.measurements import read_measurements
from dcr.evaluation.multiplicity import correct
from dcr.reporting.method_tables import build_method_table, measures_of
from dcr.reporting.methods import gather
from dcr.reporting.page import render_page


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return finished_run.run(finished_run.write_mmvp(tmp_path_factory.mktemp("mmvp")))


@pytest.fixture(scope="module")
def page(example):
    return render_page(*example)


class Elements(HTMLParser):
    """Collects start tags, and checks that what is opened is closed."""

    VOID = frozenset({"meta", "img", "br", "line"})

    def __init__(self, html):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_every_element_is_closed_in_order(page):
    assert Elements(page).open == []


def test_headings_name_the_set_and_its_notes_are_shown(page):
    assert '<h3>Clustering <small class="quiet">on scenes20</small></h3>' in page
    assert '<h3>MMVP-VLM <small class="quiet">on mmvp_vlm</small></h3>' in page
    assert "left out: hidden folders: 1 (.git)" in page


def test_rejected_samples_and_warnings_stand_apart(example):
    run, figures = example
    validation = finished_run.validation_summary() | {
        "rejected": 0, "reasons": {"exact_duplicate": 0, "near_duplicate": 812, "tar_damaged": 2}
    }  # fmt: skip
    policies = {"near_duplicate": "warn", "tar_damaged": "warn", "exact_duplicate": "reject"}
    parameters = {"validation": {"policies": policies}, "training": run.parameters["training"]}
    page = render_page(
        dataclasses.replace(run, validation=validation, parameters=parameters), figures
    )
    card = page.split("Samples rejected")[1].split("Evaluation sets")[0]
    rejected, warned = card.split("Only warned of")
    assert "exact_duplicate" in rejected
    assert "near_duplicate" not in rejected
    assert "812" in warned
    assert "2 shards" in warned


def test_both_pages_count_the_same_measures(example):
    run, _ = example
    num_measures = len(build_method_table(run.methods)["rows"])
    assert num_measures == len(measures_of(run.methods.scores)) == 9
    assert f"benchmarks, {num_measures} measures," in render_page(*example)


def test_the_page_refers_to_nothing_outside_itself(page):
    for tag, attributes in Elements(page).tags:
        for name in ("src", "href", "srcset", "data", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:image/")), (tag, attributes)
    assert "default-src 'none'" in page
    assert "url(" not in re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]


def test_plotly_is_inlined_once(page):
    assert page.count(get_plotlyjs()) == 1


def test_every_figure_has_a_place_and_its_data(page, example):
    elements = Elements(page).tags
    for name, figure in example[1].items():
        assert any(
            attributes.get("id") == name and attributes.get("aria-label")
            for _, attributes in elements
        )
        data = json.loads(re.search(rf'data-figure="{name}">(.*?)</script>', page, re.DOTALL)[1])
        assert data == json.loads(figure.to_json())


def test_links_lead_to_sections_that_exist(page):
    tags = Elements(page).tags
    ids = {attributes["id"] for _, attributes in tags if "id" in attributes}
    assert {attributes["href"][1:] for tag, attributes in tags if tag == "a"} <= ids


def test_the_headline_is_what_was_measured_the_bad_as_plain_as_the_good(page):
    title = re.search(r"<h1>(.*?)</h1>", page)[1]
    number = r"\([+−]?[\d.]+, −?[\d.]+ to −?[\d.]+\)"
    assert re.fullmatch(
        rf"DCR over 3 training seeds: detail stayed within noise in attribute probes {number}; "
        rf"class separation rose in between-class share {number} and clustering ACC {number}; "
        rf"text scores stayed within noise in MMVP-VLM {number} and fell in zero-shot accuracy"
        rf" {number}\.",
        title,
    )


def test_one_seed_gives_no_verdict(example):
    run, figures = example
    judge = Judge(read_measurements(finished_run.measurements()), 0.95, {"naive"})
    comparisons = {"naive": comparison_records(judge.compare("base", "naive"))}
    scores = {name: finished_run.scores()[name] for name in ("base", "naive")}
    methods = gather(judge, scores, comparisons, "base", "naive", [])
    page = render_page(dataclasses.replace(run, methods=methods), figures)
    assert (
        "<h1>One training seed of Naive sum, which tells nothing of another and has no verdict:"
        " detail moved" in page
    )
    assert 'class="chip one-seed"' in page
    assert 'class="chip better"' not in page.split('id="training"')[0].split('id="flips"')[0]
    assert 'class="chip worse"' not in page.split('id="training"')[0].split('id="flips"')[0]
    assert "this is one run with seed 0" in page


def test_gained_and_lost_pairs_stand_side_by_side_in_equal_number(page, example):
    gained, lost = (len(example[0].flips[side]["pairs"]) for side in ("gained", "lost"))
    assert gained == lost == 6
    assert page.index("Gained") < page.index("Lost")


@pytest.mark.parametrize(
    "words",
    [
        "7,961",
        "unreadable image",
        "The UNet uses its condition",
        "holds",
        "VAE alone",
        "seed 0 alone",
        "mean of 3 seeds",
        "DCR against its rivals",
        "Images and texts aligned again",
        "The world is drawn, not photographed.",
        "training.loss.temperature",
        "Naive sum",
        "torch",
        "e" * 64,
    ],
)
def test_the_page_tells(page, words):
    assert words in page


def test_made_positives_are_shown_with_what_was_measured_of_them(page, example):
    made = example[0].synthesis
    assert all(uri in page for row in made["rows"] for uri in row["images"])
    for words in ("0.355", "0.309", "0.171", "0.054", "0.212", "This run did not train on them."):
        assert words in page, words
    training = {**example[0].parameters["training"], "positives": {"source": "synthetic"}}
    trained_on = dataclasses.replace(example[0], parameters={"training": training})
    assert "did not train on them" not in render_page(trained_on, example[1])


def test_how_the_setting_was_found_is_told_where_a_search_is_on_record(page):
    section = page[page.index("How this setting was found") :]
    assert section.index("3 settings were tried.") < section.index("Chosen was &lt;one&gt;.")


def test_text_from_data_cannot_become_markup(example):
    run, figures = example
    evil = "</script><script>alert(1)</script>"
    flips = json.loads(json.dumps(run.flips))
    flips["gained"]["pairs"][0]["statements"][0] = evil
    figures = {**figures, "radar": go.Figure(go.Scatter(x=[1], y=[1], name=evil))}
    page = render_page(dataclasses.replace(run, flips=flips, notes=[evil], recipe=evil), figures)
    assert evil not in page
    assert Elements(page).open == []


def test_a_recipe_without_its_own_base_models_and_without_mmvp_still_has_a_page(example):
    run, figures = example
    bare = dataclasses.replace(
        run,
        base_models={},
        flips={
            "num_pairs": 0,
            "p_value": 1.0,
            "gained": {"count": 0, "pairs": []},
            "lost": {"count": 0, "pairs": []},
        },
        reconstructions={"columns": [], "rows": []},
        notes=[],
        synthesis={},
        selection=[],
    )
    page = render_page(bare, {**figures, "radar": go.Figure(), "contrast": go.Figure()})
    assert 'data-figure="radar"' not in page
    assert 'data-figure="contrast"' not in page
    assert "Made positives" not in page
    assert "How this setting was found" not in page
    assert "The UNet uses its condition" not in page
    assert "What the base models tell apart" not in page
    assert "MMVP-VLM was not evaluated." in page
    assert Elements(page).open == []


def test_details_that_the_base_models_cannot_tell_are_named(page):
    assert "The UNet cannot tell count and text: " in page
    assert page.count("not told") == 3


def test_the_number_of_verdicts_is_told_and_what_survives_is_marked(page, example):
    run, _ = example
    own = run.methods.without_forms().comparisons[run.methods.product]
    family = correct({run.methods.product: own}, run.confidence)
    assert 0 < len(family.survivors) <= family.num_apart < family.num_compared == len(own)
    assert page.count("survives Holm</small>") == len(family.survivors)
    words = re.sub(r"\s+", " ", page)
    assert (
        f"{family.num_compared} differences are judged here, types and attributes included: if"
        in words
    )
    assert (
        f"{family.num_apart} do, and {len(family.survivors)} of them survive Holm's correction for"
        f" {family.num_compared}, by which the probability of a single false one is at most 5 %."
    ) in html.unescape(words)


def test_the_same_run_gives_the_same_bytes(page, example):
    assert render_page(*example) == page
