"""Any molecule that OpenMM's force fields know, as a reduced energy of flat Cartesian coordinates."""

import hashlib
import logging
from collections.abc import Sequence
from functools import cached_property

import mdtraj
import numpy as np
import openmm
import torch
from openmm import app, unit
from torch import Tensor
from torch.autograd.function import once_differentiable

from predcg.errors import InputError
from predcg.observables import Dihedrals
from predcg.ranges import Parallel, PositiveFloat
from predcg.systems.atoms import alpha_carbons, frame_atoms, heavy_atoms, phi_psi_names, phi_psi_of
from predcg.systems.bridge import Bridge
from predcg.systems.code import paths
from predcg.systems.forcefield import Batched
from predcg.systems.structure import parametrise, read_pdb
from predcg.systems.system import System
from predcg.systems.torsions import torsions
from predcg.systems.worker import fastest
from predcg.systems.zmatrix import zmatrix

log = logging.getLogger(__name__)


class Molecule(System):
    """u(x) = E(x) / kT of a molecule, x flat Cartesian in nm, (..., 3 n_atoms), in float32 or float64, on CPU or GPU.

    Energy and gradient come from one batched pass of the force field in torch, or, on request, from OpenMM in worker
    processes. A second derivative is refused.

    Args:
        pdb: path of a PDB or mmCIF file, or the name of one shipped with the program; its models are the starting
            structures.
        forcefield: OpenMM force-field files, a list or a single one; or one AMBER .prmtop; or one serialised OpenMM
            System.
        temperature_kelvin: temperature T of the target.
        basins: name to {dihedral name: [centre, half width]} in degrees, on the dihedrals phi and psi.
        workers: None for the batched form; a number takes OpenMM itself, in so many processes: for forces that the
            batched form lacks.
        implicit_solvent: HCT, OBC1, OBC2, GBn or GBn2, for a .prmtop only.
        residue: number of the residue, as in the PDB, whose φ and ψ are used; default the first that has both.

    Raises:
        InputError: a missing file, atoms or residues that the force field does not know, a force that the batched form
            lacks, a temperature <= 0, a basin on another dihedral, a residue without φ and ψ.

    >>> ala2 = Molecule("ala2.pdb", ["amber96.xml", "amber96_obc.xml"], 330.0)
    >>> ala2.size, ala2(ala2.start(1)).shape
    (66, torch.Size([1]))
    """

    facts = (
        *System.facts,
        *("alpha_carbons", "atom_masses", "frame_atoms", "heavy_atoms", "phi_psi", "reference", "zmatrix"),
    )

    def __init__(
        self,
        pdb: str,
        forcefield: list[str] | str,
        temperature_kelvin: PositiveFloat,
        basins: dict[str, dict[str, list[float]]] | None = None,
        workers: Parallel | None = None,
        implicit_solvent: str | None = None,
        residue: int | None = None,
    ):
        topology, models = read_pdb(pdb)
        self._assemble(
            topology,
            models,
            parametrise(topology, paths(forcefield), implicit_solvent, pdb),
            temperature_kelvin,
            basins,
            workers,
            residue,
        )

    def _assemble(
        self,
        topology: app.Topology,
        models: np.ndarray,
        system: openmm.System,
        temperature_kelvin: float,
        basins: dict | None,
        workers: int | None,
        residue: int | None,
    ) -> None:
        if not temperature_kelvin > 0:
            raise InputError(f"system.temperature_kelvin: expected a positive number; found {temperature_kelvin}")
        super().__init__(3 * topology.getNumAtoms())
        self.openmm_system = system
        self.topology = mdtraj.Topology.from_openmm(topology)
        self.temperature_kelvin = float(temperature_kelvin)
        self.kt = (unit.MOLAR_GAS_CONSTANT_R * temperature_kelvin * unit.kelvin).value_in_unit(unit.kilojoule_per_mole)
        masses = [system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(self.size // 3)]
        self.masses = torch.tensor(masses).repeat_interleave(3)
        self.register_buffer("models", torch.tensor(models, dtype=torch.float32).flatten(1), persistent=False)
        backbone = phi_psi_of(self.topology, residue)
        self.backbone = Dihedrals(backbone) if backbone else None
        self.torsions = phi_psi_names(self.topology, backbone[0] if backbone else None)
        self.frame_atoms = frame_atoms(self.topology, models)
        self.boxes = {name: dict(box) for name, box in (basins or {}).items()}
        self.basins = tuple(self.boxes)
        if self.basins and self.backbone is None:
            raise InputError(
                "system.basins: expected a molecule with a residue that has both phi and psi; this one has none"
            )
        for name, box in self.boxes.items():
            if box.keys() - {"phi", "psi"}:
                raise InputError(f"system.basins.{name}: expected the dihedrals phi and psi; found {', '.join(box)}")
        self._engine = Batched(system) if workers is None else Bridge(system, workers)
        self._platform = None

    def energy(self, x: Tensor) -> Tensor:
        return _Energy.apply(x, self)

    def terms(self, x: Tensor) -> dict[str, Tensor]:
        """Energies by kind in kT: bond, angle, torsion, nonbonded, solvation, (...,) each. Raises InputError without
        the batched form.
        """
        if not isinstance(self._engine, Batched):
            raise InputError("system.workers: energies by kind come from the batched form; leave it out")
        terms = self._engine.terms(x.detach().reshape(-1, self.size))
        return {name: energy.reshape(x.shape[:-1]) / self.kt for name, energy in terms.items()}

    def expect(self, evaluations: int) -> None:
        if isinstance(self._engine, Batched):
            self._engine.expect(evaluations)

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """u, (n,), and its gradient, (n, D), in kT and nm, of x, (n, D); uncounted and unchecked."""
        if isinstance(self._engine, Batched):
            energies, gradients = self._engine.evaluate(x)
        else:
            energies, forces = self._engine.evaluate(x.cpu().numpy())
            energies, gradients = torch.from_numpy(energies).to(x), torch.from_numpy(-forces).to(x)
        return energies / self.kt, gradients / self.kt

    def start(self, n: int) -> Tensor:
        """n configurations, (n, D), cycling through the models of the PDB."""
        return self.models[torch.arange(n) % len(self.models)]

    def label(self, x: Tensor) -> Tensor:
        """The box in φ and ψ that each configuration is in; later basins win where boxes overlap."""
        label = super().label(x)
        if self.basins:
            angles = dict(zip(("phi", "psi"), self.backbone(x).rad2deg().unbind(-1), strict=True))
            for index, box in enumerate(self.boxes.values()):
                inside = [
                    ((angles[name] - centre + 180) % 360 - 180).abs() <= half for name, (centre, half) in box.items()
                ]
                label[torch.stack(inside).all(0)] = index
        return label

    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.kt} {openmm.XmlSerializer.serialize(self.openmm_system)}".encode()).hexdigest()

    @property
    def alpha_carbons(self) -> list[int]:
        """See systems.atoms."""
        return alpha_carbons(self.topology)

    @property
    def heavy_atoms(self) -> list[int]:
        """See systems.atoms."""
        return heavy_atoms(self.topology)

    @property
    def phi_psi(self) -> list[list[int]] | None:
        """Atoms of φ and of ψ of the residue that `backbone` is of; None where no residue has both."""
        return self.backbone.indices.tolist() if self.backbone else None

    @property
    def atom_masses(self) -> Tensor:
        """One mass per atom, (n_atoms,), g/mol."""
        return self.masses[::3]

    @property
    def reference(self) -> Tensor:
        """The first model, (D,), nm."""
        return self.models[0]

    @cached_property
    def zmatrix(self) -> dict[str, list]:
        """See systems.zmatrix; in the frame of `frame_atoms`, with the handedness of the first model. Raises InputError
        where there is no frame.
        """
        return self.zmatrix_of([])

    def zmatrix_of(self, given: Sequence[Sequence[int]]) -> dict[str, list]:
        """That in which the given torsions, of four atoms each, are coordinates."""
        if self.frame_atoms is None:
            raise InputError(
                "zmatrix: expected three bonded atoms that are not on one line; found none; choose decoder=gaussian"
            )
        return zmatrix(self.topology, self.openmm_system, self.models[0].cpu(), self.frame_atoms, self.kt, given)

    def torsion_atoms(self, wanted: Sequence[str | Sequence[int]] | None = None) -> list[list[int]]:
        """See systems.torsions; of the residue that `backbone` is of, where a name tells none. Default φ and ψ."""
        own = self.topology.atom(self.phi_psi[0][1]).residue.resSeq if self.backbone else None
        return torsions(self.topology, ["phi", "psi"] if wanted is None else wanted, own)

    @property
    def platform(self) -> openmm.Platform:
        """The OpenMM platform that evaluates this molecule fastest on this machine; timed once."""
        if self._platform is None:
            name, timings = fastest(self.openmm_system, self.models[0].double().cpu().numpy().reshape(-1, 3))
            log.info("OpenMM platform: %s, the fastest of energy + forces per configuration (%s)", name, timings)
            self._platform = openmm.Platform.getPlatformByName(name)
        return self._platform

    def __getstate__(self) -> dict:
        """A platform cannot travel to another process; it is found anew there."""
        return self.__dict__ | {"_platform": None}


class _Energy(torch.autograd.Function):
    """u with its gradient, both from one evaluation."""

    @staticmethod
    def forward(ctx, x: Tensor, molecule: Molecule) -> Tensor:
        energies, gradients = molecule.evaluate(x.detach().reshape(-1, x.shape[-1]))
        ctx.save_for_backward(gradients.reshape(x.shape))
        return energies.reshape(x.shape[:-1])

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return grad.unsqueeze(-1) * gradient, None
