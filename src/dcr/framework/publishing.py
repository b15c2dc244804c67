"""`kedro publish`: a recipe's encoder, as its last evaluation knows it, to the hub."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any

from kedro.framework.project import pipelines, settings
from kedro.io import DataCatalog
from kedro.pipeline import Node

from dcr.data.sources import HubModel
from dcr.datasets.ownership import recorded_files
from dcr.errors import UserError
from dcr.framework.home import project_folder
from dcr.framework.run_hooks import held_for_reading
from dcr.planning.units import in_bytes

_EXPORT = "run `kedro run --pipelines export`"


def publish_encoder(
    env: str | None,
    conf_source: str | None,
    params: dict[str, Any],
    to: str,
    private: bool,
    dry_run: bool,
) -> str:
    """Publish the encoder folder of a recipe; return what was done in words.

    No run can write the folder, or the records that it is compared with, meanwhile.

    Args:
        env: the recipe's folder, None for the demo.
        conf_source: the folder with the recipes, None for that of the project.
        params: as ``--params`` gives them, nested; those that the runs before had.
        to: ``org/name`` or ``org/name@branch``.
        private: whether the repository is to be a private one.
        dry_run: tell what would go, and ask the hub nothing.

    Raises:
        UserError: there is no encoder, it is not the one that was evaluated last, a run writes it
            now, or the hub does not take it.
    """
    from dcr.export.publishing import parse_target

    target = parse_target(to)
    project = project_folder()
    session = settings.SESSION_CLASS.create(
        project, env=env, conf_source=conf_source, runtime_params=params
    )
    with chdir(project), session:
        catalog = session.load_context().catalog
        read = {"encoder", *_card_node().inputs}
        with held_for_reading(read, catalog, project):
            folder = catalog.load("encoder")
            card = current_card(catalog)
            files = _checked_files(folder, card)
            told = _listing(files)
            if dry_run:
                return f"{told}\nwould go to {target}; nothing was sent"
            return f"{told}\n{_send(files, card, target, private)}"


def current_card(catalog: DataCatalog) -> dict[str, Any]:
    """Return what the card would tell now; UserError where records do not belong together."""
    node = _card_node()
    inputs = {name: catalog.load(name) for name in node.inputs}
    card: dict[str, Any] = node.run(inputs)["card"]
    return card


def _card_node() -> Node:
    nodes: list[Node] = pipelines["export"].nodes
    return next(node for node in nodes if "card" in node.outputs)


def _send(
    files: Mapping[str, Path], card: Mapping[str, Any], target: HubModel, private: bool
) -> str:
    """Put the files on the hub, and return what was done in words."""
    from dcr.export.publishing import publish

    message = f"Encoder of recipe {card['recipe']}, method {card['method']}"
    result = publish(files, target, message, private)
    done = "published" if result.is_new else "nothing has changed, no commit was made"
    others = f"\nit also holds, from elsewhere: {', '.join(result.others)}" if result.others else ""
    return f"{done}: {result.url}{others}"


def _checked_files(folder: Path, card: Mapping[str, Any]) -> dict[str, Path]:
    """Return the files of an export that tells what ``card`` does."""
    from dcr.export.results import RESULTS, results_of
    from dcr.fingerprints import json_hash

    try:
        files = recorded_files(folder)
    except UserError as exc:
        raise UserError(f"{exc}; {_EXPORT}") from exc
    told = json.loads(files[RESULTS].read_text("utf-8")) if RESULTS in files else {}
    now = results_of(card)
    if others := [name for name in now if json_hash(told.get(name)) != json_hash(now[name])]:
        raise UserError(
            f"{folder} was exported before the last training or evaluation or a change of the"
            f" recipe, its card tells of other {', '.join(others)}; {_EXPORT}"
        )
    return files


def _listing(files: Mapping[str, Path]) -> str:
    sizes = {name: path.stat().st_size for name, path in files.items()}
    lines = [f"{in_bytes(size):>9}  {name}" for name, size in sizes.items()]
    return "\n".join([*lines, f"{in_bytes(sum(sizes.values())):>9}  in {len(sizes)} files"])
