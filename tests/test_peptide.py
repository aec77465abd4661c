"""Peptides from sequences: composition, stereochemistry and geometry, against textbook chemistry, mdtraj and the force
field's own terms.
"""

import re
from collections import Counter

import mdtraj
import numpy as np
import openmm
import pytest
from matplotlib.figure import Figure
from openmm import app, unit

from predcg.batch import Batch
from predcg.errors import InputError
from predcg.figures.coverage import free_energy_map
from predcg.measures.coverage import Sample
from predcg.systems import Molecule, Peptide
from predcg.systems.peptide import build
from predcg.systems.structure import SHIPPED

AMBER99 = ["amber99sbildn.xml", "amber99_obc.xml"]
AMBER14 = ["amber14/protein.ff14SB.xml", "implicit/obc2.xml"]
# Every residue inside a chain, and as many as matter at its ends: proline's ring there, glycine, histidine.
CASES = {
    "all residues": ("ACE-ACDEFGHIKLMNPQRSTVWY-NME", AMBER99),
    "free ends": ("PRWVSNQMKLIHFG", AMBER99),
    "half capped": ("ACE-GHTTIIWP", AMBER99),
    "dipeptide": ("ACE-A-NME", AMBER14),
    "chignolin": ("ACE-YYDPETGTWY-NME", AMBER14),
    "free chignolin": ("YYDPETGTWY", AMBER99),
}

# Free neutral amino acids.
FORMULAS = {
    "A": "C3H7NO2",
    "C": "C3H7NO2S",
    "D": "C4H7NO4",
    "E": "C5H9NO4",
    "F": "C9H11NO2",
    "G": "C2H5NO2",
    "H": "C6H9N3O2",
    "I": "C6H13NO2",
    "K": "C6H14N2O2",
    "L": "C6H13NO2",
    "M": "C5H11NO2S",
    "N": "C4H8N2O3",
    "P": "C5H9NO2",
    "Q": "C5H10N2O3",
    "R": "C6H14N4O2",
    "S": "C3H7NO3",
    "T": "C4H9NO3",
    "V": "C5H11NO2",
    "W": "C11H12N2O2",
    "Y": "C9H11NO3",
}
CHARGES = {"D": -1, "E": -1, "K": 1, "R": 1}

BENZENE = [["CG", "CD1", "CE1", "CZ", "CE2", "CD2"]]
RINGS = {
    "PHE": BENZENE,
    "TYR": BENZENE,
    "HIS": [["CG", "ND1", "CE1", "NE2", "CD2"]],
    "PRO": [["N", "CA", "CB", "CG", "CD"]],
    "TRP": [["CG", "CD1", "NE1", "CE2", "CD2"], ["CD2", "CE2", "CZ2", "CH2", "CZ3", "CE3"]],
}


class Case:
    """A built peptide beside its force field, parametrised anew."""

    def __init__(self, sequence: str, files: list[str]):
        self.sequence, self.files = sequence, files
        self.letters = sequence.removeprefix("ACE-").removesuffix("-NME")
        self.topology, self.x = build(sequence, files)
        self.system = app.ForceField(*files).createSystem(self.topology, nonbondedMethod=app.NoCutoff, rigidWater=False)
        self.frame = mdtraj.Trajectory(self.x[None], mdtraj.Topology.from_openmm(self.topology))
        self.residues = [
            (residue.name, {atom.name: atom.index for atom in residue.atoms()}) for residue in self.topology.residues()
        ]
        self.bonds = [(a.index, b.index) for a, b in self.topology.bonds()]
        self.rings = [
            (residue, [index[name] for name in ring])
            for residue, index in self.residues
            for ring in RINGS.get(residue, [])
        ]

    def force(self, kind: type) -> openmm.Force:
        return next(force for force in self.system.getForces() if isinstance(force, kind))


@pytest.fixture(scope="module", params=CASES)
def case(request) -> Case:
    return Case(*CASES[request.param])


def handedness(x: np.ndarray) -> np.ndarray:
    """Of four neighbours of one atom, (..., 4, 3): positive if the first three go clockwise with the last one away from
    the viewer.
    """
    a, b, c = (x[..., i, :] - x[..., 3, :] for i in range(3))
    return (a * np.cross(c, b)).sum(-1)


def test_handedness_knows_shipped_alanine_as_s():
    frame = mdtraj.load(str(SHIPPED / "ala2.pdb"))
    index = [frame.topology.select(f"resname ALA and name {name}")[0] for name in ("N", "C", "CB", "HA")]
    assert (handedness(frame.xyz[:, index]) < 0).all()
    # By hand: the last atom below the page, the others clockwise on it.
    assert handedness(np.array([[0.0, 1.0, 0.0], [1.0, -1.0, 0.0], [-1.0, -1.0, 0.0], [0.0, 0.0, -1.0]])) > 0


def test_atoms_are_those_of_the_amino_acids(case):
    capped = case.sequence.startswith("ACE-"), case.sequence.endswith("-NME")
    expected, charge = Counter(), capped[0] * -1 + capped[1] * 1  # free ends carry +1 and -1
    for letter in case.letters:
        expected.update({element: int(count or 1) for element, count in re.findall(r"([A-Z])(\d*)", FORMULAS[letter])})
        charge += CHARGES.get(letter, 0)
    # a water leaves with every peptide bond.
    expected.subtract({"H": 2 * (len(case.letters) - 1), "O": len(case.letters) - 1})
    expected["H"] += charge
    if capped[0]:  # CH3CO for H
        expected.update({"C": 2, "H": 2, "O": 1})
    if capped[1]:  # CH3NH for OH
        expected.update({"C": 1, "H": 3, "N": 1})
        expected["O"] -= 1
    assert Counter(atom.element.symbol for atom in case.topology.atoms()) == +expected
    assert case.x.shape == (sum(expected.values()), 3) and np.isfinite(case.x).all()
    nonbonded = case.force(openmm.NonbondedForce)
    found = sum(nonbonded.getParticleParameters(i)[0].value_in_unit(unit.elementary_charge) for i in range(len(case.x)))
    assert found == pytest.approx(charge, abs=1e-3)
    assert "".join(residue.code for residue in case.frame.topology.residues if residue.code) == case.letters


@pytest.mark.parametrize("sequence, caps", [("ACE-YYDPETGTWY-NME", 5 + 4), ("YYDPETGTWY", 0)])
def test_chignolin_has_as_many_atoms_as_counted_by_hand(sequence, caps):
    # Amino acids Y 24, D 16 - 1, P 17, E 19 - 1, T 17, G 10, W 27; nine waters of 3; CH3CO for H and NHCH3 for OH.
    count = 3 * 24 + 15 + 17 + 18 + 2 * 17 + 10 + 27 - 9 * 3 + caps
    topology, x = build(sequence, ["amber99sbildn.xml"])
    assert topology.getNumAtoms() == len(x) == count


def test_residues_are_l_and_side_chains_right(case):
    # Ranks of Cahn, Ingold and Prelog; CA of cysteine is R because sulphur outranks the carboxyl.
    centres = {("ILE", "CB"): ("CA CG1 CG2 HB", "S"), ("THR", "CB"): ("OG1 CA CG2 HB", "R")}
    # The first of two is pro-R.
    methyls = {("VAL", "CB"): ("CA CG1 CG2 HB", "R"), ("LEU", "CG"): ("CB CD1 CD2 HG", "R")}
    for residue, index in case.residues:
        alpha = ("N CB C HA", "R") if residue == "CYS" else ("N C CB HA", "S")
        chosen = [alpha] * ("CB" in index) + [
            label for (name, _), label in (centres | methyls).items() if name == residue
        ]
        for names, label in chosen:
            sign = handedness(case.x[[index[name] for name in names.split()]])
            assert (sign > 0) == (label == "R"), f"{residue}: {names}"


def test_bonds_and_angles_are_near_equilibrium(case):
    bonds, angles = case.force(openmm.HarmonicBondForce), case.force(openmm.HarmonicAngleForce)
    terms = [bonds.getBondParameters(i) for i in range(bonds.getNumBonds())]
    assert {frozenset(term[:2]) for term in terms} == {frozenset(bond) for bond in case.bonds}
    lengths = mdtraj.compute_distances(case.frame, [term[:2] for term in terms])[0]
    assert lengths == pytest.approx([term[2].value_in_unit(unit.nanometer) for term in terms], abs=0.01)
    terms = [angles.getAngleParameters(i) for i in range(angles.getNumAngles())]
    found = np.rad2deg(mdtraj.compute_angles(case.frame, [term[:3] for term in terms])[0])
    off = np.abs(found - [term[3].value_in_unit(unit.degree) for term in terms])
    inside = np.array([any(set(term[:3]) <= set(ring) for _, ring in case.rings) for term in terms])
    assert off[~inside].max() < 15 and off[inside].max(initial=0) < 20


def test_peptide_bonds_are_trans(case):
    chain = [index for _, index in case.residues]
    quadruples = [
        [a.get("CA", a.get("CH3")), a["C"], b["N"], b.get("CA", b.get("CH3"))]
        for a, b in zip(chain, chain[1:], strict=False)
    ]
    assert (np.abs(np.rad2deg(mdtraj.compute_dihedrals(case.frame, quadruples))) > 150).all()


def test_aromatic_rings_are_flat_and_no_bond_threads_any(case):
    for residue, ring in case.rings:
        corners = case.x[ring] - case.x[ring].mean(0)
        if residue != "PRO":
            assert np.abs(corners @ np.linalg.svd(corners)[2][-1]).max() < 0.015
        for a, b in zip(corners, np.roll(corners, -1, 0), strict=True):
            for bond in case.bonds:
                if not set(bond) & set(ring):
                    start, end = case.x[list(bond)] - case.x[ring].mean(0)
                    assert not crosses(start, end, a, b)


def crosses(start: np.ndarray, end: np.ndarray, a: np.ndarray, b: np.ndarray) -> bool:
    """Whether the segment meets the triangle of the origin, a and b."""
    u, v, t = np.linalg.solve(np.stack([a, b, start - end], 1), start)
    return bool(u >= 0 and v >= 0 and u + v <= 1 and 0 <= t <= 1)


def test_crosses_knows_inside_from_outside():
    a, b, up = np.eye(3)
    assert crosses(0.2 * (a + b) + up, 0.2 * (a + b) - up, a, b)
    assert not crosses(0.7 * (a + b) + up, 0.7 * (a + b) - up, a, b)
    assert not crosses(0.2 * (a + b) + up, 0.2 * (a + b) + 0.5 * up, a, b)


def test_atoms_do_not_clash(case):
    near = np.eye(len(case.x), dtype=int)
    for one, other in case.bonds:
        near[one, other] = near[other, one] = 1
    apart = np.linalg.matrix_power(near, 3) == 0  # more than three bonds
    distance = np.linalg.norm(case.x[:, None] - case.x, axis=-1)
    assert distance[apart].min(initial=1) > 0.15


def test_energy_is_at_a_minimum(case):
    context = openmm.Context(
        case.system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(case.x)
    state = context.getState(energy=True, forces=True)
    assert np.isfinite(state.getPotentialEnergy()._value)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    # At 300 K the rms force of a bonded hydrogen is about 1000 kJ/mol/nm.
    assert np.sqrt((forces**2).mean()) < 10
    shaken = np.random.default_rng(0).normal(0, 0.002, case.x.shape)
    context.setPositions(case.x + shaken)
    assert context.getState(energy=True).getPotentialEnergy() > state.getPotentialEnergy()


def test_building_twice_gives_the_same(case):
    assert np.array_equal(build(case.sequence, case.files)[1], case.x)


def test_backbone_can_be_a_helix():
    topology, x = build("ACE-AAAAAAAAAA-NME", AMBER99, phi_degrees=-60, psi_degrees=-45)
    frame = mdtraj.Trajectory(x[None], mdtraj.Topology.from_openmm(topology))
    assert (mdtraj.compute_dssp(frame)[0] == "H").sum() >= 6
    assert (np.abs(np.rad2deg(mdtraj.compute_phi(frame)[1]) + 62) < 20).all()


def test_a_built_peptide_is_a_system(tmp_path):
    topology, x = build("GHW", AMBER99)
    with open(tmp_path / "ghw.pdb", "w") as file:
        app.PDBFile.writeFile(topology, x * unit.nanometer, file)
    molecule = Molecule(str(tmp_path / "ghw.pdb"), AMBER99, 300.0)
    assert molecule.size == x.size and molecule(molecule.start(1)).isfinite().all()


@pytest.mark.parametrize(
    "sequence, files, message",
    [
        (
            "ACE-AXBA-NME",
            AMBER99,
            r"sequence: expected letters of ACDEFGHIKLMNPQRSTVWY.*; found unknown 'B' 'X' in 'ACE-AXBA-NME'",
        ),
        ("ala", AMBER99, "found unknown 'a' 'l'"),
        ("A-NMA", AMBER99, "found unknown '-'"),
        ("", AMBER99, "found no residue in ''"),
        ("ACE--NME", AMBER99, "found no residue in 'ACE--NME'"),
        (
            "ACE-AH-NME",
            ["charmm36.xml"],
            r"forcefield: .*'charmm36.xml'\] fails with: no residue template ACE, HIE, NME",
        ),
        ("A", AMBER99, "no residue template CNALA"),
        ("ACE-A-NME", ["nowhere.xml"], "forcefield: .*nowhere.xml"),
        ("ACE-A-NME", [AMBER14[0], AMBER99[1]], "forcefield: .*No parameters defined"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(sequence, files, message):
    with pytest.raises(InputError, match=message) as error:
        build(sequence, files)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("sequence", "residue", "names"),
    [
        ("ACE-A-NME", None, ("φ", "ψ")),
        ("ACE-AG-NME", None, ("φ of ALA2", "ψ of ALA2")),
        ("ACE-AG-NME", 3, ("φ of GLY3", "ψ of GLY3")),
    ],
)
def test_torsions_are_named_with_their_residue_where_there_are_several(sequence, residue, names):
    system = Peptide(sequence, AMBER99, 300.0, residue=residue)
    assert system.torsions == names
    axes = Figure().subplots()
    free_energy_map(axes, system, Sample.of(system, Batch.of(system.start(3))), "start")
    assert (axes.get_xlabel(), axes.get_ylabel()) == tuple(f"{name} (degrees)" for name in names)
