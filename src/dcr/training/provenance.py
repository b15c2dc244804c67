"""What belongs together: pipelines refuse files of others that were not made from each other.

Training and evaluation each write a record as the last of their files, `training.json` and
`this_seed.json`: of what went in, and hashes of what came out. A pipeline that was cut, an encoder
that was put there by hand, a parameter that was changed since: whatever it is, the files at hand
then do not have the hashes of the record.

Records are plain values, as they come from JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dcr.encoder_names import BASE, EncoderName
from dcr.errors import UserError
from dcr.fingerprints import json_hash, tensors_hash, weights_hash
from dcr.parameters import TrainingParameters

if TYPE_CHECKING:
    import torch

    from dcr.models.backbones import Backbone

Record = Mapping[str, Any]
_TRAIN = "run `kedro run --pipelines training,alignment,evaluation`"


def check_training(record: Record, parameters: TrainingParameters) -> None:
    """Refuse the ``record`` of a training with other ``parameters`` than the recipe has now."""
    check_parameters("training", record.get("parameters"), parameters.course(), _TRAIN)


def check_parameters(section: str, found: Record | None, asked: Record, again: str) -> None:
    """Refuse a record whose parameters are not those that the recipe has now.

    Args:
        section: whose record it is.
        found: its parameters, by dotted name; None if it tells none.
        asked: the recipe's.
        again: the command that makes the record anew.
    """
    if not isinstance(found, Mapping):
        raise UserError(
            f"the record of {section} is of an earlier version and tells no parameters; {again}"
        )
    for name, value in asked.items():
        if found.get(name) != value:
            raise UserError(
                f"{section} ran with {section}.{name} {found.get(name)!r}, the recipe says"
                f" {value!r}; {again}, or give that value with --params {section}.{name}=…"
            )


def check_backbone(record: Record, backbone: Backbone) -> None:
    """Refuse a ``backbone`` that the training on ``record`` did not start from."""
    if weights_hash(backbone.model) != record["hashes"].get("backbone"):
        raise UserError(
            f"training started from other weights than those of backbone {backbone.source};"
            f" {_TRAIN}"
        )


def check_adapter(record: Record, method: str, weights: Mapping[str, torch.Tensor]) -> None:
    """Refuse trained ``weights`` that are not those of the ``method`` on ``record``."""
    if tensors_hash(dict(weights)) != products(record, "adapters").get(method):
        raise UserError(
            f"the trained weights of {method} are not those that training.json tells of: training"
            f" was cut before its end, or they are of another one; {_TRAIN}"
        )


def check_projector(record: Record, projector: Mapping[str, torch.Tensor]) -> None:
    """Refuse a ``projector`` that is not the one of the training on ``record``."""
    if tensors_hash(dict(projector)) != products(record, "projector"):
        raise UserError(
            "the projector is not the one that training.json tells of: training was cut before its"
            f" end; {_TRAIN}"
        )


def encoder_hashes(record: Record) -> dict[str, str]:
    """Return a hash of each encoder, the base and those that the training on ``record`` made of it.

    That of the base is of its weights. Those of the others are of what they are made of, base,
    trained weights and how these are put in, and not of the merged weights, which two machines may
    round differently.
    """
    base = record["hashes"].get("backbone")
    parameters = record.get("parameters") or {}
    tuning = {name: value for name, value in parameters.items() if name.startswith("tuning.")}
    made = {
        name: json_hash({"base": base, "adapter": adapter, "tuning": tuning})
        for name, adapter in products(record, "adapters").items()
    }
    return {BASE: base, **made}


def products(record: Record, kind: str) -> Any:
    """Return the hashes of what the training on ``record`` made of a ``kind``."""
    products = record.get("products")
    if not isinstance(products, Mapping) or kind not in products:
        raise UserError(
            f"training.json is of an earlier version and does not tell what training made; {_TRAIN}"
        )
    return products[kind]


def trained_methods(record: Record) -> set[str]:
    """Return the methods that the training on ``record`` made encoders of, with any seed."""
    return {EncoderName.parse(name).method for name in products(record, "adapters")}


def check_logs(record: Record, conditions: Record, last_losses: Mapping[str, float | None]) -> None:
    """Refuse held-out errors, or loss tables, of another training.

    Args:
        record, conditions: `training.json` and `conditions.json`.
        last_losses: of each run in the record, the loss in the last row of its table; None without
            a table.
    """
    if json_hash(conditions) != json_hash(record.get("conditions")):
        raise UserError(
            f"conditions.json is not of the training that training.json tells of; {_TRAIN}"
        )
    for run, loss in last_losses.items():
        told = record["runs"][run].get("loss")
        if told is None or loss is None or abs(loss - told) > 1e-9 * abs(told):
            raise UserError(
                f"the losses of {run} are not of the training that training.json tells of; {_TRAIN}"
            )


def check_samples(record: Record, validation: Record) -> None:
    """Refuse counts of ``validation`` of other samples than the training on ``record`` saw."""
    if validation.get("accepted_sha256") != record["hashes"].get("samples"):
        raise UserError(
            "validation.json does not tell of the samples that were trained on; run `kedro run"
            " --pipelines validation,latents,training,alignment,evaluation`, which makes again only"
            " what changed"
        )


def check_base_models(record: Record, base_models: Record) -> None:
    """Refuse measures of ``base_models`` that training on ``record`` did not start from.

    There may be none.
    """
    names = ("backbone", "vae", "unet", "text_encoder")
    if base_models and base_models.get("weights") != {
        name: record["hashes"].get(name) for name in names
    }:
        raise UserError(
            "base_models.json tells of other base models than training started from; run `kedro run"
            " --pipelines scenes`, or remove that file if the recipe's models are your own"
        )


def check_synthesis(record: Record, pictures: Record) -> None:
    """Refuse ``pictures`` of positives, or of samples, other than those on ``record``.

    There may be none.
    """
    told = pictures.get("made_from", {})
    hashes = record["hashes"]
    same = told.get("samples") == hashes.get("samples")
    if pictures and not (
        same and told.get("positives") == hashes.get("positives", told.get("positives"))
    ):
        raise UserError(
            "synthesis_pictures.json shows positives of other samples than those that were trained"
            " on; run `kedro run --pipelines synthesis,training,alignment,evaluation`"
        )
