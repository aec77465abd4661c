"""Molecules of a handful of atoms from a PDB and a serialised System: fewer coordinates of every kind than a peptide
has, and exact answers.
"""

import math
from pathlib import Path

import numpy as np
import openmm
import pytest
import torch
from openmm import app, unit
from scipy.integrate import quad

from predcg.config import compose
from predcg.errors import InputError
from predcg.importance import draw
from predcg.observables import Distances
from predcg.parts import build
from predcg.samplers import Langevin
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
        [
            (-0.047, 0.663, 0),
            (-0.047, -0.758, 0),
            (-1.087, 0.976, 0),
            (0.437, 1.07, 0.89),
            (0.437, 1.07, -0.89),
            (0.87, -1.05, 0),
        ],
        [(0, 1), (0, 2), (0, 3), (0, 4), (1, 5)],
    ),
    "acetonitrile": (
        "C C N H H H",
        [(0, 0, 0), (1.46, 0, 0), (2.62, 0, 0), (-0.36, 1.02, 0), (-0.36, -0.51, 0.885), (-0.36, -0.51, -0.885)],
        [(0, 1), (1, 2), (0, 3), (0, 4), (0, 5)],
    ),
}


class Files:
    """A molecule as a PDB and a System of harmonic bonds and angles and threefold torsions, without nonbonded energies,
    in a folder.
    """

    def __init__(self, name: str, folder: Path, conect: bool = True):
        symbols, places, self.bonds = MOLECULES[name]
        self.x = 0.1 * np.array(places, dtype=float)
        topology, self.system = app.Topology(), openmm.System()
        residue = topology.addResidue("LIG", topology.addChain())
        atoms = [
            topology.addAtom(f"{symbol}{i}", app.Element.getBySymbol(symbol), residue)
            for i, symbol in enumerate(symbols.split())
        ]
        for atom in atoms:
            self.system.addParticle(atom.element.mass)
        for i, j in self.bonds if conect else ():
            topology.addBond(atoms[i], atoms[j])
        near = [[b if a == i else a for a, b in self.bonds if i in (a, b)] for i in range(len(atoms))]
        self.angles = [
            (i, j, k) for j, around in enumerate(near) for n, i in enumerate(around) for k in around[n + 1 :]
        ]
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
    return [
        f"experiment={experiment}",
        "system=molecule",
        f"system.pdb={files.pdb}",
        f"system.forcefield=[{files.forcefield[0]}]",
        "snapshots=null",
    ]


def exact_log_z(files: Files) -> float:
    """Of a chain without branches, whose bonds, angles and torsions are independent: 8π² Π ∫r² e^-u dr Π ∫sin θ e^-u dθ
    Π ∫e^-u dτ.
    """
    z = 8 * math.pi**2
    for i, j in files.bonds:
        r, width = files.length(i, j), math.sqrt(KT / STIFF)
        z *= quad(
            lambda d, r=r: d**2 * math.exp(-STIFF * (d - r) ** 2 / (2 * KT)), max(r - 9 * width, 0), r + 9 * width
        )[0]
    for three in files.angles:
        z *= quad(
            lambda t, a=files.angle(*three): math.sin(t) * math.exp(-BEND * (t - a) ** 2 / (2 * KT)),
            0,
            math.pi,
            points=[files.angle(*three)],
        )[0]
    for four in files.torsions:
        barrier = 0.7 * (files.angle(*four[:3]) < 3 and files.angle(*four[1:]) < 3)
        z *= quad(lambda t, k=barrier: math.exp(-k * (1 + math.cos(3 * t)) / KT), -math.pi, math.pi)[0]
    return math.log(z)


@pytest.mark.parametrize("rounds", [0, 2])
def test_a_flow_draws_any_molecule_with_its_density(files, rounds):
    """The untrained flow already has the widths of bonds and angles; with a latent variable of size 0 and one of size
    2.
    """
    cfg = compose(
        [
            *overrides(files, "ala2/reverse_kl" if rounds else "ala2/latent"),
            "z=0",
            "encoder=prior",
            f"decoder.rounds={rounds}",
        ]
    )
    parts = build(cfg)
    terms = parts.objective(parts.model, parts.system, None)
    terms.loss.backward()
    assert terms.loss.isfinite() and all(p.grad is None or p.grad.isfinite().all() for p in parts.model.parameters())
    if len(files.angles) == len(files.bonds) - 1 and rounds:
        weighted = draw(parts.model, parts.system, 20_000, 1)
        (found, error), expected = weighted.log_z, exact_log_z(files)
        assert found == pytest.approx(expected, abs=4 * error) and error < 0.05


def test_the_frame_is_bent(files):
    molecule = Molecule(files.pdb, files.forcefield, 300.0)
    a, b, c = molecule.frame_atoms
    assert {frozenset((a, b)), frozenset((b, c))} <= set(map(frozenset, files.bonds))
    assert math.radians(30) < files.angle(a, b, c) < math.radians(150)


def test_atoms_on_one_line_have_no_frame(tmp_path):
    files = Files("water", tmp_path)
    text = Path(files.pdb).read_text()
    straight = text.replace("-0.240   0.927   0.000", "-0.957   0.000   0.000")
    assert straight != text
    Path(files.pdb).write_text(straight)
    assert Molecule(files.pdb, files.forcefield, 300.0).frame_atoms is None
    line = (
        "three bonded atoms off a line, to see the molecule from; Molecule has none; choose decoder=gaussian"
        " encoder=gaussian$"
    )
    with pytest.raises(InputError, match=f"^decoder: expected {line}"):
        build(compose(overrides(files, "ala2/latent")))
    assert build(compose([*overrides(files, "ala2/latent"), "decoder=gaussian", "encoder=gaussian"]))


def reordered(files: Files, order: list[int]) -> None:
    """Write the PDB with its atoms in another order."""
    lines = Path(files.pdb).read_text().splitlines()
    atoms = [line for line in lines if line.startswith("HETATM")]
    Path(files.pdb).write_text(
        "\n".join([f"HETATM{new + 1:5d}{atoms[old][11:]}" for new, old in enumerate(order)] + ["END", ""])
    )


def test_bonds_that_the_pdb_lacks_are_those_of_the_system(files, tmp_path):
    whole = Molecule(files.pdb, files.forcefield, 300.0)
    bare = Files("methanol", tmp_path, conect=False)
    assert "CONECT" not in Path(bare.pdb).read_text()
    bare = Molecule(bare.pdb, bare.forcefield, 300.0)
    found = {frozenset((one.index, other.index)) for one, other in bare.topology.bonds}
    assert (
        found == set(map(frozenset, MOLECULES["methanol"][2]))
        and bare.frame_atoms is not None
        and len(bare.zmatrix["atoms"]) == 3
    )
    assert len(list(whole.topology.bonds)) == len(files.bonds)


@pytest.mark.parametrize("conect", [True, False])
def test_atoms_in_another_order_are_refused(conect, tmp_path):
    files = Files("methanol", tmp_path, conect)
    reordered(files, [1, 0, 2, 3, 4, 5])
    message = (
        r"expected the atoms of '.*system.xml' in its order; the first that differs is atom 0, LIG1-O1 of 15.999 g/mol"
        r" in '.*', of 12.011 there"
    )
    with pytest.raises(InputError, match=message):
        Molecule(files.pdb, files.forcefield, 300.0)


def test_elements_in_order_with_other_bonds_are_refused(tmp_path):
    """Two hydrogens of methanol change places: that of the alcohol with one of the methyl group."""
    files = Files("methanol", tmp_path)
    files.bonds = [(0, 1), (0, 5), (0, 3), (0, 4), (1, 2)]
    Path(files.pdb).write_text(
        Path(files.pdb)
        .read_text()
        .replace("CONECT    1    2    3    4    5", "CONECT    1    2    6    4    5")
        .replace("CONECT    2    1    6", "CONECT    2    1    3")
    )
    with pytest.raises(
        InputError,
        match=r"the first that differ are atoms 0 \(LIG1-C0\) and 5 \(LIG1-H5\), bonded in '.*', not there; reorder",
    ):
        Molecule(files.pdb, files.forcefield, 300.0)


def test_heavy_hydrogens_and_springs_across_angles_are_no_difference(tmp_path):
    """Masses repartitioned to 3 g/mol of a hydrogen, and Urey-Bradley terms of harmonic bonds, as CHARMM has them."""
    files = Files("methanol", tmp_path)
    for heavy, hydrogen in ((0, 2), (0, 3), (0, 4), (1, 5)):
        files.system.setParticleMass(hydrogen, 3.024)
        files.system.setParticleMass(heavy, files.system.getParticleMass(heavy) - 2.016 * unit.dalton)
    springs = openmm.HarmonicBondForce()
    for i, _, k in files.angles:
        springs.addBond(i, k, files.length(i, k), 1e4)
    files.system.addForce(springs)
    files.write(files.system)
    molecule = Molecule(files.pdb, files.forcefield, 300.0)
    assert {frozenset((one.index, other.index)) for one, other in molecule.topology.bonds} == set(
        map(frozenset, files.bonds)
    )


def whole(molecule: Molecule, x: torch.Tensor) -> bool:
    """Whether no bond is off by a third."""
    pairs = [[one.index, other.index] for one, other in molecule.topology.bonds]
    length = Distances(pairs)
    return bool((length(x) / length(molecule.models[:1]) - 1).abs().max() < 1 / 3)


WATER = app.PDBFile(str(Path(app.__file__).parent / "data/tip3p.pdb"))


def water(folder: Path) -> str:
    """One water molecule of OpenMM's box."""
    model = app.Modeller(WATER.topology, WATER.positions)
    model.delete(list(WATER.topology.residues())[1:])
    with open(folder / "water.pdb", "w") as file:
        app.PDBFile.writeFile(model.topology, model.positions, file)
    return str(folder / "water.pdb")


def serialised(pdb: str, folder: Path, *files: str, **settings) -> list[str]:
    topology, extra = app.PDBFile(pdb).topology, app.ForceField(*files)
    if settings.pop("sites", False):
        model = app.Modeller(topology, app.PDBFile(pdb).positions)
        model.addExtraParticles(extra)
        topology = model.topology
        with open(pdb, "w") as file:
            app.PDBFile.writeFile(topology, model.positions, file)
    (folder / "system.xml").write_text(openmm.XmlSerializer.serialize(extra.createSystem(topology, **settings)))
    return [str(folder / "system.xml")]


@pytest.mark.parametrize("workers", [None, 1])
def test_constraints_and_virtual_sites_are_refused_and_the_cures_work(workers, tmp_path):
    """The cure that each refusal names gives a molecule that dynamics keep whole."""
    pdb = water(tmp_path)
    rigid = serialised(pdb, tmp_path, "tip3p.xml", constraints=app.HBonds)
    with pytest.raises(
        InputError,
        match="expected no constraints; found 3, .*; make the System anew with constraints=None and rigidWater=False$",
    ):
        Molecule(pdb, rigid, 300.0, workers=workers)
    cured = [serialised(pdb, tmp_path, "tip3p.xml", constraints=None, rigidWater=False)]
    molecule = Molecule(pdb, *cured, 300.0, workers=workers)
    assert whole(molecule, Langevin(0.001, 1.0, 10, 100).run(molecule, molecule.start(4), 10).x)
    serialised(pdb, tmp_path, "tip4pew.xml", sites=True, rigidWater=False)
    with pytest.raises(
        InputError,
        match="expected no virtual sites; found 1, .*; choose a force field without them, such as tip3p.xml for water$",
    ):
        Molecule(pdb, [str(tmp_path / "system.xml")], 300.0, workers=workers)
    molecule = Molecule(water(tmp_path), ["tip3p.xml"], 300.0, workers=workers)
    assert whole(molecule, Langevin(0.001, 1.0, 10, 100).run(molecule, molecule.start(4), 10).x)


def test_a_frozen_atom_is_refused(tmp_path):
    files = Files("water", tmp_path)
    files.system.setParticleMass(0, 0.0)
    files.write(files.system)
    with pytest.raises(InputError, match="expected particles with masses; found 1 without, the first is 0"):
        Molecule(files.pdb, files.forcefield, 300.0)
