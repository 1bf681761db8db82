"""The notebooks run top to bottom on a small run, and are kept without outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.searching import ROOT
from tests.stored import store
from tests.synthetic import make_study

NOTEBOOKS = sorted(
    path for path in (ROOT / "analysis" / "notebooks").glob("*.ipynb") if path.name.startswith(("01", "02"))
)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_kept_without_outputs(path: Path):
    cells = nbformat.read(path, as_version=4).cells
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    assert any(cell.source.startswith("RUN = ") for cell in cells[:3])


@pytest.mark.filterwarnings("ignore")  # of the kernel's own packages
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs_top_to_bottom(path: Path, tmp_path: Path, monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel then shows figures in the notebook
    run = store(make_study(24, seed=2, failures=1), tmp_path / "run")
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.source.startswith("RUN = "):
            cell.source = f"RUN = {str(run)!r}"
    done = NotebookClient(notebook, timeout=290, resources={"metadata": {"path": str(ROOT)}}).execute()
    outputs = [out for cell in done.cells for out in cell.get("outputs", [])]
    assert sum("image/png" in out.get("data", {}) for out in outputs) >= 4, "every cell shows its figure"
    assert [out["text"] for out in outputs if out.get("name") == "stderr"] == []
