"""Bond lengths of configurations against the force field's: the one test of unit, order of atoms and periodic box."""

import logging
from itertools import product

import mdtraj
import numpy as np

from predcg.errors import InputError
from predcg.systems.atoms import neighbours
from predcg.systems.particles import bonds
from predcg.systems.system import System

log = logging.getLogger(__name__)
# A bond may be off by this share of its length and so many thermal widths √(kT/k) more: hot dynamics and crystals are
# far within; our choice.
SHARE, WIDTHS = 0.3, 6.0
# A box has at least so much room for an atom: solids have more, and the 1 Å of a PDB without a box is none; our choice.
SPACE_NM3 = 0.005
# The nearest neighbour of an atom of any molecule is between these, from hydrogen to disulfide; our choice.
NEAREST_NM = 0.07, 0.25


def lengths(system: System) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of atoms, (n, 2), their equilibrium length and how far off it they may be, (n,), nm, from harmonic bonds;
    empty without a molecule.
    """
    known = bonds(system.openmm_system) if hasattr(system, "openmm_system") else {}
    found = {tuple(sorted(pair)): (length, k) for pair, (length, k) in known.items() if length > 0 and k > 0}
    rest, k = np.array(list(found.values())).reshape(-1, 2).T
    return np.array(list(found), dtype=np.int32).reshape(-1, 2), rest, SHARE * rest + WIDTHS * np.sqrt(system.kt / k)


def whole(system: System, x: np.ndarray, box: np.ndarray | None, name: str) -> np.ndarray:
    """The configurations, (N, D), as they are without a periodic box, (N, 3, 3) in nm, which energies do not know: a
    molecule that it has torn is made whole, several are put together, each with a line that says so; others as they
    are.
    """
    if (
        box is None
        or getattr(system, "topology", None) is None
        or not (np.abs(np.linalg.det(box)) > SPACE_NM3 * x.shape[-1] / 3).all()
    ):
        return x
    return _together(system, _mended(system, x, box, name), box, name)


def _mended(system: System, x: np.ndarray, box: np.ndarray, name: str) -> np.ndarray:
    pairs, rest, far = lengths(system)
    torn = (np.abs(_distances(x, pairs) - rest) > far).any(-1)
    if not torn.any():
        return x
    frames = mdtraj.Trajectory(x[torn].reshape(torn.sum(), -1, 3), system.topology)
    frames.unitcell_vectors = box[torn]
    x = x.copy()
    x[torn] = frames.make_molecules_whole(sorted_bonds=_outward(pairs)).xyz.reshape(-1, x.shape[-1])
    mended = int((torn & (np.abs(_distances(x, pairs) - rest) <= far).all(-1)).sum())
    if mended:
        log.info(
            "bonds: the periodic box had torn the molecule in %d of %d frames of %s: made whole", mended, len(x), name
        )
    return x


def _together(system: System, x: np.ndarray, box: np.ndarray, name: str) -> np.ndarray:
    """Every molecule in that image whose centre is nearest to the largest one's."""
    molecules = system.topology.find_molecules() if system.topology.n_bonds else [set(system.topology.atoms)]
    first, *others = ([atom.index for atom in molecule] for molecule in sorted(molecules, key=len, reverse=True))
    r, near = x.reshape(len(x), -1, 3).copy(), np.array(list(product((-1, 0, 1), repeat=3))) @ box
    moved = np.zeros(len(x), dtype=bool)
    for atoms in others:
        apart = r[:, atoms].mean(1) - r[:, first].mean(1)
        # Rounding gives the nearest image; in a skewed box one beside it may be nearer.
        shifts = near - (np.rint(apart[:, None] @ np.linalg.inv(box)) @ box)
        shift = shifts[np.arange(len(x)), np.linalg.norm(apart[:, None] + shifts, axis=-1).argmin(-1)]
        r[:, atoms] += shift[:, None]
        moved |= np.abs(shift).max(-1) > 0
    if moved.any():
        log.info(
            "images: the periodic box had parted molecules in %d of %d frames of %s: put next to the largest",
            moved.sum(),
            len(x),
            name,
        )
    return r.reshape(x.shape)


def check_bonds(system: System, x: np.ndarray, name: str, argument: str, stride: int = 1) -> None:
    """Raise InputError on a configuration, (N, D) in nm, with a bond far off the force field's length: its frame, the
    bond, both lengths, and a guess why.
    """
    pairs, rest, far = lengths(system)
    found = _distances(x, pairs)
    off = np.abs(found - rest) > far
    if not off.any():
        return
    frame = int(off.any(-1).argmax())
    bond = int((np.abs(found[frame] - rest) / far).argmax())
    one, other = (system.topology.atom(int(i)) for i in pairs[bond])
    raise InputError(
        f"{argument}: expected bonds as in the force field; in frame {frame * stride} of {name} {one} to {other} has"
        f" {found[frame, bond]:.4g} nm where {rest[bond]:.4g} nm belong ({int(off.any(-1).sum())} of {len(x)} frames);"
        f" {_guess(x[frame], found[frame], rest, off[frame])}"
    )


def _guess(x: np.ndarray, found: np.ndarray, rest: np.ndarray, off: np.ndarray) -> str:
    ratio = np.median(found / rest)
    if 7 < ratio < 14:
        return "all lengths are some 10 times too large: is the unit angstrom?"
    if 0.07 < ratio < 0.14:
        return "all lengths are some 10 times too small: is the unit nanometer?"
    if (off & (found < rest)).sum() == 0 and off.mean() < 0.5 and found[off].min() > 0.4:
        return (
            "is it torn by a periodic box that the file does not hold? make it whole, as `gmx trjconv -pbc whole` or"
            " cpptraj's `autoimage` do"
        )
    r = x.reshape(-1, 3)
    apart = np.linalg.norm(r[:, None] - r, axis=-1) + 99 * np.eye(len(r))
    if ((apart.min(0) > NEAREST_NM[0]) & (apart.min(0) < NEAREST_NM[1])).all():
        return "all atoms lie where atoms of a molecule can: are they in another order than in the system?"
    return "check order of atoms, unit and periodic box, or leave this frame out"


def _distances(x: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Distances of pairs of atoms, (N, n)."""
    if not len(pairs):  # Such coordinates need not be those of atoms.
        return np.zeros((len(x), 0))
    r = x.reshape(len(x), -1, 3)
    return np.linalg.norm(r[:, pairs[:, 0]] - r[:, pairs[:, 1]], axis=-1)


def _outward(pairs: np.ndarray) -> np.ndarray:
    """The bonds by which each atom is first reached, each piece from its first atom outwards, (m, 2)."""
    near = neighbours(pairs.tolist())
    seen, tree = set(), []
    for root in near:
        reached = [root] if root not in seen else []
        seen.add(root)
        for i in reached:  # The list grows while it is read, breadth first.
            for j in near[i]:
                if j not in seen:
                    seen.add(j)
                    reached.append(j)
                    tree.append((i, j))
    return np.array(tree, dtype=np.int32)
