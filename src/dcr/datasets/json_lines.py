"""Kedro dataset for records that are appended and never changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from dcr.errors import UserError
from dcr.files import atomic_path


class JSONLinesDataset(AbstractDataset[list[dict[str, Any]], list[dict[str, Any]]]):
    """One JSON object a line; ``save`` appends records that are not there yet and keeps all others.

    Equal records are written once, so that a run that measures the same again leaves the same
    bytes.

    Args:
        filepath: the file, UTF-8.
        metadata: for Kedro's plugins alone, such as the layer that Kedro-Viz draws.

    YAML example:

        eval_results:
          type: dcr.datasets.json_lines.JSONLinesDataset
          filepath: data/08_reporting/demo/eval_results.jsonl

    Python example:
        >>> results = [{"dataset": "mnist", "metrics": {"acc1": 0.7}}]
        >>> JSONLinesDataset(filepath="eval_results.jsonl").save(results)
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._read_lines()]

    def save(self, data: list[dict[str, Any]]) -> None:
        """Append those records of ``data`` that the file does not hold."""
        lines = self._read_lines()
        new = dict.fromkeys(json.dumps(record) for record in data)
        with atomic_path(self._filepath) as path:
            path.write_text(
                "".join(
                    f"{line}\n"
                    for line in [*lines, *(line for line in new if line not in set(lines))]
                ),
                encoding="utf-8",
            )

    def _read_lines(self) -> list[str]:
        if not self._filepath.exists():
            return []
        lines = [
            line for line in self._filepath.read_text(encoding="utf-8").split("\n") if line.strip()
        ]
        for number, line in enumerate(lines, 1):
            try:
                json.loads(line)
            except ValueError as exc:
                raise UserError(
                    f"{self._filepath}, record {number}, is no JSON: mend or remove that line"
                ) from exc
        return lines

    def _exists(self) -> bool:
        return self._filepath.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
