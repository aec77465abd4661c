"""Molecules of a handful of atoms from a PDB and a serialised System: fewer coordinates of every kind than a peptide has, and exact answers."""

import math
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app, unit
from scipy.integrate import quad

from predcg.config import build, compose
from predcg.errors import InputError
from predcg.importance import draw
from predcg.systems import Molecule

KT = 8.314462618e-3 * 300.0
STIFF, BEND = 2e5, 300.0  # kJ/mol/nm², kJ/mol/rad²
# Atoms with their places in Å, and bonds. Isocyanic acid and acetonitrile have three atoms on a line.
MOLECULES = {
    "water": ("O H H", [(0, 0, 0), (0.957, 0, 0), (-0.24, 0.927, 0)], [(0, 1), (0, 2)]),
    "peroxide": ("H O O H", [(0.9, 0.3, 0.8), (0, 0, 0.7), (0, 0, -0.7), (-0.3, 0.9, -0.8)], [(0, 1), (1, 2), (2, 3)]),
    "isocyanic acid": ("O C N H", [(2.4, 0, 0), (1.2, 0, 0), (0, 0, 0), (-0.55, 0.84, 0)], [(0, 1), (1, 2), (2, 3)]),
    "methanol": (
        "C O H H H H",
        [(-0.047, 0.663, 0), (-0.047, -0.758, 0), (-1.087, 0.976, 0), (0.437, 1.07, 0.89), (0.437, 1.07, -0.89), (0.87, -1.05, 0)],
        [(0, 1), (0, 2), (0, 3), (0, 4), (1, 5)],
    ),
    "acetonitrile": (
        "C C N H H H",
        [(0, 0, 0), (1.46, 0, 0), (2.62, 0, 0), (-0.36, 1.02, 0), (-0.36, -0.51, 0.885), (-0.36, -0.51, -0.885)],
        [(0, 1), (1, 2), (0, 3), (0, 4), (0, 5)],
    ),
}  # fmt: skip


class Files:
    """A molecule as a PDB and a System of harmonic bonds and angles and threefold torsions, without nonbonded energies, in a folder."""

    def __init__(self, name: str, folder: Path, conect: bool = True):
        symbols, places, self.bonds = MOLECULES[name]
        self.x = 0.1 * np.array(places, dtype=float)
        topology, self.system = app.Topology(), openmm.System()
        residue = topology.addResidue("LIG", topology.addChain())
        atoms = [topology.addAtom(f"{symbol}{i}", app.Element.getBySymbol(symbol), residue) for i, symbol in enumerate(symbols.split())]
        for atom in atoms:
            self.system.addParticle(atom.element.mass)
        for i, j in self.bonds if conect else ():
            topology.addBond(atoms[i], atoms[j])
        near = [[b if a == i else a for a, b in self.bonds if i in (a, b)] for i in range(len(atoms))]
        self.angles = [(i, j, k) for j, around in enumerate(near) for n, i in enumerate(around) for k in around[n + 1 :]]
        self.torsions = [(i, j, k, l) for j, k in self.bonds for i in near[j] for l in near[k] if i != k and l != j]
        bonds, angles, torsions = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.PeriodicTorsionForce()
        for i, j in self.bonds:
            bonds.addBond(i, j, self.length(i, j), STIFF)
        for i, j, k in self.angles:
            angles.addAngle(i, j, k, self.angle(i, j, k), BEND)
        for four in self.torsions:
            torsions.addTorsion(*four, 3, 0.0, 0.7 * (self.angle(*four[:3]) < 3 and self.angle(*four[1:]) < 3))
        for force in (bonds, angles, torsions):
            self.system.addForce(force)
        self.pdb, self.forcefield = str(folder / "molecule.pdb"), [str(folder / "system.xml")]
        with open(self.pdb, "w") as file:
            app.PDBFile.writeFile(topology, self.x * unit.nanometer, file)
        self.write(self.system)

    def write(self, system: openmm.System) -> None:
        Path(self.forcefield[0]).write_text(openmm.XmlSerializer.serialize(system))

    def length(self, i: int, j: int) -> float:
        return float(np.linalg.norm(self.x[i] - self.x[j]))

    def angle(self, i: int, j: int, k: int) -> float:
        one, other = self.x[i] - self.x[j], self.x[k] - self.x[j]
        return math.acos(np.clip(one @ other / np.linalg.norm(one) / np.linalg.norm(other), -1, 1))


@pytest.fixture(params=MOLECULES)
def files(request, tmp_path) -> Files:
    return Files(request.param, tmp_path)


def overrides(files: Files, experiment: str) -> list[str]:
    return [f"experiment={experiment}", "system=molecule", f"system.pdb={files.pdb}", f"system.forcefield=[{files.forcefield[0]}]", "snapshots=null"]


def exact_log_z(files: Files) -> float:
    """Of a chain without branches, whose bonds, angles and torsions are independent: 8π² Π ∫r² e^-u dr Π ∫sin θ e^-u dθ Π ∫e^-u dτ."""
    z = 8 * math.pi**2
    for i, j in files.bonds:
        r, width = files.length(i, j), math.sqrt(KT / STIFF)
        z *= quad(lambda d, r=r: d**2 * math.exp(-STIFF * (d - r) ** 2 / (2 * KT)), max(r - 9 * width, 0), r + 9 * width)[0]
    for three in files.angles:
        z *= quad(lambda t, a=files.angle(*three): math.sin(t) * math.exp(-BEND * (t - a) ** 2 / (2 * KT)), 0, math.pi, points=[files.angle(*three)])[0]
    for four in files.torsions:
        barrier = 0.7 * (files.angle(*four[:3]) < 3 and files.angle(*four[1:]) < 3)
        z *= quad(lambda t, k=barrier: math.exp(-k * (1 + math.cos(3 * t)) / KT), -math.pi, math.pi)[0]
    return math.log(z)


@pytest.mark.parametrize("rounds", [0, 2])
def test_a_flow_draws_any_molecule_with_its_density(files, rounds):
    """The untrained flow already has the widths of bonds and angles; with a latent variable of size 0 and one of size 2."""
    cfg = compose([*overrides(files, "ala2/reverse_kl" if rounds else "ala2/latent"), "z=0", "encoder=prior", f"decoder.rounds={rounds}"])
    nouns = build(cfg)
    terms = nouns.objective(nouns.model, nouns.system, None)
    terms.loss.backward()
    assert terms.loss.isfinite() and all(p.grad is None or p.grad.isfinite().all() for p in nouns.model.parameters())
    if len(files.angles) == len(files.bonds) - 1 and rounds:
        weighted = draw(nouns.model, nouns.system, 20_000, 1)
        (found, error), expected = weighted.log_z, exact_log_z(files)
        assert found == pytest.approx(expected, abs=4 * error) and error < 0.05


def test_the_frame_is_bent(files):
    molecule = Molecule(files.pdb, files.forcefield, 300.0)
    a, b, c = molecule.frame
    assert {frozenset((a, b)), frozenset((b, c))} <= set(map(frozenset, files.bonds))
    assert math.radians(30) < files.angle(a, b, c) < math.radians(150)


def test_atoms_on_one_line_have_no_frame(tmp_path):
    files = Files("water", tmp_path)
    text = Path(files.pdb).read_text()
    straight = text.replace("-0.240   0.927   0.000", "-0.957   0.000   0.000")
    assert straight != text
    Path(files.pdb).write_text(straight)
    assert Molecule(files.pdb, files.forcefield, 300.0).frame is None
    with pytest.raises(InputError, match="zmatrix: expected three bonded atoms that are not on one line; found none"):
        build(compose(overrides(files, "ala2/reverse_kl")))
