"""Kedro settings: parameters of a recipe are merged key by key over those of conf/base."""

from dcr.config import RecipeConfigLoader
from dcr.datasets.atomic import write_atomically
from dcr.hooks import InputsExist, TypedParameters
from dcr.outcome import Outcomes
from dcr.run_hooks import NothingStale, OneRunAtATime, OutputsAreOurs
from dcr.session import RecipeSession

# Kedro calls the last first: a run that may write takes its locks, and withdraws what is stale if it has what it needs.
HOOKS = (TypedParameters(), NothingStale(), InputsExist(), OneRunAtATime(), OutputsAreOurs(), Outcomes())
CONFIG_LOADER_CLASS = RecipeConfigLoader
SESSION_CLASS = RecipeSession
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft", "globals": "soft"},
}
write_atomically()
