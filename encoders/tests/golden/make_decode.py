"""Writes the small image files of decode/ and, beside each, the rasters that Pillow makes of it as PNG: NAME.rgb.png is
`ImageOps.exif_transpose(image).convert("RGB")` (Pillow alone ignores EXIF orientation, viewers do not), and, where something is
transparent, NAME.white.png is transformers' `convert_to_rgb`, which lays it over white.

Run with Pillow 13, transformers 5, numpy and simplejpeg installed: python make_decode.py
"""

import io
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image, ImageOps
from transformers.image_transforms import convert_to_rgb

HERE = Path(__file__).parent / "decode"
WIDTH, HEIGHT = 24, 16


def planes(width=WIDTH, height=HEIGHT):
    """Smooth, unlike itself when turned or mirrored, and different in every channel."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 10, y * 15, 255 - (x + y) * 6], axis=2).clip(0, 255).astype(np.uint8)


def picture(mode="RGB", *size):
    image = Image.fromarray(planes(*size))
    return image if mode == "RGB" else image.convert(mode)


def photo(width, height):
    """Smooth waves and a little noise, like a photograph: what an inverse transform and a chroma filter have to work on."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(1).integers(-20, 20, (height, width, 3))
    waves = [127 + 120 * np.sin(x / (2 + c) + y / (5 - c)) * np.cos(y / (3 + c)) for c in range(3)]
    return (np.stack(waves, axis=2) + noise).clip(0, 255).astype(np.uint8)


def ramp():
    return Image.fromarray(np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1)))


def keep(name, data, expected=None):
    """Writes a file, and what Pillow reads in it."""
    (HERE / name).write_bytes(data)
    with Image.open(io.BytesIO(data)) as stored:
        upright = ImageOps.exif_transpose(stored)
        # From the pixels alone: what Pillow keeps beside them would be written too.
        rgb = Image.fromarray(np.asarray(expected or upright.convert("RGB")))
        rgb.save(HERE / f"{name}.rgb.png", optimize=True)
        if upright.mode in ("RGBA", "LA") or upright.info.get("transparency") is not None:
            white = Image.fromarray(convert_to_rgb(upright, return_numpy=True))
            white.save(HERE / f"{name}.white.png", optimize=True)


def encoded(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def jpegs():
    fine = {"quality": 95, "subsampling": 0}
    jpeg = lambda image, **options: encoded(image, "JPEG", **options)
    keep("baseline.jpg", jpeg(picture(), **fine))
    keep("progressive.jpg", jpeg(picture(), progressive=True, **fine))
    keep("subsampled.jpg", jpeg(picture(), quality=90, subsampling=2))
    keep("grey.jpg", jpeg(picture("L"), quality=95))
    keep("grey-progressive.jpg", jpeg(picture("L", 23, 17), quality=95, progressive=True))
    keep("cmyk.jpg", jpeg(picture("CMYK"), quality=95))
    keep("rgb-unconverted.jpg", jpeg(picture(), quality=95, keep_rgb=True))
    keep("restarts.jpg", jpeg(Image.fromarray(photo(25, 17)), quality=80, restart_marker_blocks=1))
    # The sizes that leave part of a block over in each direction.
    for subsampling in ["444", "422", "420", "440", "411"]:
        for width, height in [(27, 19), (17, 16), (1, 1)]:
            data = simplejpeg.encode_jpeg(photo(width, height), quality=85, colorspace="RGB", colorsubsampling=subsampling)
            keep(f"{subsampling}-{width}x{height}.jpg", data)
    keep("420-progressive.jpg", jpeg(Image.fromarray(photo(27, 19)), quality=80, subsampling=2, progressive=True))
    inks = np.dstack([photo(21, 13), photo(21, 13)[..., :1]])
    keep("ycck.jpg", simplejpeg.encode_jpeg(np.ascontiguousarray(inks), colorspace="CMYK", colorsubsampling="420"))
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        keep(f"orientation-{orientation}.jpg", jpeg(picture(), exif=exif, **fine))

    # Damage that Pillow reads over.
    whole = jpeg(Image.fromarray(photo(32, 24)), quality=80, restart_marker_blocks=3)
    keep("extraneous.jpg", whole[:-2] + b"\x01\x02\x03" + whole[-2:])
    keep("trailing.jpg", whole + b"and more")
    broken = bytearray(whole)
    broken[len(whole) * 2 // 3] ^= 0x55
    keep("flipped.jpg", bytes(broken))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colour, rows, *chunks):
    """A PNG of raw rows; Pillow does not write all that it reads."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows), 9)
    body = chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def pngs():
    save = lambda name, image, **options: keep(name, encoded(image, "PNG", **options))
    save("rgb.png", picture())
    save("grey.png", picture("L"))
    save("one-bit.png", picture("1"))
    save("one-bit-keyed.png", picture("1"), transparency=0)
    palette = picture().quantize(16)
    save("palette.png", palette)
    save("palette-2.png", picture().quantize(4))
    save("palette-transparent.png", palette, transparency=3)
    save("palette-alpha.png", palette, transparency=bytes(range(0, 256, 16)))
    rgba = picture()
    rgba.putalpha(ramp())
    save("rgba.png", rgba)
    grey_alpha = picture("L")
    grey_alpha.putalpha(ramp())
    save("grey-alpha.png", grey_alpha)
    save("rgb-keyed.png", palette.convert("RGB"), transparency=palette.convert("RGB").getpixel((5, 5)))
    save("grey-keyed.png", picture("L"), transparency=picture("L").getpixel((5, 5)))
    levels = np.asarray(picture("L"))
    keep("grey-4.png", png(WIDTH, HEIGHT, 4, 0, [(r[::2] >> 4 << 4) | (r[1::2] >> 4) for r in levels]))
    keep("grey-2.png", png(WIDTH, HEIGHT, 2, 0, [sum((r[i::4] >> 6) << (6 - 2 * i) for i in range(4)) for r in levels]))
    # 16 bits: the 8-bit value and a low byte that has to be dropped.
    wide = lambda values: [np.stack([row.reshape(-1), 255 - row.reshape(-1)], axis=1).tobytes() for row in values]
    with_alpha = lambda values: np.dstack([values, np.asarray(ramp())])
    keep("rgb-16.png", png(WIDTH, HEIGHT, 16, 2, wide(planes())))
    keep("rgba-16.png", png(WIDTH, HEIGHT, 16, 6, wide(with_alpha(planes()))))
    keep("grey-alpha-16.png", png(WIDTH, HEIGHT, 16, 4, wide(with_alpha(levels))))
    # Pillow clips such grey to white when it converts, so the expectation is the high byte.
    keep("grey-16.png", png(WIDTH, HEIGHT, 16, 0, wide(levels)), expected=picture("L").convert("RGB"))


def gifs():
    palette = picture().quantize(16)
    gif = lambda image, **options: encoded(image, "GIF", **options)
    keep("frames.gif", gif(palette, save_all=True, append_images=[ImageOps.mirror(palette)], duration=100))
    keep("transparent.gif", gif(palette, transparency=3))
    keep("grey.gif", gif(picture("L")))
    for name, options in {"offset.gif": {}, "offset-transparent.gif": {"transparency": 3}}.items():
        # A canvas of 30 × 20, and the frame at (3, 2).
        data = bytearray(gif(palette, **options))
        data[6:10] = struct.pack("<HH", 30, 20)
        frame = data.index(b",\0\0\0\0" + struct.pack("<HH", WIDTH, HEIGHT))
        data[frame + 1 : frame + 5] = struct.pack("<HH", 3, 2)
        keep(name, bytes(data))


def webps_and_bmps():
    rgba = picture()
    rgba.putalpha(ramp())
    keep("lossless.webp", encoded(picture(), "WEBP", lossless=True))
    keep("alpha.webp", encoded(rgba, "WEBP", lossless=True, exact=True))
    keep("lossy.webp", encoded(Image.fromarray(photo(27, 19)), "WEBP", quality=90))
    keep("lossy-alpha.webp", encoded(rgba, "WEBP", quality=90, exact=True))
    keep("rgb.bmp", encoded(picture(), "BMP"))
    keep("palette.bmp", encoded(picture().quantize(16), "BMP"))
    keep("grey.bmp", encoded(picture("L"), "BMP"))
    keep("one-bit.bmp", encoded(picture("1"), "BMP"))
    keep("bgrx.bmp", encoded(rgba, "BMP"))
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, WIDTH, HEIGHT, 1, 32, 3, 0, 0, 0, 0, 0) + masks
    header += bytes(108 - len(header))
    body = np.asarray(rgba)[::-1][..., [2, 1, 0, 3]].tobytes()
    keep("bgra.bmp", struct.pack("<2sIHHI", b"BM", 14 + 108 + len(body), 0, 0, 14 + 108) + header + body)


def main():
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir()
    jpegs()
    pngs()
    gifs()
    webps_and_bmps()
    for name in ["baseline.jpg", "420-progressive.jpg", "rgb.png"]:
        whole = (HERE / name).read_bytes()
        stem, suffix = name.split(".")
        (HERE / f"{stem}-truncated.{suffix}").write_bytes(whole[: len(whole) * 2 // 3])


main()
