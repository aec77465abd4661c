"""Speed of energies and forces, every form beside its peers."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from predcg.benchmarks.timing import fastest, threads_set
from predcg.progress import progress
from predcg.systems import Molecule
from predcg.systems.bridge import Bridge
from predcg.systems.forcefield import ForceField
from predcg.systems.worker import evaluate, new_context

BATCHES = (1, 16, 64, 256, 1024, 4096, 16384, 65536)
SOLVENTS = {"OBC1": ["amber96.xml", "implicit/obc1.xml"], "OBC2": ["amber96.xml", "amber96_obc.xml"]}
BUDGET_S = 0.6


def energy_costs(files: list[str], solvent: str, batches: Sequence[int] = BATCHES) -> dict[str, dict[int, float]]:
    """µs per configuration of energy and forces of alanine dipeptide, by form and batch size.

    Args:
        files: of the force field; `solvent` names them to the one who waits.
        batches: ascending.
    """
    molecule = Molecule("ala2.pdb", files, 300.0)
    x = molecule.start(batches[-1]) + 0.005 * torch.randn(
        batches[-1], molecule.size, generator=torch.Generator().manual_seed(0)
    )
    forms: dict[str, tuple[int, Callable]] = {}
    best = partial(fastest, budget_s=BUDGET_S)

    def batched(x: torch.Tensor, expected: int) -> Callable:
        own = Molecule("ala2.pdb", files, 300.0)
        own.expect(expected)
        return lambda n: own.evaluate(x[:n])

    forms["batched, eager"] = 1, batched(x, 0)
    forms["batched, 1 thread"] = 1, batched(x, 10**9)
    forms["batched, 2 threads"] = 2, batched(x, 10**9)
    forms["batched, float64"] = 1, batched(x.double(), 10**9)
    if torch.cuda.is_available():
        forms["batched, GPU"] = 1, batched(x.cuda(), 10**9)
    bridge = Bridge(molecule.openmm_system, 2)
    frames = x.double().numpy()
    costs: dict[str, dict[int, float]] = {form: {} for form in forms}
    with progress(len(batches) * len(forms) + 3, f"timing, {solvent}") as bar:
        for form, (threads, call) in forms.items():
            with threads_set(threads):
                for n in batches:
                    if form != "batched, float64" or n == 1024:
                        costs[form][n] = (
                            best(lambda: (call(n), torch.cuda.synchronize() if "GPU" in form else None)) / n * 1e6
                        )
                    bar.update()
        for name in ("Reference", "CPU"):
            one = new_context(molecule.openmm_system, name)
            row = np.empty(1 + molecule.size)
            cost = best(lambda: evaluate(one, frames[0].reshape(-1, 3), row)) * 1e6
            costs[f"OpenMM {name}"] = dict.fromkeys(batches, cost)
            bar.update()
        few = [n for n in batches if n * min(costs["OpenMM Reference"][1], costs["OpenMM CPU"][1]) < 2e6]
        costs["bridge, 2 workers"] = {n: best(lambda n=n: bridge.evaluate(frames[:n])) / n * 1e6 for n in few}
        bar.update()
    bridge.close()
    return costs


def kilobytes(files: list[str]) -> float:
    """Of the arrays that live at once, per configuration, float32."""
    molecule = Molecule("ala2.pdb", files, 300.0)
    blocks = molecule.start(32).view(1, 32, -1, 3).permute(0, 3, 2, 1)
    terms, gradient, stored = ForceField(molecule.openmm_system).float()(blocks)
    return sum(array.nbytes for array in (*terms, gradient, *stored)) / 32 / 1024
