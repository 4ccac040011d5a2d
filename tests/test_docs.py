"""What the documents show is what the code does."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["clario", "clario.pipeline"])
def test_examples_in_docstrings_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), extraglobs=_public())
    assert result.attempted > 0
    assert result.failed == 0


def test_examples_in_the_readme_run() -> None:
    result = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert result.attempted > 0
    assert result.failed == 0


def _public() -> dict[str, object]:
    clario = importlib.import_module("clario")
    return {name: getattr(clario, name) for name in clario.__all__}


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "data").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_repository_speaks_of_the_product_alone() -> None:
    """No paths of one machine and no workplace in what is shipped."""
    suspicious = re.compile(r"(/work/|/root/|/home/\w|\.\./shared|\.library)")
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "src").rglob("*.py")]:
        assert not suspicious.search(path.read_text(encoding="utf-8")), path
