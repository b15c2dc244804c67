"""Mistakes in configuration, on the command line and in the environment: one sentence each, and
nothing is written.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner
from kedro.framework.project import configure_project

from dcr.locks import LOCK
from project import PROJECT

MINE = """\
extends: photographs
recipe: mine
backbone: ViT-B-32/openai
"""


@dataclass(frozen=True)
class Mistake:
    """A command of this project, what is wrong around it, and words that the sentence must hold.

    Attributes:
        arguments: of `kedro run`, after its environment ``mine`` unless they name another.
        says: words of the sentence, all of them.
        files: what stands in files of the project, by path; None removes one, bytes are written as
            they are.
        environment: variables.
    """

    arguments: str
    says: tuple[str, ...]
    files: dict[str, str | bytes | None] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.arguments} {self.files} {self.environment}"[:120]


def option(arguments: str, *says: str) -> Mistake:
    return Mistake(arguments, says)


def parameter(text: str, *says: str) -> Mistake:
    return Mistake("--pipelines verify", says, {"conf/mine/parameters_x.yml": text})


def recipe(text: str | bytes, *says: str) -> Mistake:
    return Mistake("--pipelines verify", says, {"conf/mine/globals.yml": text})


def entry(text: str, *says: str, pipeline: str = "verify") -> Mistake:
    return Mistake(f"--pipelines {pipeline}", says, {"conf/mine/catalog_x.yml": text})


def variables(pipeline: str, *says: str, **environment: str) -> Mistake:
    return Mistake(f"--pipelines {pipeline}", says, environment=environment)


NAMES = [
    option("--env smok", "--env smok", "did you mean 'smoke'"),
    option("--env ../conf", "there is no recipe"),
    option("--env base", "conf/base", "not a recipe"),
    option("--env photographs", "conf/photographs/globals.yml", "does not set `recipe`"),
    Mistake(
        "--env local --pipelines verify",
        ("conf/local", "shards", "`recipe`"),
        {"conf/local/globals.yml": "shards: x"},
    ),
    Mistake(
        "--env local --pipelines verify",
        ("'pipelines' is missing",),
        {"conf/local/globals.yml": "recipe: own"},
    ),
    option("--pipelines trainig", "did you mean 'training'"),
    option("--pipeline trainig", "did you mean 'training'"),
    option("--pipelines __default__", "there is no pipeline '__default__'"),
    option("--pipelines scenes", "scenes", "leave it out"),
    option("--pipelines validation,scenes", "scenes", "leave it out"),
    option("--env demo --pipelines scenes,ingest", "shards"),
    option(
        "--pipelines training --nodes train_adapter", "--nodes", "did you mean 'train_adapters'"
    ),
    option(
        "--pipelines training --from-nodes train_adapter",
        "--from-nodes",
        "did you mean 'train_adapters'",
    ),
    option("--pipelines training --to-nodes x", "--to-nodes", "'x'"),
    option("--pipelines training --from-inputs latent", "--from-inputs", "did you mean 'latents'"),
    option("--pipelines training --to-outputs adaptors", "--to-outputs", "did you mean 'adapters'"),
    option("--pipelines training --tags gpu", "--tags", "'gpu'"),
    option("--pipelines training --namespaces stage1", "--namespaces", "'stage1'"),
    option(
        "--pipelines training --from-nodes record_training --to-nodes train_projector", "training"
    ),
    option("--pipelines training --load-versions latents:2024", "--load-versions"),
    option("--pipelines training --load-versions latents", "load_versions"),
    option("--pipelines training --runner ThreadRunner", "--runner ThreadRunner", "leave it out"),
    option(
        "--pipelines training --runner ParallelRunner", "--runner ParallelRunner", "leave it out"
    ),
    option("--pipelines training --runner Sequential", "--runner Sequential"),
    option("--pipelines training --runner os.system", "--runner os.system"),
    option("--pipelines training --async", "--async", "leave it out"),
    option("--pipelines training --runner-params is_async=True", "--runner-params"),
    option("--pipelines training --runner-params x", "runner_params", "`x`"),
    option("--piplines training", "--piplines"),
    option("training", "unexpected", "training"),
    option("--pipelines", "--pipelines"),
]
VALUES = [
    option("--params training", "params", "`training`"),
    option("--params =1", "params"),
    option("--params training.seed=[1", "--params training.seed=[1", "section.name=value"),
    option("--params training=5", "'training'", "5"),
    option("--params training.seed=x", "'training.seed'", "'x'"),
    option("--params training.seed.deep=1", "'training.seed'"),
    option(
        "--params training.temprature=1", "'training.temprature'", "did you mean 'loss.temperature'"
    ),
    option("--params trainng.seed=1", "'trainng'", "did you mean 'training'"),
    option("--params training.loss.temperature=nan", "'training.loss.temperature'", "nan"),
    option("--params training.stage1.learning_rate=.inf", "'training.stage1.learning_rate'", "inf"),
    option("--params training.optimizer.epsilon=1e400", "'training.optimizer.epsilon'"),
    option("--params training.mixed_precision=yes", "'training.mixed_precision'"),
    option("--params training.tuning.lora.targets=[z]", "'training.tuning.lora.targets.0'", "'z'"),
    option("--params evaluation.language=no", "'evaluation.language'", "quotes"),
    option(
        "--params latents.crops_per_image=2,latents.crop_mode=center", "crops_per_image", "center"
    ),
    option("--params validation.policies.animatd=warn", "animatd", "did you mean 'animated'"),
    option("--params recipe.name=5", "'recipe.name'", "quotes"),
    option("--config nowhere.yml", "--config", "nowhere.yml"),
    option("--config conf", "--config", "conf"),
    *(
        Mistake("--config run.yml", says, {"run.yml": text})
        for text, says in [
            ("", ("--config", "section `run`")),
            ("run:\n  piplines: training\n", ("piplines",)),
            ("run: [\n", ("--config", "section `run`")),
            ("- run\n", ("--config", "section `run`")),
            ("run:\n", ("--config", "section `run`")),
            (b"\xff\xfe\x00", ("--config", "section `run`")),
            ("run:\n  pipelines: trainig\n", ("did you mean 'training'",)),
        ]
    ),
    option("--conf-source nowhere", "--conf-source", "nowhere"),
    option("--conf-source src", "--conf-source", "src", "'base'"),
    option("--conf-source pyproject.toml", "pyproject.toml"),
]
RECIPES = [
    recipe("extends: photographs\nbackbone: x\n", "conf/mine/globals.yml", "`recipe`", "mine"),
    recipe("", "conf/mine/globals.yml", "`recipe`"),
    recipe("# nothing yet\n", "conf/mine/globals.yml", "`recipe`"),
    recipe("recipe: mine\n", "missing", "conf/base/globals.yml"),
    recipe("recipe: mine\nshards: x\nbackbone: x\ndiffusion: x\n", "'pipelines' is missing"),
    recipe(f"{MINE}pipelines: []\n", "'pipelines'", "[]"),
    recipe(f"{MINE}pipelines: training\n", "'pipelines'", "'training'"),
    recipe(f"{MINE}pipelines: [trainig]\n", "did you mean 'training'", "globals.yml"),
    recipe(f"{MINE}pipelines: [[training]]\n", "'pipelines.0'"),
    recipe(f"{MINE}shrads: x\n", "'shrads'", "did you mean 'shards'"),
    *(
        recipe(MINE.replace("recipe: mine", f"recipe: {name}"), "'recipe'", *says)
        for name, says in [
            ("../..", ("file name",)),
            ("/etc", ("file name",)),
            ("a/b", ("file name",)),
            (".hidden", ("file name",)),
            ("''", ("file name",)),
            (f"{'a' * 65}", ("file name",)),
            ("con", ("file name",)),
            ("NUL.txt", ("file name",)),
            ("'mine '", ("file name",)),
            ("'mi\\ne'", ("file name",)),
            ("bild-größe", ("file name",)),
            ("2024", ("2024", "quotes")),
            ("no", ("False", "quotes")),
            ("null", ("None",)),
            ("[mine]", ("['mine']",)),
            ("{a: b}", ("{'a': 'b'}",)),
        ]
    ),
    recipe(MINE.replace("recipe: mine", "recipe: demo"), "recipe is 'demo'", "conf/demo"),
    recipe(MINE.replace("recipe: mine", "recipe: Demo"), "recipe is 'Demo'", "conf/demo"),
    Mistake(
        "--env copy --pipelines verify",
        ("recipe is 'mine'", "conf/mine"),
        {"conf/copy/globals.yml": MINE},
    ),
    recipe(MINE.replace("photographs", "photograps"), "extends 'photograps'"),
    recipe(MINE.replace("photographs", "mine"), "extends 'mine'"),
    recipe(MINE.replace("photographs", "../conf/photographs"), "extends '../conf/photographs'"),
    recipe(MINE.replace("photographs", "[photographs]"), "extends"),
    *(
        recipe(f"{MINE}{text}\n", f"'{text.partition(':')[0]}", *says)
        for text, says in [
            ("shards: 5", ("5",)),
            ("shards: []", ("[]",)),
            ("shards: [a, 5]", ("5",)),
            ("shards: null", ("None",)),
            ("shards: ''", ("''",)),
            ("shards: {a: b}", ("{'a': 'b'}",)),
            ("diffusion: 5", ("quotes",)),
            ("diffusion: null", ("None",)),
            ("mmvp_vlm: [a]", ("['a']",)),
            ("expectations: ''", ("''",)),
            ("device: 0", ("quotes",)),
            ("more_encoders: [a]", ("['a']",)),
            ("more_encoders: {a: 5}", ("5",)),
            ("more_sets: {name: a}", ("{'name': 'a'}",)),
            ("more_sets: [a]", ("'a'",)),
        ]
    ),
]
SETS = [
    Mistake(
        "--pipelines evaluation", says, {"conf/mine/globals.yml": f"{MINE}more_sets: [{text}]\n"}
    )
    for text, says in [
        ("{name: a}", ("more_sets", "name, kind, path")),
        ("{name: a, kind: x, path: p}", ("kind of 'a'", "'x'")),
        ("{name: a b, kind: retrieval, path: p}", ("'a b'",)),
        ("{name: a, kind: retrieval, path: p}, {name: a, kind: retrieval, path: q}", ("'a'",)),
    ]
]
SYNTAX = [
    Mistake("--pipelines verify", (path, *says), {path: text})
    for path in ("conf/mine/globals.yml", "conf/mine/parameters_x.yml", "conf/mine/catalog_x.yml")
    for text, says in [
        ("a:\n\tb: 1\n", ("line 2",)),
        ("a: 1\na: 2\n", ("line 2", "duplicate key a")),
        ("a: [1\n", ("line 2",)),
        ("a: {b: 1\n", ("line 2",)),
        ("a: *nowhere\n", ("line 1", "nowhere")),
        ("a: 'b\n", ("line",)),
        ("a: b: c\n", ("line 1",)),
        (b"a: caf\xe9\n", ("byte 6", "UTF-8")),
        (b"\xff\xfea\x00", ("UTF-8",)),
        (b"a: \x00\n", ()),
        ("- a\n- b\n", ("a list",)),
        ("just words\n", ()),
        ("5: a\n", ("5",)),
        ("? [a, b]\n: c\n", ()),
        ("a: !!python/object/apply:os.system [true]\n", ("line 1",)),
    ]
]
SYNTAX += [
    Mistake(
        "--pipelines verify",
        ("conf/mine/parameters_x.json",),
        {"conf/mine/parameters_x.json": '{"a": '},
    ),
    Mistake(
        "--pipelines verify",
        ("conf/photographs/globals.yml", "line 1"),
        {"conf/photographs/globals.yml": "a: ["},
    ),
    Mistake(
        "--pipelines verify",
        ("conf/base/catalog_latents.yml", "line"),
        {"conf/base/catalog_latents.yml": "a:\n\tb"},
    ),
    Mistake(
        "--pipelines verify",
        ("conf/mine/credentials.yml", "line 1"),
        {"conf/mine/credentials.yml": "a: ["},
    ),
    Mistake(
        "--pipelines verify",
        ("conf/mine/parameters_x.yml", "conf/mine/parameters_y.yml", "training.seed"),
        {
            "conf/mine/parameters_x.yml": "training: {seed: 1}",
            "conf/mine/parameters_y.yml": "training: {seed: 2}",
        },
    ),
    Mistake(
        "--pipelines verify",
        ("conf/mine/catalog_x.yml", "conf/mine/catalog_y.yml", "scores"),
        {f"conf/mine/catalog_{name}.yml": "scores: {type: MemoryDataset}" for name in "xy"},
    ),
]
REFERENCES = [
    recipe(
        f"{MINE}diffusion: ${{oc.env:NOWHERE}}\n", "conf/mine/globals.yml", "diffusion", "oc.env"
    ),
    recipe(f"{MINE}diffusion: ${{globals:x}}\n", "diffusion"),
    recipe(f"{MINE}diffusion: ${{nowhere}}\n", "conf/mine/globals.yml", "nowhere"),
    recipe(f"{MINE}diffusion: ${{diffusion}}\n", "diffusion"),
    recipe(f"{MINE}diffusion: ${{runtime_params:x}}\n", "runtime_params"),
    recipe(f"{MINE}diffusion: ${{globals:x\n", "conf/mine/globals.yml", "BRACE_CLOSE"),
    parameter(
        "training: {seed: '${oc.env:NOWHERE}'}",
        "conf/mine/parameters_x.yml",
        "training.seed",
        "oc.env",
    ),
    parameter(
        "training: {seed: '${globals:sed}'}", "conf/mine/parameters_x.yml", "training.seed", "sed"
    ),
    parameter("training: {seed: '${globals:_x}'}", "training.seed"),
    parameter(
        "training: {seed: '${unknown:sed}'}",
        "conf/mine/parameters_x.yml",
        "training.seed",
        "unknown",
    ),
    parameter("training: {seed: '${globals:recipe'}", "conf/mine/parameters_x.yml", "BRACE_CLOSE"),
    parameter("training: {seed: '${training.nowhere}'}", "training.seed", "nowhere"),
    entry(
        "scores: {type: json.JSONDataset, filepath: '${oc.env:NOWHERE}'}",
        "conf/mine/catalog_x.yml",
        "scores",
        "oc.env",
    ),
    entry(
        "scores: {type: json.JSONDataset, filepath: '${globals:rcp}'}",
        "conf/mine/catalog_x.yml",
        "scores",
        "rcp",
    ),
    entry("scores: {type: json.JSONDataset, filepath: '${runtime_params:x}'}", "scores", "'x'"),
]
PARAMETERS = [
    parameter("- training\n", "conf/mine/parameters_x.yml", "a list"),
    parameter("training: [1]\n", "'training'", "[1]"),
    parameter("training: words\n", "'training'", "'words'"),
    parameter("training: null\n", "'training'", "None"),
    parameter("trainng: {seed: 1}\n", "'trainng'", "did you mean 'training'"),
    parameter("training: {sed: 1}\n", "'training.sed'", "did you mean 'seed'"),
    parameter("training: {seed: null}\n", "'training.seed'", "None"),
    parameter("training: {seed: 1.5}\n", "'training.seed'", "1.5"),
    parameter("training: {baselines: naive}\n", "'training.baselines'", "'naive'"),
    parameter("training: {compile: maybe}\n", "'training.compile'", "'maybe'"),
    parameter(
        "latents: {crop_scale_min: 0.9, crop_scale_max: 0.5}\n", "'latents.crop_scale_max'", "0.5"
    ),
    parameter("export: {dtype: half}\n", "'export.dtype'", "'half'"),
    parameter(
        "validation: {policies: {animated: explode}}\n",
        "'validation.policies.animated'",
        "'explode'",
    ),
    parameter("models: {sha256: [a]}\n", "'models.sha256'"),
    parameter("recipe: {licence: [mit]}\n", "'recipe.licence'"),
]
ENTRIES = [
    entry(f"training_record: {text}", "training_record", *says, pipeline="reporting")
    for text, says in [
        ("{type: json.JSONDatase, filepath: x}", ("JSONDatase",)),
        ("{type: jsn.JSONDataset, filepath: x}", ("jsn",)),
        ("{type: json.JSONDataset, filepth: x}", ("filepth",)),
        ("{type: json.JSONDataset}", ("filepath",)),
        ("{filepath: x}", ("type",)),
        ("{type: 5, filepath: x}", ()),
        ("{type: os.path, filepath: x}", ()),
        ("{type: .JSONDataset, filepath: x}", ("type",)),
        ("json.JSONDataset", ()),
        ("[a]", ()),
        ("null", ()),
    ]
]
ENTRIES += [
    entry(
        "training_record: {type: json.JSONDataset, filepath: x, credentials: keys}",
        "keys",
        pipeline="reporting",
    )
]
SUITES = [
    Mistake(
        "--pipelines validation",
        ("conf/mine/suite.yml", *says),
        {
            "conf/mine/globals.yml": f"{MINE}expectations: conf/mine/suite.yml\n",
            "conf/mine/suite.yml": text,
        },
    )
    for text, says in [
        ("", ("nothing",)),
        ("name: a\n", ("['name']",)),
        ("name: a\nexpectations: []\n", ("not empty",)),
        ("name: a\nexpectations: {type: b}\n", ("a list",)),
        ("name: a\nexpectations: [b]\n", ("number 1", "'b'")),
        ("name: a\nexpectations: [{kwargs: {}}]\n", ("number 1", "type")),
        ("name: a\nexpectations: [{type: b, kwargs: [c]}]\n", ("number 1", "kwargs")),
        ("name: [a]\nexpectations: [{type: b}]\n", ("name",)),
        ("- a\n", ("a list",)),
        ("name: [\n", ("line",)),
    ]
]
SUITES += [
    Mistake(
        "--pipelines validation",
        ("nowhere.yml", "does not exist"),
        {"conf/mine/globals.yml": f"{MINE}expectations: nowhere.yml\n"},
    )
]
PUBLISHED = [
    Mistake(
        "--pipelines ledger",
        ("conf/mine/published.yml", *says),
        {
            "conf/mine/globals.yml": f"{MINE}published: conf/mine/published.yml\n",
            "conf/mine/published.yml": text,
        },
    )
    for text, says in [
        ("", ("'sources' is missing",)),
        ("sources: {}\nencoders: {}\ntables: {}\n", ("'tables'", "list")),
        (
            "sources: {}\nencoders: {a: {name: A}}\ntables: []\n",
            ("'encoders.a.method' is missing",),
        ),
        ("tables: [\n", ("line",)),
    ]
]
PUBLISHED += [
    parameter("ledger: {owm: {}}\n", "'ledger.owm'", "did you mean 'own'"),
    Mistake(
        "--pipelines ledger",
        ("nowhere.yml", "does not exist"),
        {"conf/mine/globals.yml": f"{MINE}published: nowhere.yml\n"},
    ),
]
ALONE = (
    "training",
    "alignment",
    "selection",
    "validation",
    "evaluation",
    "export",
    "reporting",
    "models",
    "ingest",
    "verify",
    "synthesis",
)
ENVIRONMENT = [
    Mistake(
        "--pipelines verify",
        ("KEDRO_ENV", "did you mean 'smoke'"),
        environment={"KEDRO_ENV": "smok", "ENV": ""},
    ),
    variables("latents", "WORLD_SIZE=''", "unset WORLD_SIZE", WORLD_SIZE=""),
    variables("latents", "WORLD_SIZE", "RANK is not", WORLD_SIZE="2"),
    variables("latents", "RANK", "WORLD_SIZE is not", RANK="0"),
    variables("validation", "LOCAL_RANK", "RANK is not", LOCAL_RANK="0"),
    variables("latents", "RANK=2", "contradict", RANK="2", WORLD_SIZE="2"),
    variables("latents", "RANK='-1'", RANK="-1", WORLD_SIZE="2"),
    variables("latents", "LOCAL_RANK=7", "contradict", RANK="1", WORLD_SIZE="2", LOCAL_RANK="7"),
    variables("latents", "WORLD_SIZE='two'", RANK="1", WORLD_SIZE="two"),
    variables("latents", "WORLD_SIZE=0", "contradict", RANK="0", WORLD_SIZE="0"),
    *(
        variables(
            name,
            f"pipeline {name}",
            "training.processes.num_processes",
            RANK="0",
            WORLD_SIZE="2",
            LOCAL_RANK="0",
        )
        for name in ALONE
    ),
    variables(
        "latents,training",
        "pipeline training",
        "training.processes.num_processes",
        RANK="0",
        WORLD_SIZE="2",
    ),
]
MISTAKES = [
    *NAMES,
    *VALUES,
    *RECIPES,
    *SETS,
    *SYNTAX,
    *REFERENCES,
    *PARAMETERS,
    *ENTRIES,
    *SUITES,
    *PUBLISHED,
    *ENVIRONMENT,
]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A project without data but for a file that nobody may touch."""
    folder = tmp_path_factory.mktemp("mistakes")
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copy(PROJECT / name, folder)
    (folder / "src").mkdir()
    for layer in ("06_models/demo", "08_reporting/demo", "06_models/mine"):
        (folder / "data" / layer).mkdir(parents=True)
        (folder / "data" / layer / "kept.json").write_text("{}")
    return folder


def prepare(project: Path, mistake: Mistake) -> None:
    """Give the project its configuration with the mistake in it."""
    shutil.rmtree(project / "conf", ignore_errors=True)
    shutil.copytree(
        PROJECT / "conf", project / "conf", ignore=shutil.ignore_patterns("globals.yml~")
    )
    for path, content in {"conf/mine/globals.yml": MINE, **mistake.files}.items():
        target = project / path
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())


def tree(project: Path) -> dict[str, bytes]:
    """Return every file of data, but for those that a run is locked by."""
    files = (
        path
        for path in sorted((project / "data").rglob("*"))
        if path.is_file() and path.name != LOCK
    )
    return {str(path): path.read_bytes() for path in files}


def kedro_run(project: Path, mistake: Mistake, monkeypatch):
    """Run the command in this process, as the command line does."""
    from dcr.cli import run

    configure_project("dcr")
    monkeypatch.chdir(project)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "KEDRO_ENV"):
        monkeypatch.delenv(name, raising=False)
    for name, value in mistake.environment.items():
        monkeypatch.setenv(name, value)
    is_named = "--env" in mistake.arguments or "KEDRO_ENV" in mistake.environment
    arguments = mistake.arguments.split()
    return CliRunner().invoke(
        run, arguments if is_named else ["--env", "mine", *arguments], prog_name="run"
    )


def check(result, mistake: Mistake) -> None:
    """It ends with one sentence that names the culprit, and code 1."""
    assert isinstance(result.exception, SystemExit), result.exc_info
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    lines = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, result.output
    assert result.output.splitlines()[-1] == lines[0]
    assert len(lines[0]) < 1500
    missing = [word for word in mistake.says if word not in lines[0]]
    assert not missing, f"{missing} not in: {lines[0]}"


def test_every_mistake_is_one_sentence_and_nothing_is_written(torture, project, monkeypatch):
    chosen = torture.choose(MISTAKES, 25)
    before = tree(project)
    failed = {}
    for mistake in chosen:
        prepare(project, mistake)
        result = kedro_run(project, mistake, monkeypatch)
        try:
            check(result, mistake)
            assert tree(project) == before, "it wrote"
        except AssertionError as error:
            failed[str(mistake)] = str(error)[:400]
    torture.count("mistakes", len(chosen))
    assert not failed, "\n\n".join(f"{name}\n    {error}" for name, error in failed.items())


def test_there_are_many():
    assert len(MISTAKES) >= 100
    assert os.path.isdir(PROJECT / "conf" / "mine") is False
