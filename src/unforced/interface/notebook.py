"""What a Jupyter notebook needs to be told. IPython is never imported: elsewhere, nothing happens."""

import io
import sys
from typing import Any

from matplotlib.figure import Figure


def shell() -> Any:
    """Return the shell of the Jupyter kernel that runs this code; None elsewhere."""
    ipython = sys.modules.get("IPython")
    found = ipython.get_ipython() if ipython is not None else None
    return found if hasattr(found, "kernel") else None


def display(shown: Any) -> Any:
    """Show an object below the cell; return a handle, whose `update` shows it anew."""
    return sys.modules["IPython.display"].display(shown, display_id=True)


def show_figures() -> None:
    """Let a notebook show figures that pyplot did not make, as it shows those that it made."""
    if (kernel := shell()) is None:
        return
    formatter = kernel.display_formatter.formatters["image/png"]
    if Figure not in formatter.type_printers:
        formatter.for_type(Figure, _png)


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", bbox_inches="tight")
    return file.getvalue()
