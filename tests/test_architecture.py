"""Who may import whom, as docs/DESIGN.md draws it; and what `import clario` may not load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "src" / "clario"
# A room may import itself and the rooms on its right.
ALLOWED = {
    "errors": set(),
    "entities": set(),
    "paths": {"errors"},
    "chat": {"errors", "paths"},
    "ontology": {"errors", "entities", "paths"},
    "extraction": {"errors", "entities", "paths", "chat", "ontology"},
    "pipeline": {"errors", "entities", "paths", "ontology", "extraction"},
    "reading": {"errors", "entities", "extraction", "pipeline"},
    "writing": {"errors", "entities"},
    "export": {"errors", "entities", "paths", "extraction", "writing"},
    "corpus": {"errors", "entities", "paths", "chat", "ontology"},
    "evaluation": {"errors", "entities", "paths", "ontology", "extraction", "pipeline"},
    "training": {"errors", "entities", "paths", "ontology", "extraction", "corpus"},
    "journal": {"errors", "entities", "paths", "chat", "ontology", "extraction", "pipeline", "reading", "corpus"},
    "service": {
        "errors",
        "entities",
        "paths",
        "ontology",
        "extraction",
        "pipeline",
        "corpus",
        "journal",
        "export",
    },
    "cli": {"*"},
}


def _room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    """The rooms of clario that a file imports, also inside functions."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names]
                if node.module == "clario"
                else [node.module]
            )
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("clario.")}
    return rooms - {"__version__"}


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    room = _room(path)
    if room == "__init__":
        return
    allowed = ALLOWED[room] | {room}
    assert "*" in allowed or _imports(path) <= allowed, f"{room} imports {_imports(path) - allowed}"


def test_importing_clario_loads_nothing_heavy() -> None:
    code = "import sys, clario; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"pydantic", "typer", "rich", "rapidfuzz", "numpy", "torch", "onnxruntime", "fastapi", "dateutil"}
    assert not heavy & set(loaded)


def test_resolving_a_name_needs_no_pydantic() -> None:
    code = "import sys, clario; clario.resolve('dry mouth'); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"pydantic", "typer", "rich"} & set(loaded)
