from __future__ import annotations

import io

import numpy as np
from PIL import Image

from bayesaffect.report.drawing import Drawn, draw, fitted
from bayesaffect.report.figures import scores as figures_scores


def picture(seed: int, side: int) -> bytes:
    """A PNG of a smooth coloured field with a little noise: many more than 256 colours."""
    rng = np.random.default_rng(seed)
    field = np.linspace(0, 200, side)[:, None, None] + np.linspace(0, 40, side)[None, :, None]
    stream = io.BytesIO()
    pixels = (field + np.array([0, 10, 15]) + rng.integers(0, 3, (side, side, 3))).astype(np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=float)


def test_pictures_that_fit_are_left_alone():
    drawn = {"data": [Drawn(None, picture(0, 40))], "scores": [Drawn(None, picture(1, 40))]}
    assert fitted(drawn, room=10**6) == drawn


def test_the_largest_picture_gets_fewer_colours_and_the_others_stay():
    large, small = picture(0, 160), picture(1, 40)
    drawn = {"data": [Drawn(None, small), Drawn(None, large)]}
    out = fitted(drawn, room=len(large) + len(small) - 1)
    assert out["data"][0].png == small and len(out["data"][1].png) < 0.7 * len(large)
    assert np.abs(pixels(out["data"][1].png) - pixels(large)).mean() < 4
    assert drawn["data"][1].png == large


def test_a_picture_whose_colours_would_change_visibly_keeps_them():
    stream = io.BytesIO()
    noise = np.random.default_rng(2).integers(0, 256, (60, 60, 3)).astype(np.uint8)
    Image.fromarray(noise).save(stream, "PNG")
    drawn = {"data": [Drawn(None, stream.getvalue())]}
    assert fitted(drawn, room=10) == drawn


def test_a_figure_makes_the_same_files_twice(affect, tmp_path):
    def nothing():
        return None

    catalogue = [("scores", lambda: figures_scores.differences(affect)), ("data", nothing)]
    first, second = (draw(catalogue, tmp_path / name) for name in ("a", "b"))
    assert list(first) == ["scores"] and first["scores"][0].png == second["scores"][0].png
    for suffix in ("png", "pdf", "svg"):
        files = [(tmp_path / name / f"differences.{suffix}").read_bytes() for name in ("a", "b")]
        assert files[0] == files[1]
    svg = files[0].decode()
    assert "<text" in svg and "late fusion" in svg  # text stays text, so that it can be searched and edited
