"""`alignment.json`: which encoders were aligned, how, and hashes of what went in and came out.

It tells how the maps were chosen. Records are plain values, as they come from JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dcr.encoder_names import aligned_name, unaligned_name
from dcr.errors import UserError
from dcr.fingerprints import json_hash, tensors_hash
from dcr.training.provenance import encoder_hashes

if TYPE_CHECKING:
    import torch

    from dcr.parameters import AlignmentParameters

Record = Mapping[str, Any]
_ALIGN = "run `kedro run --pipelines alignment,evaluation`"


def check_alignment(record: Record, parameters: AlignmentParameters, trained: Record) -> None:
    """Refuse the record of an alignment with other parameters, or of other encoders.

    Args:
        record: `alignment.json`, {} without one; with form none it is not looked at.
        parameters: of section `alignment`, as the recipe has them now.
        trained: `training.json`.
    """
    if parameters.form == "none":
        return
    found = record.get("parameters")
    if not isinstance(found, Mapping):
        raise UserError(
            f"there is no record of an alignment, but alignment.form is {parameters.form}; {_ALIGN}"
        )
    for name, value in parameters.course().items():
        if found.get(name) != value:
            raise UserError(
                f"alignment ran with alignment.{name} {found.get(name)!r}, the recipe says"
                f" {value!r}; {_ALIGN}"
            )
    for name, digest in encoder_hashes(trained).items():
        if (record.get("made_from") or {}).get(name) != digest:
            raise UserError(
                f"alignment.json does not tell of the encoder {name} that training made or started"
                f" from; {_ALIGN}"
            )


def check_maps(record: Record, name: str, maps: Mapping[str, torch.Tensor]) -> None:
    """Refuse maps that are not those which the record tells of for an encoder.

    Args:
        record: `alignment.json`, which holds their hash.
        name: the encoder's, as trained.
        maps: (d, d) by their names in the file.
    """
    if tensors_hash(dict(maps)) != _maps_hash(record, name):
        raise UserError(
            f"the alignment of {name} is not the one that alignment.json tells of: alignment was"
            f" cut before its end, or the file is from elsewhere; {_ALIGN}"
        )


def evaluated_hashes(
    record: Record, parameters: AlignmentParameters, trained: Record
) -> dict[str, str]:
    """Return a hash of what each encoder is made of, by the name that it is evaluated under.

    Args:
        record: `alignment.json`; with form none it is not looked at.
        parameters: of section `alignment`; they say whether encoders are evaluated in both forms.
        trained: `training.json`, with the hashes of what training made or started from.

    Returns:
        as `dcr.training.provenance.encoder_hashes`; where an alignment followed, the maps count.
    """
    made = encoder_hashes(trained)
    if parameters.form == "none":
        return made
    aligned = {
        aligned_name(name): json_hash({"encoder": digest, "maps": _maps_hash(record, name)})
        for name, digest in made.items()
    }
    return {unaligned_name(name): digest for name, digest in made.items()} | aligned


def tell_alignment(record: Record, parameters: AlignmentParameters, name: str) -> dict[str, Any]:
    """Return what a model card tells of an encoder's alignment, {} where there is none.

    Args:
        record: `alignment.json`.
        parameters: of section `alignment`; form none means that nothing followed training.
        name: the encoder's, as trained.
    """
    if parameters.form == "none":
        return {}
    return {"form": parameters.form, "chosen": record["encoders"][name]["chosen"]}


def _maps_hash(record: Record, name: str) -> str | None:
    hashed: str | None = (record.get("encoders") or {}).get(name, {}).get("maps_hash")
    return hashed
