"""What is contrasted and how: the signal with its own numbers, and where positives come from;
part of `training`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, PositiveInt

SignalName = Literal[
    "infonce",
    "dcl",
    "dclw",
    "sigmoid",
    "supcon",
    "debiased",
    "hcl",
    "hn_nce",
    "cacr",
    "macl",
    "mv_dhel",
    "polyview",
    "focal",
    "kernel_mixture",
    "mochi",
    "feature_transform",
    "align_uniform",
]


class SignalParameters(BaseModel):
    """The contrast of training. A signal's own numbers are named ``<signal>_<number>``;
    infonce's is `temperature`.
    """

    signal: SignalName
    positives: Literal["augmentation", "clip_neighbour", "synthetic"]
    clip_neighbour_rule: Literal[
        "add_new_positive", "drop_false_negative", "drop_easy_negative", "drop_false_positive"
    ]  # fmt: skip
    clip_neighbour_share: float = Field(gt=0, lt=1)
    synthetic_weight: float = Field(gt=0)
    contrast_diagnostics: bool
    dcl_temperature: float = Field(gt=0)
    dclw_temperature: float = Field(gt=0)
    dclw_sigma: float = Field(gt=0)
    sigmoid_logit_scale: float = Field(gt=0)
    sigmoid_logit_bias: float
    supcon_temperature: float = Field(gt=0)
    debiased_temperature: float = Field(gt=0)
    debiased_tau_plus: float = Field(ge=0, lt=1)
    hcl_temperature: float = Field(gt=0)
    hcl_tau_plus: float = Field(ge=0, lt=1)
    hcl_beta: float = Field(ge=0)
    hn_nce_temperature: float = Field(gt=0)
    hn_nce_alpha: float = Field(ge=0, le=1)
    hn_nce_beta: float = Field(ge=0)
    cacr_attraction: float = Field(ge=0)
    cacr_repulsion: float = Field(ge=0)
    cacr_t_plus: float = Field(ge=0)
    cacr_t_minus: float = Field(ge=0)
    macl_temperature: float = Field(gt=0)
    macl_alpha: float = Field(ge=0, lt=1)
    macl_a0: float = Field(ge=-1, le=1)
    mv_dhel_temperature: float = Field(gt=0)
    polyview_temperature: float = Field(gt=0)
    focal_temperature: float = Field(gt=0)
    focal_gamma: float = Field(ge=0)
    kernel_mixture_temperature: float = Field(gt=0)
    kernel_mixture_gamma: float = Field(gt=0)
    mochi_temperature: float = Field(gt=0)
    mochi_num_hardest: PositiveInt
    mochi_num_mixed: int = Field(ge=0)
    mochi_num_query_mixed: int = Field(ge=0)
    feature_transform_temperature: float = Field(gt=0)
    feature_transform_positive_beta: float = Field(gt=0)
    feature_transform_negative_beta: float = Field(gt=0)
    align_uniform_weight: float = Field(ge=0)
    align_uniform_t: float = Field(gt=0)
