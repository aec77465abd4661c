"""Weighted configurations: what every objective, acquisition and figure reads."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from predcg.errors import InputError
from predcg.files import atomic, reading


class _Fields(NamedTuple):
    x: Tensor
    w: Tensor
    z: Tensor | None
    u: Tensor | None
    f: Tensor | None
    beta: Tensor | None


class Batch(_Fields):
    """N weighted configurations of D coordinates.

    Args:
        x: configurations, (N, D), nm for molecules.
        w: weights, (N,), any positive scale; default 1 each.
        z: coarse coordinates, (N, d), where a method has them.
        u: reduced energies, (N,), kT, where they were computed.
        f: forces -∇u, (N, D), kT/nm for molecules, where they were computed.
        beta: inverse temperature that each was sampled at, (N,), in units of the system's own.

    >>> Batch(torch.tensor([[1.0], [3.0]])).mean(torch.tensor([1.0, 3.0]))
    tensor(2.)
    """

    __slots__ = ()

    def __new__(
        cls,
        x: Tensor,
        w: Tensor | None = None,
        z: Tensor | None = None,
        u: Tensor | None = None,
        f: Tensor | None = None,
        beta: Tensor | None = None,
    ) -> "Batch":
        return super().__new__(
            cls, x, torch.ones(x.shape[0], dtype=x.dtype, device=x.device) if w is None else w, z, u, f, beta
        )

    @classmethod
    def of(cls, x: Tensor, u: Tensor | None = None, f: Tensor | None = None, beta: Tensor | None = None) -> "Batch":
        """Equally weighted configurations `x`, (N, D)."""
        return cls(x, None, None, u, f, beta)

    def mean(self, values: Tensor) -> Tensor:
        """Weighted mean of one value per configuration, Σ w a / Σ w: the only place where weights enter."""
        return (self.w * values).sum() / self.w.sum()

    @property
    def effective_size(self) -> float:
        """Kish's (Σ w)² / Σ w², the N of priors and posteriors: so many equally weighted frames would say as much; N
        where all weights are equal.

        >>> Batch(torch.zeros(3, 1), torch.tensor([2.0, 1.0, 1.0])).effective_size  # 16 / 6
        2.6666666666666665
        """
        w = self.w.double()
        return (w.sum() ** 2 / w.square().sum()).item() if len(w) else 0.0

    def frames(self, index: Tensor | slice) -> "Batch":
        """The configurations that `index` selects, in its order."""
        return Batch(*(None if field is None else field[index] for field in self))

    def save(self, path: Path) -> None:
        """Write the fields to an `.npz`."""
        with atomic(path) as temporary:
            np.savez(
                temporary, **{name: field.cpu().numpy() for name, field in self._asdict().items() if field is not None}
            )

    @classmethod
    def load(cls, path: Path) -> "Batch":
        """Read an `.npz` that `save` wrote. Raises InputError when `x` is absent."""
        with reading(path), np.load(path, allow_pickle=False) as arrays:
            fields = {name: torch.from_numpy(arrays[name]) for name in cls._fields if name in arrays}
        if "x" not in fields:
            raise InputError(f"{path}: expected an array named 'x' of shape (N, D) in nm; found {sorted(arrays)}")
        return cls(**fields)


class Data(NamedTuple):
    """What an acquisition returns: frames to learn from and frames held out, never neighbours in time of each other."""

    train: Batch
    test: Batch

    def save(self, folder: Path) -> None:
        """Write `train.npz` and `test.npz`; the latter last, so that its presence means that both are whole."""
        self.train.save(folder / "train.npz")
        self.test.save(folder / "test.npz")

    @classmethod
    def load(cls, folder: Path) -> "Data | None":
        """Read what `save` wrote, or None when it is not there."""
        if not all((folder / name).exists() for name in ("train.npz", "test.npz")):
            return None
        return cls(Batch.load(folder / "train.npz"), Batch.load(folder / "test.npz"))
