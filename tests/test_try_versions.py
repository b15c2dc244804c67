"""What `make test-versions` says of a case is how it did."""

import importlib.util

import pytest

from project import PROJECT


@pytest.fixture
def script(monkeypatch):
    """The script, whose commands do nothing; those that begin as `failing` says fail."""
    spec = importlib.util.spec_from_file_location("tried", PROJECT / "tests" / "try_versions.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.failing = []

    def run(*command, **_):
        words = " ".join(str(word) for word in command[1:])
        return int(any(failing in words for failing in script.failing))

    monkeypatch.setattr(script, "run", run)
    monkeypatch.setattr(script, "versions", lambda python: "torch 2")
    return script


@pytest.mark.parametrize(
    ("failing", "code", "told"),
    [
        ("nothing", 0, "Python 3.12, torch 2: smoke recipe ran, tests passed"),
        ("uv python find", 2, "left out, there is no Python 3.12 here"),
        ("uv venv", 1, "the environment could not be made"),
        ("uv pip install", 1, "the installation failed"),
        ("-m dcr --env smoke", 1, "Python 3.12, torch 2: smoke recipe failed, tests passed"),
        ("-m pytest", 1, "Python 3.12, torch 2: smoke recipe ran, tests failed"),
    ],
)
def test_each_failure_is_told_and_is_the_exit_code(script, tmp_path, capsys, failing, code, told):
    script.failing.append(failing)
    assert script.main(tmp_path, ["python-3.12"]) == code
    assert capsys.readouterr().out == f"python-3.12: {told}\n"


def test_a_case_that_is_left_out_does_not_hide_one_that_failed(script, tmp_path):
    script.failing += ["uv python find --no-python-downloads 3.12", "-m pytest"]
    assert script.main(tmp_path, ["python-3.12", "python-3.13"]) == 1


def test_an_unknown_case_is_one_sentence(script, tmp_path):
    with pytest.raises(SystemExit, match="there is no case latest: name some of lowest, newest"):
        script.main(tmp_path, ["newest", "latest"])
