"""Balls and sticks: a molecule as a chemist draws it, in the plane of a picture."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgb
from matplotlib.patches import Circle, Patch, Polygon

from predcg.systems import Molecule

# After Corey, Pauling and Koltun; carbon darker than its usual grey is lighter on paper.
COLOURS = {"H": "#f4f4f4", "C": "#6b6b6b", "N": "#3457d5", "O": "#d62a2a", "S": "#e3b92f", "P": "#e8822a"}
BALL, STICK = 0.25, 0.0125  # A ball has this share of the van der Waals radius; a stick is so many nm wide.
EXTENT = 0.05  # The largest ball reaches so many nm.
FOG = 0.5  # So far the farthest atom fades to white.
LIGHT = np.array([-0.35, 0.4])  # Here on a ball is the highlight, in its radii.
# Shades from rim to highlight: darker below 0, lighter above.
SHADES = np.interp(np.linspace(0, 1, 9), [0, 0.35, 1], [-0.35, 0.0, 0.7])


def draw_molecule(axes: Axes, molecule: Molecule, r: np.ndarray, shown: list[int], depth: tuple[float, float]) -> None:
    """Draw atoms and bonds on equal axes in nm, the nearest last.

    Args:
        r: positions in nm, (atoms, 3); the third coordinate points to the eye.
        shown: indices of the atoms to be drawn.
        depth: farthest and nearest third coordinate, faded most and not at all.
    """
    radius = [BALL * atom.element.radius for atom in molecule.topology.atoms]
    base = [np.array(to_rgb(COLOURS.get(atom.element.symbol, "#c77dcc"))) for atom in molecule.topology.atoms]
    pieces = [(r[i, 2], _ball(r[i], radius[i]), base[i]) for i in shown]
    for i, j in ((a.index, b.index) for a, b in molecule.topology.bonds if {a.index, b.index} <= set(shown)):
        along = (r[j] - r[i]) / np.linalg.norm(r[j] - r[i])
        middle = 0.5 * (r[i] + radius[i] * along + r[j] - radius[j] * along)
        for atom, sign in ((i, 1), (j, -1)):
            # A stick begins on the ball, so that one towards the eye lies over it.
            start = r[atom] + sign * 0.9 * radius[atom] * along
            pieces.append((0.5 * (start + middle)[2], _stick(start, middle), base[atom]))
    patches, colours = [], []
    for z, piece, colour in sorted(pieces, key=lambda piece: piece[0]):
        fog = FOG * (depth[1] - z) / (depth[1] - depth[0])
        for patch, shade in piece:
            lit = colour * (1 + min(shade, 0)) + (1 - colour) * max(shade, 0)
            patches.append(patch)
            colours.append(lit + (1 - lit) * fog)
    axes.add_collection(PatchCollection(patches, facecolors=colours, linewidths=0))


def _ball(centre: np.ndarray, radius: float) -> Iterator[tuple[Patch, float]]:
    """Circles from rim to highlight, each with its shade."""
    yield Circle(centre[:2], radius), -0.75
    for part, shade in zip(np.linspace(0, 0.95, len(SHADES)), SHADES, strict=True):
        yield Circle(centre[:2] + part * radius * LIGHT, 0.93 * radius * (1 - part)), shade


def _stick(start: np.ndarray, end: np.ndarray) -> Iterator[tuple[Patch, float]]:
    """Rectangles from rim to highlight, each with its shade."""
    start, end = start[:2], end[:2]
    along = end - start
    side = STICK * np.array([-along[1], along[0]]) / max(np.linalg.norm(along), 1e-9)
    for width, shade in ((1.25, -0.75), (1.0, -0.25), (0.7, 0.0), (0.3, 0.35)):
        yield Polygon([start + width * side, end + width * side, end - width * side, start - width * side]), shade
