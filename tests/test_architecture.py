"""The import rule: operators know nothing of Ray, S3 or jobs; nothing that ships knows the tests."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {"operators": {"ray", "boto3", "botocore", "jobs", "tests"}, "jobs": {"tests"}}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a file imports, anywhere in it."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            yield node.lineno, module
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__"):
                yield node.lineno, str(node.args[0].value)


def broken(path: Path, forbidden: set[str]) -> list[str]:
    return [f"{path.name}:{line} imports {name}" for line, name in imports(path) if name.split(".")[0] in forbidden]


@pytest.mark.parametrize("package", FORBIDDEN)
def test_packages_keep_to_the_import_rule(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    assert [line for file in files for line in broken(file, FORBIDDEN[package])] == []


@pytest.mark.parametrize(
    "text",
    [
        "import ray",
        "import ray.data as d",
        "from jobs import plan",
        "def f():\n    from boto3 import client",
        "import_module('ray')",
    ],
)
def test_the_rule_sees_every_form_of_import(text, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.test_architecture.ROOT", tmp_path)
    file = tmp_path / "bad.py"
    file.write_text(text)
    assert broken(file, FORBIDDEN["operators"])
