"""The look of the report: one style sheet, light and dark, wide, narrow and on paper."""

from html import escape

_LIGHT = """
  --paper: #faf9f6; --card: #ffffff; --ink: #1c2024; --muted: #676f76; --rule: #e5e2db;
  --accent: #0b6e69; --bar: #7fbfb2; --track: #efede7; --code: #f3f1ec;
  --shadow: 0 1px 2px rgb(28 32 36 / 6%);
  --series-1: #0072b2; --series-2: #d55e00; --series-3: #009e73; --series-4: #b0568a;
  --series-5: #b98000; --series-6: #3f9fd8; --series-7: #7a5cc9;
"""
_DARK = """
  --paper: #131619; --card: #1a1e22; --ink: #e7e4de; --muted: #98a0a6; --rule: #2d3338;
  --accent: #66c7ba; --bar: #3f8a80; --track: #262c31; --code: #20252a; --shadow: none;
  --series-1: #56a8e0; --series-2: #f0844c; --series-3: #3fc79c; --series-4: #d78fbb;
  --series-5: #e3b341; --series-6: #8ecdf3; --series-7: #a996ea;
"""

_THEMES = f"""
:root {{ color-scheme: light dark; {_LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}
@media print {{ :root {{ color-scheme: light; {_LIGHT} --paper: #fff; }} }}
"""
_RULES = """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 ui-sans-serif, system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums lining-nums;
}
main { max-width: 1120px; margin: 0 auto; padding: 3.5rem clamp(1rem, 4vw, 2.5rem) 5rem; }
h1, h2, h3 { font-family: "Iowan Old Style", Palatino, "Palatino Linotype", Georgia, serif;
  font-weight: 600; line-height: 1.15; text-wrap: balance; overflow-wrap: anywhere; }
h1 { font-size: clamp(1.9rem, 4.5vw, 2.9rem); margin: .3rem 0 1.2rem; letter-spacing: -.015em; }
h2 { font-size: 1.6rem; margin: 4rem 0 1.2rem; padding-top: 1.6rem;
  border-top: 1px solid var(--rule); }
h3 { font-size: 1.15rem; margin: 2.4rem 0 .7rem; }
p { margin: 0 0 .8rem; max-width: 44rem; }
.eyebrow { font-size: .78rem; letter-spacing: .12em; text-transform: uppercase; font-weight: 600;
  color: var(--accent); margin: 0; }
.meaning { color: var(--muted); font-size: .86rem; }

dl.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(14rem, 1fr));
  gap: .9rem 2rem; margin: 0; font-size: .92rem; }
dl.facts dt { color: var(--muted); font-size: .8rem; }
dl.facts dd { margin: 0; overflow-wrap: anywhere; }

.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: 1rem;
  margin: 2.2rem 0 0; padding: 0; list-style: none; }
.cards li { background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
  padding: 1rem 1.1rem 1.1rem; box-shadow: var(--shadow); }
.cards .name { color: var(--muted); font-size: .84rem; }
.cards .value { font: 600 2.3rem/1.15 "Iowan Old Style", Palatino, Georgia, serif;
  font-variant-numeric: tabular-nums lining-nums; letter-spacing: -.02em; }
.cards .gauge { height: 4px; border-radius: 2px; margin-top: .7rem; background:
  linear-gradient(90deg, var(--accent) calc(var(--value) * 1%), var(--rule) 0); }

.cards + .meaning { margin-top: 1.2rem; }
.plots + .scroll { margin-top: 1.2rem; }
.tables { display: flex; flex-wrap: wrap; gap: .4rem 3rem; align-items: flex-start; }
.tables > div { max-width: 100%; }
.tables .meaning { max-width: 26rem; }
.scroll { overflow-x: auto; margin: 0 0 1rem; }
table { border-collapse: collapse; font-size: .92rem; }
th, td { text-align: right; padding: .42rem .8rem; white-space: nowrap; min-width: 4.6rem; }
th:first-child { text-align: left; padding-left: 0; font-weight: 500; min-width: 6.5rem; }
tbody th { max-width: 22rem; overflow: hidden; text-overflow: ellipsis; }
thead th { color: var(--muted); font-weight: 500; font-size: .82rem;
  border-bottom: 1px solid var(--ink); vertical-align: bottom; }
tbody tr + tr > * { border-top: 1px solid var(--rule); }
td.bar { --length: 3.2rem; min-width: 7.9rem; background:
  linear-gradient(90deg, var(--bar) calc(var(--value) * 1%), var(--track) 0)
  no-repeat .9rem 50% / var(--length) 6px; }
td.none { color: var(--muted); }
small.interval { display: block; color: var(--muted); font-size: .78rem; line-height: 1.3; }
.matrix { border-collapse: separate; border-spacing: 1px; font-size: .84rem; }
.matrix td { min-width: 2.6rem; padding: .3rem .35rem; text-align: center; border: 0;
  background: color-mix(in srgb, var(--cell) calc(var(--share) * 1%), var(--track)); }
.matrix td.right { --cell: var(--series-3); } .matrix td.wrong { --cell: var(--series-2); }
.matrix td.nothing { color: transparent; }
.matrix thead th { min-width: 0; border: 0; text-align: center; font-size: .78rem; }
.matrix tbody th { min-width: 0; border: 0; padding-right: .8rem; }
.matrix.dense { font-size: 0; } .matrix.dense td { min-width: 9px; height: 9px; padding: 0; }
.matrix.dense th { font-size: .62rem; padding: 0 .5rem 0 0; line-height: 1; }
.matrix.dense thead { display: none; }
abbr { text-decoration: underline dotted; text-underline-offset: .2em; cursor: help; }
td.none abbr { text-decoration-color: var(--rule); }

.notes { background: var(--code); border-radius: 10px; padding: .9rem 1.2rem; font-size: .9rem; }
.notes h3 { margin: 0 0 .4rem; font-size: 1rem; }
.notes ul { margin: 0; padding-left: 1.1rem; overflow-wrap: anywhere; }

.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr));
  gap: 1.2rem; }
figure { margin: 0; }
.plots figure { background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
  padding: 1rem 1.1rem; box-shadow: var(--shadow); break-inside: avoid; }
figcaption { font-size: .88rem; }
.plots figcaption b { font-weight: 600; }
svg.interval { display: block; width: 260px; height: 18px; }
svg.interval .grid { stroke: var(--muted); } svg.interval g path { stroke: currentColor;
  stroke-width: 2.5px; } svg.interval g circle { fill: currentColor; }
svg.plot { display: block; width: 100%; height: auto; margin: .5rem 0; font-size: 13px; }
svg.plot text { fill: var(--muted); }
svg.plot text.x { text-anchor: middle; } svg.plot text.y { text-anchor: end; }
svg.plot path { fill: none; stroke-linejoin: round; vector-effect: non-scaling-stroke; }
svg.plot .grid { stroke: var(--rule); }
svg.plot g path { stroke: currentColor; stroke-width: 1.5px; }
svg.plot g circle { fill: currentColor; }
svg.plot g.line-0 path { stroke-width: 2.2px; }
.line-0 { color: var(--ink); } .line-1 { color: var(--series-1); }
.line-2 { color: var(--series-2); } .line-3 { color: var(--series-3); }
.line-4 { color: var(--series-4); } .line-5 { color: var(--series-5); }
.line-6 { color: var(--series-6); } .line-7 { color: var(--series-7); }
ul.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; margin: 0; padding: 0;
  list-style: none; font-size: .84rem; }
ul.legend i { display: inline-block; width: .8em; height: .8em; border-radius: 2px;
  margin-right: .45em; background: currentColor; vertical-align: -.05em; }
.plots ul.legend i { height: 3px; width: 1.1em; vertical-align: .25em; }
ul.legend b { font-weight: 600; } ul.legend span { color: var(--ink); }
ul.legend small { color: var(--muted); font-size: 1em; }
.keys { display: grid; gap: .6rem; margin: 0 0 2rem; }

article { margin: 0 0 2.6rem; break-inside: avoid; }
article > header { display: flex; flex-wrap: wrap; align-items: baseline; gap: .2rem .8rem;
  margin-bottom: .7rem; }
.rank { font-size: .74rem; letter-spacing: .08em; text-transform: uppercase; font-weight: 600;
  border: 1px solid currentColor; border-radius: 99px; padding: .08rem .6rem; color: var(--muted); }
.rank.worst { color: var(--series-2); } .rank.best { color: var(--accent); }
article .score { font-weight: 600; }
article .file { color: var(--muted); font-size: .9rem; overflow-wrap: anywhere; }
.pictures { display: grid; grid-template-columns: repeat(4, 1fr); gap: .8rem; }
.pictures figure { min-width: 0; }
.pictures img { display: block; width: 100%; height: auto; border-radius: 6px; }
.pictures label { cursor: zoom-in; }
.pictures input { position: absolute; opacity: 0; }
.pictures input:focus-visible + img { outline: 3px solid var(--accent); }
.pictures input:checked + img { position: fixed; inset: 0; z-index: 1; width: 100vw; height: 100vh;
  object-fit: contain; padding: 2vmin; border-radius: 0; background: rgb(10 12 14 / 92%);
  cursor: zoom-out; }
.pictures figcaption { color: var(--muted); font-size: .82rem; margin-top: .3rem; }
article details { margin-top: .8rem; }
article details .pictures { margin: .6rem 0 1rem; }
.offset figure:first-child { grid-column: 2; }

summary { cursor: pointer; color: var(--accent); font-size: .92rem; }
pre { background: var(--code); border-radius: 10px; padding: 1rem 1.2rem; overflow-x: auto;
  font: .8rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
footer { margin-top: 4rem; color: var(--muted); font-size: .84rem; }
@media (max-width: 720px) {
  main { padding-top: 2rem; }
  .pictures { grid-template-columns: repeat(2, 1fr); }
  .offset figure:first-child { grid-column: auto; }
  .cards { grid-template-columns: repeat(2, 1fr); gap: .7rem; }
  .cards .value { font-size: 1.9rem; }
  dl.facts { grid-template-columns: repeat(2, 1fr); gap: .9rem 1.2rem; }
  th, td { padding: .4rem .5rem; min-width: 3.6rem; }
  th:first-child { min-width: 5rem; }
  tbody th { max-width: 8rem; }
  td.bar { --length: 2rem; min-width: 5.6rem; background-position-x: .4rem; }
}
@media print {
  body { font-size: 10.5pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  main { max-width: none; padding: 0; }
  h2 { break-after: avoid; margin-top: 2rem; } h3 { break-after: avoid; }
  tr { break-inside: avoid; }
  .scroll { overflow: visible; }
  table { font-size: 8.5pt; }
  th, td { padding: .25rem .4rem; min-width: 2.9rem; }
  td.bar { --length: 2rem; min-width: 5.4rem; background-position-x: .4rem; }
  .cards { grid-template-columns: repeat(6, 1fr); gap: .5rem; }
  .cards .value { font-size: 1.5rem; }
  .cards li { padding: .6rem .7rem; }
  .plots { grid-template-columns: repeat(3, 1fr); gap: .6rem; }
  details, section.config { display: none; }
}
"""
STYLE = _THEMES + _RULES


def page(title: str, body: str, footer: str = "") -> str:
    """A whole page, which needs nothing from outside.

    Args:
        title: plain text.
        body: HTML.
        footer: plain text.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><main>{body}<footer>{escape(footer)} Written by MaskUNet.</footer></main></body>"
        "</html>\n"
    )
