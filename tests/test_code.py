"""Somebody else's files: no code in them is run, and no folder is replaced because of them, unless the command line
says so.
"""

import gzip
import pickle
from pathlib import Path

import openmm
import pytest
from conftest import call
from omegaconf import OmegaConf

from predcg import cli, draw, gallery
from predcg.config import compose
from predcg.errors import InputError
from predcg.inputs import keep
from predcg.run import load, run
from predcg.systems import Molecule, Peptide, trusted_code

RUN = "open('ran', 'w').close()"
EVALUATED = '<{} coulomb14scale="1.0" lj14scale="1.0" useDispersionCorrection="{}"/>'
# What a force-field file does when OpenMM reads it.
FORCEFIELDS = {
    "Script": f"<Script>{RUN}</Script>",
    "InitializationScript": f"<InitializationScript>{RUN}</InitializationScript>",
    "NonbondedForce": EVALUATED.format("NonbondedForce", RUN + " or False"),
    "LennardJonesForce": EVALUATED.format("LennardJonesForce", RUN + " or False"),
}


class Pickled:
    def __reduce__(self):
        return exec, (RUN,)


FORCE = (
    f'<Force forceGroup="0" function="{pickle.dumps(Pickled()).hex()}" name="x" type="PythonForce" usesPeriodic="0"'
    ' version="2"><GlobalParameters/><Particles/></Force>'
)
# What OpenMM's own parser of Systems runs: in what is a comment to others, too.
SYSTEMS = {
    "plain": FORCE,
    "in a comment": f"<!-- > {FORCE} -->",
    "as entities": FORCE.replace('"PythonForce"', '"P&#121;thon&#x46;orce"'),
    "inside another": (
        '<Force energy="x" forceGroup="0" name="y" type="CustomCVForce" version="0"><GlobalParameters/>'
        f'<EnergyParameterDerivatives/><CollectiveVariables><CollectiveVariable name="x">{FORCE}</CollectiveVariable>'
        "</CollectiveVariables><Functions/></Force>"
    ),
}
QUICK = ["experiment=ala2/reverse_kl", "logger=none", "steps=0", "snapshots=null", "figures=[]"]
SMALL = ["experiment=double_well/reverse_kl", "logger=none", "steps=0", "figures=[]"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def ran() -> bool:
    """Whether the code has run since this was asked last."""
    found = Path("ran").exists()
    Path("ran").unlink(missing_ok=True)
    return found


def foreign(content: str, name: str = "foreign.xml") -> str:
    Path(name).write_text(f"<ForceField>{content}</ForceField>")
    return name


def serialised(force: str) -> str:
    system = Molecule("ala2.pdb", ["amber96.xml"], 300.0).openmm_system
    text = openmm.XmlSerializer.serialize(system)
    Path("system.xml").write_text(text.replace("</Forces>", f"{force}</Forces>"))
    return "system.xml"


@pytest.mark.parametrize("kind", FORCEFIELDS)
@pytest.mark.parametrize(
    "build", [lambda files: Molecule("ala2.pdb", files, 300.0), lambda files: Peptide("ACE-A-NME", files, 300.0)]
)
def test_code_in_a_force_field_is_refused(kind, build):
    Path("sub").mkdir()
    foreign(FORCEFIELDS[kind], "sub/inner.xml")
    for name in (foreign(FORCEFIELDS[kind]), foreign('<Include file="sub/inner.xml"/>', "outer.xml")):
        with pytest.raises(
            InputError, match=rf"system.forcefield: '.*' holds code \(<{kind}>\).* trust_code=true"
        ) as refusal:
            build(["amber96.xml", name])
        assert "\n" not in str(refusal.value) and not ran()
        with trusted_code():
            if "or False" in FORCEFIELDS[kind]:
                with pytest.raises(InputError):  # two kinds of nonbonded forces, or no types: but it has been read
                    build([name])
            else:
                build(["amber96.xml", name])
        assert ran()


def test_a_file_that_hides_behind_a_shipped_name_is_no_shipped_one():
    Path("implicit").mkdir()
    foreign(FORCEFIELDS["Script"], "implicit/obc1.xml")
    with pytest.raises(InputError, match="holds code"):
        Molecule("ala2.pdb", ["amber96.xml", "implicit/obc1.xml"], 300.0)
    Path("amber96.xml").write_bytes(gzip.compress(b"<ForceField><Script>" + RUN.encode() + b"</Script></ForceField>"))
    with pytest.raises(InputError, match="system.forcefield"):
        Molecule("ala2.pdb", ["amber96.xml"], 300.0)
    assert not ran()


@pytest.mark.parametrize("kind", SYSTEMS)
def test_code_in_a_system_is_never_run(kind):
    name = serialised(SYSTEMS[kind])
    if kind == "in a comment":
        assert (
            Molecule("ala2.pdb", [name], 300.0).openmm_system.getNumForces()
            == Molecule("ala2.pdb", ["amber96.xml"], 300.0).openmm_system.getNumForces()
        )
    else:
        with pytest.raises(
            InputError, match=r"system.forcefield: 'system.xml' holds code \(PythonForce\).* trust_code=true"
        ):
            Molecule("ala2.pdb", [name], 300.0)
    assert not ran()
    with trusted_code(), pytest.raises(InputError):  # a batched form of it there is not
        Molecule("ala2.pdb", [name], 300.0)
    assert ran()


def test_a_stranger_s_run_folder_runs_no_code():
    cfg = compose([*QUICK, f"system.forcefield=[amber96.xml,{foreign('')}]", "folder=theirs"])
    run(cfg)
    assert load(Path("theirs")).system.size == 66
    foreign(FORCEFIELDS["Script"])
    there = OmegaConf.load("theirs/config.yaml")
    assert there.trust_code is False
    OmegaConf.save(OmegaConf.merge(there, {"trust_code": True}), "theirs/config.yaml")
    keep(Path("theirs"), OmegaConf.to_container(there))  # the copy in the folder, with its hash
    with pytest.raises(InputError, match="holds code"):
        load(Path("theirs"))
    assert not ran()
    with trusted_code():
        load(Path("theirs"))
    assert ran()


def test_the_command_line_says_whose_code_is_run(monkeypatch, capsys):
    command = [*QUICK, f"system.forcefield=[amber96.xml,{foreign(FORCEFIELDS['Script'])}]", "folder=mine"]
    assert call(monkeypatch, *command) == 2
    error = capsys.readouterr().err
    assert "holds code" in error and error.count("\n") == 1 and not ran() and not Path("mine").exists()
    assert call(monkeypatch, *command, "trust_code=true") == 0 and ran()
    assert OmegaConf.load("mine/config.yaml").trust_code is False
    assert call(monkeypatch, *command) == 2 and not ran()


CLAIM = "runs:\n  - [experiment=double_well/forward_kl, steps=0, {}]\nfigure: training\nexpect: {{}}\n"
CLAIMS = {
    "a tag": (
        "a: !!python/object/apply:os.system ['touch ran']\n" + CLAIM.format("seed=0"),
        "expected a claim in plain YAML",
    ),
    "no mapping": ("- 1\n", "expected the keys runs, figure and expect"),
    "no YAML": ("runs: [\n", "expected a claim in plain YAML"),
    "its folder": (CLAIM.format("folder=.."), "expected overrides that a claim may make; found 'folder=..'"),
    "force": (CLAIM.format("++force=true"), "found '++force=true'"),
    "code": (CLAIM.format("trust_code=true"), "found 'trust_code=true'"),
    "hydra": (CLAIM.format("hydra.run.dir=.."), "found 'hydra.run.dir=..'"),
}


@pytest.mark.parametrize("kind", CLAIMS)
def test_a_stranger_s_claim_is_refused_in_one_line(kind, monkeypatch, capsys):
    content, message = CLAIMS[kind]
    Path("experiments/their").mkdir(parents=True)
    Path("experiments/their/claim.yaml").write_text(content)
    for module in (cli, draw):
        monkeypatch.setattr(module, "shipped", lambda name: Path(name))
    assert call(monkeypatch, "their/claim", program=cli.draw) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not ran()


def test_every_claim_that_ships_is_one():
    folder = draw.shipped("experiments")
    names = gallery.listing(folder)
    assert names and all(gallery.claim(folder, name)["runs"] is not None for name in names)


@pytest.mark.parametrize("content", ["site_name: my notes\n", "- a\n", "a: !!python/none\n", None])
def test_force_replaces_run_folders_only(content, monkeypatch, capsys):
    """Many programs have a config.yaml."""
    Path("notes").mkdir()
    Path("notes/thesis.tex").write_text("all of it")
    if content is not None:
        Path("notes/config.yaml").write_text(content)
    assert call(monkeypatch, *SMALL, "folder=notes", "force=true") == 2
    assert "expected a run folder or none; notes has other content" in capsys.readouterr().err
    assert Path("notes/thesis.tex").read_text() == "all of it"


def test_force_does_not_follow_links(monkeypatch, capsys):
    assert call(monkeypatch, *SMALL, "folder=mine") == 0
    Path("link").symlink_to("mine")
    capsys.readouterr()
    assert call(monkeypatch, *SMALL, "folder=link", "force=true") == 2
    error = capsys.readouterr().err
    assert "link is a link; give" in error and error.count("\n") == 1 and Path("mine/finished").exists()
    assert call(monkeypatch, *SMALL, "folder=mine", "force=true") == 0
