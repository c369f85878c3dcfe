"""NGC in Python: NumPy frames in, NumPy frames out, through GStreamer (PyGObject).

    python3 ngc_frames.py                 # encode, decode and compare some frames
    python3 ngc_frames.py video.mkv       # print what is in a video

In a notebook (Jupyter, Colab):

    from ngc_frames import decode, encode, psnr
    frames = decode("examples/media/flower.mp4", limit=30)    # 30 x height x width x 3, RGB
    stream = encode(frames, rate=30, quality=40)              # bytes
    again = decode(stream)
    print(len(stream), "bytes,", psnr(frames, again), "dB")

    import matplotlib.pyplot as plt
    plt.imshow(again[0])

Debian: apt-get install python3-gi gir1.2-gst-plugins-base-1.0 python3-numpy; GST_PLUGIN_PATH names the folder of the plugin.
"""

import os
import sys
import tempfile

import gi
import numpy as np

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import Gst, GstApp, GstVideo  # noqa: E402, F401  (GstApp gives appsrc and appsink their methods)

Gst.init(None)


class NgcError(RuntimeError):
    """What GStreamer says went wrong."""


def _raise_errors(pipeline):
    message = pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR)
    if message:
        raise NgcError(message.parse_error()[0].message)


def _launch(text):
    try:
        return Gst.parse_launch(text)
    except Exception as error:  # GLib.Error: an element is missing
        raise NgcError(str(error)) from error


def _samples(pipeline, sink):
    """What arrives at an appsink, up to the end; errors are raised."""
    while True:
        sample = sink.emit("try-pull-sample", 200 * Gst.MSECOND)
        if sample:
            yield sample
            continue
        _raise_errors(pipeline)
        if sink.get_property("eos"):
            return


def _mark(buffer, region):
    """Says of a part of a frame how much better or worse than the rest it shall be."""
    x, y, width, height, change = region
    meta = GstVideo.buffer_add_video_region_of_interest_meta(buffer, "region", x, y, width, height)
    parameters = Gst.Structure.new_empty("roi/ngc")
    parameters.set_value("delta-quality", change)
    meta.add_param(parameters)


def encode(frames, rate=25, quality=38, regions=(), **properties):
    """Encodes frames (number x height x width x 3, uint8, RGB) to a raw NGC stream; `properties` are those of ngcenc.

    `regions`: (x, y, width, height, change) of parts of all frames, or a function that gives those of the frame with a number. The change is
    added to the quality index there: -12 is about twice the bits.
    """
    frames = np.ascontiguousarray(frames, dtype=np.uint8)
    if frames.ndim != 4 or frames.shape[3] != 3 or len(frames) == 0:
        raise ValueError("frames must be an array of number x height x width x 3")
    _, height, width, _ = frames.shape
    pipeline = _launch("appsrc name=in format=time ! videoconvert ! ngcenc name=encoder ! ngcparse ! appsink name=out sync=false")
    source, sink, encoder = (pipeline.get_by_name(name) for name in ("in", "out", "encoder"))
    source.set_property("caps", Gst.Caps.from_string(f"video/x-raw,format=RGB,width={width},height={height},framerate={rate}/1"))
    encoder.set_property("quality", quality)
    for name, value in properties.items():
        Gst.util_set_object_arg(encoder, name.replace("_", "-"), str(value))
    # Rows of RGB begin at multiples of four bytes.
    stride = (3 * width + 3) // 4 * 4
    rows = np.zeros((height, stride), np.uint8)
    pipeline.set_state(Gst.State.PLAYING)
    try:
        for number, frame in enumerate(frames):
            rows[:, : 3 * width] = frame.reshape(height, 3 * width)
            buffer = Gst.Buffer.new_wrapped(rows.tobytes())
            buffer.pts = number * Gst.SECOND // rate
            buffer.duration = Gst.SECOND // rate
            for region in regions(number) if callable(regions) else regions:
                _mark(buffer, region)
            source.emit("push-buffer", buffer)
        source.emit("end-of-stream")
        units = []
        for sample in _samples(pipeline, sink):
            buffer = sample.get_buffer()
            units.append(buffer.extract_dup(0, buffer.get_size()))
    finally:
        pipeline.set_state(Gst.State.NULL)
    return b"".join(units)


def decode(video, limit=None):
    """Decodes a file, or the bytes of a raw NGC stream, to frames (number x height x width x 3, uint8, RGB)."""
    if isinstance(video, (bytes, bytearray)):
        with tempfile.NamedTemporaryFile(suffix=".ngc") as file:
            file.write(video)
            file.flush()
            return decode(file.name, limit)
    pipeline = _launch("filesrc name=file ! decodebin ! videoconvert ! video/x-raw,format=RGB ! appsink name=out sync=false max-buffers=4")
    pipeline.get_by_name("file").set_property("location", os.fspath(video))
    sink = pipeline.get_by_name("out")
    pipeline.set_state(Gst.State.PLAYING)
    frames = []
    try:
        for sample in _samples(pipeline, sink):
            caps = sample.get_caps().get_structure(0)
            width, height = caps.get_value("width"), caps.get_value("height")
            buffer = sample.get_buffer()
            rows = np.frombuffer(buffer.extract_dup(0, buffer.get_size()), np.uint8).reshape(height, -1)
            frames.append(rows[:, : 3 * width].reshape(height, width, 3))
            if limit is not None and len(frames) >= limit:
                break
    finally:
        pipeline.set_state(Gst.State.NULL)
    if not frames:
        raise NgcError(f"{video}: no frames")
    return np.stack(frames)


def psnr(a, b):
    """PSNR in dB of frames in RGB."""
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def _demo():
    y, x = np.mgrid[0:96, 0:128]
    luma = [128 + 60 * np.sin((x - 2 * n) / 9) * np.cos(y / 11) for n in range(10)]
    frames = np.stack([np.repeat(plane[..., None], 3, axis=2) for plane in luma]).astype(np.uint8)
    stream = encode(frames, quality=24)
    again = decode(stream)
    print(f"ngc_frames: {len(frames)} frames in, {len(again)} out, {len(stream)} bytes, {psnr(frames, again):.2f} dB")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        found = decode(sys.argv[1])
        print(f"ngc_frames: {found.shape[0]} frames of {found.shape[2]}x{found.shape[1]}")
    else:
        _demo()
