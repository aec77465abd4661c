"""Where and of what code results were made."""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path


def machine() -> str:
    """Processor, cores, GPU and the version of torch, for a title."""
    import torch  # Those who ask for a commit do not wait for torch.

    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{found.group(1) if found else platform.machine()}, {os.cpu_count()} cores{gpu}, torch {torch.__version__}"


def commit() -> str | None:
    """The commit of the checkout that the package runs from, or None where it is installed or git is missing."""
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists() or shutil.which("git") is None:
        return None
    return subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True
    ).stdout.strip()
