"""Pictures: one radiograph in every file form is the same picture, with all its bits."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from msk_jax.data.images.pictures import is_picture, read_picture
from msk_jax.data.regions.radiograph import RadiographRegion
from msk_jax.data.regions.radiograph_crops import read_projection
from msk_jax.errors import SeriesError
from msk_jax.phantoms.radiograph_writer import Exposure, write_radiograph
from tests.data.picture_files import (
    GREY,
    GREY_ALPHA,
    RGB,
    RGB_ALPHA,
    STORED_TURNED,
    write_png,
    write_tiff,
)

# No symmetry, an odd number of rows, all values from 0 to 250.
PICTURE = np.add.outer(3 * np.arange(47), np.arange(33)) % 251
PICTURE[5:12, 4:20] = 250
DEEP = (PICTURE * 16 + 5).astype(np.uint16)
"""Of 12 bits in 16: cut to 8 bits, several of its values would be one."""
EXPOSURE = Exposure(
    "P1", "Nobody", "F", 61, "A", "panel", "DX", False, "CHEST", "PA", "U", 1, 1, 0, 110.0, 2.0, 1.0
)


def _opaque(values):
    top = np.iinfo(values.dtype).max
    return np.full_like(values[..., :1], top)


def _dicom(path, inverted):
    exposure = dataclasses.replace(EXPOSURE, inverted=inverted)
    return write_radiograph(path.with_suffix(".dcm"), exposure, DEEP)


def _saved(path, values, **save):
    Image.fromarray(values).save(path, **save)
    return path


SHALLOW = PICTURE.astype(np.uint8)
GREY8, GREY16 = SHALLOW[..., None], DEEP[..., None]
RGB8, RGB16 = np.repeat(GREY8, 3, axis=2), np.repeat(GREY16, 3, axis=2)
FORMS = {
    "PNG, 8 bits": lambda p: write_png(p, GREY8, GREY, 8),
    "PNG, 16 bits": lambda p: write_png(p, GREY16, GREY),
    "PNG, equal colours": lambda p: write_png(p, RGB8, RGB, 8),
    "PNG, equal colours of 16 bits": lambda p: write_png(p, RGB16, RGB),
    "PNG, opaque": lambda p: write_png(p, np.c_[GREY8, _opaque(GREY8)], GREY_ALPHA, 8),
    "PNG, opaque, 16 bits": lambda p: write_png(p, np.c_[GREY16, _opaque(GREY16)], GREY_ALPHA),
    "PNG, opaque colours of 16 bits": lambda p: write_png(
        p, np.c_[RGB16, _opaque(GREY16)], RGB_ALPHA
    ),
    "PNG, palette": lambda p: write_png(
        p, 255 - GREY8, 3, 8, [(b"PLTE", bytes(np.repeat(np.arange(255, -1, -1), 3).tolist()))]
    ),
    "PNG, gamma": lambda p: write_png(p, GREY8, GREY, 8, [(b"gAMA", (45455).to_bytes(4))]),
    "PNG, significant bits": lambda p: write_png(p, RGB16, RGB, 16, [(b"sBIT", bytes([12] * 3))]),
    "PNG called TIFF": lambda p: write_png(p.with_suffix(".tif"), GREY8, GREY, 8),
    "TIFF, 8 bits": lambda p: write_tiff(p, SHALLOW),
    "TIFF, 16 bits": lambda p: write_tiff(p, DEEP),
    "TIFF, big-endian": lambda p: write_tiff(p, DEEP, order=">"),
    "BigTIFF": lambda p: write_tiff(p, DEEP, is_big=True),
    "BigTIFF, big-endian": lambda p: write_tiff(p, DEEP, is_big=True, order=">"),
    "TIFF, WhiteIsZero": lambda p: write_tiff(p, 255 - SHALLOW, 0),
    "TIFF, WhiteIsZero, 16 bits": lambda p: write_tiff(p, 65535 - DEEP, 0),
    "TIFF, WhiteIsZero, floating": lambda p: write_tiff(p, 5 - DEEP.astype(np.float32), 0),
    "TIFF, WhiteIsZero, signed": lambda p: write_tiff(p, 1999 - DEEP.astype(np.int16), 0),
    "TIFF, signed": lambda p: write_tiff(p, DEEP.astype(np.int16) - 2000),
    "TIFF, signed, 8 bits": lambda p: write_tiff(p, (PICTURE - 128).astype(np.int8)),
    "TIFF, 32 bits": lambda p: write_tiff(p, DEEP.astype(np.uint32) + 2**31),
    "TIFF, floating": lambda p: write_tiff(p, DEEP.astype(np.float32), order=">"),
    "TIFF, floating, 64 bits": lambda p: write_tiff(p, DEEP / 7e9 + 1),
    "TIFF, strips": lambda p: write_tiff(p, DEEP, rows_per_strip=9),
    "TIFF, deflate": lambda p: write_tiff(p, DEEP, rows_per_strip=9, deflate=True, order=">"),
    "TIFF, tiles": lambda p: write_tiff(p, DEEP, tile=(32, 16), deflate=True),
    "TIFF, equal colours": lambda p: write_tiff(p, RGB16, 2),
    "TIFF, planes": lambda p: write_tiff(p, RGB16, 2, planar=2, rows_per_strip=9),
    "TIFF, opaque": lambda p: write_tiff(
        p, np.c_[RGB16, _opaque(GREY16)], 2, tags={338: (3, (2,))}
    ),
    "TIFF, palette": lambda p: write_tiff(
        p, 255 - SHALLOW, 3, tags={320: (3, [*range(255 * 257, -1, -257)] * 3)}
    ),
    "TIFF, LZW": lambda p: _saved(p.with_suffix(".tif"), DEEP, compression="tiff_lzw"),
    "TIFF, LZW of differences": lambda p: _saved(
        p.with_suffix(".tif"), DEEP, compression="tiff_lzw", tiffinfo={317: 2}
    ),
    "TIFF, PackBits": lambda p: _saved(p.with_suffix(".tif"), SHALLOW, compression="packbits"),
    "DICOM, MONOCHROME1": lambda p: _dicom(p, True),
    "DICOM, MONOCHROME2": lambda p: _dicom(p, False),
    **{
        f"TIFF, orientation {k}": lambda p, k=k, turn=turn: write_tiff(
            p, turn(DEEP), tags={274: (3, (k,))}
        )
        for k, turn in STORED_TURNED.items()
    },
    **{
        f"PNG, orientation {k}": lambda p, k=k, turn=turn: write_png(
            p, turn(RGB16), RGB, 16, [(b"eXIf", _exif(k))]
        )
        for k, turn in STORED_TURNED.items()
    },
}


def _exif(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes().removeprefix(b"Exif\0\0")


def _crop(path):
    (crop,) = RadiographRegion(size=60).extract(read_projection([path])).values()
    return crop.voxels


@pytest.fixture(scope="module")
def plain_crop(tmp_path_factory):
    return _crop(write_png(tmp_path_factory.mktemp("plain") / "plain.png", GREY16, GREY))


@pytest.mark.parametrize("form", FORMS)
def test_the_same_picture_in_every_form(tmp_path, plain_crop, form):
    assert np.array_equal(_crop(FORMS[form](tmp_path / "p.png")), plain_crop)


def test_stored_values_are_kept(tmp_path):
    path = tmp_path / "p.png"
    for form in ("PNG, equal colours of 16 bits", "PNG, opaque, 16 bits", "TIFF, LZW"):
        pixels = read_picture(FORMS[form](path)).pixels
        assert pixels.dtype == np.float32 and np.array_equal(pixels, DEEP)
    assert np.array_equal(read_picture(FORMS["TIFF, WhiteIsZero, 16 bits"](path)).pixels, DEEP)
    deep = read_picture(FORMS["TIFF, 32 bits"](path)).pixels  # float32 would lose 8 of the bits
    assert deep.dtype == np.float64 and np.array_equal(deep - 2**31, DEEP)


def test_twelve_bits_side_by_side(tmp_path):
    bits = (DEEP[..., None] >> np.arange(11, -1, -1)) & 1
    packed = np.packbits(bits.reshape(len(DEEP), -1).astype(np.uint8), axis=1)
    write_tiff(tmp_path / "p.tif", packed, tags={256: (4, (33,)), 258: (3, (12,))})
    assert np.array_equal(read_picture(tmp_path / "p.tif").pixels, DEEP)


def test_differences_of_floating_numbers(tmp_path):
    values = np.sqrt(DEEP).astype(np.float32)
    Image.fromarray(values).save(
        tmp_path / "p.tif", compression="tiff_adobe_deflate", tiffinfo={317: 3}
    )
    assert np.array_equal(read_picture(tmp_path / "p.tif").pixels, values)


def test_jpeg_and_fax_within_tiff(tmp_path):
    Image.fromarray(RGB8).save(tmp_path / "p.tif", compression="jpeg", quality=100)
    assert np.abs(read_picture(tmp_path / "p.tif").pixels - PICTURE).max() <= 12  # lossy
    Image.fromarray(SHALLOW > 99).save(tmp_path / "p.tif", compression="group4")
    assert np.array_equal(read_picture(tmp_path / "p.tif").pixels, SHALLOW > 99)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_spacing_is_turned_with_the_picture(tmp_path, orientation):
    stored = STORED_TURNED[orientation](DEEP)
    dpi = (254, 127)  # 0.1 mm along a row as it is to be looked at, 0.2 mm between rows
    across, down = dpi if orientation in (1, 3) else dpi[::-1]
    per_inch = {282: (5, (across, 1)), 283: (5, (down, 1)), 296: (3, (2,))}
    write_tiff(tmp_path / "p.tif", stored, tags={274: (3, (orientation,)), **per_inch})
    assert read_picture(tmp_path / "p.tif").spacing.mm == pytest.approx((0.2, 0.1))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(SHALLOW).rotate({1: 0, 3: 180, 6: 90, 8: 270}[orientation], expand=1)
    for name in ("p.png", "p.jpg"):
        picture.save(tmp_path / name, dpi=(across, down), exif=exif)
        found = read_picture(tmp_path / name)
        assert found.spacing.mm == pytest.approx((0.2, 0.1), rel=1e-3)
        assert found.pixels.shape == SHALLOW.shape


def test_centimetres_and_no_unit(tmp_path):
    for unit, spacing in ((3, (0.1, 0.1)), (1, None)):
        tags = {282: (5, (100, 1)), 283: (5, (100, 1)), 296: (3, (unit,))}
        found = read_picture(write_tiff(tmp_path / "p.tif", DEEP, tags=tags)).spacing.mm
        assert found == (spacing and pytest.approx(spacing))


@pytest.mark.parametrize("bits", [8, 16])
def test_what_is_transparent_is_as_dark_as_the_darkest(tmp_path, bits):
    top = 2**bits - 1
    kind = np.uint8 if bits == 8 else np.uint16
    grey = np.array([[40, 60], [100, 90]], kind)
    alpha = np.array([[top, top], [0, top]], kind)
    white = np.where(alpha, grey, top)  # as programs leave it under what they cut away
    expected = [[40, 60], [40, 90]]
    write_png(tmp_path / "p.png", np.stack([white, alpha], -1), GREY_ALPHA, bits)
    assert read_picture(tmp_path / "p.png").pixels.tolist() == expected
    write_png(tmp_path / "p.png", np.stack([white] * 3 + [alpha], -1), RGB_ALPHA, bits)
    assert read_picture(tmp_path / "p.png").pixels.tolist() == expected
    key = top.to_bytes(2)
    write_png(tmp_path / "p.png", white[..., None], GREY, bits, [(b"tRNS", key)])
    assert read_picture(tmp_path / "p.png").pixels.tolist() == expected
    tags = {338: (3, (2,))}
    write_tiff(tmp_path / "p.tif", np.stack([white, alpha], -1), tags=tags)
    assert read_picture(tmp_path / "p.tif").pixels.tolist() == expected


def test_half_transparent_and_multiplied(tmp_path):
    alpha = np.array([[255, 51], [0, 255]], np.uint8)
    grey = np.array([[40, 90], [200, 190]], np.uint8)
    expected = [[40, 50], [40, 190]]  # 40 + 50 / 5
    write_tiff(tmp_path / "p.tif", np.stack([grey, alpha], -1), tags={338: (3, (2,))})
    assert read_picture(tmp_path / "p.tif").pixels == pytest.approx(np.array(expected))
    multiplied = (grey * (alpha / 255)).astype(np.uint8)
    write_tiff(tmp_path / "p.tif", np.stack([multiplied, alpha], -1), tags={338: (3, (1,))})
    assert read_picture(tmp_path / "p.tif").pixels == pytest.approx(np.array(expected))
    write_tiff(tmp_path / "p.tif", np.stack([grey, 0 * alpha], -1), tags={338: (3, (2,))})
    with pytest.raises(SeriesError, match="transparent everywhere"):
        read_picture(tmp_path / "p.tif")


def test_colours_become_luminance(tmp_path):
    colours = np.array([[[200, 100, 50], [0, 255, 0]]], np.uint8)
    luminance = np.asarray(Image.fromarray(colours).convert("L")).tolist()
    write_png(tmp_path / "p.png", colours, RGB, 8)
    assert read_picture(tmp_path / "p.png").pixels.tolist() == luminance
    assert read_picture(write_tiff(tmp_path / "p.tif", colours, 2)).pixels.tolist() == luminance
    ink = 255 - np.concatenate([colours, np.full((1, 2, 1), 255)], 2).astype(np.uint8)
    assert read_picture(write_tiff(tmp_path / "p.tif", ink, 5)).pixels.tolist() == luminance


def _two_pages(path):
    page = Image.fromarray(SHALLOW)
    page.save(path, save_all=True, append_images=[page])


def _half_floats(path):
    write_tiff(path, np.where(PICTURE > 3, PICTURE, np.nan).astype(np.float16))


REFUSED = {
    "several pages": _two_pages,
    "values that are no numbers": _half_floats,
    "photometric interpretation 8": lambda p: write_tiff(p, RGB8, 8),
    "another compression .number 34712": lambda p: write_tiff(
        p, SHALLOW, tags={259: (3, (34712,))}
    ),
    "various bits": lambda p: write_tiff(p, RGB8, 2, tags={258: (3, (8, 8, 4))}),
    "1 sample.s. of 8 bits": lambda p: write_tiff(p, SHALLOW, 2),
    "promises 60000 x 60000 pixels": lambda p: write_tiff(
        p, SHALLOW, tags={256: (4, (60000,)), 257: (4, (60000,))}
    ),
    "by its content it is a GIF file": lambda p: Image.fromarray(SHALLOW).save(p, "GIF"),
    "by its content it is a BMP file": lambda p: Image.fromarray(SHALLOW).save(p, "BMP"),
    "by its content it is a JPEG 2000 file": lambda p: Image.fromarray(SHALLOW).save(p, "JPEG2000"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_refused(tmp_path, reason):
    REFUSED[reason](tmp_path / "p.tif")
    with pytest.raises(SeriesError, match=reason):
        read_picture(tmp_path / "p.tif")


@pytest.mark.parametrize("deflate", [False, True])
def test_a_file_that_is_cut_short(tmp_path, deflate):
    whole = write_tiff(tmp_path / "p.tif", DEEP, deflate=deflate).read_bytes()
    for length in (5, 100, len(whole) // 2, len(whole) - 250):
        (tmp_path / "p.tif").write_bytes(whole[:length])
        with pytest.raises(SeriesError, match=r"cannot be read as PNG, JPEG or TIFF"):
            read_picture(tmp_path / "p.tif")
    tile = {322: (4, (2**30,)), 323: (4, (2**30,)), 324: (4, (8,)), 325: (4, (9,))}
    for harm, reason in (({273: (4, (2**31,))}, ""), (tile, "far larger than the picture")):
        write_tiff(tmp_path / "p.tif", DEEP, deflate=deflate, tags=harm)
        with pytest.raises(SeriesError, match="cannot be read as PNG, JPEG or TIFF") as refused:
            read_picture(tmp_path / "p.tif")
        assert reason in str(refused.value.__cause__)


def test_a_smaller_copy_is_no_page(tmp_path):
    copy = Image.fromarray(SHALLOW[::2, ::2])
    copy.encoderinfo = {"tiffinfo": {254: 1}}
    Image.fromarray(DEEP).save(tmp_path / "p.tif", save_all=True, append_images=[copy])
    assert np.array_equal(read_picture(tmp_path / "p.tif").pixels, DEEP)


def test_names(tmp_path):
    for name, expected in (("a.PNG", True), ("a.hdr", True), ("a.bmp", False)):
        (tmp_path / name).write_bytes(b"x")
        assert is_picture(tmp_path / name) is expected
