"""What deploy/Dockerfile hands to uv, told by the line's own shell in the place of the image's."""

import re
import subprocess

import pytest

from project import PROJECT


@pytest.fixture
def extras_asked_for(tmp_path):
    """Return a function that tells which extras uv is asked for, given the build argument."""
    text = (PROJECT / "deploy/Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = re.findall(r"^RUN (.*\$EXTRAS.*)$", text, re.MULTILINE)
    for name, script in {"python3": "exit 0", "uv": 'printf "%s\\n" "$@"'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o700)

    def ask(extras):
        done = subprocess.run(
            ["/bin/sh", "-c", line.replace("/opt/uv/bin/uv", str(tmp_path / "uv"))],
            env={"PATH": str(tmp_path), "EXTRAS": extras},
            capture_output=True,
            text=True,
            check=True,
        )
        words = done.stdout.splitlines()
        assert words[-2 * words.count("--extra") - 1] == "pyproject.toml"
        return [
            after for word, after in zip(words, [*words[1:], ""], strict=True) if word == "--extra"
        ]

    return ask


@pytest.mark.parametrize("extras", ["", " ", "pipeline", "pipeline cluster  s3"])
def test_as_many_extras_are_asked_for_as_the_build_argument_names(extras_asked_for, extras):
    assert extras_asked_for(extras) == extras.split()
