"""Kedro settings: parameters of a recipe are merged key by key over those of conf/base."""

from dcr.datasets.atomic import write_atomically
from dcr.framework.advice import made_by
from dcr.framework.config_loader import BASE, RecipeConfigLoader
from dcr.framework.copying import ResultsAreCopied
from dcr.framework.hooks import CatalogIsWhole, InputsExist, TypedParameters, Whereabouts
from dcr.framework.outcome import Outcomes
from dcr.framework.run_hooks import NothingStale, OneRunAtATime, OutputsAreOurs
from dcr.framework.session import RecipeSession

# Kedro calls the last first: every entry of the catalog is a dataset, then a run that may write
# takes its locks, and withdraws what is stale if it has what it needs; results are copied before
# another run may write over them.
HOOKS = (
    TypedParameters(),
    Whereabouts(),
    NothingStale(),
    InputsExist(),
    OneRunAtATime(),
    OutputsAreOurs(),
    ResultsAreCopied(),
    CatalogIsWhole(),
    Outcomes(),
)
CONFIG_LOADER_CLASS = RecipeConfigLoader
SESSION_CLASS = RecipeSession
CONFIG_LOADER_ARGS = {
    "base_env": BASE,
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft", "globals": "soft"},
    "custom_resolvers": {"made_by": made_by},
}
write_atomically()
