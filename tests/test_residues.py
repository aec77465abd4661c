"""Every residue under every protein force field and implicit solvent that ships with OpenMM, term by term against its
Reference platform.
"""

from functools import cache
from pathlib import Path

import numpy as np
import openmm
import pytest
from conftest import approach, check
from openmm import app, unit

from predcg.errors import InputError
from predcg.systems import Peptide
from predcg.systems.forcefield import Batched
from predcg.systems.peptide import LETTERS, _minimise, _place, _topology
from predcg.systems.structure import parametrise

DATA = Path(app.__file__).parent / "data"
FF14SB = "amber14/protein.ff14SB.xml"
REFUSED = {"amoeba2009.xml", "amoeba2013.xml", "amoeba2018.xml"}
SHIPPED = sorted(
    str(file.relative_to(DATA))
    for file in DATA.rglob("*.xml")
    if "Test" not in file.name
    and file.read_text().startswith("<ForceField")
    and all(f'<Residue name="{name}"' in file.read_text() for name in ("ACE", "ALA", "NME"))
)
FIELDS = [name for name in SHIPPED if name not in REFUSED]
SOLVENTS = sorted(str(file.relative_to(DATA)) for file in (DATA / "implicit").glob("*.xml"))
OWN = {
    "amber96": "amber96_obc.xml",
    "amber99": "amber99_obc.xml",
    "amber03": "amber03_obc.xml",
    "amber10": "amber10_obc.xml",
}

RESIDUES = [name for name in LETTERS.values() if name != "HIS"] + ["HID", "HIE", "HIP"]
MOLECULES = {name: ["ACE", name, "NME"] for name in RESIDUES} | {
    "disulfide": ["ACE", "CYX", "GLY", "GLY", "CYX", "NME"],
    "charged": ["NLYS", "ASP", "HIP", "ARG", "GLU", "CASP"],
    # Every element, and every residue that implicit solvents treat as a kind of its own.
    "kinds": ["ACE", "CYS", "MET", "ARG", "ASP", "NME"],
    "all": ["ACE", *RESIDUES, "NME"],
}


def solvents(field: str) -> list[tuple[str, ...]]:
    own = [(solvent,) for family, solvent in OWN.items() if field.startswith(family)]
    return [(), *own, *((solvent,) for solvent in SOLVENTS)]


@cache
def frames(molecule: str) -> tuple[app.Topology, np.ndarray]:
    """Topology and frames, (4, D): thermal, shaken by 0.01 and 0.02 nm, and with two atoms 0.03 nm apart, a sulphur
    where there is one.
    """
    templates = MOLECULES[molecule]
    names = [{"HI": "HIS", "CY": "CYS"}.get(name[:2], name[-3:]) if len(name) == 3 else name[1:] for name in templates]
    field = app.ForceField(FF14SB)
    topology = _topology(names, templates, field)
    bridge = [atom for atom in topology.atoms() if atom.name == "SG"] if molecule == "disulfide" else []
    if bridge:
        topology.addBond(*bridge)
    system = field.createSystem(topology, rigidWater=False)
    x = _minimise(topology, system, _place(topology, {"CA": -120.0, "C": 140.0, "CB": -65.0}))
    system.removeForce(system.getNumForces() - 1)  # the minimisation's own
    integrator, random = openmm.LangevinMiddleIntegrator(300.0, 5.0, 0.0005), np.random.default_rng(0)
    integrator.setRandomNumberSeed(1)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(x)
    context.setVelocitiesToTemperature(300.0, 1)
    integrator.step(300)
    thermal = context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer).reshape(-1)
    shaken = [thermal + width * random.standard_normal(thermal.shape) for width in (0.01, 0.02)]
    sulphur = next((atom.index for atom in topology.atoms() if atom.element is app.element.sulfur), len(x) // 2)
    return topology, np.array([thermal, *shaken, approach(thermal, sulphur, 0, 0.03)])


def compare(molecule: str, *files: str) -> None:
    topology, x = frames(molecule)
    check(parametrise(topology, list(files), None, molecule), x)


@pytest.mark.parametrize("field", FIELDS)
def test_every_residue_has_the_terms_of_openmm(field):
    compare("all", field)


@pytest.mark.parametrize("molecule", ["disulfide", "charged"])
def test_disulfides_and_free_ends_have_the_terms_of_openmm(molecule):
    compare(molecule, FF14SB, "implicit/gbn2.xml")


@pytest.mark.parametrize("solvent", [*SOLVENTS, *OWN.values()])
def test_every_solvent_has_the_terms_of_openmm(solvent):
    compare(
        "kinds",
        next(
            (f"{family}.xml" for family, own in OWN.items() if own == solvent and family != "amber99"), "amber99sb.xml"
        ),
        solvent,
    )


@pytest.mark.slow
@pytest.mark.parametrize("field", FIELDS)
def test_every_residue_in_every_solvent_has_the_terms_of_openmm(field):
    for solvent in solvents(field):
        for molecule in MOLECULES.keys() - {"all"}:
            compare(molecule, field, *solvent)


def test_all_that_ships_is_translated_or_refused_by_name():
    assert REFUSED <= set(SHIPPED) and len(FIELDS) >= 10 and len(SOLVENTS) >= 5
    for field in sorted(REFUSED):
        topology, _ = frames("ALA")
        with pytest.raises(
            InputError, match="system.forcefield: the batched form has no .*; use OpenMM itself with system.workers=2$"
        ):
            Batched(parametrise(topology, [field], None, "ALA"))


def test_an_end_that_no_patch_makes_is_named():
    topology, _ = frames("kinds")
    with pytest.raises(
        InputError,
        match=r"has residues whose atoms \['charmm36.xml'\] does not know: ACE \S+ \([^)]*\); mend the atoms",
    ):
        parametrise(topology, ["charmm36.xml"], None, "kinds")


@pytest.mark.parametrize("letter", "CM")
def test_peptides_with_sulphur_start_at_finite_energies(letter):
    peptide = Peptide(f"ACE-{letter}-NME", [FF14SB, "implicit/gbn2.xml"], 300.0)
    assert peptide(peptide.start(1)).isfinite().all()
