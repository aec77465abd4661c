"""Molecules themselves: the structures that the decoder draws along a collective variable, and how far each atom
spreads around them.
"""

import numpy as np
import torch
from matplotlib.figure import Figure

from predcg.figures.balls import EXTENT, draw_molecule
from predcg.figures.runs import needs
from predcg.figures.style import BASINS, DATA, MODEL, new
from predcg.measures.runs import states, variables
from predcg.measures.structures import largest_bond_error, methyl_hydrogens, posed, spreads
from predcg.results import Run
from predcg.systems import Molecule

STOPS = 8  # z1 is -3.5, -2.5, ... 3.5, as in Schöberl et al. 2019.
WIDTH_INCH = 12.0


@needs(Molecule, "training", "data", "variables", each=True)
def structure_strip(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Decoded means at eight values of z1 from -3.5 to 3.5, the others at 0, superposed on the backbone and seen from
    their broadest side.

    Hydrogens that three share one atom are left out: their mean over free rotation lies on the axis of rotation.
    Numbers: the largest deviation of a bond between heavy atoms from its mean in the training frames, over all
    structures, in nm; how many basins of the system the structures are in, where there are several.
    """
    run, molecule = runs[0], runs[0].system
    z = torch.zeros(STOPS, variables(run))
    z[:, 0] = torch.linspace(-3.5, 3.5, STOPS)
    with torch.no_grad():
        x = run.model.decode(z)
    label = molecule.label(x).tolist()
    rotor = methyl_hydrogens(molecule)
    shown = [atom for atom, rotates in enumerate(rotor) if not rotates]
    r = posed(x, molecule, shown)
    low, high = r[:, shown].amin((0, 1)).numpy() - EXTENT, r[:, shown].amax((0, 1)).numpy() + EXTENT
    cell = 1.08 * (high - low)[0]
    line = 0.19 * cell * STOPS / WIDTH_INCH  # So many nm are a line of text.
    bottom, top = low[1] - 4.3 * line, high[1] + 1.5 * line
    figure, (axes,) = new(width=WIDTH_INCH, height=WIDTH_INCH * (top - bottom) / cell / STOPS + 0.3)
    for stop, positions in enumerate(r.numpy()):
        middle = (stop + 0.5) * cell
        draw_molecule(axes, molecule, positions + [middle - 0.5 * (low + high)[0], 0, 0], shown, (low[2], high[2]))
        axes.text(middle, high[1] + 0.3 * line, f"z1 = {z[stop, 0]:.1f}".replace("-", "−"), ha="center")
        if molecule.backbone is not None:
            phi, psi = molecule.backbone(x[stop]).rad2deg().tolist()
            axes.text(middle, low[1] - 1.3 * line, f"φ {phi:.0f}°  ψ {psi:.0f}°".replace("-", "−"), ha="center")
        if label[stop] >= 0:
            axes.text(
                middle,
                low[1] - 2.6 * line,
                molecule.basins[label[stop]],
                ha="center",
                weight="bold",
                color=BASINS[label[stop] % len(BASINS)],
            )
    axes.plot(
        [0.15 * cell, 0.15 * cell + 0.2], [low[1] - 3.7 * line] * 2, color="black", linewidth=2, solid_capstyle="butt"
    )
    axes.text(0.2 * cell + 0.2, low[1] - 3.7 * line, "0.2 nm", va="center")
    axes.set(
        xlim=(0, STOPS * cell),
        ylim=(bottom, top),
        aspect="equal",
        title="decoded means along z1, others 0; hydrogens of methyl groups are left out",
    )
    axes.axis("off")
    return figure, {"strip_heavy_bond_error_nm": largest_bond_error(run, x)} | (
        {"basins_in_strip": len(set(label) - {-1})} if states(molecule) else {}
    )


@needs(Molecule, "training", each=True)
def atom_spread(runs: list[Run], draws: int = 2000) -> tuple[Figure, dict[str, float]]:
    """The model's own standard deviation of every atom around the decoded mean, per coordinate, over z ~ p(z) and x ~
    p(x|z).

    σ_i = √⟨(x_i - decode(z)_i)²⟩, over the coordinates of atom i that the molecule's frame leaves free.
    Numbers: mean σ in nm of all free atoms but the hydrogens that three share one atom; where there are such hydrogens,
    their mean σ and its ratio to the former.
    """
    run, topology = runs[0], runs[0].system.topology
    spread, rotor, numbers = spreads(run, draws)
    figure, (axes,) = new(width=max(4.5, 0.19 * len(spread) + 1), height=3.2)
    for these, colour, text in ((rotor, MODEL, "methyl hydrogens"), (~rotor, DATA, "all other atoms")):
        axes.bar(these.nonzero().flatten().numpy(), spread[these].numpy(), width=0.75, color=colour, label=text)
    for atom in (spread == 0).nonzero().flatten().tolist():
        axes.text(atom, 0, " fixed by the frame", rotation=90, ha="center", va="bottom", fontsize=7, color="#666666")
    axes.set_xticks(range(len(spread)), [atom.name for atom in topology.atoms], rotation=90, fontsize=8)
    axes.tick_params(axis="x", length=0)
    residues = axes.secondary_xaxis(-0.14)
    residues.set_xticks(
        [np.mean([atom.index for atom in residue.atoms]) for residue in topology.residues],
        [str(residue) for residue in topology.residues],
    )
    residues.tick_params(length=0)
    residues.spines["bottom"].set_visible(False)
    axes.set(ylabel="σ around the decoded mean (nm)", xlim=(-0.7, len(spread) - 0.3))
    figure.legend(loc="outside upper center", ncols=2)
    return figure, numbers
