"""Pictures of every mode and container, each with the RGB pixels that it must become, computed
without Pillow.

A case is a file, built here, and a row of ``docs/inputs.md``, whose first column is its ``row``.
"""

import colorsys
import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

SIDE = 16
WHITE = np.uint8(255)
PIXELS = np.random.default_rng(5).integers(0, 256, (SIDE, SIDE, 4))  # RGB and opacity
RGB, ALPHA = PIXELS[..., :3], PIXELS[..., 3]
ALPHA[:2], ALPHA[2:4] = 0, 255
GREY = PIXELS[..., 0]
DEEP = np.random.default_rng(6).integers(0, 65536, (SIDE, SIDE, 4))  # the same, of 16 bits
# For lossy formats.
SMOOTH = np.kron(np.random.default_rng(7).integers(60, 200, (2, 2, 4)), np.ones((8, 8, 1), int))


@dataclass(frozen=True)
class Case:
    """A file, the pixels that it must become (H, W, 3), within ``tolerance`` levels, and what
    validation says.
    """

    row: str
    content: bytes
    expected: np.ndarray
    reasons: tuple[str, ...] = ()
    tolerance: int = 0


def over_white(colours: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """Return colours, (H, W) or (H, W, 3), of some opacity (H, W), all 0 to 255, laid on white."""
    colours = np.broadcast_to(colours.reshape(*opacity.shape, -1), (*opacity.shape, 3))
    share = opacity[..., None] / 255
    return np.floor(colours * share + 255 * (1 - share) + 0.5).astype(np.uint8)


def opaque(colours: np.ndarray) -> np.ndarray:
    """Return colours, (H, W) or (H, W, 3), as uint8 (H, W, 3)."""
    return over_white(colours, np.full(colours.shape[:2], 255))


def write_png(
    values: np.ndarray, colour_type: int, depth: int, *chunks: tuple[bytes, bytes]
) -> bytes:
    """Return a PNG of integer samples, (H, W) or (H, W, C), of ``depth`` bits, with further
    chunks before the data.
    """

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    height, width = values.shape[:2]
    rows = values.reshape(height, -1)
    bits = (
        (rows[..., None] >> np.arange(depth - 1, -1, -1) & 1).reshape(height, -1).astype(np.uint8)
    )
    data = b"".join(b"\0" + row.tobytes() for row in np.packbits(bits, axis=1))
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def write_bmp(rgba: np.ndarray) -> bytes:
    """Return 8-bit RGB and opacity, (H, W, 4), as a BMP of version 4 with masks."""
    height, width = rgba.shape[:2]
    data = rgba[::-1].astype(np.uint8).tobytes()
    masks = struct.pack("<4I", 0xFF, 0xFF00, 0xFF0000, 0xFF000000)
    header = (
        struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(data), 0, 0, 0, 0)
        + masks
        + b"BGRs"
        + bytes(48)
    )
    return (
        b"BM"
        + struct.pack("<IHHI", 14 + len(header) + len(data), 0, 0, 14 + len(header))
        + header
        + data
    )


def save(image: Image.Image, kind: str, **options) -> bytes:
    """Return an image as Pillow saves it."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def image_of(values: np.ndarray, mode: str) -> Image.Image:
    """Return 8-bit samples as an image of a mode, byte for byte."""
    return Image.frombytes(mode, values.shape[1::-1], values.astype(np.uint8).tobytes())


def _png_cases():
    four_bits = GREY >> 4
    key_rgb = RGB.copy()
    key_rgb[:4] = (10, 20, 30)
    indices = GREY % 16
    palette = np.random.default_rng(8).integers(0, 256, (16, 3))
    plte, alphas = (
        (b"PLTE", palette.astype(np.uint8).tobytes()),
        np.random.default_rng(9).integers(0, 256, 16),
    )
    bit = GREY & 1
    colours = "PNG, 8 bits: grey, colour, palette"
    yield Case(colours, write_png(GREY, 0, 8), opaque(GREY))
    yield Case(colours, write_png(RGB, 2, 8), opaque(RGB))
    yield Case(colours, write_png(indices, 3, 8, plte), opaque(palette[indices]))
    few = "PNG, 1, 2 or 4 bits"
    yield Case(few, write_png(bit, 0, 1), opaque(bit * 255))
    yield Case(few, write_png(GREY >> 6, 0, 2), opaque((GREY >> 6) * 85))
    yield Case(few, write_png(four_bits, 0, 4), opaque(four_bits * 17))
    yield Case(few, write_png(indices, 3, 4, plte), opaque(palette[indices]))
    full = np.full_like(ALPHA, 255)
    yield Case(
        "PNG with an alpha channel that is opaque",
        write_png(np.dstack([RGB, full]), 6, 8),
        opaque(RGB),
    )
    alpha, see_through = "PNG with an alpha channel", ("transparent",)
    yield Case(alpha, write_png(PIXELS, 6, 8), over_white(RGB, ALPHA), see_through)
    yield Case(
        alpha, write_png(np.dstack([GREY, ALPHA]), 4, 8), over_white(GREY, ALPHA), see_through
    )
    keyed = "PNG with a transparent colour, or opacities in its palette (tRNS)"
    one = (b"tRNS", b"\xff\xff\0")
    yield Case(keyed, write_png(indices, 3, 8, plte, (b"tRNS", alphas.astype(np.uint8).tobytes())),
               over_white(palette[indices], alphas[indices]), see_through)  # fmt: skip
    yield Case(
        keyed,
        write_png(indices, 3, 8, plte, one),
        over_white(palette[indices], (indices != 2) * 255),
        see_through,
    )
    yield Case(keyed, write_png(four_bits, 0, 4, (b"tRNS", b"\0\x03")),
               over_white(four_bits * 17, (four_bits != 3) * 255), see_through)  # fmt: skip
    yield Case(
        keyed,
        write_png(bit, 0, 1, (b"tRNS", b"\0\0")),
        opaque(np.full_like(GREY, 255)),
        see_through,
    )
    yield Case(keyed, write_png(GREY, 0, 8, (b"tRNS", struct.pack(">H", GREY[0, 0]))),
               over_white(GREY, (GREY[0, 0] != GREY) * 255), see_through)  # fmt: skip
    yield Case(
        keyed,
        write_png(key_rgb, 2, 8, (b"tRNS", struct.pack(">3H", 10, 20, 30))),
        over_white(key_rgb, (key_rgb != (10, 20, 30)).any(axis=2) * 255),
        see_through,
    )
    deep, scaled = "PNG, 16 bits", ("high_bit_depth",)
    high = DEEP >> 8
    yield Case(deep, write_png(DEEP[..., 0], 0, 16), opaque(high[..., 0]), scaled)
    yield Case(deep, write_png(DEEP[..., :3], 2, 16), opaque(high[..., :3]), scaled)
    both = ("transparent", "high_bit_depth")
    deep = "PNG, 16 bits, with transparency"
    yield Case(deep, write_png(DEEP, 6, 16), over_white(high[..., :3], high[..., 3]), both)
    yield Case(deep, write_png(DEEP[..., 2:], 4, 16), over_white(high[..., 2], high[..., 3]), both)
    key = DEEP[0, 0]
    yield Case(deep, write_png(DEEP[..., 0], 0, 16, (b"tRNS", struct.pack(">H", key[0]))),
               over_white(high[..., 0], (DEEP[..., 0] != key[0]) * 255), both)  # fmt: skip
    yield Case(
        deep,
        write_png(DEEP[..., :3], 2, 16, (b"tRNS", struct.pack(">3H", *key[:3]))),
        over_white(high[..., :3], (DEEP[..., :3] != key[:3]).any(axis=2) * 255),
        both,
    )


# EXIF: where the first row and the first column of the stored picture lie.
TURNED = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
    8: lambda p: np.rot90(p),
}


def with_orientation(orientation: int) -> Image.Exif:
    """Return EXIF data that state an orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def _jpeg_cases():
    smooth = SMOOTH[..., :3]
    best = {"quality": 100, "subsampling": 0}
    yield Case(
        "JPEG: colour, grey",
        save(image_of(smooth, "RGB"), "JPEG", **best),
        opaque(smooth),
        tolerance=2,
    )
    yield Case(
        "JPEG: colour, grey",
        save(image_of(smooth[..., 0], "L"), "JPEG", **best),
        opaque(smooth[..., 0]),
        tolerance=1,
    )
    cmyk = save(image_of(SMOOTH, "CMYK"), "JPEG", quality=100)
    assert b"Adobe" in cmyk  # which means that it stores 255 minus ink
    ink = (255 - SMOOTH[..., :3]) * (255 - SMOOTH[..., 3:]) / 255
    yield Case(
        "JPEG: CMYK, also Adobe's inverted", cmyk, opaque(ink.round().astype(int)), tolerance=3
    )
    for orientation, turn in TURNED.items():
        content = save(image_of(smooth, "RGB"), "JPEG", exif=with_orientation(orientation), **best)
        row = (
            "JPEG, PNG or WebP with an EXIF orientation"
            if orientation > 1
            else "JPEG: colour, grey"
        )
        yield Case(
            row, content, opaque(turn(smooth)), ("rotated",) * (orientation > 1), tolerance=2
        )
    first, second = image_of(smooth, "RGB"), Image.new("RGB", (SIDE, SIDE), (250, 0, 0))
    content = save(first, "MPO", save_all=True, append_images=[second], **best)
    yield Case("JPEG of several pictures (MPO)", content, opaque(smooth), tolerance=2)


def _other_cases():
    turned = with_orientation(6)
    row = "JPEG, PNG or WebP with an EXIF orientation"
    yield Case(
        row, save(image_of(RGB, "RGB"), "PNG", exif=turned), opaque(np.rot90(RGB, -1)), ("rotated",)
    )
    yield Case(
        row,
        save(image_of(PIXELS, "RGBA"), "WEBP", lossless=True, exact=True, exif=turned),
        over_white(np.rot90(RGB, -1), np.rot90(ALPHA, -1)),
        ("rotated", "transparent"),
    )
    yield Case("WebP", save(image_of(RGB, "RGB"), "WEBP", lossless=True), opaque(RGB))
    yield Case(
        "WebP with transparency",
        save(image_of(PIXELS, "RGBA"), "WEBP", lossless=True, exact=True),
        over_white(RGB, ALPHA),
        ("transparent",),
    )
    yield Case("BMP: 1 to 32 bits", save(image_of(RGB, "RGB"), "BMP"), opaque(RGB))
    yield Case("BMP: 1 to 32 bits", save(image_of(GREY, "L"), "BMP"), opaque(GREY))
    yield Case(
        "BMP: 1 to 32 bits", save(Image.fromarray(GREY > 127), "BMP"), opaque((GREY > 127) * 255)
    )
    # 32 bits of which 8 are unused.
    yield Case("BMP: 1 to 32 bits", save(image_of(PIXELS, "RGBA"), "BMP"), opaque(RGB))
    yield Case(
        "BMP with a mask of opacity", write_bmp(PIXELS), over_white(RGB, ALPHA), ("transparent",)
    )
    indices = image_of(GREY % 16, "P")
    palette = np.random.default_rng(8).integers(0, 256, (16, 3))
    indices.putpalette(palette.astype(np.uint8).tobytes())
    yield Case("GIF", save(indices, "GIF"), opaque(palette[GREY % 16]))
    yield Case(
        "GIF with transparency",
        save(indices, "GIF", transparency=2),
        over_white(palette[GREY % 16], (GREY % 16 != 2) * 255),
        ("transparent",),
    )
    first, second = image_of(RGB, "RGB"), Image.new("RGB", (SIDE, SIDE), (250, 0, 0))
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        content = save(first, kind, save_all=True, append_images=[second], **options)
        yield Case("GIF, PNG or WebP of several frames", content, opaque(RGB), ("animated",))
    content = save(indices, "GIF", save_all=True, append_images=[second])
    yield Case(
        "GIF, PNG or WebP of several frames", content, opaque(palette[GREY % 16]), ("animated",)
    )


CASES = [*_png_cases(), *_jpeg_cases(), *_other_cases()]


def _from_lab(lab: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of white D50, a and b as signed bytes, to sRGB (Lindbloom's matrix, adapted by
    Bradford).
    """
    values = lab.astype(np.float64)
    values[..., 1:] = lab[..., 1:].astype(np.uint8).view(np.int8)
    fy = (values[..., 0] * 100 / 255 + 16) / 116
    f = np.stack([fy + values[..., 1] / 500, fy, fy - values[..., 2] / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * (0.96422, 1.0, 0.82521)
    to_linear = [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540],
                 [0.0719453, -0.2289914, 1.4052427]]  # fmt: skip
    linear = (xyz @ np.transpose(to_linear)).clip(0, 1)
    return (
        255 * np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    ).round()


def _from_ycbcr(ycc: np.ndarray) -> np.ndarray:
    y, cb, cr = np.moveaxis(ycc.astype(float), -1, 0) - np.array([0, 128, 128])[:, None, None]
    return (
        np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], -1)
        .clip(0, 255)
        .round()
    )


def _from_hsv(hsv: np.ndarray) -> np.ndarray:
    return np.array([[colorsys.hsv_to_rgb(*(pixel / 255)) for pixel in row] for row in hsv]) * 255


def _made():
    """Yield (mode, image, expected pixels, tolerance) of images that no supported file gives."""
    mild = np.dstack([100 + GREY // 3, 128 + (RGB[..., 1:] - 128) // 8])  # in gamut
    mild[..., 1:] ^= 128  # Pillow stores a and b as signed bytes
    yield "LAB", image_of(mild, "LAB"), opaque(_from_lab(mild)), 3
    yield "YCbCr", image_of(RGB, "YCbCr"), opaque(_from_ycbcr(RGB)), 1
    yield "HSV", image_of(RGB, "HSV"), opaque(_from_hsv(RGB).astype(int)), 3
    ink = (255 - RGB) * (255 - ALPHA[..., None]) / 255
    yield "CMYK", image_of(PIXELS, "CMYK"), opaque(ink.round().astype(int)), 1
    yield "RGBX", image_of(PIXELS, "RGBX"), opaque(RGB), 0
    premultiplied = np.dstack([(RGB * ALPHA[..., None] / 255).round().astype(int), ALPHA])
    yield "RGBa", image_of(premultiplied, "RGBa"), over_white(RGB, ALPHA), 2
    yield "La", image_of(premultiplied[..., [0, 3]], "La"), over_white(GREY, ALPHA), 2
    indices = image_of(np.dstack([GREY % 16, ALPHA]), "PA")
    palette = np.random.default_rng(8).integers(0, 256, (16, 3))
    indices.putpalette(palette.astype(np.uint8).tobytes())
    yield "PA", indices, over_white(palette[GREY % 16], ALPHA), 0
    deep = DEEP[..., 0]
    yield "I;16", Image.fromarray(deep.astype("<u2")), opaque(deep >> 8), 0
    yield "I;16B", Image.fromarray(deep.astype(">u2")), opaque(deep >> 8), 0
    yield "I", Image.fromarray(deep.astype(np.int32)), opaque(deep >> 8), 0
    yield "F", Image.fromarray((GREY / 255).astype(np.float32)), opaque(GREY), 0


MADE = list(_made())
