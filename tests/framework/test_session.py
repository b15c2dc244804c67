"""What runs, and in which order, when a recipe is run."""

from pathlib import Path

import pytest
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from dcr.framework.session import RecipeSession
from project import PROJECT, copy_project, run


@pytest.fixture
def runs(monkeypatch):
    """The pipelines of every run, in order; nothing is computed."""
    bootstrap_project(PROJECT)
    names = []
    monkeypatch.setattr(
        KedroSession, "run", lambda self, pipeline_names=None, **_: names.append(pipeline_names)
    )
    return names


def session(recipe):
    return RecipeSession.create(PROJECT, env=recipe, save_on_close=False)


def test_a_recipes_models_come_before_everything_else_in_a_run_of_their_own(runs):
    session("openai_vitl14_224").run()
    assert runs == [
        ["models"],
        ["validation", "latents", "training", "alignment", "evaluation", "export", "reporting"],
    ]


def test_the_order_in_which_pipelines_are_named_does_not_matter(runs):
    session("openai_vitl14_224").run(["latents", "models"])
    assert runs == [["models"], ["latents"]]


def test_pipelines_without_models_and_models_alone_are_one_run(runs):
    session("openai_vitl14_224").run(["latents"])
    session("openai_vitl14_224").run(["models"])
    assert runs == [["latents"], ["models"]]


def test_the_working_directory_is_the_projects_while_it_runs_and_then_the_callers_again(
    tmp_path, monkeypatch
):
    bootstrap_project(PROJECT)
    folders = []
    monkeypatch.setattr(KedroSession, "run", lambda *_, **__: folders.append(Path.cwd()))
    monkeypatch.chdir(tmp_path)
    session("openai_vitl14_224").run()
    assert folders == [PROJECT, PROJECT]
    assert Path.cwd() == tmp_path


def test_trackers_are_looked_at_before_the_first_pipeline_of_a_run_that_trains(runs, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "dcr.framework.session.check_trackers",
        lambda names, _: asked.append((list(names), list(runs))),
    )
    session("openai_vitl14_224").run(["validation"])
    assert not asked
    runs.clear()
    session("openai_vitl14_224").run()
    assert asked == [(["dvclive", "tensorboard"], [])]
    session("openai_vitl14_224").run(["selection"])
    assert len(asked) == 2


@pytest.mark.parametrize("pipeline", ["export", "reporting"])
def test_trackers_that_keep_results_are_looked_at_before_a_run_that_hands_them_on(
    runs, monkeypatch, pipeline
):
    asked = []
    monkeypatch.setattr(
        "dcr.framework.session.check_trackers", lambda names, _: asked.append(list(names))
    )
    report_to = {"training": {"monitoring": {"report_to": ["dvclive", "mlflow", "wandb"]}}}
    RecipeSession.create(
        PROJECT, env="openai_vitl14_224", runtime_params=report_to, save_on_close=False
    ).run([pipeline])
    assert asked == [["mlflow", "wandb"]]


def test_weights_that_are_not_here_are_told_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    project = copy_project(tmp_path / "project")
    result = run(
        "kedro",
        "run",
        "--env",
        "siglip_so400m_224",
        "--pipelines",
        "latents",
        cwd=project,
        check=False,
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    message = result.stderr.strip().splitlines()[-1]
    assert "google/siglip-so400m-patch14-224@d04cf29fca7b6374f74d8bea1969314492266b5e" in message
    assert "kedro run --env <recipe> --pipelines models" in message
