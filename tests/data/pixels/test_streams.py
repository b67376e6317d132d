"""Compressed frames without what is no picture, byte by byte."""

import pytest

from msk_jax.data.pixels.streams import StreamError, rle_stripped, stripped


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content


FRAME_HEADER = segment(0xC0, b"\x08\0\1\0\1\1\1\x11\0")
SCAN = segment(0xDA, b"\1\1\0\0\x3f\0") + b"\x12\xff\0\x34\xff\xd0\x56\xff\x7f"
JFIF = segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0")


def test_jpeg_keeps_what_decides_about_colours_without_its_room_for_text():
    adobe = segment(0xEE, b"Adobe" + b"AB" + b"CD" + b"EF" + b"\x01" + b"more")
    colours = segment(0xE8, b"mrfx\x02Anna")
    picture = segment(0xE0, b"JFIF\0\x01\x02\x01\0\x48\0\x48\2\2" + b"Anna, small.")
    exif = segment(0xE1, b"Exif\0\0Anna")
    frame = b"\xff\xd8" + picture + adobe + colours + exif + b"\xff\xff" + FRAME_HEADER
    frame += SCAN + segment(0xFE, b"Anna") + b"\xff\xd9" + b"Anna"
    assert stripped(frame).kept == (
        b"\xff\xd8"
        + JFIF
        + segment(0xEE, b"Adobe\0\x64\0\0\0\0\x01")
        + segment(0xE8, b"mrfx\x02")
        + FRAME_HEADER
        + SCAN
        + b"\xff\xd9"
    )
    assert [b"Anna" in piece for piece in stripped(frame).removed] == [
        True,
        False,
        True,
        True,
        True,
        True,
    ]
    kept = stripped(frame).kept
    assert stripped(kept + b"\0").kept == kept and stripped(kept + b"\0").removed == ()
    assert stripped(kept[:-2]).kept == kept[:-2], "the end is missing, as of many a file"


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"RIFF", "begins like none"),
        (b"\xff\xd8" + FRAME_HEADER + b"text", "no marker where one must be"),
        (b"\xff\xd8\xff\xfe\0\x09abc", "longer than the frame"),
        (b"\xff\xd8" + segment(0xF3, b"ab"), r"unknown kind \(0xFFF3\)"),
        (b"\xff\x4f" + segment(0x52, b"ab") + b"text", "no marker where one must be"),
        (b"\xff\x4f" + segment(0x31, b"ab"), r"unknown kind \(0xFF31\)"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "without a codestream"),
    ],
)
def test_what_cannot_be_parsed_is_refused(frame, reason):
    with pytest.raises(StreamError, match=reason):
        stripped(frame)


def tile_part(index: int, header: bytes, data: bytes, length: int | None = None) -> bytes:
    size = 12 + len(header) + 2 + len(data) if length is None else length
    start = index.to_bytes(2, "big") + size.to_bytes(4, "big") + b"\0\1"
    return segment(0x90, start) + header + b"\xff\x93" + data


def test_jpeg_2000_says_the_new_lengths_of_its_tile_parts():
    comment, size = segment(0x64, b"\0\1Anna"), segment(0x51, b"size")
    for kinds, width in ((0x50, 4), (0x10, 2)):  # indices of one byte, lengths of four or two

        def table(*lengths, kinds=kinds, width=width):
            entries = b"".join(bytes([k]) + n.to_bytes(width, "big") for k, n in enumerate(lengths))
            return segment(0x55, bytes([0, kinds]) + entries)

        parts = tile_part(0, comment + comment, b"abc"), tile_part(1, b"", b"de\xff\x64f")
        frame = b"\xff\x4f" + size + comment + table(len(parts[0]), len(parts[1]))
        result = stripped(frame + parts[0] + parts[1] + b"\xff\xd9Anna")
        plain = tile_part(0, b"", b"abc")
        assert result.kept == (
            b"\xff\x4f" + size + table(len(plain), len(parts[1])) + plain + parts[1] + b"\xff\xd9"
        )
        assert result.removed == (b"\0\1Anna",) * 3 + (b"Anna",)


def test_a_last_tile_part_of_unsaid_length_goes_on_to_the_end():
    comment = segment(0x64, b"\0\1Anna")
    frame = b"\xff\x4f" + tile_part(0, comment, b"abc", 0) + b"\xff\xd9"
    assert stripped(frame).kept == b"\xff\x4f" + tile_part(0, b"", b"abc", 0) + b"\xff\xd9"


def test_jp2_keeps_the_boxes_that_say_what_the_values_mean():
    def box(kind, content):
        return (len(content) + 8).to_bytes(4, "big") + kind + content

    mark, kind = box(b"jP  ", b"\r\n\x87\n"), box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    stream = b"\xff\x4f" + tile_part(0, b"", b"abc") + b"\xff\xd9"
    header = box(b"ihdr", b"a") + box(b"colr", b"b")
    frame = mark + box(b"ftyp", b"jp2 \0\0\0\0jp2 Anna") + box(b"xml ", b"Anna")
    frame += box(b"jp2h", header + box(b"uuid", b"Anna"))
    long = (1).to_bytes(4, "big") + b"jp2c" + (16 + len(stream)).to_bytes(8, "big") + stream
    result = stripped(frame + long + (0).to_bytes(4, "big") + b"uuidAnna")
    assert result.kept == mark + kind + box(b"jp2h", header) + box(b"jp2c", stream)
    assert result.removed == (b"Anna",) * 3


def rle(*segments: bytes, gap=b"", unused=b"") -> bytes:
    starts = [64 + sum(len(s) + len(gap) for s in segments[:k]) for k in range(len(segments))]
    header = b"".join(n.to_bytes(4, "little") for n in (len(segments), *starts)) + unused
    return header.ljust(64, b"\0") + gap.join(segments) + gap


def test_rle_keeps_runs_up_to_the_last_pixel():
    runs = b"\x02abc\xfe\x07", b"\x80\xfb\x01\0"  # three and three pixels; a filler, six pixels
    result = rle_stripped(rle(*runs, gap=b"Anna", unused=b"Eva"), 2, 6)
    assert result.kept == rle(b"\x02abc\xfe\x07", b"\x80\xfb\x01\0")
    assert [piece.strip(b"\0") for piece in result.removed] == [b"Eva", b"Anna", b"Anna"]
    assert rle_stripped(rle(b"\x06abcAnna"), 1, 3) is None, "a run that goes beyond the pixels"
    for frame, planes in ((rle(b"\x02abc"), 2), (rle(b"\x02abc"), 1), (b"short", 1)):
        with pytest.raises(StreamError, match="is damaged"):
            rle_stripped(frame, planes, 6)
