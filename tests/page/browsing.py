"""Headless Chromium of the system, and axe-core; where they are not installed, what needs them is skipped."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


def chromium() -> str:
    """The browser: CLARIO_CHROMIUM, else one on the PATH."""
    found = os.environ.get("CLARIO_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no chromium; apt-get install chromium")
    return found


def axe() -> str:
    """The script of axe-core: the file that CLARIO_AXE names, else that of axe-playwright-python."""
    named = os.environ.get("CLARIO_AXE")
    if named:
        return Path(named).read_text("utf-8")
    spec = find_spec("axe_playwright_python")
    if spec is None or spec.origin is None:
        pytest.skip("no axe-core; pip install axe-playwright-python")
    return (Path(spec.origin).parent / "axe.min.js").read_text("utf-8")
