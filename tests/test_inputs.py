"""Input files of a run: kept in its folder, so that it is loaded from anywhere; never mistaken for others."""

import json
import shutil
from pathlib import Path

import mdtraj
import openmm
import pytest
import torch
from openmm import app

from predcg.batch import Batch
from predcg.config import compose
from predcg.errors import InputError
from predcg.inputs import contents
from predcg.run import load, run

QUICK = [
    "experiment=ala2/reverse_kl",
    "system=molecule",
    "steps=0",
    "logger=none",
    "figures=[]",
    "decoder.couplings=1",
    "objective.samples=8",
    "folder=mine",
]
FRAMES = ["acquisition=load", "acquisition.path=frames.npz"]


@pytest.fixture(autouse=True)
def files(ala2, tmp_path, monkeypatch):
    """Every kind of file that a system may name, in the working directory, under names that no shipped file has."""
    monkeypatch.chdir(tmp_path)
    mdtraj.Trajectory(ala2.models.view(-1, 22, 3).numpy(), ala2.topology).save_pdb("mine.pdb")
    data = Path(app.__file__).parent / "data"
    (tmp_path / "parts").mkdir()
    shutil.copy(data / "amber96.xml", "parts/bonded.xml")
    shutil.copy(data / "amber96_obc.xml", "solvent.xml")
    Path("field.xml").write_text('<ForceField><Include file="parts/bonded.xml"/></ForceField>')
    Path("system.xml").write_text(openmm.XmlSerializer.serialize(ala2.openmm_system))
    Batch(ala2.models.repeat(8, 1) + 0.001 * torch.randn(8 * len(ala2.models), 66)).save(Path("frames.npz"))


def move(tmp_path, monkeypatch):
    """The run folder elsewhere, with another working directory, and nothing of the original inputs."""
    (tmp_path / "far/away").mkdir(parents=True)
    shutil.move("mine", "far/moved")
    for file in (*tmp_path.glob("*.*"), tmp_path / "parts"):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    monkeypatch.chdir(tmp_path / "far/away")
    return Path("../moved")


@pytest.mark.parametrize("field", ["[field.xml,solvent.xml]", "[system.xml]", "[amber96.xml,amber96_obc.xml]"])
def test_a_run_is_loaded_after_its_folder_is_moved_and_its_inputs_are_gone(field, tmp_path, monkeypatch):
    run(compose([*QUICK, *FRAMES, "system.pdb=mine.pdb", f"system.forcefield={field}"]))
    before = load("mine")
    x = before.data.train.x
    after = load(move(tmp_path, monkeypatch))
    assert torch.equal(after.system(x), before.system(x)) and torch.equal(after.data.train.x, x)
    assert after.system.fingerprint() == before.system.fingerprint()


def test_inputs_of_one_name_and_a_changed_original_are_not_mixed_up(ala2, tmp_path, monkeypatch):
    """Two files of one name; and after the run another file where the original was."""
    shutil.copy("solvent.xml", "parts/field.xml")
    run(compose([*QUICK, *FRAMES, "system.pdb=mine.pdb", "system.forcefield=[field.xml,parts/field.xml]"]))
    Path("mine.pdb").write_text("another molecule")
    x = ala2.models
    assert torch.allclose(load("mine").system(x) * 300, ala2(x) * 330, rtol=1e-4)


def test_what_leads_out_of_the_folder_of_a_force_field_travels_with_it(ala2, tmp_path, monkeypatch):
    """Above it, a file of its own name, which includes one that is beside it again."""
    Path("parts/field.xml").write_text('<ForceField><Include file="../field.xml"/></ForceField>')
    run(compose([*QUICK, *FRAMES, "system.pdb=mine.pdb", "system.forcefield=[parts/field.xml,solvent.xml]"]))
    moved = load(move(tmp_path, monkeypatch))
    assert torch.allclose(moved.system(ala2.models) * 300, ala2(ala2.models) * 330, rtol=1e-4)


def test_an_include_that_no_copy_would_find_is_refused_before_anything_is_removed(tmp_path):
    command = [*QUICK, *FRAMES, "system.pdb=mine.pdb", "force=true", "system.forcefield=[field.xml,solvent.xml]"]
    run(compose(command))
    Path("field.xml").write_text(f'<ForceField><Include file="{tmp_path}/parts/bonded.xml"/></ForceField>')
    with pytest.raises(InputError, match=r"system.forcefield: expected includes by a .*; write 'parts/bonded.xml'"):
        run(compose(command))
    assert Path("mine/finished").exists()


def test_a_sequence_is_no_file(tmp_path, monkeypatch):
    Path("ACE-G-NME").write_text("a file with the name of a sequence")
    run(compose([*QUICK[:1], "system=peptide", "system.sequence=ACE-G-NME", "acquisition=none", *QUICK[2:]]))
    assert load("mine").system.size == 57


def test_damaged_records_and_copies_are_one_line_that_names_the_file():
    run(compose([*QUICK, *FRAMES, "system.pdb=mine.pdb"]))
    record, whole = Path("mine/inputs.json"), Path("mine/inputs.json").read_text()
    assert json.loads(whole) == contents({"system": ["mine.pdb"], "acquisition": {"path": "frames.npz"}})
    for damaged in (whole[:40], "", "[]", '{"mine.pdb": 3}', "\x80\udcff"):
        record.write_bytes(damaged.encode("utf-8", "surrogateescape"))
        with pytest.raises(InputError, match=r"^mine/inputs.json cannot be read \(.*\); put it back"):
            load("mine")
    record.write_text(whole)
    (copy,) = Path("mine/inputs").glob("*/*")
    copy.write_text(copy.read_text()[:400])
    with pytest.raises(
        InputError,
        match=r"^mine/inputs/\w+/mine.pdb: expected 'mine.pdb' as it was when the run began; found other content",
    ):
        load("mine")


def test_what_is_refused_after_the_folder_was_begun_leaves_nothing():
    Batch(torch.zeros(4, 65)).save(Path("short.npz"))
    with pytest.raises(InputError, match="acquisition.path"):
        run(
            compose(
                [*QUICK, "system.pdb=mine.pdb", "acquisition=load", "acquisition.path=short.npz", "folder=new/mine"]
            )
        )
    assert not Path("new").exists()


def test_input_files_are_identity_and_trajectories_are_not_copied():
    run(compose([*QUICK, *FRAMES, "system.pdb=mine.pdb"]))
    assert [file.name for file in Path("mine/inputs").glob("*/*")] == ["mine.pdb"]
    Path("frames.npz").write_bytes(b"other")
    with pytest.raises(InputError, match="the content of frames.npz has changed since"):
        run(compose([*QUICK, *FRAMES, "system.pdb=mine.pdb"]))
