"""How every figure looks: journal widths, type, one colour and one marker per model, and how a figure is saved."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from bayesaffect.files import atomic
from bayesaffect.types import Target

SINGLE, DOUBLE = 89 / 25.4, 183 / 25.4
ENDINGS = (".png", ".pdf", ".svg")
INK, FAINT, GRID, PALE = "#222222", "#8A8A8A", "#E4E4E4", "#F3F3F3"
PRIOR = "#B5B5B5"
# Okabe & Ito (2008); their yellow is darkened, because thin lines in it vanish on white
_MODALITIES = (
    "#0072B2",
    "#009E73",
    "#E69F00",
    "#56B4E9",
    "#CC79A7",
    "#B8A400",
    "#000000",
    "#7F5539",
    "#6A4C93",
    "#7CB518",
)
_FUSED = {"late": "#D55E00", "hybrid": "#8C2D04", "early": "#4D4D4D", "equal": "#959595"}
_OTHER = ("#6B7A8F", "#A08C7D", "#7D8F69", "#8F6B83", "#5E8C8C", "#B09A5B", "#4F5D2F", "#A3566B")
_MARKERS = {
    **{"early": "s", "equal": "D", "late": "o", "hybrid": "o"},
    **{"prior": "p", "order": "h", "stacking": "d", "linear": "X", "forest": "P"},
    **{"product": "H", "evidential": "*", "stimulus": "8"},
}
_MODALITY_MARKERS = ("^", "v", "<", ">", "P", "X", "p", "h", "8", "d")

_RC = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Arial", "Helvetica", "Liberation Sans", "DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 5,
    "axes.labelsize": 8,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#666666",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.color": "#666666",
    "ytick.color": "#666666",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "patch.linewidth": 0.6,
    "hatch.linewidth": 0.5,
    "hatch.color": "#9A9A9A",
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "bayesaffect",
    "figure.dpi": 100,
    "savefig.facecolor": "white",
    "figure.constrained_layout.h_pad": 0.04,
    "figure.constrained_layout.w_pad": 0.04,
}


@dataclass(frozen=True)
class Picture:
    """A figure with the words that go with it; ``name`` names its files."""

    name: str
    title: str
    caption: str
    figure: Figure


def paper(draw: Callable) -> Callable:
    """Run a drawing function under the house style and leave the caller's settings as they were."""

    @functools.wraps(draw)
    def wrapped(*args, **kwargs):
        with mpl.rc_context(_RC):
            return draw(*args, **kwargs)

    return wrapped


def panels(rows: int, columns: int, *, width: float = DOUBLE, height: float, **options) -> tuple[Figure, object]:
    """A figure and its 2-d array of axes, laid out without overlaps.

    ``width`` and ``height`` (inches) are what its content needs: the figure is as wide as one column of a journal where
    that is enough or nearly so, else as two.
    """
    figure = Figure(figsize=(SINGLE if width <= 1.3 * SINGLE else DOUBLE, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def colours(modalities: Iterable[str], models: Iterable[str]) -> dict[str, str]:
    """One colour per model: by name for the usual combinations, by position for modalities; ``prior`` is grey."""
    out = {m: _MODALITIES[k % len(_MODALITIES)] for k, m in enumerate(modalities)}
    out["prior"] = PRIOR
    others = [m for m in models if m not in out and m not in _FUSED]
    return (
        out
        | {m: c for m, c in _FUSED.items() if m not in out}
        | {m: _OTHER[k % len(_OTHER)] for k, m in enumerate(others)}
    )


def markers(modalities: Iterable[str], models: Iterable[str]) -> dict[str, str]:
    """One marker per model, so that colour is never the only cue."""
    out = {m: _MODALITY_MARKERS[k % len(_MODALITY_MARKERS)] for k, m in enumerate(modalities)}
    return {m: out.get(m, _MARKERS.get(m, "*")) for m in (*modalities, *models)}


def label(name: str) -> str:
    """A model's, modality's or level's name as a reader wants it."""
    known = {"late": "late fusion", "early": "early fusion", "equal": "equal weights", "hybrid": "hybrid fusion"}
    known |= {"linear": "linear on features", "forest": "forest on features"}
    known |= {"product": "product of experts", "evidential": "evidential fusion", "stimulus": "mean of the stimulus"}
    known |= {"order": "order of trials"}
    return known.get(name, str(name).replace("_", " "))


def scale(target: Target) -> str:
    """The bounds of a continuous target as a reader wants them."""
    return f"{target.bounds[0]:g} to {target.bounds[1]:g}".replace("-", "−")


def slug(name: str) -> str:
    """A file name made of letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^\w.-]+", "-", name)


def place_labels(
    axes: Axes, x: float, wanted: dict[str, float], ink: dict[str, str], *, gap: float, bold: str = ""
) -> None:
    """Write names right of a plot where their curves end, pushed apart to at least ``gap`` (data units)."""
    order = sorted(wanted, key=wanted.get)
    heights = [wanted[m] for m in order]
    for _ in range(200):
        moved = False
        for k in range(len(heights) - 1):
            if heights[k + 1] - heights[k] < gap - 1e-9:
                shift = (gap - (heights[k + 1] - heights[k])) / 2
                heights[k], heights[k + 1], moved = heights[k] - shift, heights[k + 1] + shift, True
        if not moved:
            break
    low, high = sorted(axes.get_ylim())
    over = max(0.0, (heights[-1] if heights else low) - high)
    heights = [h - over for h in heights]
    under = max(0.0, low - (heights[0] if heights else low))
    for name, height in zip(order, heights, strict=True):
        weight = "bold" if name == bold else "normal"
        axes.annotate(
            label(name),
            (x, height + under),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
            color=ink[name],
            fontweight=weight,
            annotation_clip=False,
        )


@paper
def save(picture: Picture, folder: Path, *, dpi: int = 200) -> Path:
    """Write ``folder/<name>.png``, ``.pdf`` and ``.svg`` (text stays text); return the path of the PNG.

    Each file is whole or absent. The same figure makes the same files.
    """
    figure, undated = picture.figure, {"CreationDate": None}
    figure.dpi = dpi
    # the canvases themselves: Figure.savefig draws everything twice, which is most of the time that a page takes
    writers = {
        ".png": lambda path: FigureCanvasAgg(figure).print_png(path),
        ".pdf": lambda path: FigureCanvasPdf(figure).print_pdf(path, metadata=undated),
        ".svg": lambda path: FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None}),
    }
    for suffix, write in writers.items():
        with atomic(folder / f"{picture.name}{suffix}") as temporary:
            write(temporary)
        figure.set_layout_engine("none")  # the first drawing laid it out; the others keep that
        figure.dpi = dpi
    return folder / f"{picture.name}.png"
