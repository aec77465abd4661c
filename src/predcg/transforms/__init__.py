"""Transforms between Cartesian coordinates and those that a network sees."""

from predcg.transforms.angles import Harmonics, waves
from predcg.transforms.capped import Capped
from predcg.transforms.internal import InternalCoordinates
from predcg.transforms.linear import Matrix, Unit, Whitening
from predcg.transforms.rigid_frame import RigidFrame
from predcg.transforms.superposition import Superposition
from predcg.transforms.transform import Chain, Identity, Transform

__all__ = [
    "Capped",
    "Chain",
    "Harmonics",
    "Identity",
    "InternalCoordinates",
    "Matrix",
    "RigidFrame",
    "Superposition",
    "Transform",
    "Unit",
    "Whitening",
    "waves",
]
