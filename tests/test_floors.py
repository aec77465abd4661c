"""The second law: imports run downward, and every outside library has one home."""

import ast
import subprocess
import sys
from pathlib import Path

import predcg

ROOT = Path(predcg.__file__).parent
# From the lowest up: each may read those below it, and nothing beside it.
FLOORS = [
    {"annotations", "errors", "catalogue", "processes", "progress", "provenance", "ranges", "text"},
    {"files", "messages"},
    {"batch", "inputs", "overrides"},
    {"spins"},
    {"observables"},
    {"transforms"},
    {"densities", "priors", "systems"},
    {"model"},
    {"coarse", "joint_chains", "importance", "posteriors"},
    {"results", "samplers"},
    {"acquisitions", "objectives", "stops"},
    {"measures", "training"},
    {"benchmarks"},
    {"figures"},
    {"folder", "report", "schema"},
    {"config", "facts"},
    {"parts"},
    {"rounds"},
    {"loading"},
    {"run"},
    {"gallery"},
    {"draw"},
    {"cli"},
]
HOMES = {
    "openmm": ("systems", "samplers/openmm.py"),
    "mdtraj": ("systems", "observables"),
    "pytorch_lightning": ("training", "benchmarks/training.py"),
    "matplotlib": ("figures",),
    "hydra": ("annotations.py", "config.py", "parts.py", "schema.py", "cli.py", "messages.py", "overrides.py"),
    "omegaconf": (
        "config.py",
        "facts.py",
        "parts.py",
        "schema.py",
        "folder.py",
        "rounds.py",
        "loading.py",
        "run.py",
        "gallery.py",
        "cli.py",
        "messages.py",
    ),
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
            assert name == here or floor[name] < floor[here], (
                f"{file.relative_to(ROOT)} (floor {floor[here]}) imports {name} (floor {floor[name]})"
            )


def test_every_library_has_one_home():
    for file in ROOT.rglob("*.py"):
        place = str(file.relative_to(ROOT))
        for library in {module.split(".")[0] for module in imports(file)} & HOMES.keys():
            assert place.startswith(HOMES[library] or ("nowhere",)), (
                f"{place} imports {library}, whose home is {HOMES[library]}"
            )


def test_measures_need_no_matplotlib():
    """Nor does anything that they import, as it is when they are."""
    names = [f"predcg.measures.{file.stem}" for file in (ROOT / "measures").glob("*.py") if file.stem != "__init__"]
    code = f"import sys, {', '.join(names)}; assert not [name for name in sys.modules if name.startswith('matplotlib')]"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_module_is_a_bag():
    names = {file.stem for file in ROOT.rglob("*.py")}
    assert not names & {"utils", "helpers", "common", "misc", "registry", "factory"}
