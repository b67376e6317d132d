"""Grey radiographs stored as colour: the same values as of the picture that means the same."""

import io

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from msk_jax.data.images.radiograph import read_radiograph
from msk_jax.data.images.volume import read_volume
from msk_jax.data.regions.radiograph_crops import read_projection
from msk_jax.errors import SeriesError
from tests.data.ct_files import edit, ramp, write_ct

GREY = (np.arange(40 * 32).reshape(40, 32) * 7 % 251).astype(np.uint8)
RGB = np.repeat(GREY[..., None], 3, axis=2)
GEOMETRY = {
    "ImagePositionPatient": None,
    "ImageOrientationPatient": None,
    "RescaleSlope": None,
    "RescaleIntercept": None,
}


def film(folder, values, photometric, samples=3, **tags):
    """A DX file of 8 bits (unless `values` say otherwise), as stored."""
    (file,) = write_ct(folder, ramp((1, *GREY.shape)), **GEOMETRY)
    data = pydicom.dcmread(file)
    bits = values.dtype.itemsize * 8
    edit(
        data,
        {
            "Modality": "DX",
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1",
            "SamplesPerPixel": samples,
            "PhotometricInterpretation": photometric,
            "BitsAllocated": bits,
            "BitsStored": bits,
            "HighBit": bits - 1,
            "PixelData": values.tobytes(),
            **({"PlanarConfiguration": 0} if samples == 3 else {}),
            **tags,
        },
    )
    for element in data:
        if element.VR == "US or SS":
            element.VR = "US"
    data.save_as(file)
    return file


def neutral(subsampled):
    """Y, Cb, Cr of grey; of every two pixels in a row one chroma (PS3.3 C.7.6.3.1.2)."""
    if not subsampled:
        return np.stack([GREY, np.full_like(GREY, 128), np.full_like(GREY, 128)], axis=-1)
    pairs = GREY.reshape(-1, 2)
    return np.concatenate([pairs, np.full_like(pairs, 128)], axis=1)


def palette(levels, wide=False):
    """Red, green and blue of 256 entries of 8 or 16 bits."""
    tags = {}
    for name, values in zip(("Red", "Green", "Blue"), levels, strict=True):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16 if wide else 8]
        kind = "<u2" if wide else "u1"
        tags[f"{name}PaletteColorLookupTableData"] = np.asarray(values).astype(kind).tobytes()
    return tags


STEPS = np.arange(256)
FORMS = {
    "RGB": lambda folder: film(folder, RGB, "RGB"),
    "planes": lambda folder: film(
        folder, RGB.transpose(2, 0, 1).copy(), "RGB", PlanarConfiguration=1
    ),
    "16 bits": lambda folder: film(folder, RGB.astype(np.uint16) * 257, "RGB"),
    "YBR": lambda folder: film(folder, neutral(False), "YBR_FULL"),
    "YBR 422": lambda folder: film(folder, neutral(True), "YBR_FULL_422"),
    "palette": lambda folder: film(folder, GREY, "PALETTE COLOR", 1, **palette([STEPS] * 3)),
    "wide palette": lambda folder: film(
        folder, GREY, "PALETTE COLOR", 1, **palette([STEPS * 257] * 3, wide=True)
    ),
    "turned palette": lambda folder: film(
        folder, 255 - GREY, "PALETTE COLOR", 1, **palette([255 - STEPS] * 3)
    ),
}


@pytest.fixture
def picture(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    return read_projection([tmp_path / "a.png"]).voxels


@pytest.mark.parametrize("form", FORMS)
def test_grey_in_every_form_of_colour(tmp_path, form, picture):
    file = FORMS[form](tmp_path / "dicom")
    pixels = read_radiograph(file).pixels
    scale = 257 if form in ("16 bits", "wide palette") else 1
    assert np.array_equal(pixels, GREY * np.float32(scale))
    assert np.array_equal(read_projection([file]).voxels, picture)


@pytest.mark.parametrize(
    "syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless], ids=lambda uid: uid.keyword
)
def test_compressed_without_loss(tmp_path, syntax, picture, need):
    need("openjpeg", "jpeg_ls", "rle")
    file = film(tmp_path, RGB, "RGB")
    data = pydicom.dcmread(file)
    data.compress(syntax)
    data.save_as(file)
    assert np.array_equal(read_projection([file]).voxels, picture)


def jpeg(folder, values):
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "JPEG", quality=90)
    file = film(folder, RGB, "YBR_FULL_422")
    data = pydicom.dcmread(file)
    data.PixelData = encapsulate([stream.getvalue()])
    data["PixelData"].is_undefined_length = True
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    data.save_as(file)
    stream.seek(0)
    return file, np.asarray(Image.open(stream).convert("L")).astype(float)


def test_compressed_with_loss(tmp_path, need):
    need("libjpeg")
    smooth = np.add.outer(np.arange(40), np.arange(32))[..., None] * 3 + np.zeros(3)
    for tint in (0, 2):  # chroma at its middle, and one step off
        smooth[..., 2] += tint
        file, expected = jpeg(tmp_path, smooth.astype(np.uint8))
        assert np.abs(read_radiograph(file).pixels - expected).max() <= 1
    smooth[5:20, 5:20, 0] += 30
    file, _ = jpeg(tmp_path, smooth.astype(np.uint8))
    with pytest.raises(SeriesError, match="red, green and blue differ in"):
        read_radiograph(file)


def test_big_endian(tmp_path, picture):
    file = film(tmp_path, RGB, "RGB")
    data = pydicom.dcmread(file)
    data.PixelData = RGB.ravel().view("<u2").astype(">u2").tobytes()  # as OW
    data["PixelData"].VR = "OW"
    data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    pydicom.dcmwrite(file, data)
    assert np.array_equal(read_projection([file]).voxels, picture)


def test_colours_are_refused(tmp_path):
    marked = RGB.copy()
    marked[3, 4:9, 1] += 1
    expected = r"red, green and blue differ in 5 of 1,280 pixels, by up to 1 of 255\. .* colo"
    with pytest.raises(SeriesError, match=expected):
        read_radiograph(film(tmp_path, marked, "RGB"))
    tinted = neutral(False)
    tinted[0, 0, 2] = 129
    with pytest.raises(SeriesError, match="differ in 1 of 1,280 pixels"):
        read_radiograph(film(tmp_path, tinted, "YBR_FULL"))
    hot = palette([STEPS, STEPS // 2, STEPS])
    with pytest.raises(SeriesError, match="red, green and blue differ"):
        read_radiograph(film(tmp_path, GREY, "PALETTE COLOR", 1, **hot))


def test_slices_of_colour_stay_refused(tmp_path):
    files = write_ct(tmp_path, ramp(), SamplesPerPixel=3, PhotometricInterpretation="RGB")
    with pytest.raises(SeriesError, match="is a colour image, not a slice"):
        read_volume(files)
