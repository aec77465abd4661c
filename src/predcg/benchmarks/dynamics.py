"""Speed of Langevin dynamics, every form beside its peers."""

from collections.abc import Sequence

import torch

from predcg.benchmarks.timing import threads_set, timed
from predcg.samplers import Langevin, OpenMMLangevin
from predcg.systems import Molecule
from predcg.systems.worker import new_context

REPLICAS = (1, 16, 64, 256, 1024, 4096)


def langevin_rates(files: list[str], replicas: Sequence[int] = REPLICAS) -> dict[str, dict[int, float]]:
    """Steps per second of alanine dipeptide, of all replicas together, by form and number of replicas."""
    molecule = Molecule("ala2.pdb", files, 300.0)
    costs = {"batched, 1 thread": {}, "batched, 2 threads": {}, "OpenMM Reference": {}, "OpenMM CPU": {}}
    if torch.cuda.is_available():
        costs["batched, GPU"] = {}
    for form in costs:
        if form.startswith("OpenMM"):
            molecule._platform = new_context(molecule.openmm_system, form.split()[1]).getPlatform()
            steps = {"OpenMM Reference": 20000, "OpenMM CPU": 2000}[form]
            cost = (
                min(
                    timed(lambda n=steps: OpenMMLangevin(0.001, 1.0, n, 0, 0).run(molecule, molecule.start(1), 1))
                    for _ in range(3)
                )
                / steps
                * 1e6
            )
            costs[form] = dict.fromkeys(replicas, cost)
            continue
        device = "cuda" if form.endswith("GPU") else "cpu"
        with threads_set(2 if "2" in form else 1):
            fresh = Molecule("ala2.pdb", files, 300.0)
            fresh.expect(10**9)
            for n in replicas:
                start = fresh.start(n).to(device)
                _langevin(fresh, start, 5)
                steps = max(20, min(1000, 100_000 // n))
                # Two lengths, so that what happens once per simulation drops out.
                cost = min(
                    timed(lambda: _langevin(fresh, start, 2 * steps)) - timed(lambda: _langevin(fresh, start, steps))
                    for _ in range(3)
                )
                costs[form][n] = cost / steps / n * 1e6
    return {form: {n: 1e6 / value for n, value in cost.items()} for form, cost in costs.items()}


def _langevin(molecule: Molecule, start: torch.Tensor, steps: int) -> None:
    Langevin(0.001, 1.0, steps, 0).run(molecule, start, 1)
