"""How the project's pictures look: colours that people with any colour vision tell apart, and plain axes.

Belongs here: what all charts share. Does not belong here: drawing one.
"""

from typing import Final

# Okabe and Ito's colours.
BLUE: Final = "#0072B2"
ORANGE: Final = "#E69F00"
GREEN: Final = "#009E73"
RED: Final = "#D55E00"
PINK: Final = "#CC79A7"
GREY: Final = "#6B6B6B"
FAINT: Final = "#D9D9D9"
DPI: Final = 120
#: For `matplotlib.rc_context`.
STYLE: Final = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "figure.facecolor": "white",
    # The same data give the same file, whoever draws it.
    "svg.hashsalt": "retail",
}
