"""What a system is: a reduced energy, and the exact answers it knows."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from predcg.errors import InputError
from predcg.systems.fingerprint import fingerprint


class System(nn.Module, ABC):
    """p_β(x) ∝ exp(-β u(x)), with u in kT at the system's own temperature, so that β = 1 is the target.

    Calling it is final: it counts the evaluations and refuses non-finite energies; a subclass writes `energy`.

    Attributes:
        size: number of coordinates D.
        kt: kT in kJ/mol for molecules, 1 in reduced units; makes accelerations of gradients of u.
        masses: one per coordinate, (D,), g/mol for molecules, 1 in reduced units.
        basins: names of the metastable states that `label` numbers.
        facts: names of attributes that a configuration may refer to, as ${fact:masses}.
        evaluations: how many configurations had their energy evaluated, in all.
    """

    basins: tuple[str, ...] = ()
    facts: tuple[str, ...] = ("masses", "size")
    kt: float = 1.0

    def __init__(self, size: int):
        super().__init__()
        self.size = size
        self.register_buffer("masses", torch.ones(size), persistent=False)
        self.register_buffer("evaluations", torch.zeros((), dtype=torch.long))

    @abstractmethod
    def energy(self, x: Tensor) -> Tensor:
        """Reduced energy u(x) in kT: (..., D) to (...,)."""

    def forward(self, x: Tensor) -> Tensor:
        """u(x) in kT: (..., D) to (...,). Raises InputError on another D, FloatingPointError on a non-finite energy."""
        u = self.unchecked(x)
        if not torch.isfinite(u).all():
            frame = int((~torch.isfinite(u.reshape(-1))).nonzero()[0])
            raise FloatingPointError(
                f"energy of configuration {frame} (flat index, shape {tuple(u.shape)}) is {u.reshape(-1)[frame].item()}"
            )
        return u

    def unchecked(self, x: Tensor) -> Tensor:
        """u(x), counted, with non-finite energies left in for a caller that handles them."""
        if x.shape[-1] != self.size:
            raise InputError(f"x: expected {self.size} coordinates on the last axis; found shape {tuple(x.shape)}")
        u = self.energy(x)
        self.evaluations += u.numel()
        return u

    def expect(self, evaluations: int) -> None:
        """Be told how many evaluations are coming, so that preparations that pay only then can be made."""

    def start(self, n: int) -> Tensor:
        """n configurations from which a simulation may start, (n, D), spread over the known basins."""
        return self.sample(n)

    def sample(self, n: int) -> Tensor:
        """n independent exact draws at β = 1, (n, D), where the system knows how."""
        raise InputError(
            f"system {type(self).__name__}: has no exact sampler; use acquisition=simulate or acquisition=load"
        )

    def label(self, x: Tensor) -> Tensor:
        """Index into `basins` of each configuration, -1 where it is in none: (..., D) to (...,)."""
        return torch.full(x.shape[:-1], -1, dtype=torch.long, device=x.device)

    def exact(self) -> dict[str, float]:
        """Exact answers at β = 1, by name: log_z, mean_x1, p_<basin>, ..."""
        return {}

    def fingerprint(self) -> str:
        """A hash of all that the energy depends on, of this module and of all modules that it is made of: plain
        attributes, buffers and parameters. Not hashed are counts of evaluations, and attributes whose name begins with
        an underscore.

        Raises:
            InputError: an attribute that has no content to hash, such as an open file.
        """
        return fingerprint(self)
