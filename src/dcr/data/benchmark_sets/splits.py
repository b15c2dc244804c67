"""Which folder of a set is which split, whatever it is called."""

from __future__ import annotations

from collections.abc import Iterable

from dcr.errors import UserError

_NAMES = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "validation": ("val", "valid", "validation", "dev", "eval"),
}


def split_of(name: str) -> str | None:
    """Return ``train``, ``test`` or ``validation`` as the folder ``name`` means it, else None.

    Case does not matter.
    """
    return next((split for split, names in _NAMES.items() if name.casefold() in names), None)


def choose_splits(names: Iterable[str], where: object) -> tuple[dict[str, str], list[str]]:
    """Return {``train`` or ``test``: folder name} of the splits, and what must be told.

    Scores are computed on the test split, or on the validation split where there is no test split.

    Args:
        names: of all folders; those that are no splits are passed over.
        where: the set, as an error names it.

    Raises:
        UserError: two folders are the same split, or there is a train split alone.
    """
    found: dict[str, str] = {}
    for name in sorted(names):
        split = split_of(name)
        if split in found:
            raise UserError(
                f"{where}: {found[split]}/ and {name}/ are both its {split} split: leave one of"
                " them"
            )
        if split is not None:
            found[split] = name
    validation = found.pop("validation", None)
    if "test" in found and validation is not None:
        return found, [f"{validation}/ is left out: scores are computed on {found['test']}/"]
    if validation is not None:
        found["test"] = validation
    if found and "test" not in found:
        raise UserError(f"{where} has a train split alone: scores need test/ or val/ beside it")
    return found, []
