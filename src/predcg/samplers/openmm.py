"""Langevin dynamics of molecules in OpenMM."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock

import numpy as np
import openmm
import torch
from openmm import unit
from torch import Tensor

from predcg.batch import Batch
from predcg.errors import InputError
from predcg.progress import progress
from predcg.samplers.sampler import Bias, Sampler
from predcg.systems import Molecule, System


class OpenMMLangevin(Sampler):
    """OpenMM's LangevinMiddleIntegrator, one context for each replica, as many at a time as there are cores.

    Stepping releases Python's lock, so threads suffice and nothing outlives an interrupt by more than one stride. The
    rate in ns/day, over all replicas, stands in the progress bar.

    Args:
        timestep_ps, friction_per_ps, stride, burn_in: see Sampler.
        seed: seed of the first replica's noise; the others follow on.
    """

    def __init__(self, timestep_ps: float, friction_per_ps: float, stride: int, burn_in: int, seed: int):
        super().__init__(timestep_ps, friction_per_ps, stride, burn_in)
        self.seed = seed

    def run(self, system: System, start: Tensor, frames: int, bias: Bias | None = None) -> Batch:
        if not isinstance(system, Molecule):
            raise InputError(f"sampler: OpenMM simulates molecules; found system {type(system).__name__}; use sampler=langevin")
        if bias is not None:
            raise InputError("sampler: OpenMM runs without a bias; use sampler=langevin")
        platform = system.platform  # timed once, before the threads start
        x = np.empty((len(start), frames, system.size), dtype=np.float32)
        u = np.empty((len(start), frames), dtype=np.float32)
        stop, lock, begin, done = Event(), Lock(), time.perf_counter(), 0
        total = len(start) * (self.burn_in + frames * self.stride)
        bar = progress(total, f"MD ({platform.getName()})")

        def advance(simulation: openmm.Context, steps: int) -> None:
            nonlocal done
            if stop.is_set():
                raise InterruptedError("simulation stopped")
            simulation.getIntegrator().step(steps)
            with lock:
                done += steps
                rate = done * self.timestep / 1000 / (time.perf_counter() - begin) * 86400
                bar.set_postfix_str(f"{rate:.0f} ns/day", refresh=False)
                bar.update(steps)

        def replica(index: int) -> None:
            context = self._context(system, platform, start[index], index)
            for _ in range(self.burn_in // self.stride):
                advance(context, self.stride)
            advance(context, self.burn_in % self.stride)
            for frame in range(frames):
                advance(context, self.stride)
                state = context.getState(positions=True, energy=True)
                x[index, frame] = state.getPositions(asNumpy=True)._value.reshape(-1)
                u[index, frame] = state.getPotentialEnergy()._value / system.kt

        with bar, ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                for finished in [pool.submit(replica, index) for index in range(len(start))]:
                    finished.result()
            finally:
                stop.set()
        system.evaluations += total
        return Batch.of(torch.from_numpy(x).flatten(0, 1), torch.from_numpy(u).flatten())

    def _context(self, system: Molecule, platform: openmm.Platform, start: Tensor, index: int) -> openmm.Context:
        integrator = openmm.LangevinMiddleIntegrator(
            system.temperature_kelvin * unit.kelvin, self.friction / unit.picosecond, self.timestep * unit.picosecond
        )
        integrator.setRandomNumberSeed(1 + self.seed * 1000 + index)  # OpenMM reads 0 as "choose one"
        properties = {"Threads": "1"} if platform.getName() == "CPU" else {}
        context = openmm.Context(system.openmm_system, integrator, platform, properties)
        context.setPositions(start.double().numpy().reshape(-1, 3))
        context.setVelocitiesToTemperature(system.temperature_kelvin * unit.kelvin, 1 + self.seed * 1000 + index)
        return context
