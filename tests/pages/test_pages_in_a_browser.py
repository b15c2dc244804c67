"""Every page in a real browser: no error, no request, every figure drawn, readable on a
telephone.
"""

import os
from dataclasses import dataclass

import pytest

import finished_run
import ledgers
import selected
from corpus import encode, good_samples
from dcr.data.shards import Sample, write_shard
from dcr.ledger.page import render_ledger
from dcr.pages import fill_template
from dcr.reporting.comparison_page import Encoders, render_comparison
from dcr.reporting.page import render_page
from dcr.reporting.set_bars import plot_sets
from dcr.sweep.comparison import SweepRun
from dcr.sweep.page import render_comparison as render_sweep
from dcr.validation.judging import summarize
from dcr.validation.measuring import measure_shard
from dcr.validation.page import render_page as render_validation
from measured import constant
from validation_tables import CAPTIONS, LIMITS, POLICIES, judged

NAMES = ("report", "comparison", "validation", "synthesis", "sweep", "selection", "ledger")
SEEN = (
    "[...document.querySelectorAll('body *')].filter(e => e.getClientRects().length && %s)"
    ".map(e => e.outerHTML.slice(0, 120))"
)
WIDTHS = {"telephone": 400, "screen": 1280}


def report(folder):
    run, figures = finished_run.run(finished_run.write_mmvp(folder / "mmvp"))
    return render_page(run, figures)


def comparison(folder):
    run, figures = finished_run.run(finished_run.write_mmvp(folder / "mmvp2"))
    shown = run.methods.without_forms()
    encoders = Encoders(
        recipe="example",
        methods=run.methods,
        measures=run.measures,
        confidence=0.95,
        flips={"dcr": run.flips},
        neighbours=[],
        runs=dict.fromkeys((0, 1), finished_run.scores()),
        this_seed=0,
        failures=[{"set": "dtd", "encoder": None, "error": "no benchmark set at /data/dtd"}],
        published=None,
        sets=finished_run.sets(),
    )
    bars = plot_sets(shown.scores, shown.intervals)
    return render_comparison(
        encoders, {name: figures[name] for name in ("radar", "p_against_d")} | {"set_bars": bars}
    )


def validation(folder):
    samples = good_samples(20)
    samples[1] = Sample("small", encode((20, 20)), "jpg", "a small one")
    samples[2] = Sample("broken", b"nothing", "jpg", "a broken one")
    samples.append(Sample("copy", samples[3].image, "jpg", "a copy"))
    path = str(write_shard(folder / "shards", "a-shard-with-a-long-name-00000", samples))
    tables = judged(
        folder / "tables", measure_shard(path, "a-shard-with-a-long-name-00000", LIMITS)
    )
    expectation = {
        "expectation": "expect_column_values_to_be_in_set",
        "kwargs": {"column": "status", "value_set": ["accepted"]},
        "severity": "critical",
        "success": False,
        "observed_value": "12 %",
        "worst_shards": {"00000": 3},
    }
    found = {"results": [expectation | {"source": "shards", "suite": "samples"}]}
    shards = {"a-shard-with-a-long-name-00000": path}
    return render_validation(
        tables, summarize(tables), shards, found, POLICIES, 4, {"mmvp_vlm": 270}, CAPTIONS
    )


def synthesis(folder):
    return fill_template("dcr.positives", "page.html", **finished_run.synthetic_positives())


def sweep(folder):
    values = {("infonce", 0): 0.5, ("infonce", 1): 0.6, ("dcl", 0): 0.52, ("dcl", 1): 0.6}
    runs = [
        SweepRun(
            signal,
            seed,
            {"p": constant(0.1), "d": constant(0.1)},
            {"p": constant(p), "d": constant(p / 2)},
            1.0,
        )
        for (signal, seed), p in values.items()
    ]
    return render_sweep(runs, {"p": "probes.mean", "d": "clustering.acc"}, "infonce", 0.95)


def selection(folder):
    return selected.page()


def ledger(folder):
    return render_ledger("example", ledgers.ledger())


@dataclass(frozen=True)
class Opened:
    """A page in the browser, and how wide its window is."""

    page: object
    width: int


@pytest.fixture(
    scope="module", params=[(name, window) for name in NAMES for window in WIDTHS], ids="-".join
)
def opened(request, browser, tmp_path_factory):
    name, window = request.param
    folder = tmp_path_factory.getbasetemp() / "pages_of_all_kinds"
    if not (folder / f"{name}.html").exists():
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.html").write_text(globals()[name](folder), encoding="utf-8")
    page = browser.page((folder / f"{name}.html").as_uri(), WIDTHS[window])
    page.wait_until(
        "[...document.querySelectorAll('.plot')].every(plot => plot.querySelector('.main-svg'))"
    )
    if pictures := os.environ.get("DCR_SCREENSHOTS"):
        page.screenshot(request.config.rootpath / pictures / f"{name}-{window}.png", whole=True)
    return Opened(page, WIDTHS[window])


def test_nothing_goes_wrong_and_nothing_is_asked_for(opened):
    assert opened.page.errors() == []
    assert opened.page.requests() == []


def test_every_figure_is_drawn_and_every_picture_decodes(opened):
    empty = (
        "plot => plot.getBoundingClientRect().height < 100 || !plot.querySelector('.main-svg path,"
        " .main-svg text')"
    )
    assert (
        opened.page.evaluate(
            f"[...document.querySelectorAll('.plot')].filter({empty}).map(p => p.id)"
        )
        == []
    )
    decoded = (
        "i => { i.loading = 'eager'; return i.decode().then(() => '', () => i.alt || 'no name') }"
    )
    assert set(opened.page.evaluate(f"Promise.all([...document.images].map({decoded}))")) <= {""}


def test_nothing_is_wider_than_the_window(opened):
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= opened.width
    beyond = (
        f"!e.closest('.scroll, nav, svg') && e.getBoundingClientRect().right > {opened.width} + 1"
    )
    assert opened.page.evaluate(SEEN % beyond) == []


def test_no_text_is_too_small_to_read(opened):
    small = (
        "!e.closest('svg, .plot') && parseFloat(getComputedStyle(e).fontSize) < 11"
        " && [...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim())"
    )
    assert opened.page.evaluate(SEEN % small) == []


def test_what_the_tests_look_for_is_found(browser, tmp_path):
    """A page with each fault: an error, a request, a wide element and small print."""
    (tmp_path / "bad.html").write_text(
        "<meta name=viewport content='width=device-width'><script>undefinedName()</script><img"
        " src=nothing.png><p style='width:900px;font-size:8px'>wide and small</p>"
    )
    page = browser.page((tmp_path / "bad.html").as_uri(), WIDTHS["telephone"])
    assert any("undefinedName" in error for error in page.errors())
    assert [url.rpartition("/")[2] for url in page.requests()] == ["nothing.png"]
    assert page.evaluate("document.documentElement.scrollWidth") > WIDTHS["telephone"]
    assert (
        "wide and small" in page.evaluate(SEEN % "parseFloat(getComputedStyle(e).fontSize) < 11")[0]
    )
