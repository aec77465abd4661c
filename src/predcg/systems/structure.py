"""From files to the parts of a molecule: topology, starting structures and OpenMM System."""

import os
import warnings
import xml.etree.ElementTree as etree
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from predcg.errors import InputError
from predcg.systems.code import deserialise, force_field
from predcg.systems.particles import bonds, check_free, match

SHIPPED = Path(__file__).parent
MMCIF = {".cif", ".mmcif", ".pdbx"}
RESTART = "it has coordinates only: write a PDB with `ambpdb -p <prmtop> -c {0} > {1}.pdb`"
TOPOLOGY = "it has no coordinates: it is for system.forcefield; write a PDB with `ambpdb -p {0} -c <rst7> > {1}.pdb`"
CURES = {  # What users have instead of a PDB, by suffix.
    ".gro": "write a PDB with `gmx editconf -f {0} -o {1}.pdb`",
    **dict.fromkeys([".rst7", ".inpcrd", ".ncrst", ".restrt"], RESTART),
    **dict.fromkeys([".prmtop", ".parm7"], TOPOLOGY),
    **dict.fromkeys(
        [".dcd", ".xtc", ".trr", ".nc", ".h5"],
        "frames are for acquisition.path; the system takes its atoms, and where it starts, from one structure",
    ),
    ".xml": "write the positions of an OpenMM State with app.PDBFile.writeFile",
}


def read_pdb(pdb: str) -> tuple[app.Topology, np.ndarray]:
    """Topology and models in nm, (models, n_atoms, 3), of the path of a PDB or mmCIF file or of the name of a shipped
    one. Raises InputError on any other.
    """
    path = Path(os.path.expanduser(pdb))
    path = path if path.exists() else SHIPPED / path
    if not path.is_file():
        shipped = ", ".join(sorted(file.name for file in SHIPPED.glob("*.pdb")))
        raise InputError(
            f"system.pdb: expected a PDB file; found nothing at {pdb!r}; give an existing path, or one of {shipped}"
        )
    suffix = path.suffix.lower()
    if suffix in CURES:
        raise InputError(
            f"system.pdb: expected a PDB or mmCIF file; found {path.name!r};"
            f" {CURES[suffix].format(path.name, path.stem)}"
        )
    try:
        structure = (app.PDBxFile if suffix in MMCIF else app.PDBFile)(str(path))
        models = [
            structure.getPositions(asNumpy=True, frame=i).value_in_unit(unit.nanometer)
            for i in range(structure.getNumFrames())
        ]
    except Exception as reason:
        told = (
            "there is no atom in it"
            if isinstance(reason, IndexError)
            else f"it fails with: {' '.join(str(reason).split())[:200]}"
        )
        raise InputError(f"system.pdb: expected a readable PDB or mmCIF file; found {pdb!r}; {told}") from reason
    sizes = sorted({len(model) for model in models})
    if sizes != [structure.topology.getNumAtoms()]:
        raise InputError(
            f"system.pdb: expected models of the same atoms; those of {pdb!r} have {', '.join(map(str, sizes))} atoms;"
            " leave the odd ones out"
        )
    return structure.topology, np.stack(models)


def parametrise(topology: app.Topology, files: list[str], implicit_solvent: str | None, name: str) -> openmm.System:
    """The OpenMM System of a topology, without cut-offs and constraints; bonds that only a .prmtop or a System knows
    are added to the topology.

    Args:
        files: force-field files of OpenMM; or one AMBER .prmtop of the same atoms; or one serialised OpenMM System
            (.xml), taken as it is.
        implicit_solvent: HCT, OBC1, OBC2, GBn or GBn2 with the ACE surface term, for a .prmtop, whose file does not say
            it.
        name: of the molecule, for messages.

    Raises:
        InputError: files that cannot be read, residues or atoms that do not fit.
    """
    if not files:
        raise InputError(
            "system.forcefield: expected force-field files, an AMBER .prmtop or a System .xml; found an empty list"
        )
    if implicit_solvent is not None and not files[0].endswith((".prmtop", ".parm7")):
        raise InputError(
            f"system.implicit_solvent: goes with an AMBER .prmtop; here {files} name the solvent, as in"
            " implicit/obc1.xml; leave it out"
        )
    try:
        kinds = [_kind(file) for file in files]
        if len(files) > 1 and (
            alone := [file for file, kind in zip(files, kinds, strict=True) if kind != "ForceField"]
        ):
            raise InputError(
                f"system.forcefield: {alone[0]!r} holds all forces and stands alone; found {files}; leave the"
                " others out"
            )
        if kinds == ["prmtop"]:
            system, pairs = _prmtop(files[0], implicit_solvent)
        elif kinds == ["System"]:
            system = deserialise(files[0])
            pairs = set(bonds(system))
        else:
            return _templates(topology, files, name)
    except InputError:
        raise
    except Exception as reason:
        raise InputError(
            f"system.forcefield: expected force-field files, an AMBER .prmtop or a System .xml; {files} fails with:"
            f" {reason}"
        ) from reason
    check_free(system)
    match(topology, system, pairs, name, files[0])
    return system


def _kind(file: str) -> str:
    """prmtop, System or ForceField; what is not there yet OpenMM looks for among its own. Raises InputError on any
    other XML.
    """
    if file.endswith((".prmtop", ".parm7")):
        return "prmtop"
    if not file.endswith(".xml") or not Path(file).is_file():
        return "ForceField"
    tag = next(etree.iterparse(file, events=["start"]))[1].tag
    if tag not in ("ForceField", "System"):
        cure = (
            "serialise the System itself, XmlSerializer.serialize(system)"
            if tag in ("State", "Integrator")
            else "give OpenMM force-field files"
        )
        raise InputError(
            f"system.forcefield: expected a <ForceField> or a <System>; {file!r} is a <{tag}>, which holds no forces;"
            f" {cure}"
        )
    return tag


def _prmtop(path: str, implicit_solvent: str | None) -> tuple[openmm.System, set[frozenset[int]]]:
    """The System and the bonds of an AMBER file."""
    models = ("HCT", "OBC1", "OBC2", "GBn", "GBn2")
    if implicit_solvent not in (None, *models):
        raise InputError(f"system.implicit_solvent: expected one of {', '.join(models)}; found {implicit_solvent!r}")
    with warnings.catch_warnings():
        # It warns of radii other than the model's usual ones, where the file decides.
        warnings.simplefilter("ignore", UserWarning)
        model = getattr(app, implicit_solvent) if implicit_solvent else None
        prmtop = app.AmberPrmtopFile(path)
        system = prmtop.createSystem(
            app.NoCutoff, implicitSolvent=model, gbsaModel="ACE", rigidWater=False, removeCMMotion=False
        )
    return system, {frozenset((one.index, other.index)) for one, other in prmtop.topology.bonds()}


def _templates(topology: app.Topology, files: list[str], name: str) -> openmm.System:
    try:
        forcefield = force_field(files)
    except InputError:
        raise
    except Exception as reason:
        raise InputError(
            f"system.forcefield: expected OpenMM force-field files; {files} fails with: {reason}"
        ) from reason
    try:
        return forcefield.createSystem(topology, nonbondedMethod=app.NoCutoff, rigidWater=False, removeCMMotion=False)
    except Exception as reason:
        # OpenMM's list is made without patches, which many residues may need to be known, so that it holds more than
        # those at fault; of these OpenMM names the first.
        unknown = [
            r
            for r in forcefield.getUnmatchedResidues(topology)
            if f"residue {r.index} ({r.name})" in str(reason) or not forcefield._patches
        ]
        if not unknown:
            raise
    names = "; ".join(f"{r.name} {r.id} ({' '.join(atom.name for atom in r.atoms())})" for r in unknown[:3])
    more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
    cure = "mend the atoms or choose another force field"
    if not any(atom.element is app.element.hydrogen for atom in topology.atoms()):
        cure = "it has no hydrogens: add them with PDBFixer or OpenMM's app.Modeller.addHydrogens"
    elif all(residue.name in ("HOH", "WAT", "TIP3", "SOL", "NA", "CL") for residue in unknown):
        cure = "take water and ions out, and say the solvent with the force field, as implicit/obc2.xml"
    raise InputError(f"system.pdb: {name!r} has residues whose atoms {files} does not know: {names}{more}; {cure}")
