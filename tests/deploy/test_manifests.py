"""Kubernetes' schemas and SkyPilot's own parser read what deploy/ has for them."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import yaml

from needed import need
from project import PROJECT

pytestmark = pytest.mark.slow
SKYPILOT = "skypilot==0.14.1"
READ = """
import json, sky, sys
task = sky.Task.from_yaml(sys.argv[1])
[resources] = task.resources
told = {"nodes": task.num_nodes, "accelerators": resources.accelerators, "envs": task.envs}
print(json.dumps(told))
"""


@pytest.mark.parametrize("step", ["validation", "latents", "training", "embedding", "evaluation"])
def test_kubernetes_takes_both_resources(step):
    need(find_spec("kubernetes_validate") is not None, "the extra `deploy`")
    import kubernetes_validate

    text = (PROJECT / "deploy/kubernetes.yaml").read_text()
    text = text.replace("STEP", step).replace("RECIPE", "mine")
    version = kubernetes_validate.latest_version()
    resources = list(yaml.safe_load_all(text))
    assert [resource["kind"] for resource in resources] == ["Service", "Job"]
    for resource in resources:
        kubernetes_validate.validate(resource, version, strict=True)


def test_skypilot_reads_its_task(tmp_path):
    python = tmp_path / "sky/bin/python"
    uv = [sys.executable, "-m", "uv"]
    subprocess.run(
        [*uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "sky"], check=True
    )
    subprocess.run([*uv, "pip", "install", "--quiet", "--python", python, SKYPILOT], check=True)
    environment = {**os.environ, "HOME": str(tmp_path), "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
    command = [python, "-c", READ, "deploy/skypilot.yaml"]
    told = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(told.stdout.splitlines()[-1]) == {
        "nodes": 1,
        "accelerators": {"A100-80GB": 1},
        "envs": {"STEP": "training", "RECIPE": "demo"},
    }
