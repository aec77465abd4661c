"""Any molecule that OpenMM's force fields know, as a reduced energy of flat Cartesian coordinates."""

import logging
import time
from pathlib import Path

import mdtraj
import numpy as np
import openmm
import torch
from openmm import app, unit
from torch import Tensor
from torch.autograd.function import once_differentiable

from predcg.errors import InputError
from predcg.observables import Dihedrals
from predcg.systems.system import System

log = logging.getLogger(__name__)
SHIPPED = Path(__file__).parent


class Molecule(System):
    """u(x) = E(x) / kT of a molecule without cut-offs, x flat Cartesian in nm, (..., 3 n_atoms).

    Energies and forces come from OpenMM, one configuration at a time, in one autograd node; a second derivative is
    refused. The platform is the one that a short timing finds fastest.

    Args:
        pdb: path of a PDB file, or the name of one shipped with the program; its models are the starting structures.
        forcefield: OpenMM force-field files.
        temperature_kelvin: temperature T of the target.
        basins: name to {dihedral name: [centre, half width]} in degrees, on the dihedrals phi and psi.

    Raises:
        InputError: a missing file, atoms or residues that the force field does not know, a temperature <= 0.

    >>> ala2 = Molecule("ala2.pdb", ["amber96.xml", "amber96_obc.xml"], 330.0)
    >>> ala2.size, ala2(ala2.start(1)).shape
    (66, torch.Size([1]))
    """

    def __init__(
        self,
        pdb: str,
        forcefield: list[str],
        temperature_kelvin: float,
        basins: dict[str, dict[str, list[float]]] | None = None,
    ):
        if not temperature_kelvin > 0:
            raise InputError(f"temperature_kelvin: expected a positive number; found {temperature_kelvin}")
        structure = _read(pdb)
        super().__init__(3 * structure.topology.getNumAtoms())
        self.openmm_system = _parametrise(structure.topology, list(forcefield), pdb)
        self.topology = mdtraj.Topology.from_openmm(structure.topology)
        self.temperature_kelvin = float(temperature_kelvin)
        self.kt = (unit.MOLAR_GAS_CONSTANT_R * temperature_kelvin * unit.kelvin).value_in_unit(unit.kilojoule_per_mole)
        masses = [self.openmm_system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(self.size // 3)]
        self.masses = torch.tensor(masses).repeat_interleave(3)
        models = [structure.getPositions(asNumpy=True, frame=i).value_in_unit(unit.nanometer) for i in range(structure.getNumFrames())]
        self.register_buffer("models", torch.tensor(np.stack(models), dtype=torch.float32).flatten(1), persistent=False)
        self.backbone = _first_phi_psi(self.topology)
        self.frame = _frame(self.topology, self.backbone)
        self.boxes = {name: dict(box) for name, box in (basins or {}).items()}
        self.basins = tuple(self.boxes)
        if self.basins and self.backbone is None:
            raise InputError(f"basins: expected a molecule with a residue that has both phi and psi; {pdb} has none")
        self._context = None
        self._platform = None

    def energy(self, x: Tensor) -> Tensor:
        return _OpenMMEnergy.apply(x, self)

    def start(self, n: int) -> Tensor:
        """n configurations, (n, D), cycling through the models of the PDB."""
        return self.models[torch.arange(n) % len(self.models)]

    def label(self, x: Tensor) -> Tensor:
        """The box in φ and ψ that each configuration is in; later basins win where boxes overlap."""
        label = super().label(x)
        if self.basins:
            angles = dict(zip(("phi", "psi"), self.backbone(x).rad2deg().unbind(-1), strict=True))
            for index, box in enumerate(self.boxes.values()):
                inside = [((angles[name] - centre + 180) % 360 - 180).abs() <= half for name, (centre, half) in box.items()]
                label[torch.stack(inside).all(0)] = index
        return label

    @property
    def platform(self) -> openmm.Platform:
        """The OpenMM platform that evaluates this molecule fastest on this machine; timed once."""
        if self._platform is None:
            self._platform = _fastest(self.openmm_system, self.models[0])
        return self._platform

    def evaluate(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Potential energies in kJ/mol, (n,), and forces in kJ/mol/nm, (n, D), of x in nm, (n, D)."""
        if not np.isfinite(x).all():
            raise FloatingPointError(f"coordinates of configuration {int(np.argwhere(~np.isfinite(x))[0, 0])} are not finite")
        if self._context is None:
            self._context = openmm.Context(self.openmm_system, openmm.VerletIntegrator(0.001), self.platform)
        energies, forces = np.empty(len(x)), np.empty_like(x, dtype=np.float64)
        for i, frame in enumerate(x.astype(np.float64).reshape(len(x), -1, 3)):
            energies[i], forces[i] = _evaluate(self._context, frame)
        return energies, forces

    def __getstate__(self) -> dict:
        """Contexts and platforms cannot travel to another process; they are made anew there."""
        return self.__dict__ | {"_context": None, "_platform": None}


class _OpenMMEnergy(torch.autograd.Function):
    """u = E / kT with gradient -F / kT, both from one evaluation."""

    @staticmethod
    def forward(ctx, x: Tensor, molecule: Molecule) -> Tensor:
        flat = x.detach().reshape(-1, x.shape[-1]).cpu().numpy()
        energies, forces = molecule.evaluate(flat)
        ctx.save_for_backward(torch.from_numpy(-forces / molecule.kt).to(x).reshape(x.shape))
        return torch.from_numpy(energies / molecule.kt).to(x).reshape(x.shape[:-1])

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return grad.unsqueeze(-1) * gradient, None


def _evaluate(context: openmm.Context, frame_nm: np.ndarray) -> tuple[float, np.ndarray]:
    context.setPositions(frame_nm)
    state = context.getState(energy=True, forces=True)
    # ._value skips the unit conversion, which costs as much as the evaluation; OpenMM's own units are ours.
    return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value.reshape(-1)


def _fastest(system: openmm.System, frame_nm: Tensor, budget_s: float = 0.05) -> openmm.Platform:
    frame, cost_us = frame_nm.double().numpy().reshape(-1, 3), {}
    for i in range(openmm.Platform.getNumPlatforms()):
        platform = openmm.Platform.getPlatform(i)
        try:
            context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
        except openmm.OpenMMException as reason:  # a GPU platform without a GPU
            log.info("OpenMM platform %s is not usable here: %s", platform.getName(), reason)
            continue
        _evaluate(context, frame)
        begin, count = time.perf_counter(), 0
        while time.perf_counter() - begin < budget_s:
            _evaluate(context, frame)
            count += 1
        cost_us[platform.getName()] = (time.perf_counter() - begin) / count * 1e6
    best = min(cost_us, key=cost_us.get)
    timings = ", ".join(f"{name} {cost:.0f} µs" for name, cost in cost_us.items())
    log.info("OpenMM platform: %s, the fastest of energy + forces per configuration (%s)", best, timings)
    return openmm.Platform.getPlatformByName(best)


def _read(pdb: str) -> app.PDBFile:
    path = Path(pdb) if Path(pdb).exists() else SHIPPED / pdb
    if not path.is_file():
        shipped = ", ".join(sorted(file.name for file in SHIPPED.glob("*.pdb")))
        raise InputError(f"system.pdb: expected a PDB file; found nothing at {pdb!r}; give an existing path, or one of {shipped}")
    try:
        return app.PDBFile(str(path))
    except Exception as reason:
        raise InputError(f"system.pdb: expected a readable PDB file; {pdb!r} fails with: {reason}") from reason


def _parametrise(topology: app.Topology, files: list[str], pdb: str) -> openmm.System:
    try:
        forcefield = app.ForceField(*files)
    except Exception as reason:
        raise InputError(f"system.forcefield: expected OpenMM force-field files; {files} fails with: {reason}") from reason
    unknown = forcefield.getUnmatchedResidues(topology)
    if unknown:
        names = "; ".join(f"{r.name} {r.id} ({' '.join(atom.name for atom in r.atoms())})" for r in unknown)
        raise InputError(f"system.pdb: {pdb!r} has residues whose atoms {files} does not know: {names}; mend the atoms or choose another force field")
    return forcefield.createSystem(topology, nonbondedMethod=app.NoCutoff, rigidWater=False, removeCMMotion=False)


def _first_phi_psi(topology: mdtraj.Topology) -> Dihedrals | None:
    """φ and ψ of the first residue that has both, or None."""
    frame = mdtraj.Trajectory(np.zeros((1, topology.n_atoms, 3)), topology)
    phi, psi = mdtraj.compute_phi(frame)[0], mdtraj.compute_psi(frame)[0]
    both = [[list(map(int, a)), list(map(int, b))] for a in phi for b in psi if list(a[1:]) == list(b[:3])]
    return Dihedrals(both[0]) if both else None


def _frame(topology: mdtraj.Topology, backbone: Dihedrals | None) -> list[int] | None:
    """Three atoms that are never on one line: N, CA, C of the first such residue, else three bonded ones, heavy if possible."""
    if backbone is not None:
        return backbone.indices[0, 1:].tolist()
    neighbours: dict[int, list[int]] = {}
    for one, other in ((a.index, b.index) for a, b in topology.bonds):
        neighbours.setdefault(one, []).append(other)
        neighbours.setdefault(other, []).append(one)
    heavy_first = {i: sorted(near, key=lambda j: topology.atom(j).element.symbol == "H") for i, near in neighbours.items()}
    candidates = [[near[0], i, near[1]] for i, near in heavy_first.items() if len(near) >= 2]
    return min(candidates, key=lambda three: sum(topology.atom(i).element.symbol == "H" for i in three), default=None)
