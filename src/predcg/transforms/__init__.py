"""Transforms between Cartesian coordinates and those that a network sees."""

from predcg.transforms.linear import Unit, Whitening
from predcg.transforms.rigid_frame import RigidFrame
from predcg.transforms.superposition import Superposition
from predcg.transforms.transform import Chain, Identity, Transform

__all__ = ["Chain", "Identity", "RigidFrame", "Superposition", "Transform", "Unit", "Whitening"]
