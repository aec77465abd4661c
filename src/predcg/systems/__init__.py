"""Systems: reduced energies with their exact answers."""

from predcg.systems.code import trusted_code
from predcg.systems.double_well import DoubleWell
from predcg.systems.gaussians import GaussianMixture, Harmonic
from predcg.systems.ising import IsingChain
from predcg.systems.molecule import Molecule
from predcg.systems.mueller_brown import MuellerBrown
from predcg.systems.peptide import Peptide
from predcg.systems.regularised import Regularised
from predcg.systems.system import System

__all__ = [
    "DoubleWell",
    "GaussianMixture",
    "Harmonic",
    "IsingChain",
    "Molecule",
    "MuellerBrown",
    "Peptide",
    "Regularised",
    "System",
    "trusted_code",
]
