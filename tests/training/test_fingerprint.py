"""What a run depends on: every parameter and every input, in a table; one that is missing there
fails the test.
"""

import dataclasses

import pytest
import torch

from dcr.losses.signals import FEATURE_SIGNALS, SIGNALS
from dcr.parameters.training import WITHOUT_EFFECT
from dcr.parameters.training.published import PARTS
from dcr.training import jobs
from dcr.training.distributed import processes
from dcr.training.fingerprint import UNUSED, input_hashes, run_fingerprint
from dcr.training.runs import method_runs
from training_world import fixed_projector, load_world, open_job, parameters, run_of, write_world

RUNS = ("stage1", "dcr", "reconstruction", "naive", "end_to_end")
ALL = set(RUNS)
STAGE2 = ALL - {"stage1"}
DCR = {"dcr", "end_to_end"}
CONTRAST = DCR | {"naive"}
HASHES = {"data": "a", "backbone": "b", "unet": "c"}
PROJECTOR = {"1.weight": torch.ones(2, 3)}

NEIGHBOURS, SYNTHETIC = {"positives.source": "clip_neighbour"}, {"positives.source": "synthetic"}
BLOCKS = {"tuning.mode": "last_blocks"}

# The parameter, another value, the runs that it changes, and what must hold for it to be used at
# all.
COURSE = {
    "seed": (7, ALL),
    "stage2_seeds": ([1], set()),
    # one of the recipe's numbers is what stands without it
    "phases": ({"dcr": [{"objective": "dcr"}]}, set()),
    "method": ("naive", set()),  # which of the runs is the product changes none of them
    "baselines": (["naive"], set()),
    "held_out.fraction": (0.2, ALL),
    "held_out.num_samples": (9, ALL),  # the logged error is of these
    "mixed_precision": ("bf16", ALL),
    "processes.num_processes": (2, ALL),
    "processes.num_hosts": (2, ALL),
    "batches.gather_negatives": (True, CONTRAST),
    "compile": (True, ALL),
    "optimizer.beta1": (0.8, ALL),
    "optimizer.beta2": (0.99, ALL),
    "optimizer.epsilon": (1e-6, ALL),
    "optimizer.weight_decay": (0.1, ALL),
    "optimizer.max_grad_norm": (2.0, ALL),
    "stage1.projector_file": ("p.bin", set()),  # its weights are in stage 2's fingerprint
    "stage1.loss": ("dcr", {"stage1"}),
    "stage1.max_train_steps": (9, set()),  # a longer run goes on from a shorter one
    "stage1.train_batch_size": (5, {"stage1"}),
    "stage1.gradient_accumulation_steps": (2, {"stage1"}),
    "stage1.learning_rate": (0.5, {"stage1", "end_to_end"}),
    "stage1.learning_rate_decay": ("linear", {"stage1"}),
    "stage2.max_train_steps": (9, set()),
    "stage2.train_batch_size": (5, STAGE2),
    "stage2.gradient_accumulation_steps": (2, STAGE2),
    "stage2.learning_rate": (0.5, STAGE2),
    "stage2.learning_rate_decay": ("linear", STAGE2),
    "end_to_end_max_train_steps": (9, set()),
    "condition": ("patch_tokens", ALL),
    "batches.num_views": (2, CONTRAST),
    "loss.temperature": (0.2, CONTRAST),
    "loss.target_weight": (0.4, DCR),
    "loss.reconstruction_share": (0.3, DCR),
    "loss.base_embedding_weight": (0.3, STAGE2),
    # a first phase finds the base
    "loss.pull_to": ("phase", set(), {"loss.base_embedding_weight": 0.3}),
    "batches.timestep_min": (0.1, ALL),
    "batches.timestep_max": (0.9, ALL),
    "batches.snr_gamma": (5.0, ALL),
    "batches.negatives_count": (2, DCR),
    "loss.negatives_gradient": (False, DCR),
    "loss.contrast_weight": (0.5, {"naive"}),
    "loss.reconstruction_weight": (0.5, {"naive"}),
    "tuning.mode": ("full", STAGE2),
    "tuning.num_blocks": (1, STAGE2, BLOCKS),
    "tuning.lora.rank": (4, STAGE2),
    "tuning.lora.alpha": (4, STAGE2),
    "tuning.lora.dropout": (0.0, STAGE2),
    "tuning.lora.bias": ("none", STAGE2),
    "tuning.lora.targets": (["q"], STAGE2),
    "views.brightness": (0.5, CONTRAST),
    "views.contrast": (0.5, CONTRAST),
    "views.saturation": (0.5, CONTRAST),
    "views.hue": (0.5, CONTRAST),
    "views.horizontal_flip": (0.5, CONTRAST),
    "views.vertical_flip": (0.5, CONTRAST),
    "views.scale_min": (0.5, CONTRAST),
    "views.ratio_min": (0.5, CONTRAST),
    "views.ratio_max": (1.5, CONTRAST),
    "published": ("all", ALL),
    "signal.name": ("dcl", CONTRAST),
    "positives.source": ("clip_neighbour", CONTRAST),
    "positives.clip_neighbour_rule": ("drop_false_negative", CONTRAST, NEIGHBOURS),
    "positives.clip_neighbour_share": (0.2, CONTRAST, NEIGHBOURS),
    "positives.synthetic_weight": (0.5, CONTRAST, SYNTHETIC),
}
PUBLISHED = {
    "views": CONTRAST,
    "normalization": ALL,
    "prompt_mask": ALL,
    "noise": ALL,
    "target": ALL,
    "loss": DCR,
    "sampling": ALL,
    "reduction": {"stage1"},
}
NUMBERS = [
    (signal, field.name)
    for signal, kind in (SIGNALS | FEATURE_SIGNALS).items()
    for field in dataclasses.fields(kind)
    if signal != "infonce"
]


def flat(values, prefix=""):
    for name, value in values.items():
        if isinstance(value, dict) and name != "phases":
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


VALUES = dict(flat(parameters().model_dump()))
UNWATCHED = [
    name for name in VALUES if any(f"{name}.".startswith(f"{one}.") for one in WITHOUT_EFFECT)
]


def fingerprints(hashes=HASHES, projector=PROJECTOR, runs=RUNS, **changes):
    p = parameters(**changes)
    return {name: run_fingerprint(run_of(p, name), hashes, projector) for name in runs}


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


def test_every_parameter_is_in_one_table():
    assert not set(COURSE) & set(UNWATCHED)
    assert set(COURSE) | set(UNWATCHED) == set(VALUES)
    assert PUBLISHED.keys() == set(PARTS)


@pytest.mark.parametrize("part", PUBLISHED)
def test_a_published_part_changes_the_runs_that_take_it(part):
    assert changed(fingerprints(), fingerprints(published=[part])) == PUBLISHED[part]


@pytest.mark.parametrize("name", COURSE)
def test_a_parameter_changes_the_runs_that_depend_on_it_and_no_other(name):
    value, expected, *needed = COURSE[name]
    base = needed[0] if needed else {}
    assert changed(fingerprints(**base), fingerprints(**base | {name: value})) == expected


@pytest.mark.parametrize(("signal", "name"), NUMBERS)
def test_a_number_of_a_signal_is_part_of_the_runs_that_contrast(signal, name):
    chosen = {"signal.name": signal}
    value = parameters(**chosen).signal.values()[name]
    other = {f"signal.{name}": value + 1 if isinstance(value, int) else value * 0.5 + 0.01}
    runs = ("stage1", "reconstruction", "naive") if signal in FEATURE_SIGNALS else RUNS
    one = fingerprints(**chosen, runs=runs)
    assert changed(one, fingerprints(**chosen, runs=runs, **other)) == CONTRAST & set(runs)


@pytest.mark.parametrize("name", UNWATCHED)
def test_how_a_run_is_walked_and_watched_changes_no_run(name):
    value = VALUES[name]
    others = {
        "processes.sharding": "fsdp2",
        "processes.rendezvous_endpoint": "head:1",
        "checkpoints.resume_from": "none",
        "checkpoints.sync": "s3://bucket/checkpoints",
        "execution.gradient_checkpointing": "all",
        "monitoring.report_to": ["tensorboard"],
    }
    other = others.get(name, not value if isinstance(value, bool) else value)
    if name not in others and not isinstance(value, bool):
        other = value + 1
    base = {"compile": True} if name == "execution.cuda_graphs" else {}  # which goes with it alone
    assert changed(fingerprints(**base), fingerprints(**base | {name: other})) == set()


def test_with_decay_the_number_of_steps_decides_every_step():
    """Without it a longer run goes on from a shorter one."""
    for stage, runs in (("stage1", {"stage1"}), ("stage2", {"dcr", "reconstruction", "naive"})):
        decays, longer = {f"{stage}.learning_rate_decay": "cosine"}, {f"{stage}.max_train_steps": 9}
        assert changed(fingerprints(**decays), fingerprints(**decays, **longer)) == runs
    decays = {"stage2.learning_rate_decay": "cosine"}
    assert changed(
        fingerprints(**decays), fingerprints(**decays, end_to_end_max_train_steps=9)
    ) == {"end_to_end"}


def test_a_phase_depends_on_the_weights_it_goes_on_from_and_on_what_it_pulls_to():
    def phase(start, **changes):
        phases = {
            "two": [
                {"objective": "dcr"},
                {"objective": "dcr", "base_embedding_weight": 0.3} | changes,
            ]
        }
        return run_fingerprint(
            method_runs(parameters(phases=phases), "two")[1], HASHES, PROJECTOR, start
        )

    start, other = {"a": torch.zeros(2)}, {"a": torch.ones(2)}
    assert phase(start) == phase(dict(start), pull_to="base")
    assert len({str(phase(start)), str(phase(other)), str(phase(start, pull_to="phase"))}) == 3
    unpulled = {"base_embedding_weight": 0.0}
    # Without a pull it does not matter where it would go.
    assert phase(start, **unpulled) == phase(start, **unpulled, pull_to="phase")


def test_of_a_run_of_one_phase_no_key_tells_of_phases_decay_or_seeds():
    """So that checkpoints from before there were any still fit."""
    new = {"start", "pull_to", "learning_rate_decay", "max_train_steps", "held_out_seed"}
    assert not any(
        new & found.keys() for found in fingerprints(**{"loss.base_embedding_weight": 0.3}).values()
    )
    again = run_fingerprint(method_runs(parameters(), "dcr", 4)[0], HASHES, PROJECTOR)
    assert new & again.keys() == {"held_out_seed"}


def test_inputs_change_the_runs_that_read_them():
    before = fingerprints()
    assert changed(before, fingerprints(projector={"1.weight": torch.zeros(2, 3)})) == STAGE2 - {
        "end_to_end"
    }
    for name in HASHES:
        assert changed(before, fingerprints(hashes=HASHES | {name: "other"})) == ALL
    made = HASHES | {"positives": "p"}
    assert changed(before, fingerprints(hashes=made)) == set()
    assert changed(fingerprints(**SYNTHETIC), fingerprints(hashes=made, **SYNTHETIC)) == CONTRAST


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


def spoil_config(part, name, value):
    return lambda backbone, diffusion: getattr(diffusion, part).register_to_config(**{name: value})


def set_text_config(backbone, diffusion):
    diffusion.text_encoder.config.hidden_act = "gelu"


def add_one(tensor):
    with torch.no_grad():
        tensor += 1


INPUTS = {
    "backbone weights": (lambda b, d: add_one(next(b.visual.parameters())), {"backbone"}),
    "heads of the backbone": (
        lambda b, d: b.model_cfg.update(vision_cfg=b.model_cfg["vision_cfg"] | {"head_width": 1}),
        {"backbone_settings"},
    ),
    "activation of the backbone": (
        lambda b, d: setattr(b.visual.transformer.resblocks[0].mlp, "gelu", torch.nn.ReLU()),
        {"backbone_settings"},
    ),
    "unet weights": (lambda b, d: add_one(next(d.unet.parameters())), {"unet"}),
    "vae weights": (lambda b, d: add_one(next(d.vae.parameters())), {"vae"}),
    "text encoder weights": (
        lambda b, d: add_one(next(d.text_encoder.parameters())),
        {"text_encoder"},
    ),
    "activation of the text encoder": (set_text_config, {"diffusion_settings"}),
    "scheduler": (spoil_config("scheduler", "beta_end", 0.5), {"diffusion_settings"}),
    "prediction type": (
        spoil_config("scheduler", "prediction_type", "epsilon"),
        {"diffusion_settings"},
    ),
    "heads of the unet": (spoil_config("unet", "attention_head_dim", 2), {"diffusion_settings"}),
    "scale of the latents": (spoil_config("vae", "scaling_factor", 0.1), {"diffusion_settings"}),
}


@pytest.mark.parametrize("name", INPUTS)
def test_models_are_told_apart_by_weights_and_by_what_stands_beside_them(world, name):
    backbone, diffusion, latents = load_world(world)
    before = input_hashes(latents, backbone, diffusion)
    change, expected = INPUTS[name]
    change(backbone, diffusion)
    assert changed(before, input_hashes(latents, backbone, diffusion)) == expected


def test_a_finished_run_of_other_latents_is_trained_anew(world, tmp_path, caplog):
    job = open_job(world, tmp_path, **{"stage1.max_train_steps": 1})
    jobs.train_projector(job)
    other = open_job(world, tmp_path, **{"stage1.max_train_steps": 1})
    other.hashes = other.hashes | {"data": "made with flips"}
    jobs.train_projector(other)
    assert "it belongs to another configuration (data is" in caplog.text


OTHERS = {
    "loss.temperature": 0.7,
    "loss.target_weight": 0.3,
    "loss.reconstruction_share": 0.4,
    "loss.contrast_weight": 0.4,
    "loss.reconstruction_weight": 0.6,
    "loss.negatives_gradient": False,
    "batches.num_views": 2,
    "batches.negatives_count": 2,
    "batches.gather_negatives": True,
}
VIEWS = {
    "views.brightness": 0.5,
    "views.scale_min": 0.5,
    "published": ["views"],
    "signal.name": "dcl",
}


@pytest.mark.parametrize("method", UNUSED)
def test_numbers_that_an_objective_does_not_use_change_no_bit_of_it(world, tmp_path, method):
    """The table in the fingerprint, against training itself: two steps with all of them changed."""
    assert set().union(*UNUSED.values()) == set(OTHERS)
    changes = {name: OTHERS[name] for name in UNUSED[method]}
    variants = [{}, changes | VIEWS] if method == "reconstruction" else [{}, changes]
    if method != "dcr":  # it does not go with some of the others, by a rule of its own
        variants.append({"published": ["loss"]})
    one, *others = (
        jobs.train_adapters(
            open_job(
                world,
                tmp_path / str(number),
                method=method,
                **{"stage2.max_train_steps": 2},
                **values,
            ),
            fixed_projector(world),
        ).towers[method]
        for number, values in enumerate(variants)
    )
    for other in others:
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_product_of_several_processes_is_not_that_of_one(world, tmp_path):
    one = open_job(world, tmp_path, **{"stage1.max_train_steps": 1})
    jobs.train_projector(one)
    two = open_job(world, tmp_path, **{"stage1.max_train_steps": 1, "processes.num_processes": 2})
    two.processes = processes.alone()
    assert two.checkpoints(run_of(two.parameters, "stage1")).find(1) is None


@pytest.mark.parametrize("module", ["monitor", "trackers", "pictures", "diagnostics"])
def test_what_a_person_sees_of_a_run_is_no_part_of_its_key(module):
    from dcr.fingerprints import SOURCES

    reached = SOURCES.reached(["dcr.training.stages", "dcr.training.views"])
    assert "dcr.training.trainer" in reached
    assert f"dcr.training.monitoring.{module}" not in reached
