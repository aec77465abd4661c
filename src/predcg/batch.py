"""Weighted configurations: what every objective, acquisition and figure reads."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from predcg.errors import InputError
from predcg.files import atomic, reading


@dataclass(eq=False)
class Batch:
    """N weighted configurations of D coordinates; `len(batch)` is N.

    A mean over the system's own density, β = 1, is the weighted one, wherever the configurations were sampled: what
    objectives minimise and figures show goes by `w`, and `beta` only remembers where they come from.

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

    x: Tensor
    w: Tensor | None = None
    z: Tensor | None = None
    u: Tensor | None = None
    f: Tensor | None = None
    beta: Tensor | None = None

    def __post_init__(self):
        if self.w is None:
            self.w = torch.ones(len(self.x), dtype=self.x.dtype, device=self.x.device)

    def __len__(self) -> int:
        return len(self.x)

    def columns(self) -> dict[str, Tensor]:
        """The fields that it has, by name."""
        return {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name) is not None}

    @classmethod
    def of(cls, x: Tensor, u: Tensor | None = None, f: Tensor | None = None, beta: Tensor | None = None) -> "Batch":
        """Equally weighted configurations `x`, (N, D)."""
        return cls(x, None, None, u, f, beta)

    def mean(self, values: Tensor) -> Tensor:
        """Weighted mean of one value per configuration, Σ w a / Σ w."""
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

    @property
    def weighted(self) -> bool:
        """Whether weights are uneven."""
        return bool((self.w != self.w[:1]).any())

    def frames(self, index: Tensor | slice) -> "Batch":
        """The configurations that `index` selects, in its order."""
        return Batch(**{name: column[index] for name, column in self.columns().items()})

    @classmethod
    def join(cls, batches: "Sequence[Batch]") -> "Batch":
        """All of them, one after another, with the fields that every one has; weights stay on their scales.

        >>> len(Batch.join([Batch(torch.zeros(3, 1)), Batch(torch.ones(2, 1))]))
        5
        """
        parts = [batch.columns() for batch in batches]
        return cls(
            **{
                name: torch.cat([part[name] for part in parts])
                for name in parts[0]
                if all(name in part for part in parts)
            }
        )

    def save(self, path: Path) -> None:
        """Write the fields to an `.npz`."""
        with atomic(path) as temporary:
            np.savez(temporary, **{name: column.cpu().numpy() for name, column in self.columns().items()})

    @classmethod
    def load(cls, path: Path) -> "Batch":
        """Read an `.npz` that `save` wrote. Raises InputError when `x` is absent."""
        with reading(path), np.load(path, allow_pickle=False) as arrays:
            found = {one.name: torch.from_numpy(arrays[one.name]) for one in fields(cls) if one.name in arrays}
        if "x" not in found:
            raise InputError(f"{path}: expected an array named 'x' of shape (N, D) in nm; found {sorted(arrays)}")
        return cls(**found)


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
