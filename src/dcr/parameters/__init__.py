"""Every parameter a recipe may set: one flat, typed class per section, nothing unknown.

Nothing is optional but what a phase of stage 2 takes from the recipe. Values stand in
``conf/<recipe>/parameters_<section>.yml``; nodes get them as these objects from
``params:<section>``.
"""

from dcr.parameters.alignment import AlignmentParameters
from dcr.parameters.evaluation import EvaluationParameters
from dcr.parameters.export import ExportParameters
from dcr.parameters.latents import LatentsParameters, VerifyParameters
from dcr.parameters.ledger import LedgerParameters
from dcr.parameters.likeness import LikenessParameters
from dcr.parameters.models import ModelsParameters
from dcr.parameters.plan import PlanParameters
from dcr.parameters.recipe import RecipeGlobals, RecipeParameters, check_globals
from dcr.parameters.remote import RemoteParameters
from dcr.parameters.reporting import ReportingParameters
from dcr.parameters.scenes import PretrainingParameters, ScenesParameters
from dcr.parameters.section import Section, build_parameters, check_name
from dcr.parameters.selection import SelectionParameters
from dcr.parameters.sweep import SweepParameters
from dcr.parameters.synthesis import SynthesisParameters
from dcr.parameters.training import TrainingParameters
from dcr.parameters.validation import IngestParameters, ValidationParameters

__all__ = [
    "AlignmentParameters",
    "EvaluationParameters",
    "ExportParameters",
    "IngestParameters",
    "LatentsParameters",
    "LedgerParameters",
    "LikenessParameters",
    "ModelsParameters",
    "PlanParameters",
    "PretrainingParameters",
    "RecipeGlobals",
    "RecipeParameters",
    "RemoteParameters",
    "ReportingParameters",
    "ScenesParameters",
    "Section",
    "SelectionParameters",
    "SweepParameters",
    "SynthesisParameters",
    "TrainingParameters",
    "ValidationParameters",
    "VerifyParameters",
    "build_parameters",
    "check_globals",
    "check_name",
]
