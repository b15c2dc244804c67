"""Kedro-Airflow exports pipelines as DAGs, which Airflow reads; a task runs in its own process.

Airflow lives in an environment of its own; its scheduler is not started.
"""

import os
import shutil
import subprocess
import sys

import pytest

from project import PROJECT

pytestmark = pytest.mark.slow
PACKAGES = ("kedro-airflow==0.11.0", "apache-airflow==3.2.2")
DAG = """
import sys
from airflow.dag_processing.dagbag import DagBag

bag = DagBag(sys.argv[1], include_examples=False)
assert not bag.import_errors, bag.import_errors
[dag] = bag.dags.values()
if sys.argv[2:]:
    dag.get_task(sys.argv[2]).python_callable()
else:
    print("tasks:", *[task.task_id for task in dag.topological_sort()])
"""


@pytest.fixture(scope="module")
def airflow(tmp_path_factory):
    """Run a command of an environment that has Airflow, in a project."""
    folder = tmp_path_factory.mktemp("airflow")
    uv = [sys.executable, "-m", "uv"]
    made = folder / "environment"
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, made], check=True)
    install = [*uv, "pip", "install", "--quiet", "--python", made / "bin/python"]
    pinned = ["--constraint", PROJECT / "constraints.txt", "--editable", f"{PROJECT}[pipeline]"]
    subprocess.run([*install, *pinned, *PACKAGES], check=True)
    environment = {
        **os.environ,
        "PATH": f"{made / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "AIRFLOW_HOME": str(folder / "home"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "OMP_NUM_THREADS": "1",
    }

    def run(*words, cwd):
        done = subprocess.run(
            words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    return run


def test_exported_pipelines_are_read_and_a_task_runs(airflow, two_host_project, tmp_path):
    project = shutil.copytree(two_host_project, tmp_path / "project")
    airflow("python", "deploy/run.py", "validation", "--env", "two", cwd=project)
    pipelines = ["latents", "training"]
    options = ["--env", "two", "--group-by", "memory", "--target-dir", str(tmp_path / "dags")]
    airflow("kedro", "airflow", "create", "--pipelines", ",".join(pipelines), *options, cwd=project)
    for pipeline in pipelines:
        file = str(tmp_path / f"dags/dcr_two_{pipeline}_dag.py")
        [line] = [
            line
            for line in airflow("python", "-c", DAG, file, cwd=project).splitlines()
            if line.startswith("tasks:")
        ]
        tasks = line.split()[1:]
        assert len(tasks) == 1
        if pipeline == "latents":  # training would wait for the recipe's second host
            airflow("python", "-c", DAG, file, *tasks, cwd=project)
    assert len(list((project / "data/05_model_input/two/latents").glob("*.tar"))) == 40
