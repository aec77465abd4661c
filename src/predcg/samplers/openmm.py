"""Langevin dynamics of molecules in OpenMM."""

import math
import time
from pathlib import Path

import openmm
import torch
from openmm import unit
from torch import Tensor

from predcg.batch import Batch
from predcg.errors import InputError
from predcg.progress import progress
from predcg.ranges import NonNegativeInt, PositiveFloat, PositiveInt, Seed
from predcg.samplers.recorder import Recorder
from predcg.samplers.sampler import Bias, Sampler
from predcg.systems import Molecule, System


class OpenMMLangevin(Sampler):
    """OpenMM's LangevinMiddleIntegrator, one replica after another, on the molecule's fastest platform.

    Not in threads: contexts of the Reference platform share one random generator, so that concurrent replicas would
    neither be reproducible nor have independent noise. A killed simulation goes on with the replica that it was at. The
    rate in ns/day, over all replicas, stands in the progress bar.

    Args:
        timestep_ps, friction_per_ps, stride, burn_in: see Sampler.
        seed: the trajectories follow from it.
    """

    def __init__(
        self,
        timestep_ps: PositiveFloat,
        friction_per_ps: PositiveFloat,
        stride: PositiveInt,
        burn_in: NonNegativeInt,
        seed: Seed,
    ):
        super().__init__(timestep_ps, stride, burn_in, seed)
        if not friction_per_ps > 0:
            raise InputError(f"sampler.friction_per_ps: expected a positive number; found {friction_per_ps}")
        self.friction = friction_per_ps

    def run(
        self, system: System, start: Tensor, frames: int, bias: Bias | None = None, folder: Path | None = None
    ) -> Batch:
        if not isinstance(system, Molecule):
            raise InputError(
                f"sampler: OpenMM simulates molecules; found system {type(system).__name__}; use sampler=langevin"
            )
        if bias is not None:
            raise InputError("sampler: OpenMM runs without a bias; use sampler=langevin")
        recorder, steps = Recorder(folder), self.burn_in + frames * self.stride
        system.evaluations += len(start) * steps  # Those that an earlier process has made count too.
        if (finished := recorder.finished()) is not None:
            return finished
        done = (recorder.resume() or {"replicas": 0})["replicas"]
        platform, begin = system.platform, time.perf_counter()
        with progress(len(start) * steps, f"MD ({platform.getName()})", done * steps) as bar:
            for index, positions in list(enumerate(start))[done:]:
                context = self._context(system, platform, positions, index)
                self._advance(context, self.burn_in, index)
                bar.update(self.burn_in)
                for _ in range(frames):
                    recorder.record(self._frame(system, self._advance(context, self.stride, index)))
                    ns_per_day = (bar.n - done * steps) * self.timestep / 1000 / (time.perf_counter() - begin) * 86400
                    bar.set_postfix_str(f"{ns_per_day:.0f} ns/day", refresh=False)
                    bar.update(self.stride)
                recorder.save({"replicas": index + 1}, due=True)
        return recorder.finish(system, 1)

    def _frame(self, system: Molecule, state: openmm.State) -> Batch:
        x, f = (
            torch.from_numpy(array._value.reshape(1, -1)).float()
            for array in (state.getPositions(asNumpy=True), state.getForces(asNumpy=True))
        )
        return Batch.of(x, torch.tensor([state.getPotentialEnergy()._value / system.kt]), f / system.kt, torch.ones(1))

    def _advance(self, context: openmm.Context, steps: int, replica: int) -> openmm.State:
        """Step and return positions and energy. Some platforms raise on NaN, others go on with it."""
        try:
            context.getIntegrator().step(steps)
            state = context.getState(positions=True, energy=True, forces=True)
            if math.isfinite(state.getPotentialEnergy()._value):
                return state
            reason = "its energy is not finite"
        except openmm.OpenMMException as raised:
            reason = str(raised)
        raise InputError(
            f"sampler: replica {replica} blew up ({reason}); start from a minimised structure, or shorten"
            f" sampler.timestep_ps = {self.timestep}"
        )

    def _context(self, system: Molecule, platform: openmm.Platform, start: Tensor, index: int) -> openmm.Context:
        integrator = openmm.LangevinMiddleIntegrator(
            system.temperature_kelvin * unit.kelvin, self.friction / unit.picosecond, self.timestep * unit.picosecond
        )
        seed = 1 + 1000 * self.seed + index  # OpenMM reads 0 as "choose one".
        integrator.setRandomNumberSeed(seed)
        context = openmm.Context(system.openmm_system, integrator, platform)
        context.setPositions(start.double().numpy().reshape(-1, 3))
        context.setVelocitiesToTemperature(system.temperature_kelvin * unit.kelvin, seed)
        return context
