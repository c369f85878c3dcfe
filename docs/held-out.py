#!/usr/bin/env python3
"""Draws docs/held-out.svg from docs/held-out.csv. No packages are needed: python3 docs/held-out.py

The columns of the table: branch (P or I), stage of trainer/schedules/built-in.toml, machine, hours since the branch's first step, held-out score.
"""

import csv
from pathlib import Path

HERE = Path(__file__).parent
HOUR = 82  # Width of an hour, in both panels.
TOP, BOTTOM = 56, 356
# Left edge and hours of a panel, range and step of its scores, the run in which linear channels were completed, and other breaks.
PANELS = {
    "P": (76, 9.9, (-1.76, -2.08), 0.04, "inter-complete", {"inter-3": "golden frame"}),
    "I": (983, 2.3, (-0.64, -0.92), 0.04, "intra-complete", {}),
}
TITLES = {"P": "P-frames", "I": "I-frames"}

STYLE = """
text { font: 12px sans-serif; fill: #1f2328 } .title { font-weight: bold; font-size: 14px } .end { text-anchor: end } .mid { text-anchor: middle }
.card { fill: #fff } .grid { stroke: #d8dee4; stroke-width: 1 } .axis { stroke: #59636e; stroke-width: 1 }
.GPU { stroke: #bc4c00; fill: none; stroke-width: 2.5 } .CPU { stroke: #0969da; fill: none; stroke-width: 2 }
circle.GPU { fill: #bc4c00; stroke: none } circle.CPU { fill: #0969da; stroke: none }
.break { stroke: #8250df; stroke-width: 1.5; stroke-dasharray: 6 4 } .jump { stroke: #59636e; stroke-width: 1; stroke-dasharray: 2 3 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .card { fill: #0d1117 } .grid { stroke: #30363d } .axis, .jump { stroke: #9198a1 }
.GPU { stroke: #f0883e } .CPU { stroke: #58a6ff } circle.GPU { fill: #f0883e } circle.CPU { fill: #58a6ff } .break { stroke: #bc8cff }
}
"""


def panel(branch, rows):
    left, hours, (high, low), step, completed, others = PANELS[branch]
    right = left + hours * HOUR
    x = lambda hour: left + hour * HOUR
    y = lambda score: TOP + (score - high) / (low - high) * (BOTTOM - TOP)
    out = [f'<text class="title" x="{left}" y="24">{TITLES[branch]}</text>']
    for i in range(round((high - low) / step) + 1):
        score = high - i * step
        out.append(f'<line class="grid" x1="{left}" x2="{right:.1f}" y1="{y(score):.1f}" y2="{y(score):.1f}"/>')
        out.append(f'<text class="end" x="{left - 7}" y="{y(score) + 4:.1f}">{score:.2f}</text>'.replace(">-", ">−"))
    for hour in range(int(hours) + 1):
        out.append(f'<text class="mid" x="{x(hour)}" y="{BOTTOM + 18}">{hour}</text>')
    out.append(f'<path class="axis" fill="none" d="M{left} {TOP}V{BOTTOM}H{right:.1f}"/>')
    stages = list(dict.fromkeys(row["stage"] for row in rows))
    last = None
    for stage in stages:
        points = [(x(float(r["hours"])), y(float(r["score"])), r["machine"]) for r in rows if r["stage"] == stage]
        machine = points[0][2]
        # The first run starts from nothing, far above the picture.
        line = " ".join(f"{px:.1f},{max(py, TOP):.1f}" for px, py, _ in points)
        if last:
            at, first = points[0][:2]
            kind, start, end = ("break", TOP, BOTTOM) if stage == completed else ("jump", last, first)
            out.append(f'<line class="{kind}" x1="{at:.1f}" x2="{at:.1f}" y1="{start:.1f}" y2="{end:.1f}"/>')
            if stage in others:
                out.append(f'<text x="{at + 6:.1f}" y="{(first + last) / 2 - 28:.1f}">{others[stage]}</text>')
        last = points[-1][1]
        out.append(f'<polyline class="{machine}" points="{line}"/>')
        out += [f'<circle class="{machine}" cx="{px:.1f}" cy="{py:.1f}" r="2.6"/>' for px, py, _ in points if py >= TOP]
    out.append(f'<text class="mid" x="{(left + right) / 2:.1f}" y="{BOTTOM + 38}">hours of training</text>')
    return out


def legend(y):
    entries = [
        (76, y, "GPU", "on a GPU, from nothing"),
        (76, y + 24, "CPU", "on a CPU, one worker; a point every ten minutes"),
        (490, y, "break", "linear channels completed: 384 in place of 128"),
        (490, y + 24, "jump", "from run to run: other data, or another codec around the networks"),
    ]
    out = []
    for x, y, kind, text in entries:
        out += [f'<line class="{kind}" x1="{x}" x2="{x + 30}" y1="{y - 4}" y2="{y - 4}"/>', f'<text x="{x + 38}" y="{y}">{text}</text>']
    return out


def main():
    with open(HERE / "held-out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    body = [f'<text x="20" y="{(TOP + BOTTOM) / 2}" class="mid" transform="rotate(-90 20 {(TOP + BOTTOM) / 2})">held-out score (lower is better)</text>']
    for branch in PANELS:
        body += panel(branch, [row for row in rows if row["branch"] == branch])
    body += legend(BOTTOM + 70)
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1195 462" width="1195" height="462" role="img" aria-label="Held-out scores of P- and I-frames over hours of training">'
    card = '<rect class="card" width="1195" height="462" rx="6"/>'
    text = "\n".join([head, "<!-- Made by docs/held-out.py. -->", f"<style>{STYLE}</style>", card, *body, "</svg>"])
    (HERE / "held-out.svg").write_text(text + "\n")


main()
