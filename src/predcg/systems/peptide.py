"""A peptide from its sequence: atoms and bonds of the force field's own templates, placed one after another, then
minimised.
"""

import numpy as np
import openmm
from openmm import app, unit

from predcg.errors import InputError
from predcg.ranges import Parallel, PositiveFloat
from predcg.systems.code import force_field, paths
from predcg.systems.molecule import Molecule
from predcg.systems.structure import parametrise

LETTERS = dict(
    zip(
        "ACDEFGHIKLMNPQRSTVWY",
        "ALA CYS ASP GLU PHE GLY HIS ILE LYS LEU MET ASN PRO GLN ARG SER THR VAL TRP TYR".split(),
        strict=True,
    )
)

# The first branch of an atom is turned by so many degrees about the bond that leads to it, by 180 where nothing is
# said. Zeros bend a ring onto itself.
TORSIONS = {
    "PRO": {"CA": -65.0, "CB": 0.0, "CG": 0.0},
    "PHE": {"CG": 90.0, "CE1": 0.0},
    "TYR": {"CG": 90.0, "CE1": 0.0},
    "TRP": {"CG": 90.0, "CZ2": 0.0},
    "HIS": {"CG": 90.0},
    "VAL": {"CB": 180.0},
}

# Atoms and bonds of every residue, charged ends included, by name, where a force field has patches for the ends.
NAMED = "amber14/protein.ff14SB.xml"
BONDED = openmm.HarmonicBondForce, openmm.HarmonicAngleForce, openmm.PeriodicTorsionForce


class Peptide(Molecule):
    """A molecule built from its sequence and minimised.

    Args:
        sequence: one-letter codes, with the caps ACE- and -NME where wanted; see build.
        forcefield, temperature_kelvin, basins, workers, residue: see Molecule; residues are numbered from 1, the cap
            included.

    >>> Peptide("ACE-A-NME", ["amber96.xml", "amber96_obc.xml"], 300.0).size
    66
    """

    def __init__(
        self,
        sequence: str,
        forcefield: list[str] | str,
        temperature_kelvin: PositiveFloat,
        basins: dict[str, dict[str, list[float]]] | None = None,
        workers: Parallel | None = None,
        residue: int | None = None,
    ):
        topology, x = build(sequence, forcefield)
        self._assemble(
            topology,
            x[None],
            parametrise(topology, paths(forcefield), None, sequence),
            temperature_kelvin,
            basins,
            workers,
            residue,
        )


def build(
    sequence: str, forcefield: list[str] | str, phi_degrees: float = -120.0, psi_degrees: float = 140.0
) -> tuple[app.Topology, np.ndarray]:
    """Topology and positions in nm, (n_atoms, 3), of a peptide whose energy is minimised from one backbone
    conformation.

    Residues are L and trans; D, E, K, R and ends without a cap are charged, H is neutral (hydrogen on NE2), C is
    reduced. The same input gives the same structure, bit by bit. Without implicit solvent in the files, charges pull
    the structure together.

    Args:
        sequence: one-letter codes, with the caps ACE- in front and -NME behind where wanted.
        forcefield: OpenMM force-field files with Amber's residue templates, or with patches for charged ends, as
            charmm36.xml has them; caps are residues.
        phi_degrees: φ of every residue before minimisation; proline's is fixed by its ring.
        psi_degrees: ψ of every residue before minimisation.

    Raises:
        InputError: an empty sequence, an unknown letter, force-field files that cannot be read or lack a residue.

    >>> topology, x = build("ACE-A-NME", ["amber14/protein.ff14SB.xml", "implicit/obc2.xml"])
    >>> [residue.name for residue in topology.residues()], x.shape
    (['ACE', 'ALA', 'NME'], (22, 3))
    """
    names, templates = _residues(sequence)
    forcefield = paths(forcefield)
    try:
        field = force_field(forcefield)
        # Patched caps are no residues.
        own = set(templates) <= set(field._templates) or not field._patches or {"ACE", "NME"} & set(templates)
        topology = _topology(names, templates, field if own else force_field([NAMED]))
        system = field.createSystem(topology, nonbondedMethod=app.NoCutoff, rigidWater=False, removeCMMotion=False)
    except InputError:
        raise
    except Exception as reason:
        raise InputError(
            f"forcefield: expected OpenMM force-field files for {sequence!r}; {forcefield} fails with: {reason}"
        ) from reason
    return topology, _minimise(topology, system, _place(topology, {"CA": phi_degrees, "C": psi_degrees, "CB": -65.0}))


def _residues(sequence: str) -> tuple[list[str], list[str]]:
    """Names of the residues, caps included, and of their templates."""
    letters = sequence.removeprefix("ACE-").removesuffix("-NME")
    unknown = sorted(set(letters) - set(LETTERS))
    if unknown or not letters:
        found = f"unknown {' '.join(map(repr, unknown))}" if unknown else "no residue"
        raise InputError(
            f"sequence: expected letters of {''.join(LETTERS)}, between ACE- and -NME if capped; found {found} in"
            f" {sequence!r}"
        )
    names = [LETTERS[letter] for letter in letters]
    templates = ["HIE" if name == "HIS" else name for name in names]
    if sequence.startswith("ACE-"):
        names, templates = ["ACE", *names], ["ACE", *templates]
    else:
        templates[0] = "N" + templates[0]
    if sequence.endswith("-NME"):
        names, templates = [*names, "NME"], [*templates, "NME"]
    else:
        templates[-1] = "C" + templates[-1]
    return names, templates


def _topology(names: list[str], templates: list[str], field: app.ForceField) -> app.Topology:
    missing = sorted(set(templates) - set(field._templates))
    if missing:
        raise LookupError(f"no residue template {', '.join(missing)}")
    topology = app.Topology()
    chain = topology.addChain()
    tail = None
    for name, template in zip(names, (field._templates[key] for key in templates), strict=True):
        residue = topology.addResidue(name, chain)
        atoms = [topology.addAtom(atom.name, atom.element, residue) for atom in template.atoms]
        for i, j in template.bonds:
            topology.addBond(atoms[i], atoms[j])
        named = {atom.name: atom for atom in atoms}
        if tail is not None:
            topology.addBond(tail, named["N"])
        tail = named.get("C")
    return topology


def _place(topology: app.Topology, backbone: dict[str, float]) -> np.ndarray:
    """Positions along the tree of bonds, atom by atom: rough lengths and angles, right torsions and chirality."""
    atoms = list(topology.atoms())
    bonded = [set() for _ in atoms]
    for one, other in topology.bonds():
        bonded[one.index].add(other.index)
        bonded[other.index].add(one.index)
    root = next(i for i, near in enumerate(bonded) if len(near) == 1)
    (second,) = bonded[root]
    x = np.zeros((len(atoms) + 1, 3))  # There is one point more, from which the first torsion counts.
    x[second], x[-1] = (0.1, 0.0, 0.0), (0.0, 0.1, 0.0)
    placed, bonds = {root, second}, [(-1, root, second)]
    for above, near, here in bonds:  # The list grows while it is walked.
        atom, name = atoms[here], atoms[here].residue.name
        # Proline's ring is opened at N-CD, so that it grows from CA like any other side chain.
        branches = [atoms[i] for i in bonded[here] - placed if (atom.name, atoms[i].name) != ("N", "CD")]
        branches.sort(key=lambda branch: (branch.element is app.element.hydrogen, branch.name))
        flat = len(bonded[here]) == 3
        # In the order of their names the branches go clockwise, seen from the atom before; but for CA of L residues and
        # CB of isoleucine.
        turn = (
            180.0
            if flat
            else -120.0
            if "CB" in [branch.name for branch in branches] or (name, atom.name) == ("ILE", "CB")
            else 120.0
        )
        torsion = (backbone | TORSIONS.get(name, {})).get(atom.name, 180.0)
        for k, branch in enumerate(branches):
            length = 0.1 if branch.element is app.element.hydrogen else 0.15
            angle = 120.0 if flat else 109.5
            x[branch.index] = _attach(x[above], x[near], x[here], length, *np.deg2rad([angle, torsion + k * turn]))
            bonds.append((near, here, branch.index))
        placed.update(branch.index for branch in branches)
    return x[:-1]


def _attach(a: np.ndarray, b: np.ndarray, c: np.ndarray, length: float, angle: float, torsion: float) -> np.ndarray:
    """The point d at the given length of c-d, angle b-c-d and torsion a-b-c-d."""
    axis = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, axis)
    normal /= np.linalg.norm(normal)
    across = np.cos(torsion) * np.cross(normal, axis) + np.sin(torsion) * normal
    return c + length * (np.sin(angle) * across - np.cos(angle) * axis)


def _minimise(topology: app.Topology, system: openmm.System, x: np.ndarray) -> np.ndarray:
    """Bonded terms close the rings and mend the geometry while soft spheres push clashes apart; then the force field as
    it is.
    """
    for force in system.getForces():
        force.setForceGroup(0 if isinstance(force, BONDED) else 1)
    # Without them a helix may start with side chains in one another, which ends in an inverted centre now and then.
    soft = openmm.CustomNonbondedForce("10000 * max(0, radius1 + radius2 - r)^2")
    soft.addPerParticleParameter("radius")
    for atom in topology.atoms():
        soft.addParticle([0.1 if atom.element is app.element.hydrogen else 0.15])
    soft.createExclusionsFromBonds([(one.index, other.index) for one, other in topology.bonds()], 3)
    soft.setForceGroup(2)
    system.addForce(soft)
    integrator = openmm.VerletIntegrator(0.001)
    # The Reference platform sums in a fixed order and in double precision.
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(x)
    for groups in ({0, 2}, {0, 1}):
        integrator.setIntegrationForceGroups(groups)
        openmm.LocalEnergyMinimizer.minimize(context)
    return context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
