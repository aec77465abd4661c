"""Configurations from a file."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from predcg.acquisitions.acquisition import Acquisition
from predcg.batch import Batch, Data
from predcg.errors import InputError
from predcg.model import Model
from predcg.ranges import OpenUnitInterval, PositiveInt
from predcg.samplers import Sampler
from predcg.systems import System
from predcg.systems.chirality import census, centres
from predcg.systems.trajectory import read_frames

log = logging.getLogger(__name__)


class Load(Acquisition):
    """Frames of files; the last `test_fraction` of them, in the order of the files and within each, is held out: frames
    near the cut have neighbours beyond it.

    Of several files the cut is at the nearest end of one where the held-out share is then 0.5 to 1.5 times the asked,
    so that no file is on both sides; else it is within a file. Where one simulation was written into several files,
    frames at their ends are neighbours all the same. Of frames at several temperatures the last of each are held out.

    Frames whose chiral centres differ from those of the system's first model are refused; frames that occur twice are
    reported.

    Files that this program wrote come back whole, with weights, energies, forces and inverse temperatures. Objectives
    and figures go by the weights alone, not by β: frames of equal weight that were sampled at another β than 1, such as
    those of replica exchange, get weights e^{-(1-β) u} towards the system's own temperature, which in all are as many
    as Kish's effective size of their temperature; weights that differ already stand as they are. Several files weigh as
    much as their effective sizes.

    Args:
        path: of one file, or of several, joined in this order.
        unit, topology, stride, atoms: see systems.trajectory.read_frames.
        test_fraction: share of held-out frames, in (0, 1).
        first: learn from the first so many of the others only; default all.
    """

    def __init__(
        self,
        path: str | list[str],
        unit: str | None = None,
        topology: str | None = None,
        test_fraction: OpenUnitInterval = 0.25,
        stride: PositiveInt = 1,
        atoms: str | None = None,
        first: PositiveInt | None = None,
    ):
        if not 0 < test_fraction < 1:
            raise InputError(f"acquisition.test_fraction: expected a number in (0, 1); found {test_fraction}")
        self.paths = [path] if isinstance(path, str) else list(path)
        if not self.paths:
            raise InputError("acquisition.path: expected a file, or a list of them; found an empty list")
        self.unit, self.topology, self.stride, self.atoms = unit, topology, stride, atoms
        self.test_fraction, self.first = test_fraction, first

    def acquire(
        self, model: Model, system: System, sampler: Sampler, past: Sequence[Data] = (), folder: Path | None = None
    ) -> Data:
        parts = []
        for path in self.paths:
            frames = read_frames(path, system, self.unit, self.topology, self.stride, self.atoms)
            self._refuse_mirrored(frames.x, system, path)
            parts.append(_towards_target(frames, system))
        if len(parts) > 1:
            parts = [replace(part, w=part.w * (part.effective_size / part.w.sum())) for part in parts]
        frames, together = Batch.join(parts), ", ".join(map(repr, self.paths))
        held_out = self._held_out(frames, [len(part) for part in parts])
        cut = int((~held_out).sum())
        if not 0 < cut < len(frames):
            raise InputError(
                f"acquisition.path: expected enough frames to hold out {self.test_fraction:.0%}; {together} has"
                f" {len(frames)}"
            )
        if self.first is not None and not 1 <= self.first <= cut:
            raise InputError(
                f"acquisition.first: expected between 1 and {cut}, what is not held out of {together}; found"
                f" {self.first}"
            )
        self._report_copies(frames.x)
        data = Data(frames.frames(~held_out).frames(slice(self.first)), frames.frames(held_out))
        for name, part in zip(("training", "held-out"), data, strict=True):
            if not part.w.any():
                raise InputError(
                    f"acquisition.path: expected {name} frames of {together} that weigh something; found none"
                )
            if part.weighted:
                log.info("weights: %d %s frames weigh as much as %.4g", len(part), name, part.effective_size)
        return data

    def _held_out(self, frames: Batch, counts: list[int]) -> Tensor:
        """Which frames are held out, (N,), where the files have so many."""
        held_out = torch.zeros(len(frames), dtype=torch.bool)
        betas = [] if frames.beta is None else frames.beta.unique()
        if len(betas) > 1:
            for beta in betas:
                here = (frames.beta == beta).nonzero().flatten()
                held_out[here[round(len(here) * (1 - self.test_fraction)) :]] = True
        else:
            held_out[self._cut(counts) :] = True
        return held_out

    def _cut(self, counts: list[int]) -> int:
        """How many frames, from the first on, are not held out."""
        total, held = sum(counts), sum(counts) * self.test_fraction
        ends = [end for end in accumulate(counts[:-1]) if 0.5 * held <= total - end <= 1.5 * held]
        return min(ends, key=lambda end: abs(total - end - held), default=round(total * (1 - self.test_fraction)))

    def _refuse_mirrored(self, x: Tensor, system: System, path: str) -> None:
        names, other = list(centres(system)), ~census(system, x)
        if other.any():
            frame, centre = other.nonzero()[0].tolist()
            raise InputError(
                f"acquisition.path: expected {names[centre]} as in the system's first model; {int(other.any(-1).sum())}"
                f" of {len(x)} frames of {path!r} have a centre of other handedness, the first is frame"
                f" {frame * self.stride}; look for mirrored or permuted coordinates"
            )
        if names:
            log.info("chirality: %s in all %d frames", ", ".join(names), len(x))

    def _report_copies(self, x: Tensor) -> None:
        rows, group, size = torch.unique(x, dim=0, return_inverse=True, return_counts=True)
        if len(rows) < len(x):
            first = group[(size[group] > 1).nonzero()[0]]
            one, other = ((group == first).nonzero()[:2].flatten() * self.stride).tolist()
            log.warning(
                "acquisition.path: %d of %d frames repeat an earlier one exactly, frame %d that of %d; copies on both"
                " sides of the cut between train and test make held-out numbers too good",
                len(x) - len(rows),
                len(x),
                other,
                one,
            )


def _towards_target(frames: Batch, system: System) -> Batch:
    """Frames of equal weight at other temperatures, weighted towards the system's own; others as they are."""
    if frames.beta is None or frames.weighted or (frames.beta == 1).all():
        return frames
    u = (system(frames.x) if frames.u is None else frames.u).double()
    w = torch.zeros_like(u)
    for beta in frames.beta.unique():
        here = frames.beta == beta
        share = (-(1 - beta) * u[here]).softmax(0)
        w[here] = share / share.square().sum()  # In all they weigh as much as Kish's size: 1 each at β = 1.
    return replace(frames, w=w.to(frames.w))
