"""What the benchmarks share: provenance, fresh processes, virtual environments of peers, and output."""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import venv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from clario.errors import ClarioError
from clario.ontology import release as releases
from clario.paths import sha256_of

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RELEASE = "2026-02-16"
HPO = ROOT / "data" / "hpo" / f"hp-{RELEASE}.obo.gz"
GSC_PLUS = ROOT / "data" / "benchmarks" / "gsc_plus.jsonl"
EXAMPLES = ROOT / "examples"
SEED = 20_260_216
# hpo3 and pyhpo both install a module called `pyhpo`, so that no environment can hold the two.
PEERS = {"fenominal": "fenominal>=0.3.4,<0.4", "hpo3": "hpo3>=1.5,<2", "pyhpo": "pyhpo>=4,<5"}


class BenchmarkError(Exception):
    """A benchmark cannot go on; the message says why."""


# Fresh processes


def fresh(task: str, given: Mapping[str, Any], python: str | None = None) -> Any:
    """Run a task of `child.py` in a fresh process: JSON in, JSON out.

    Args:
        task: the name of a function in `child.TASKS`.
        given: what it is given.
        python: the interpreter of a peer's environment; by default this one.

    Raises:
        BenchmarkError: the process failed; the message ends with the last line that it wrote.
    """
    # Only a peer is cut off from PYTHONPATH: Clario itself may have been found by it.
    command = [python, "-I"] if python else [sys.executable]
    done = subprocess.run(
        [*command, str(HERE / "child.py"), task], input=json.dumps(given), capture_output=True, text=True
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise BenchmarkError(f"{task}: {last[0]}")
    # A peer may print lines of its own; the answer is the last one.
    return json.loads(done.stdout.splitlines()[-1])


class Environments:
    """A virtual environment for each peer, made in `folder` when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.versions: dict[str, str] = {}

    def python(self, peer: str) -> str:
        """The interpreter of the environment of a peer (a key of `PEERS`); raises BenchmarkError."""
        python = self._folder / peer / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        if peer not in self.versions:
            if not python.exists():
                note(f"installing {peer} in an environment of its own")
                venv.create(self._folder / peer, with_pip=True)
            self._install(peer, python)
        return str(python)

    def _install(self, peer: str, python: Path) -> None:
        pip = [str(python), "-I", "-m", "pip", "--disable-pip-version-check", "--no-input"]
        done = subprocess.run([*pip, "install", "--quiet", PEERS[peer]], capture_output=True, text=True)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:]
            raise BenchmarkError(f"pip cannot install {PEERS[peer]} (use --no-peers to go without): {last}")
        show = f"from importlib.metadata import version; print(version({peer!r}))"
        done = subprocess.run([str(python), "-I", "-c", show], capture_output=True, text=True, check=True)
        self.versions[peer] = done.stdout.strip()


@contextmanager
def environments(folder: Path | None) -> Iterator[Environments]:
    """The peers' environments: kept in `folder`, or, where it is None, gone when the block ends."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield Environments(folder.resolve())
        return
    with TemporaryDirectory(prefix="clario-bench-") as temporary:
        yield Environments(Path(temporary))


# Provenance


def provenance(files: Iterable[Path], peers: Mapping[str, str]) -> dict[str, Any]:
    """What a run was made with and on: files, release, Python, processor, package versions.

    `peers` are the versions of the peers' packages. The release is checked: its index has the checksum.
    """
    manifest = releases.verify(RELEASE)
    return {
        "files": {path.relative_to(ROOT).as_posix(): sha256_of(path) for path in files},
        "hpo_release": manifest.release,
        "index_sha256": manifest.index_sha256,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "packages": _packages(),
        "peers": dict(peers),
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def _packages() -> dict[str, str]:
    """The versions of Clario and of what it requires, extras left out."""
    required = [r for r in metadata.requires("clario") or [] if "extra ==" not in r]
    names = ["clario", *sorted(re.split(r"[^\w.-]", r, maxsplit=1)[0] for r in required)]
    return {name: metadata.version(name) for name in names}


# Output


@dataclass(frozen=True, slots=True)
class Section:
    """A table of a report: its title, the head, the rows, and notes for below."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = field(default=())


def parser(doc: str) -> argparse.ArgumentParser:
    """A command line with the options that every benchmark has; `doc` tells what is measured against what."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", action="store_true", help="print JSON instead of tables")
    made.add_argument("--no-peers", action="store_true", help="measure Clario alone; install nothing")
    made.add_argument(
        "--environments",
        type=Path,
        metavar="FOLDER",
        help="keep the peers' virtual environments here and use those there (default: temporary ones)",
    )
    return made


def show(
    as_json: bool, made_with: Mapping[str, Any], results: Mapping[str, Any], sections: Sequence[Section]
) -> None:
    """Print a report: provenance, then the results as JSON, or as tables."""
    if as_json:
        print(json.dumps({"provenance": made_with, "results": results}, ensure_ascii=False, indent=2))
        return
    width = None if sys.stdout.isatty() else 120
    console = Console(markup=False, emoji=False, highlight=False, soft_wrap=True, width=width)
    for name, value in made_with.items():
        console.print(f"{name.replace('_', ' ')}: {_plain(value)}")
    for section in sections:
        console.print()
        console.print(_table(section))
        for line in section.notes:
            console.print(line)


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return "".join(f"\n  {name} {one}" for name, one in value.items()) or "none"
    return "unknown" if value is None else str(value)


def _table(section: Section) -> Table:
    table = Table(title=section.title, title_justify="left", title_style="bold")
    for place, name in enumerate(section.head):
        table.add_column(name, justify="right" if place else "left", overflow="fold")
    for row in section.rows:
        table.add_row(*row)
    return table


def note(text: str) -> None:
    """Tell on stderr what goes on: some peers take minutes."""
    print(f"... {text}", file=sys.stderr, flush=True)


def run(main: Callable[[], None]) -> None:
    """Call a script's `main`; what a user can put right becomes a line on stderr and the exit status 1."""
    try:
        main()
    except (BenchmarkError, ClarioError) as error:
        sys.exit(f"error: {error}")
