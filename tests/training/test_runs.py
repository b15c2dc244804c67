"""Which runs a recipe is made of, and with which numbers."""

from itertools import chain

from dcr.parameters.training.phases import Phase
from dcr.training.runs import (
    all_runs,
    encoder_runs,
    method_runs,
    shorter_first,
    stage1_run,
    stage2_runs,
)
from training_world import parameters

TWO = [
    {"objective": "reconstruction", "max_train_steps": 3},
    {"objective": "dcr", "learning_rate": 0.5},
]
OWN = {
    "max_train_steps": 9,
    "train_batch_size": 5,
    "learning_rate": 0.5,
    "learning_rate_decay": "cosine",
    "reconstruction_share": 0.3,
    "base_embedding_weight": 0.2,
    "pull_to": "phase",
    "negatives_count": 2,
    "temperature": 0.3,
    "timestep_min": 0.1,
    "timestep_max": 0.8,
}


def names(runs):
    return {encoder: [run.name for run in phases] for encoder, phases in runs.items()}


def test_a_method_without_phases_has_one_run_of_the_recipes_numbers():
    p = parameters(method="naive", baselines=["dcr", "end_to_end"])
    assert names(stage2_runs(p)) == {
        "naive": ["naive"],
        "dcr": ["dcr"],
        "end_to_end": ["end_to_end"],
    }
    (naive,) = method_runs(p, "naive")
    assert naive.objective == "naive"
    assert naive.parameters.model_dump() == p.model_dump() | {"baselines": []}
    (both,) = method_runs(p, "end_to_end")
    assert (both.objective, both.max_train_steps) == ("dcr", p.end_to_end_max_train_steps)


def test_phases_have_their_own_numbers_and_the_recipes_where_they_have_none():
    p = parameters(method="two", phases={"two": TWO})
    first, second = method_runs(p, "two")
    assert [first.name, second.name] == ["two.1", "two.2"]
    assert [first.objective, second.objective] == ["reconstruction", "dcr"]
    assert [first.max_train_steps, second.max_train_steps] == [3, p.stage2.max_train_steps]
    assert first.parameters.stage2.learning_rate == p.stage2.learning_rate
    assert second.parameters.stage2.learning_rate == 0.5


def test_every_number_of_a_phase_takes_the_place_of_the_recipes():
    assert set(OWN) == set(Phase.model_fields) - {"objective"}
    (run,) = method_runs(parameters(phases={"one": [{"objective": "dcr"} | OWN]}), "one")
    found = run.parameters.model_dump()
    places = Phase.places()
    assert {name: found[places[name][0]][name] for name in OWN} == OWN


def test_a_single_phase_and_an_absent_or_null_number_change_nothing():
    written = {"dcr": [{"objective": "dcr"} | dict.fromkeys(OWN)]}
    assert method_runs(parameters(phases=written), "dcr") == method_runs(parameters(), "dcr")


def test_every_method_is_trained_again_with_every_further_seed():
    p = parameters(
        seed=3,
        method="two",
        baselines=["naive", "end_to_end"],
        phases={"two": TWO},
        stage2_seeds=[5],
    )
    assert names(stage2_runs(p)) == {
        "two": ["two.1", "two.2"],
        "naive": ["naive"],
        "end_to_end": ["end_to_end"],
        "two@5": ["two.1@5", "two.2@5"],
        "naive@5": ["naive@5"],
        "end_to_end@5": ["end_to_end@5"],
    }
    assert list(all_runs(p)) == ["stage1", *chain(*names(stage2_runs(p)).values())]
    assert all(encoder_runs(p, encoder) == runs for encoder, runs in stage2_runs(p).items())
    first = {encoder: runs[0].parameters.seed for encoder, runs in stage2_runs(p).items()}
    assert first == {encoder: 5 if "@" in encoder else 3 for encoder in first}
    assert (
        {run.held_out_seed for run in all_runs(p).values()}
        == {3}
        == {stage1_run(p).parameters.seed}
    )


def test_no_phase_draws_what_another_drew():
    p = parameters(phases={"three": TWO + TWO[:1]}, stage2_seeds=[5])
    seeds = [run.parameters.seed for seed in (None, 5) for run in method_runs(p, "three", seed)]
    assert len(set(seeds)) == 6


def test_what_methods_have_in_common_is_trained_in_the_shorter_one_first():
    def method(*steps):
        return [{"objective": "reconstruction", "max_train_steps": number} for number in steps]

    phases = {"long": method(9), "short": method(4, 6), "shortest": method(4, 2)}
    p = parameters(method="long", baselines=["short", "shortest"], phases=phases)
    assert list(shorter_first(stage2_runs(p))) == ["shortest", "short", "long"]
    alike = parameters(method="naive", baselines=["dcr", "reconstruction"])
    # As the recipe has them.
    assert list(shorter_first(stage2_runs(alike))) == ["naive", "dcr", "reconstruction"]
