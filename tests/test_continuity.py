"""Run folders that earlier versions wrote load as they did then.

To add some: in an empty folder, with the version that is to be kept, make tiny runs (a few hidden units, twenty steps,
`logger=none figures=[]`, a `folder=<name>` that says what is peculiar), then, with the same version on the path,

    python tests/test_continuity.py <name> ...

which notes in the folder what that version makes of it and packs it as continuity/<commit>/<name>.tar.xz. A file that
is there is never made again by a later version: where this test fails, users' folders fail. A configuration that is no
longer composed as it was takes its commit out of SAME.
"""

import json
import sys
import tarfile
from pathlib import Path

import pytest
import torch

from predcg.run import load

HERE = Path(__file__).parent / "continuity"
KEPT = sorted(HERE.glob("*/*.tar.xz"))
SAME = {"dd05b57", "aab6a64"}  # The commands of these commits must still be the same runs.


def numbers(folder: Path, draws: dict[str, list] | None = None) -> dict[str, list]:
    """Draws (x, z) of a run's model, or those given, with their densities in every role, their energies, their
    collective variables (of spins, whose ties are broken at random, none) and the spreads of its posterior.
    """
    torch.manual_seed(0)
    run = load(folder)
    model = run.model
    if draws is None:
        z = model.latent().sample((4,))
        x = model.decoder(z).sample()
    else:
        x, z = torch.tensor(draws["x"]), torch.tensor(draws["z"])
    found = {
        "x": x,
        "z": z,
        "latent": model.latent().log_prob(z),
        "decoder": model.decoder(z).log_prob(x),
        "energy": run.system(x),
        "data": run.data.train.x.double().mean(0),
        "energies of data": run.system(run.data.test.x),
    }
    if not hasattr(model.latent, "couplings"):
        found |= {"encoder": model.encoder(x).log_prob(z), "variables": model.cv(x), "decoded": model.decode(z)}
    if run.posterior is not None:
        found |= {f"posterior {name}": spread for name, spread in run.posterior.spread.items()}
    return {name: value.tolist() for name, value in found.items()}


def unpacked(archive: Path, home: Path) -> Path:
    with tarfile.open(archive) as tar:
        tar.extractall(home, filter="data")
    return home / archive.name.removesuffix(".tar.xz")


def test_runs_of_several_versions_are_kept():
    assert len({archive.parent.name for archive in KEPT}) >= 2 and {archive.parent.name for archive in KEPT} >= SAME
    assert sum(archive.stat().st_size for archive in KEPT) < 300_000


@pytest.mark.parametrize("archive", KEPT, ids=lambda archive: f"{archive.parent.name}-{archive.name[:-7]}")
def test_a_kept_run_loads_as_it_did(archive, tmp_path):
    folder = unpacked(archive, tmp_path)
    then = json.loads((folder / "expected.json").read_text())
    now = numbers(folder, then)
    assert now.keys() == then.keys()
    for name, value in then.items():
        torch.testing.assert_close(
            torch.tensor(now[name]),
            torch.tensor(value),
            rtol=1e-4,
            atol=1e-4,
            equal_nan=True,  # the mean of no data
            msg=lambda text, name=name: f"{name}: {text}",
        )
    run, summary = load(folder), json.loads((folder / "summary.json").read_text())
    assert run.history and run.step in (10, 20)
    assert [one.number for one in run.rounds] == list(range(1, summary.get("rounds", 1) + 1))
    told = {name: value for name, value in bounds(run).items() if name in summary}
    assert told == pytest.approx({name: summary[name] for name in told})
    assert told or archive.parent.name == "9851386"  # which told no bounds


@pytest.mark.parametrize("archive", KEPT, ids=lambda archive: f"{archive.parent.name}-{archive.name[:-7]}")
def test_the_command_of_a_kept_run_knows_it(archive, tmp_path, monkeypatch, capsys):
    """It has finished already; or, in a folder of an earlier version, the configuration is another one by now, and
    nothing is touched.
    """
    folder = unpacked(archive, tmp_path)
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    monkeypatch.chdir(tmp_path)
    code = call(monkeypatch, *json.loads((folder / "provenance.json").read_text())["command"][1:])
    told = capsys.readouterr()
    if code == 0:
        assert "finished already" in told.out
    else:
        assert archive.parent.name not in SAME and code == 2 and "a run of another configuration" in told.err, told.err
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


if __name__ == "__main__":
    for folder in map(Path, sys.argv[1:]):
        (folder / "expected.json").write_text(json.dumps(numbers(folder)))
        commit = json.loads((folder / "provenance.json").read_text())["commit"][:7]
        (HERE / commit).mkdir(parents=True, exist_ok=True)
        with tarfile.open(HERE / commit / f"{folder.name}.tar.xz", "w:xz") as tar:
            # The simulation is a link out of the folder, which loading does not follow; weighted draws are many.
            tar.add(
                folder,
                folder.name,
                filter=lambda entry: None if entry.issym() or entry.name.endswith("/draws") else entry,
            )
else:
    from conftest import call

    from predcg.results import bounds
