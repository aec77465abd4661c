"""Observables: differentiable maps of configurations."""

from predcg.observables.alignment import AlignedCoordinates
from predcg.observables.geometry import Angles, Dihedrals, DistanceRMSD, Distances, RadiusOfGyration
from predcg.observables.observable import Combinations, Observable
from predcg.observables.spins import Correlations, Magnetisation

__all__ = [
    "AlignedCoordinates",
    "Angles",
    "Combinations",
    "Correlations",
    "Dihedrals",
    "DistanceRMSD",
    "Distances",
    "Magnetisation",
    "Observable",
    "RadiusOfGyration",
]
