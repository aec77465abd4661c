"""Observables: differentiable maps of configurations."""

from predcg.observables.alignment import AlignedCoordinates
from predcg.observables.geometry import Angles, Dihedrals, DistanceRMSD, Distances, RadiusOfGyration
from predcg.observables.observable import Observable

__all__ = ["AlignedCoordinates", "Angles", "Dihedrals", "DistanceRMSD", "Distances", "Observable", "RadiusOfGyration"]
