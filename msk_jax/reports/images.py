"""Pictures as addresses that carry their own content, so that a page is one file."""

import base64
import io

from matplotlib.figure import Figure

from msk_jax.evaluation.plots import plots


def svg(figure: Figure) -> str:
    """A figure as an SVG data address; glyphs are outlines, so that it needs no font."""
    buffer = io.BytesIO()
    with plots.house_style():
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    return data_uri(buffer.getvalue(), "image/svg+xml")


def data_uri(content: bytes, kind: str) -> str:
    """Any content as a data address of a kind, as `image/png`."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
