"""What an energy-based density is: known by its energy, up to a constant."""

from abc import abstractmethod

from torch import Tensor

from predcg.densities.density import Density


class EnergyBased(Density):
    """p(z) ∝ exp(-F(z)), known by F up to a constant."""

    @abstractmethod
    def potential(self, z: Tensor) -> Tensor:
        """F(z) in kT, up to a constant: (..., d) to (...,)."""
