"""The contrastive signals by name, as recipes choose them."""

from __future__ import annotations

from dcr.losses.align_uniform import AlignUniform
from dcr.losses.cacr import CACR
from dcr.losses.dcl import DCL
from dcr.losses.dclw import DCLW
from dcr.losses.debiased import Debiased
from dcr.losses.feature_signal import FeatureSignal
from dcr.losses.feature_transform import FeatureTransform
from dcr.losses.focal import Focal
from dcr.losses.hcl import HCL
from dcr.losses.hn_nce import HNNCE
from dcr.losses.infonce import InfoNCE
from dcr.losses.kernel_mixture import KernelMixture
from dcr.losses.macl import MACL
from dcr.losses.mochi import MoCHi
from dcr.losses.mv_dhel import MVDHEL
from dcr.losses.polyview import PolyView
from dcr.losses.sigmoid import Sigmoid
from dcr.losses.signal import Signal
from dcr.losses.supcon import SupCon

SIGNALS: dict[str, type[Signal]] = {
    "infonce": InfoNCE,
    "dcl": DCL,
    "dclw": DCLW,
    "sigmoid": Sigmoid,
    "supcon": SupCon,
    "debiased": Debiased,
    "hcl": HCL,
    "hn_nce": HNNCE,
    "cacr": CACR,
    "macl": MACL,
    "mv_dhel": MVDHEL,
    "polyview": PolyView,
    "focal": Focal,
    "kernel_mixture": KernelMixture,
}

FEATURE_SIGNALS: dict[str, type[FeatureSignal]] = {
    "mochi": MoCHi,
    "feature_transform": FeatureTransform,
    "align_uniform": AlignUniform,
}
