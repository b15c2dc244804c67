"""Temporary names as processes that are dead by now gave them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def left_by_a_dead_process(target: Path) -> Path:
    """Return the temporary path that another process, which has ended, took for ``target``."""
    code = (
        "import sys; from pathlib import Path; from dcr.replacing import temporary_path as t; p ="
        " Path(sys.argv[1])"
    )
    command = [sys.executable, "-c", f"{code}; print(t(p.parent, p.name))", str(target)]
    return Path(
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.rstrip("\n")
    )
