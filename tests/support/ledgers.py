"""A ledger in which every verdict occurs, for the tests of its page."""

from __future__ import annotations

from typing import Any

import numpy as np

from dcr.ledger.claims import list_claims
from dcr.ledger.evidence import Evidence
from dcr.ledger.judging import judge_claims, ledger_record
from dcr.published.tables import check_tables
from measured import BOOTSTRAP, mean_of
from published_example import example

NUMBER = 400


def ledger() -> dict[str, Any]:
    """Return a ledger's record: a base measured to the digit, an improvement that is reproduced,
    one that is refuted, one that cannot be told, and a table of a set that is not here.
    """
    values = example()
    base = np.arange(NUMBER) % 5 == 0
    gained = base | (np.arange(NUMBER) % 30 == 1)
    values["encoders"] |= {
        name: {
            "name": f"{name.title()} <one> of a long name",
            "method": name,
            "base": "plain",
        }
        for name in ("told", "refuted", "untold")
    }
    table = values["tables"][0]
    table |= {"values": {"plain": 20.0, "told": 23.3, "refuted": 40.0, "untold": 20.9}}
    table |= {"items": NUMBER, "note": "A note of the authors."}
    values["tables"].append(
        table | {"title": "Table 2", "benchmark": "clustering", "metric": "nmi", "sets": ["dtd"]}
    )
    answers = {"plain": base, "told": gained, "refuted": gained}
    lost = np.arange(NUMBER) % 100 == 0
    answers["untold"] = (base & ~lost) | (np.arange(NUMBER) % 67 == 1)
    evidence = Evidence(
        {name: {"mmvp_vlm": {"mean": mean_of(own)}} for name, own in answers.items()},
        frozenset(),
        [{"name": "mmvp_vlm", "benchmarks": ["mmvp_vlm"], "rules": {}}],
        {("plain", "mmvp_vlm"): NUMBER},
        {name: name for name in answers},
        BOOTSTRAP,
    )
    claims = list_claims(check_tables(values, "published.yml"))
    return ledger_record(judge_claims(claims, evidence), BOOTSTRAP.confidence)
