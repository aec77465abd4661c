"""The second law: imports run downward, and every outside library has one home."""

import ast
from pathlib import Path

import predcg

ROOT = Path(predcg.__file__).parent
FLOORS = [
    {"errors", "files", "inputs", "processes", "progress", "catalogue", "messages", "overrides", "ranges", "batch"},
    {"spins", "observables", "transforms", "densities", "priors", "systems"},
    {"model", "posteriors", "importance", "gibbs", "samplers", "results", "coarse"},
    {"objectives", "acquisitions"},
    {"training"},
    {"figures"},
    {"schema", "config", "folder", "report", "run"},
    {"draw", "gallery"},
    {"cli"},
]
# Within a floor, who may read whom: a system has dihedrals, a transform aligns, a density looks through a transform.
BESIDE = {
    "files": {"errors"},
    "messages": {"catalogue"},
    "overrides": {"catalogue", "errors", "messages"},
    "batch": {"errors", "files"},
    "inputs": {"errors", "files"},
    "observables": {"spins"},
    "transforms": {"observables"},
    "densities": {"observables", "spins", "transforms"},
    "systems": {"observables", "spins"},
    "importance": {"model"},
    "gibbs": {"model"},
    "posteriors": {"model"},
    "results": {"model", "posteriors"},
    "samplers": {"results"},
    "config": {"schema"},
    "run": {"config", "folder", "report"},
    "draw": {"gallery"},
}
HOMES = {
    "openmm": ("systems", "samplers/openmm.py"),
    "mdtraj": ("systems", "observables"),
    "pytorch_lightning": ("training", "figures/training_speed.py"),
    "matplotlib": ("figures",),
    "hydra": ("config.py", "schema.py", "cli.py", "messages.py", "overrides.py"),
    "omegaconf": ("config.py", "schema.py", "folder.py", "run.py", "gallery.py", "cli.py", "messages.py"),
    "pydantic": ("schema.py",),
    "wandb": ("training/rehearsal.py",),
}


def imports(file: Path) -> set[str]:
    """What a module imports anywhere, except as a script: then it calls the command line, which is above all."""
    found, tree = set(), ast.parse(file.read_text())
    tree.body = [
        node
        for node in tree.body
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'")
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found |= {f"{node.module}.{alias.name}" if node.module == "predcg" else node.module for alias in node.names}
    return found


def test_imports_run_downward():
    floor = {name: height for height, names in enumerate(FLOORS) for name in names}
    for file in ROOT.rglob("*.py"):
        here = file.relative_to(ROOT).with_suffix("").parts[0]
        if here == "__init__":
            continue
        for name in (module.split(".")[1] for module in imports(file) if module.startswith("predcg.")):
            allowed = name == here or floor[name] < floor[here] or name in BESIDE.get(here, set())
            assert allowed, f"{file.relative_to(ROOT)} (floor {floor[here]}) imports {name} (floor {floor[name]})"


def test_every_library_has_one_home():
    for file in ROOT.rglob("*.py"):
        place = str(file.relative_to(ROOT))
        for library in {module.split(".")[0] for module in imports(file)} & HOMES.keys():
            assert place.startswith(HOMES[library] or ("nowhere",)), (
                f"{place} imports {library}, whose home is {HOMES[library]}"
            )


def test_no_module_is_a_bag():
    names = {file.stem for file in ROOT.rglob("*.py")}
    assert not names & {"utils", "helpers", "common", "misc", "registry", "factory"}
