"""What came out, as CSV and JSON for programs, and as a page for people."""

import csv
import io
import json
import os
from html import escape
from urllib.parse import quote

from . import plan, unit
from .common import write_whole

COLUMNS = ["input", "output", "status", "reason", "input_bytes", "bytes", "frames", "keyframes", "seconds", "elapsed", "psnr_y",
           "worst_frame_psnr_y", "largest_time_difference_ms", "audio_tracks", "subtitle_tracks"]  # fmt: skip


def done(planned):
    """Outputs that are done, of inputs that are what they were."""
    return {
        output for source, output in planned.files if unit.is_done(planned, output, planned.record(output), unit.identify(source))
    }


def write(target):
    """Writes all three reports. Returns 1 if a file failed or is still to be done."""
    planned = plan.load(target)
    rows = [row(planned, source, output) for source, output in planned.files]
    table = io.StringIO()
    out = csv.DictWriter(table, COLUMNS, extrasaction="ignore", lineterminator="\n")
    out.writeheader()
    out.writerows(rows)
    write_whole(planned.state / "results.csv", table.getvalue())
    write_whole(planned.state / "results.json", json.dumps({"options": planned.options, "files": rows}, indent=1))
    write_whole(planned.state / "index.html", page(planned, rows))
    return 0 if all(r["status"] == "done" for r in rows) else 1


def row(planned, source, output):
    record = planned.record(output) or {"input": source, "output": output, "status": "open"}
    return {**record, **(record.get("verify") or {})}


STYLE = """body{font:15px/1.4 sans-serif;margin:2em;color:#222}table{border-collapse:collapse}
td,th{padding:.35em .8em;text-align:right;border-bottom:1px solid #ddd;vertical-align:top}td:first-child,th:first-child,td.reason{text-align:left}
img{width:240px;background:#ccc;display:inline-block}.failed{color:#a00}.open{color:#777}"""


def page(planned, rows):
    finished = [r for r in rows if r["status"] == "done"]
    size_in, size_out = (sum(r.get(name) or 0 for r in finished) for name in ("input_bytes", "bytes"))
    failed = [r for r in rows if r["status"] == "failed"]
    head = f"{len(finished)} of {len(rows)} files done, {len(failed)} failed. {size(size_in)} became {size(size_out)}"
    if size_in:
        head += f" ({100 * size_out / size_in:.1f} %)"
    parts = [
        '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>NGC batch</title>',
        f"<style>{STYLE}</style><h1>NGC batch</h1><p>{head}.</p>",
        f"<p>ngc-transcode <code>{escape(' '.join(planned.options))}</code></p>",
    ]
    if failed:
        parts.append('<h2>Failed</h2><table><tr><th>file<th class="reason">reason</tr>')
        parts += [f'<tr class="failed"><td>{name(r)}<td class="reason">{escape(r["reason"])}</tr>' for r in failed]
        parts.append("</table>")
    parts.append("<h2>Files</h2><table><tr><th>file<th>source, result<th>source<th>result<th>share<th>frames<th>time<th>luma PSNR<th>worst frame</tr>")
    parts += [line(planned, r) for r in rows if r["status"] != "failed"]
    parts.append("</table></html>\n")
    return "\n".join(parts)


def line(planned, r):
    if r["status"] != "done":
        return f'<tr class="open"><td>{name(r)}<td>not done</tr>'
    pictures = "".join(
        f'<img loading="lazy" src="{quote(p, errors="surrogateescape")}" alt="{kind}">' if p else "no picture "
        for kind, p in zip(("source", "result"), r["thumbnails"])
    )
    link = quote(os.path.relpath(planned.target / r["output"], planned.state), errors="surrogateescape")
    share = f"{100 * r['bytes'] / r['input_bytes']:.1f} %" if r["input_bytes"] else ""
    cells = [size(r["input_bytes"]), size(r["bytes"]), share, r.get("frames"), seconds(r.get("elapsed")), decibels(r.get("psnr_y")),
             decibels(r.get("worst_frame_psnr_y"))]  # fmt: skip
    warnings = "".join(f"<br><small>{escape(w)}</small>" for w in r.get("warnings") or [])
    return f'<tr><td><a href="{link}">{name(r)}</a>{warnings}<td>{pictures}' + "".join(f"<td>{'' if c is None else c}" for c in cells) + "</tr>"


def name(r):
    # Names that are no UTF-8 are shown as well as they can be.
    return escape(r["output"].encode(errors="surrogateescape").decode(errors="replace"))


def size(number):
    for unit_name in ("B", "kB", "MB", "GB"):
        if number < 1000 or unit_name == "GB":
            return f"{number:.0f} B" if unit_name == "B" else f"{number:.1f} {unit_name}"
        number /= 1000


def seconds(value):
    return None if value is None else f"{value:.1f} s"


def decibels(value):
    return None if value is None else f"{value:.2f} dB"
