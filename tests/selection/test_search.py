"""A search on the smallest models: what is trained, what is not trained again, and what is told
of it.
"""

import json
from itertools import chain

import pytest
import yaml

from benchmark_folders import write_classification, write_retrieval
from dcr.data.benchmark_sets import NamedSet, open_set
from dcr.encoder_names import BASE
from dcr.errors import UserError
from dcr.evaluation import EvaluationCache, EvaluationOptions, evaluate_encoder
from dcr.parameters import AlignmentParameters, EvaluationParameters, SelectionParameters
from dcr.selection.materials import Materials
from dcr.selection.search import check_measures, gather_trials, load_outcome, search
from dcr.training import jobs
from dcr.training.encoders import build_encoder
from dcr.training.trainer import Trainer
from project import PROJECT
from training_world import fixed_projector, load_world, open_job, parameters, write_world

DETAIL = {"objective": "reconstruction", "max_train_steps": 3}
CLASSES = {"objective": "dcr", "max_train_steps": 2}
LONG = {"name": "long", "training": {"phases": {"dcr": [DETAIL, CLASSES]}}}
SHORT = {"name": "short", "training": {"phases": {"dcr": [DETAIL]}}}
RECIPE = {
    "method": "dcr",
    "seed": 0,
    "stage2.max_train_steps": 2,
    "held_out.every_steps": 100,
}


def section(name):
    return yaml.safe_load((PROJECT / "conf/base" / f"parameters_{name}.yml").read_text())[name]


def selection(*candidates, **changes):
    usual = {
        "candidates": list(candidates), "seeds": [7], "sets": ["classification", "retrieval"],
        "improve": [{"measure": "clustering.between_class_share", "scale": 0.01}],
        "keep": [{"measure": "zero_shot.acc1", "loss": 0.5}],
    }  # fmt: skip
    return SelectionParameters(**section("selection") | usual | changes)


def alignment(**changes):
    quick = {"steps": 2, "batch_size": 4, "evaluate_every_steps": 1}
    return AlignmentParameters(**section("alignment") | quick | changes)


EVALUATION = EvaluationParameters(
    **section("evaluation")
    | {
        "model_name": "tiny",
        "kmeans_seeds": [0],
        "kmeans_num_init": 1,
        "num_resamples": 20,
    }
)


class Bench:
    """A place where searches run one after another, and what each of them trained."""

    def __init__(self, world, folder, monkeypatch):
        self.world, self.folder, self.steps, self.outcomes = world, folder, [], {}
        self.sets = [
            NamedSet(
                "classification", "classification", lambda: open_set(world / "classification")
            ),
            NamedSet("retrieval", "retrieval", lambda: open_set(world / "retrieval")),
        ]
        original = Trainer.optimizer_step

        def counted(trainer, number, *rest):
            self.steps.append((trainer.run.name, trainer.run.seed, number))
            return original(trainer, number, *rest)

        monkeypatch.setattr(Trainer, "optimizer_step", counted)

    def materials(self):
        backbone, diffusion, latents = load_world(self.world)
        return Materials(
            latents=latents,
            backbone=backbone,
            diffusion=diffusion,
            positives=self.folder / "none",
            projector=fixed_projector(self.world),
            checkpoints=self.folder / "checkpoints",
            sets=self.sets,
            evaluation=EVALUATION,
            cache=EvaluationCache(self.world / "cache"),
        )

    def search(self, *candidates, recipe=None, aligned=None, number=None, **changes):
        """Search, to the end or until ``number`` candidates are done; return the names of those
        that were tried.
        """
        self.steps.clear()
        chosen = selection(*candidates, **changes)
        trials = gather_trials(
            chosen, parameters(**RECIPE | (recipe or {})), aligned or alignment()
        )
        tried = []
        previous = {
            name: lambda name=name: json.loads(self.outcomes[name]) for name in list(self.outcomes)
        }
        for name, outcome in search(chosen, trials, self.materials(), previous):
            self.outcomes[name] = json.dumps(outcome)
            tried.append(name)
            if len(tried) == number:
                break
        return tried

    def outcome(self, name):
        return json.loads(self.outcomes[name])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = write_world(tmp_path_factory.mktemp("search") / "world")
    write_classification(folder / "classification", per_class=3)
    write_retrieval(folder / "retrieval")
    return folder


@pytest.fixture
def bench(world, tmp_path, monkeypatch):
    return Bench(world, tmp_path, monkeypatch)


def test_every_candidate_is_trained_with_every_seed_and_with_no_seed_of_the_recipe(bench):
    recipe = {"stage2_seeds": [3], "baselines": ["naive"]}
    assert sorted(bench.search(SHORT, {"name": "plain"}, seeds=[7, 8], recipe=recipe)) == [
        "plain",
        "short",
    ]
    assert {seed for _, seed, _ in bench.steps} == {7, 8}
    assert len(bench.steps) == 2 * (3 + 2)
    found = bench.outcome("short")
    assert set(found["scores"]) == {BASE, "dcr@7", "dcr@8"}
    assert {seed: list(runs) for seed, runs in found["runs"].items()} == {
        "7": ["dcr"],
        "8": ["dcr"],
    }


def test_an_encoder_is_the_one_that_training_makes_with_that_further_seed(bench, tmp_path):
    """Trained in a job of the whole recipe, merged and evaluated without the search."""
    bench.search(LONG)
    job = open_job(
        bench.world,
        tmp_path / "training",
        **RECIPE | {"stage2_seeds": [7], "phases": LONG["training"]["phases"]},
    )
    towers = jobs.train_adapters(job, fixed_projector(bench.world)).towers
    backbone, *_ = load_world(bench.world)
    encoder = build_encoder(job.parameters, backbone, towers["dcr@7"])
    results = evaluate_encoder(
        encoder, [entry.open() for entry in bench.sets], EvaluationOptions.of(EVALUATION)
    )
    expected = {result.benchmark: result.scores for result in results}
    assert bench.outcome("long")["scores"]["dcr@7"] == json.loads(json.dumps(expected))


def test_what_candidates_have_in_common_is_trained_once(bench):
    assert bench.search(LONG, SHORT) == ["short", "long"]
    assert [number for _, _, number in bench.steps] == [1, 2, 3, 1, 2]


def test_what_a_finished_candidate_has_in_common_with_a_new_one_is_not_trained_again(bench):
    bench.search(SHORT)
    assert bench.search(SHORT, LONG) == ["long"]
    assert [number for _, _, number in bench.steps] == [1, 2]


def test_a_search_that_was_cut_goes_on_behind_the_candidates_that_are_done(bench):
    assert bench.search(SHORT, LONG, number=1) == ["short"]
    first = bench.outcomes["short"]
    assert bench.search(SHORT, LONG) == ["long"]
    assert bench.outcomes["short"] == first
    assert bench.search(SHORT, LONG) == []
    assert bench.steps == []


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": [9]},
        {"recipe": {"loss.temperature": 0.2}},
        {"aligned": alignment(form="image", ridges=[1.0e-4])},
    ],
    ids=["seeds", "recipe", "alignment"],
)
def test_a_candidate_that_is_of_something_else_now_is_tried_again_and_told(bench, changes, caplog):
    plain = {"name": "plain"}
    bench.search(plain)
    with caplog.at_level("INFO"):
        assert bench.search(plain, **changes) == ["plain"]
    assert "candidate plain is tried again: " in caplog.text
    number = 2 if "recipe" in changes or "aligned" in changes else 1
    assert len(bench.outcome("plain")["settings_tried"]) == number


def test_other_sets_are_a_reason_to_evaluate_again_but_not_to_train(bench):
    bench.search(SHORT, LONG)
    # Materials has the sets, not this list.
    assert bench.search(SHORT, LONG, sets=["classification"]) == []
    bench.sets = bench.sets[:1]
    assert bench.search(SHORT, LONG) == ["short", "long"]
    assert bench.steps == []
    assert "retrieval" not in bench.outcome("long")["scores"][BASE]


def test_an_aligned_candidate_stands_beside_itself_as_trained_and_the_base_aligned_alike(bench):
    bench.search({"name": "refitted", "alignment": {"form": "text"}})
    found = bench.outcome("refitted")
    assert set(found["scores"]) == {BASE, "base_aligned", "dcr@7", "dcr_unaligned@7"}
    assert list(found["comparisons"]) == [BASE, "base_aligned", "dcr_unaligned"]
    scores, against_base = found["scores"], found["comparisons"][BASE]
    for benchmark, metric in (("zero_shot", "acc1"), ("clustering", "between_class_share")):
        told = against_base[benchmark][metric]["difference"]["value"]
        assert told == pytest.approx(
            scores["dcr@7"][benchmark][metric] - scores[BASE][benchmark][metric]
        )
    assert scores["dcr@7"]["clustering"] == scores["dcr_unaligned@7"]["clustering"]


class TestTheRulesMeasures:
    @staticmethod
    def check(bench, sets, *asked):
        materials, improve = (
            bench.materials(),
            [{"measure": measure, "scale": 0.01} for measure in asked],
        )
        check_measures(
            selection(improve=improve), sets, materials.backbone, EVALUATION, materials.cache
        )

    def test_may_be_whatever_the_sets_give(self, bench):
        self.check(bench, bench.sets, "probes.warm", "retrieval.text_retrieval_recall@5")

    def test_are_named_where_the_sets_do_not_give_them(self, bench):
        with pytest.raises(
            UserError, match=r"asks for probes\.hue, but .*selection\.sets give .*zero_shot\.acc1"
        ):
            self.check(bench, bench.sets, "probes.hue")

    def test_cannot_be_told_without_a_set(self, bench):
        lost = NamedSet("retrieval", "retrieval", lambda: open_set(bench.folder / "lost"))
        with pytest.raises(UserError, match="lost"):
            self.check(bench, [lost], "zero_shot.acc1")


def test_a_search_without_candidates_says_where_they_belong(bench):
    with pytest.raises(UserError, match=r"'selection\.candidates' is empty"):
        bench.search()


def test_an_outcome_of_another_setting_is_not_chosen_from(bench):
    bench.search(SHORT)
    outcomes = {"short": lambda: bench.outcome("short")}

    def load(candidate, **changes):
        trials = gather_trials(selection(candidate, **changes), parameters(**RECIPE), alignment())
        return load_outcome(trials[candidate["name"]], outcomes)

    assert load(SHORT)["candidate"] == "short"
    for candidate, changes in (
        ({"name": "short"}, {}),
        (SHORT, {"seeds": [8]}),
        ({"name": "other"}, {}),
    ):
        with pytest.raises(
            UserError,
            match=r"was not tried as the recipe declares it now; run `kedro run --pipelines",
        ):
            load(candidate, **changes)


def test_the_log_tells_steps_beforehand_and_time_spent_and_left(bench, caplog):
    with caplog.at_level("INFO"):
        bench.search(SHORT, LONG, seeds=[7, 8], budget_hours=0.5)
    told = [record.message for record in caplog.records if record.name == "dcr.selection.search"]
    assert (
        told[0]
        == "2 candidates with 2 seeds, 16 steps of stage 2 in all; 0 candidates are done. By"
        " selection.budget_hours the whole search took 0.5 hours when it was last run."
    )
    assert [words.partition(" candidates are done, in ")[0] for words in told[1:]] == [
        "1 of 2",
        "2 of 2",
    ]
    assert told[-1].endswith("the rest will take about 0.00 hours.")
    spent = sum(bench.outcome(name)["seconds"] for name in ("short", "long"))
    assert spent < 600
    assert len(list(chain(*bench.outcome("long")["runs"].values()))) == 4
