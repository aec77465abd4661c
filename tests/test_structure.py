"""Files that a molecule is made of: those that can be used give the same molecule, any other gets one line with what to
do.
"""

from pathlib import Path

import mdtraj
import numpy as np
import openmm
import pytest
import torch
from openmm import app, unit

from predcg.config import compose
from predcg.errors import InputError
from predcg.parts import build
from predcg.systems import Molecule, Peptide

FIELD = ["amber96.xml", "amber96_obc.xml"]
PDB = (
    "HETATM    1  O   HOH A   1       0.000   0.000   0.000  1.00  0.00           O\nHETATM    2  H1  HOH A   1      "
    " 0.990   0.000   0.000  1.00  0.00           H\nHETATM    3  H2  HOH A   1      -0.240   0.927   0.000  1.00  0.00"
    "           H\nEND\n"
)
# Three-site water as AMBER writes it (ambermd.org/prmtop.pdf): kcal/mol, Å, charges times 18.2223; the oxygen alone has
# a radius.
WATER = {
    "TITLE": ["water"],
    "POINTERS": [3, 2, 2, 0, 1, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 1, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0],
    "ATOM_NAME": ["O", "H1", "H2"],
    "CHARGE": [-15.19740, 7.59870, 7.59870],
    "ATOMIC_NUMBER": [8, 1, 1],
    "MASS": [16.0, 1.008, 1.008],
    "ATOM_TYPE_INDEX": [1, 2, 2],
    "NUMBER_EXCLUDED_ATOMS": [2, 1, 1],
    "NONBONDED_PARM_INDEX": [1, 2, 2, 3],
    "RESIDUE_LABEL": ["HOH"],
    "RESIDUE_POINTER": [1],
    "BOND_FORCE_CONSTANT": [553.0],
    "BOND_EQUIL_VALUE": [0.9572],
    "ANGLE_FORCE_CONSTANT": [100.0],
    "ANGLE_EQUIL_VALUE": [1.82421813],
    "DIHEDRAL_FORCE_CONSTANT": [],
    "DIHEDRAL_PERIODICITY": [],
    "DIHEDRAL_PHASE": [],
    "SCEE_SCALE_FACTOR": [],
    "SCNB_SCALE_FACTOR": [],
    "LENNARD_JONES_ACOEF": [581935.564, 0.0, 0.0],
    "LENNARD_JONES_BCOEF": [594.825035, 0.0, 0.0],
    "BONDS_INC_HYDROGEN": [0, 3, 1, 0, 6, 1],
    "BONDS_WITHOUT_HYDROGEN": [],
    "ANGLES_INC_HYDROGEN": [3, 0, 6, 1],
    "ANGLES_WITHOUT_HYDROGEN": [],
    "DIHEDRALS_INC_HYDROGEN": [],
    "DIHEDRALS_WITHOUT_HYDROGEN": [],
    "EXCLUDED_ATOMS_LIST": [2, 3, 3, 0],
    "HBOND_ACOEF": [],
    "HBOND_BCOEF": [],
    "AMBER_ATOM_TYPE": ["OW", "HW", "HW"],
    "RADII": [1.5, 0.8, 0.8],
    "SCREEN": [0.85, 0.85, 0.85],
}


def prmtop(sections):
    """A file of AMBER's: names of 4 columns, whole numbers of 8, others of 16."""
    lines = ["%VERSION  VERSION_STAMP = V0001.000  DATE = 01/01/00  00:00:00"]
    for name, values in sections.items():
        kind = (
            "20a4" if not values or isinstance(values[0], str) else "10I8" if isinstance(values[0], int) else "5E16.8"
        )
        shown = {"20a4": "{:4}", "10I8": "{:8d}", "5E16.8": "{:16.8E}"}[kind]
        per = int(kind.partition("a")[0]) if "a" in kind else int(kind[: kind.find("I" if "I" in kind else "E")])
        rows = [values[i : i + per] for i in range(0, len(values), per)] or [[]]
        lines += [f"%FLAG {name}", f"%FORMAT({kind})", *("".join(map(shown.format, row)) for row in rows)]
    return "\n".join(lines) + "\n"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()


@pytest.mark.parametrize("suffix", ["prmtop", "parm7"])
def test_an_amber_topology_by_either_name(suffix):
    Path("a.pdb").write_text(PDB)
    Path(f"a.{suffix}").write_text(prmtop(WATER))
    molecule = Molecule("a.pdb", [f"a.{suffix}"], 300.0)
    o, one, other = np.array([[0.0, 0.0, 0.0], [0.99, 0.0, 0.0], [-0.24, 0.927, 0.0]])
    bonds = sum(553.0 * (np.linalg.norm(h - o) - 0.9572) ** 2 for h in (one, other))
    angle = np.arccos(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
    expected = bonds + 100.0 * (angle - 1.82421813) ** 2  # kcal/mol; all pairs are excluded
    assert float(molecule(molecule.start(1).double())) * molecule.kt == pytest.approx(4.184 * expected, rel=1e-5)
    with pytest.raises(InputError, match=rf"'a.{suffix}' holds all forces and stands alone"):
        Molecule("a.pdb", [f"a.{suffix}", "amber96_obc.xml"], 300.0)
    with pytest.raises(
        InputError,
        match=rf"system.pdb: expected a PDB or mmCIF file; found 'a.{suffix}'; it has no coordinates.*ambpdb",
    ):
        Molecule(f"a.{suffix}", [f"a.{suffix}"], 300.0)


@pytest.mark.parametrize("suffix", ["pdb", "cif", "mmcif"])
@pytest.mark.parametrize("folder", ["", "~/"])
def test_a_structure_in_any_format_and_from_home_is_the_same_molecule(suffix, folder, ala2):
    topology, x = ala2.topology.to_openmm(), ala2.models[0].view(-1, 3).numpy() * unit.nanometer
    with Path(f"{folder}a.{suffix}").expanduser().open("w") as file:
        (app.PDBFile if suffix == "pdb" else app.PDBxFile).writeFile(topology, x, file)
    Path(f"{folder}system.xml").expanduser().write_text(openmm.XmlSerializer.serialize(ala2.openmm_system))
    for field in (FIELD, f"{folder}system.xml"):
        molecule = Molecule(f"{folder}a.{suffix}", field, 330.0)
        assert molecule.topology.n_bonds == 21 and torch.allclose(molecule.start(1), ala2.start(1), atol=1e-4)
        assert torch.allclose(molecule(ala2.models.double()), ala2(ala2.models.double()), rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("a.gro", "gmx editconf -f a.gro -o a.pdb"),
        ("a.rst7", "ambpdb -p <prmtop> -c a.rst7 > a.pdb"),
        ("a.inpcrd", "ambpdb -p <prmtop> -c a.inpcrd > a.pdb"),
        ("a.dcd", "frames are for acquisition.path"),
        ("state.xml", "app.PDBFile.writeFile"),
    ],
)
def test_other_structures_get_one_line_with_the_way_to_a_pdb(name, cure):
    Path(name).touch()
    with pytest.raises(InputError, match=f"system.pdb: expected a PDB or mmCIF file; found '{name}'; .*{cure}"):
        Molecule(name, FIELD, 300.0)


def test_structures_that_cannot_be_read_say_why():
    for content, why in (
        ("", "there is no atom in it"),
        ("hello\n", "there is no atom in it"),
        (PDB.replace(" 0.990", " x.990"), "it fails with"),
    ):
        Path("a.pdb").write_text(content)
        with pytest.raises(
            InputError, match=f"system.pdb: expected a readable PDB or mmCIF file; found 'a.pdb'; {why}"
        ):
            Molecule("a.pdb", FIELD, 300.0)
    model = PDB.replace("END\n", "")
    Path("a.pdb").write_text(
        "".join(
            f"MODEL        {i + 1}\n{part}ENDMDL\n" for i, part in enumerate((model, model[: model.rindex("HETATM")]))
        )
        + "END\n"
    )
    with pytest.raises(
        InputError, match="system.pdb: expected models of the same atoms; those of 'a.pdb' have 2, 3 atoms"
    ):
        Molecule("a.pdb", FIELD, 300.0)


def test_an_xml_without_forces_is_told_by_what_it_is(ala2):
    context = openmm.Context(
        ala2.openmm_system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(ala2.models[0].view(-1, 3).double().numpy())
    Path("state.xml").write_text(openmm.XmlSerializer.serialize(context.getState(positions=True)))
    Path("system.xml").write_text(openmm.XmlSerializer.serialize(ala2.openmm_system))
    Path("other.xml").write_text("<html></html>")
    for files, told in (
        ("state.xml", "'state.xml' is a <State>, which holds no forces; serialise the System itself"),
        (["amber96.xml", "other.xml"], "'other.xml' is a <html>"),
        (["amber96.xml", "system.xml"], "'system.xml' holds all forces and stands alone"),
        ([], "found an empty list"),
    ):
        with pytest.raises(InputError, match=f"system.forcefield: .*{told}"):
            Molecule("ala2.pdb", files, 300.0)


def test_one_force_field_needs_no_list():
    assert (
        Molecule("ala2.pdb", "amber96.xml", 300.0).fingerprint()
        == Molecule("ala2.pdb", ["amber96.xml"], 300.0).fingerprint()
    )
    assert Molecule("ala2.pdb", Path("amber96.xml"), 300.0).size == 66
    assert (
        Peptide("ACE-G-NME", "amber96.xml", 300.0).fingerprint()
        == Peptide("ACE-G-NME", ["amber96.xml"], 300.0).fingerprint()
    )


def test_one_text_is_a_list_of_one_in_every_configuration():
    one = [
        "system.forcefield=amber96.xml",
        "figures=training",
        "tags=mine",
        "encoder.hidden=[4]",
        "encoder.activations=Tanh",
    ]
    cfg = compose(["experiment=ala2/forward_kl", "decoder=molecule", *one])
    assert (cfg.figures, cfg.tags, cfg.encoder.activations) == (["training"], ["mine"], ["Tanh"])
    assert build(cfg).system.fingerprint() == Molecule("ala2.pdb", ["amber96.xml"], 330.0).fingerprint()
    with pytest.raises(InputError, match="encoder.hidden: expected a list of"):  # of numbers: a text is none
        compose(["experiment=ala2/forward_kl", "encoder.hidden=big"])


def test_written_water_is_read_as_water():
    """The files above are what they are meant to be, as another program reads them."""
    Path("a.prmtop").write_text(prmtop(WATER))
    topology = mdtraj.load_prmtop("a.prmtop")
    assert [atom.element.symbol for atom in topology.atoms] == ["O", "H", "H"] and topology.n_bonds == 2
