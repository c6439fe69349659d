"""What was run on what."""

import os
import platform
import subprocess
from pathlib import Path

from contenders.crate import ROOT


def describe() -> str:
    """The CPU, its cores and the system."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_cpu()}, {usable} of {os.cpu_count()} cores usable, {platform.machine()}, {_system()}"


def _cpu() -> str:
    return cpu_info("model name") or _first_line(["sysctl", "-n", "machdep.cpu.brand_string"]) or platform.processor()


def cpu_info(key: str) -> str:
    """What Linux says of the first core, or nothing."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")


def _system() -> str:
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, kernel {platform.release()}"
    except OSError:
        return platform.platform()


def toolchain() -> str:
    """The revision of this repository, and what compiled it."""
    revision = _first_line(["git", "describe", "--always", "--dirty"]) or "unknown revision"
    return f"{revision}, {_first_line(['rustc', '--version'])}"


def _first_line(command: list[str]) -> str:
    try:
        output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    except OSError:
        return ""
    return next(iter(output.splitlines()), "")
