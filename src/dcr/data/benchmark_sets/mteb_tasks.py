"""What mteb is asked for: a task by its name, and its tables, with images as bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from dcr.errors import UserError, first_line
from dcr.extras import needs_extra


def new_task(name: str) -> Any:
    """Return the ``AbsTask`` of a name, without data; UserError if mteb has none of it."""
    with needs_extra("mieb", f"the task {name}"):
        import mteb
    try:
        return mteb.get_task(name)
    except KeyError as error:
        raise UserError(f"mteb has no task {name!r}: {error.args[0].partition(': ')[2]}") from error


def fill(task: Any, folder: str, files: Mapping[str, Sequence[str]]) -> None:
    """Give a ``task`` the data in a ``folder``, whose Parquet ``files`` are named by split."""
    from datasets import DatasetDict

    task.dataset = DatasetDict({split: _read(folder, names) for split, names in files.items()})
    task.dataset_transform()
    task.data_loaded = True


def undecoded(dataset: Any) -> Any:
    """Return the tables of a task with their images as bytes; what is no table stays."""
    from datasets import DatasetDict, Image

    if not isinstance(dataset, DatasetDict):
        return dataset
    columns = {column for rows in dataset.values() for column in rows.features}
    for column in columns:
        if all(is_image(rows.features.get(column)) for rows in dataset.values()):
            dataset = dataset.cast_column(column, Image(decode=False))
    return dataset


def _read(folder: str, names: Sequence[str]) -> Any:
    """Return the rows of some files, whose images lie in them."""
    import pyarrow.parquet as pq
    from datasets import Dataset, concatenate_datasets
    from datasets.table import InMemoryTable

    parts = []
    for name in names:
        table = pq.read_table(os.path.join(folder, name))
        part = Dataset(InMemoryTable(table))
        for column, kind in part.features.items():
            if is_image(kind) and table[column].combine_chunks().field("bytes").null_count:
                raise UserError(
                    f"{folder}/{name}: column {column} must hold encoded images, not paths of files"
                )
        parts.append(part)
    return concatenate_datasets(parts)


def is_image(kind: Any) -> bool:
    """Tell whether a column's ``kind``, a feature of datasets, is a picture."""
    return type(kind).__name__ == "Image"


@contextmanager
def mteb_told(what: str, rule: str) -> Iterator[None]:
    """Tell in a sentence whatever mteb raises: its tasks are hundreds, and raise anything.

    Args:
        what: could not be done, as "mteb cannot score its task X".
        rule: what to do about it.

    Raises:
        UserError: something was raised; a UserError passes as it is.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"{what} ({reason}): {rule}") from error
