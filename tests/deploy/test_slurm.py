"""The scripts of deploy/slurm on a real Slurm of two nodes: queued, preempted, the same bits."""

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from needed import need
from slurm_cluster import is_installed, slurm_cluster
from two_host_recipe import ENV, NUM_SHARDS, assert_same, num_made
from two_hosts import can_be_had, two_hosts

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session", autouse=True)
def _needed():
    """Comes before the projects, which take minutes."""
    found = is_installed() and can_be_had()
    need(found, "root, iproute2, slurmctld, slurmd, slurm-client and munge")


@contextmanager
def open_slurm(project, folder):
    """Open a cluster for jobs of a project; its sockets lie in a folder with a short path."""
    with (
        tempfile.TemporaryDirectory(prefix="slurm") as short,
        two_hosts(folder) as hosts,
        slurm_cluster(hosts, Path(short), project) as cluster,
    ):
        yield cluster


def checkpoints(slurm, run):
    folder = slurm.project / "data/06_models/two/checkpoints" / run
    return len(list(folder.glob("checkpoint-*")))


@pytest.fixture
def slurm(two_host_project, tmp_path):
    """A cluster, and a project of which nothing has run."""
    with open_slurm(shutil.copytree(two_host_project, tmp_path / "project"), tmp_path) as cluster:
        yield cluster


@pytest.fixture
def untrained(finished, tmp_path):
    """A cluster, and a project whose recipe is yet to be trained."""
    project = shutil.copytree(finished, tmp_path / "project")
    for layer in ("06_models", "08_reporting"):
        shutil.rmtree(project / "data" / layer / ENV)
    with open_slurm(project, tmp_path) as cluster:
        yield cluster


def test_a_recipe_is_queued_requeued_and_finished_with_the_same_bits(slurm, finished):
    told = slurm.command(
        "deploy/slurm/submit.sh",
        *("--env", "two"),
        DCR_PYTHON="python",
        DCR_NUM_WORKERS="1",
        DCR_SBATCH="--cpus-per-task=1",
        DCR_SBATCH_VALIDATION="--nodes=2",
        DCR_SBATCH_LATENTS="--array=0-1",
        DCR_SBATCH_TRAINING="--nodes=2",
        DCR_SBATCH_EMBEDDING="--array=0-1",
    )
    jobs = dict(line.split(": job ") for line in told.splitlines())
    assert [*jobs] == ["validation", "latents", "training", "alignment", "embedding", "evaluation"]

    # A task of the array is put back into the queue without a warning, the other asked to end.
    slurm.wait_for(lambda: num_made(slurm.project, "latents") >= 2)
    with slurm.paused("--pipelines latents"):
        assert num_made(slurm.project, "latents") < NUM_SHARDS
        slurm.command("scontrol", "requeue", f"{jobs['latents']}_1")
        slurm.command("scancel", "--signal=TERM", f"{jobs['latents']}_0")

    # Training is asked to end, saves, and puts itself back.
    slurm.wait_for(lambda: checkpoints(slurm, "stage1") >= 1)
    slurm.command("scancel", "--signal=TERM", jobs["training"])
    slurm.wait_for(lambda: slurm.job(jobs["training"])["Restarts"] == "1")

    for name, number in jobs.items():
        tasks = [f"{number}_{i}" for i in range(2)] if name in ("latents", "embedding") else []
        for job in tasks or [number]:
            slurm.wait_until_completed(job)
    log = (slurm.project / f"dcr-training-{jobs['training']}.log").read_text()
    assert "stopped at step" in log
    assert "goes on from" in log
    tasks = [f"{jobs['latents']}_{number}" for number in range(2)]
    assert [slurm.job(task)["Restarts"] for task in tasks] == ["1", "1"]
    for step in ("validation", "latents", "training"):
        assert_same(slurm.project, finished, step)
    # Evaluation has put its results beside the embeddings.
    assert_same(slurm.project, finished, "embedding", among_others=True)
    assert (slurm.project / "data/06_models/two/encoder/README.md").is_file()


def test_a_training_gives_way_to_an_urgent_job_and_goes_on(untrained, finished):
    options = ["--nodes=2", "--cpus-per-task=1", "deploy/slurm/training.sh", "--env", ENV]
    job = untrained.submit(*options, DCR_PYTHON="python")
    untrained.wait_for(lambda: checkpoints(untrained, "stage1") >= 1)
    urgent = ["--partition=urgent", "--nodes=2", "--exclusive", "--output=urgent.log"]
    other = untrained.submit(*urgent, "--wrap", "srun hostname")
    untrained.wait_until_completed(other)
    assert untrained.wait_until_completed(job)["Restarts"] == "1"
    log = (untrained.project / f"dcr-training-{job}.log").read_text()
    assert "stopped at step" in log
    assert "goes on from" in log
    assert_same(untrained.project, finished, "training")
