"""Files that belong together, of which one is changed at random: a byte of a latent shard, a
value in a record.
"""

import copy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import belonging
from dcr.errors import UserError
from dcr.evaluation import provenance as scored
from dcr.latents import LatentCache
from dcr.parameters import EvaluationParameters
from dcr.training import provenance
from latent_world import World
from training_world import parameters

CONF = Path(__file__).parents[2] / "conf" / "base"
METHODS = ("dcr", "naive")


def test_a_changed_bit_of_a_latent_shard_is_told(torture, tmp_path):
    generator = np.random.default_rng(torture.seed)
    cache = World.make(tmp_path).cache()
    whole = [shard.read_bytes() for shard in cache.shards]
    number = torture.amount(40, 2000)
    for _ in range(number):
        chosen = generator.integers(len(whole))
        data = bytearray(whole[chosen])
        place = generator.integers(len(data))
        data[place] ^= 1 << generator.integers(8)
        cache.shards[chosen].write_bytes(data)
        with pytest.raises(
            UserError, match=rf"{cache.shards[chosen].name}.*`kedro run --pipelines "
        ):
            LatentCache(cache.folder).check_bytes()
        cache.shards[chosen].write_bytes(whole[chosen])
    LatentCache(cache.folder).check_bytes()
    torture.count("changed bits of latent shards", int(number))


def files_of_a_run():
    """Return what training and evaluation left, all of it of each other."""
    training, model = parameters(), SimpleNamespace(model=torch.nn.Linear(2, 2), source="base")
    weights = {
        name: {"a.lora_A.weight": torch.rand(2, 2), "a.lora_B.weight": torch.rand(2)}
        for name in METHODS
    }
    conditions = {
        "projector": {"empty_prompt": 0.4, "before": 0.5, "after": 0.3, "wrong_image": 0.45}
    }
    losses = {"stage1": 0.25, "dcr": 1.5, "naive": 0.75}
    projector = {"1.weight": torch.rand(3, 2)}
    trained = belonging.training_record(
        training,
        model,
        weights,
        projector,
        conditions=copy.deepcopy(conditions),
        runs={name: {"loss": loss} for name, loss in losses.items()},
    )
    values = {
        name: {"clustering": {"acc": 0.5 + place / 10}}
        for place, name in enumerate(("base", *METHODS))
    }
    tables = {
        "scores": values,
        "intervals": copy.deepcopy(values),
        "comparisons": copy.deepcopy(values),
    }
    rows = [
        (name, "clustering", str(item), float(item % 2)) for name in values for item in range(4)
    ]
    outcomes = pd.DataFrame(rows, columns=["encoder", "benchmark", "item", "correct"])
    options = EvaluationParameters(
        **yaml.safe_load((CONF / "parameters_evaluation.yml").read_text())["evaluation"]
    )
    evaluated = copy.deepcopy(belonging.this_seed(options, trained, outcomes=outcomes, **tables))
    return {
        "products": trained.pop("products"),
        "hashes": {"backbone": trained["hashes"].pop("backbone")},
        "parameters": trained.pop("parameters"),
        "trained": trained,
        "evaluated": evaluated,
        "seeds": {f"seed_{training.seed}": copy.deepcopy(evaluated)},
        **tables,
        "outcomes": outcomes.to_dict("list"),
        "conditions": conditions,
        "losses": losses,
        "weights": weights,
        "projector": projector,
        "validation": {"accepted_sha256": belonging.SAMPLES},
        "base_models": {
            "weights": {
                "backbone": provenance.weights_hash(model.model),
                "vae": "v",
                "unet": "u",
                "text_encoder": "t",
            },
        },
        "synthesis": {"made_from": {"samples": belonging.SAMPLES}},
    }, (training, options, model)


def join(files, models):
    """Join the files as `export` and `reporting` do."""
    training, options, backbone = models
    trained = files["trained"] | {name: files[name] for name in ("products", "parameters")}
    trained["hashes"] = trained["hashes"] | files["hashes"]
    provenance.check_training(trained, training)
    provenance.check_backbone(trained, backbone)
    for method in METHODS:
        provenance.check_adapter(trained, method, files["weights"][method])
    provenance.check_projector(trained, files["projector"])
    provenance.check_logs(trained, files["conditions"], files["losses"])
    provenance.check_samples(trained, files["validation"])
    provenance.check_base_models(trained, files["base_models"])
    provenance.check_synthesis(trained, files["synthesis"])
    scored.check_evaluation(files["evaluated"], options)
    tables = {name: files[name] for name in ("scores", "intervals", "comparisons")}
    hashes = scored.table_hashes(outcomes=pd.DataFrame(files["outcomes"]), **tables)
    scored.check_scores(files["evaluated"], trained, training.method, hashes, files["scores"])
    scored.check_seed(files["evaluated"], files["seeds"])


def leaves(value, path=()):
    """Return the places of all values in nested files."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [leaf for name, child in items for leaf in leaves(child, (*path, name))]
    return [path]


def change(value):
    """Return another value of the same kind."""
    if isinstance(value, torch.Tensor):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    return not value if isinstance(value, bool) else 1 if value is None else value * 1.001 + 1


def test_a_value_that_is_of_another_run_is_refused(torture):
    files, models = files_of_a_run()
    join(files, models)
    del files["trained"]["seed"]  # `parameters` has it
    told = ("samples", "vae", "unet", "text_encoder")
    places = [
        path for path in leaves(files) if path[:2] != ("trained", "hashes") or path[2] in told
    ]
    chosen = torture.choose(places, 80)
    for path in chosen:
        spoiled = copy.deepcopy(files)
        owner = spoiled
        for name in path[:-1]:
            owner = owner[name]
        owner[path[-1]] = change(owner[path[-1]])
        with pytest.raises(UserError, match="run "):
            join(spoiled, models)
            pytest.fail(f"{path} was not noticed")
    torture.count("changed values of records", len(chosen))
