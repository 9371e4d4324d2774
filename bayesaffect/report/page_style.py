"""The page's frame and style sheet: calm on a screen, whole on a phone, plain on paper; no script, no request.

The page does not stand on `mne.Report`: its bar, tags and accordions are made by 600 kB of scripts, which a reader of
a study does not need, leave no table of contents on a phone, and fold paper away.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

# the browser itself refuses every request and every script that might slip in
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def document(title: str, parts: Sequence[tuple[str, str, str]], *, made_by: str) -> str:
    """A whole HTML document; ``parts``: (anchor, title, body) of each section."""
    links = "".join(f'<li><a href="#{name}">{escape(head)}</a></li>' for name, head, _ in parts)
    body = "".join(f'<section id="{name}" aria-label="{escape(head)}">{text}</section>' for name, head, text in parts)
    return (
        f"<!-- made by: {made_by.replace('--', '- -') if '-->' in made_by else made_by} -->\n"
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light">'
        f"<style>{CSS}</style></head><body>"
        f'<nav class="side" aria-label="Contents"><p>Contents</p><ol>{links}</ol></nav>'
        f'<main><details class="top"><summary>Contents</summary><ol>{links}</ol></details>{body}</main>'
        "</body></html>\n"
    )


CSS = """
:root { color-scheme: light; --ink: #1f2328; --soft: #57606a; --line: #e2e5e9; --tint: #f6f7f9; --fused: #b34a00;
  --dot: #D55E00; --link: #005a94; }
*, *::before, *::after { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body { margin: 0; color: var(--ink); background: #fff; display: grid; grid-template-columns: 15rem minmax(0, 1fr);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, "Liberation Sans", sans-serif; }
nav.side { position: sticky; top: 0; align-self: start; height: 100vh; overflow-y: auto;
  padding: 2.2rem 1rem 2rem 1.5rem;  border-right: 1px solid var(--line); }
nav p { font-size: .75rem; font-weight: 650; text-transform: uppercase; letter-spacing: .06em; color: var(--soft);
  margin: 0 0 .6rem; }
nav ol, details.top ol { list-style: none; margin: 0; padding: 0; }
nav a { display: block; padding: .3rem 0; font-size: .9rem; line-height: 1.35; color: var(--ink);
  text-decoration: none; }
nav a:hover { color: var(--fused); text-decoration: underline; }
main { width: 100%; max-width: 66rem; padding: 1.8rem 2.5rem 5rem; }
details.top { display: none; }
section { margin: 0 0 3rem; scroll-margin-top: 1rem; }
h1.name { font-size: 2.2rem; line-height: 1.15; font-weight: 700; letter-spacing: -.012em; margin: .2rem 0 1.2rem;
  overflow-wrap: anywhere; }
h2 { font-size: 1.4rem; font-weight: 650; line-height: 1.25; margin: 0 0 1rem; padding-bottom: .3rem;
  border-bottom: 2px solid var(--ink); }
h3 { font-size: 1.05rem; font-weight: 650; margin: 1.6rem 0 .5rem; }
p { margin: 0 0 .7rem; max-width: 46rem; }
ul { margin: 0 0 .8rem; padding-left: 1.2rem; max-width: 50rem; }
p, li, dt, dd, h3, h4, summary { overflow-wrap: anywhere; }
.lead p { font-size: 1.12rem; margin-bottom: .5rem; }
dl { margin: 0 0 1rem; }
dd { margin: 0; }
dl.facts > div, dl.brief > div { display: grid; grid-template-columns: 10.5rem minmax(0, 1fr); gap: 0 1.2rem;
  padding: .42rem 0; border-bottom: 1px solid var(--line); max-width: 58rem; }
dl.facts { font-size: .9rem; line-height: 1.45; }
dl.facts dt { color: var(--soft); }
dl.facts dd { overflow-wrap: anywhere; }
dl.brief > div { padding: .75rem 0 .25rem; }
dl.brief dt { font-weight: 650; }
dl.brief p { margin-bottom: .5rem; }
.banner { border-left: 6px solid; border-radius: 4px; padding: .8rem 1.1rem; margin: 0 0 1rem; max-width: 58rem;
  overflow-wrap: anywhere; }
.banner ul { margin: .4rem 0 0; }
main a { color: var(--link); }
.banner a { color: inherit; }
.banner.failed { background: #fdecea; border-color: #b3261e; color: #7a150f; font-size: 1.05rem; }
.banner.doubtful { background: #fff5e0; border-color: #b87900; color: #5f4000; }
.banner.passed { background: #e8f5ee; border-color: #00784f; color: #064d35; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11.5rem, 1fr)); gap: 1rem; margin: 1.4rem 0;
  max-width: 58rem; }
.tile { border: 1px solid var(--line); border-radius: 6px; padding: .8rem 1rem; max-width: 22rem; }
.tile h2 { border: 0; padding: 0; margin: 0; font-size: .95rem; }
.tile h2::first-letter { text-transform: uppercase; }
.tile p { margin: 0; font-size: .85rem; line-height: 1.4; }
.tile .big { font-size: 2rem; line-height: 1.25; font-weight: 650; color: var(--fused); letter-spacing: -.01em; }
.tile .soft { color: var(--soft); margin-top: .4rem; }
.scroll { display: block; overflow-x: auto; max-width: 100%; -webkit-overflow-scrolling: touch; margin: 0 0 .8rem; }
.scroll:focus-visible { outline: 2px solid var(--link); }
table { border-collapse: collapse; font-size: .875rem; line-height: 1.35; }
th, td { padding: .34rem .75rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { border-bottom: 1.5px solid var(--soft); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 500; min-width: 7rem; }
.num { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.interval { display: block; color: var(--soft); font-weight: 400; font-size: .93em; }
thead th.num { white-space: normal; min-width: 5.5rem; }
table.scores tbody th { white-space: nowrap; }
table.scores :is(th, td) { padding-inline: .5rem; }
.beside thead th.num { overflow-wrap: anywhere; }
.scroll table:has(thead th:first-child:not(.num)) tr > th:first-child { position: sticky; left: 0; background: #fff; }
table tr.headline > *, .scroll table tr.headline > th:first-child { background: #fdf1e8 !important; }
tr.headline > th { color: var(--fused); font-weight: 700; }
details { margin: .2rem 0 1rem; }
summary { cursor: pointer; color: var(--link); font-size: .92rem; margin-bottom: .5rem; }
pre.command { background: var(--tint); border: 1px solid var(--line); border-radius: 4px; padding: .8rem 1rem;
  white-space: pre-wrap; overflow-wrap: anywhere; font-size: .875rem; max-width: 58rem; }
figure { margin: 2rem 0 2.4rem; }
figure img { display: block; max-width: 100%; height: auto; cursor: zoom-in; }
figure label { cursor: inherit; }
figure input.zoom { position: absolute; opacity: 0; width: 1px; height: 1px; }
figure input.zoom:focus-visible + label { outline: 2px solid var(--link); }
figure input.zoom:checked + label img { max-width: none; min-width: 62rem; cursor: zoom-out; }
figcaption { font-size: .9rem; color: var(--soft); max-width: 50rem; border-top: 1px solid var(--line);
  padding-top: .45rem; overflow-wrap: anywhere; }
figcaption b { color: var(--ink); }
.how, .keys { font-size: .9rem; color: var(--soft); max-width: 50rem; }
.keys span { white-space: nowrap; margin-right: .9rem; }
.keys i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .35em; }
.beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 0 2rem; }
.beside > div { min-width: 0; }
.beside h4 { margin: .6rem 0 .3rem; font-size: .95rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(18.5rem, 1fr)); gap: 1rem;
  margin: 1rem 0 1.5rem; }
.card { border: 1px solid var(--line); border-radius: 6px; padding: .7rem .9rem .8rem; min-width: 0;
  break-inside: avoid; }
.card h3 { margin: 0 0 .3rem; font-size: 1rem; overflow-wrap: anywhere; }
.card h3 span, .card h4 span { font-weight: 400; color: var(--soft); font-size: .78rem; }
.card h4 { margin: .35rem 0 .1rem; font-size: .8rem; font-weight: 600; display: flex; justify-content: space-between;
  flex-wrap: wrap; gap: 0 .6rem; }
.card svg { display: block; width: 100%; height: auto; }
.card svg text { font-size: 9px; fill: var(--soft); text-anchor: end; }
.card svg .rule { stroke: #dfe3e7; stroke-width: .8; }
.card svg .hit path { stroke: var(--dot); stroke-opacity: .45; stroke-width: 1.4; }
.card svg .hit circle { fill: var(--dot); }
.card svg .miss path { stroke: #1f2328; stroke-width: 1.4; }
.card svg .miss circle { fill: #1f2328; }
.card svg .truth { stroke: #000; stroke-width: 1.8; }
.card svg .right { fill: var(--dot); }
.card svg .wrong { fill: #f3c9a8; }
.card svg .chance { stroke: #57606a; stroke-width: .8; stroke-dasharray: 3 2; }
.shares { margin-top: .5rem; }
.share { display: grid; grid-template-columns: 5rem minmax(0, 1fr); gap: .5rem; align-items: center; font-size: .78rem;
  color: var(--soft); margin: .15rem 0; }
.share span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.share div { display: flex; height: .6rem; border-radius: 3px; overflow: hidden; background: var(--tint); }
.share i { display: block; height: 100%; box-shadow: inset -1px 0 0 #fff; }
@media screen and (max-width: 960px) {
  body { display: block; }
  nav.side { display: none; }
  main { padding: 1rem 1rem 4rem; }
  details.top { display: block; border-bottom: 1px solid var(--line); margin-bottom: 1rem; }
  details.top a { display: block; padding: .45rem 0; color: var(--ink); text-decoration: none; }
  h1.name { font-size: 1.65rem; }
  .lead p { font-size: 1.05rem; }
  table { font-size: .8rem; }
  th, td { padding: .3rem .5rem; }
  dl.facts > div, dl.brief > div, .beside { grid-template-columns: minmax(0, 1fr); }
  .tiles { grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .6rem; }
  figure label::after { content: "tap the figure to enlarge it"; display: block; font-size: .75rem;
    color: var(--soft); padding-top: .2rem; }
  figure input.zoom:checked + label::after { content: ""; }
}
@media print {
  @page { margin: 16mm; }
  nav.side, details.top, details:not([open]) { display: none !important; }
  html { font-size: 9.5pt; }
  body { display: block; font-size: 1rem; line-height: 1.45; }
  main { max-width: none; padding: 0; }
  .scroll { overflow: visible; }
  section { margin-bottom: 1.6rem; }
  figure, .banner, .card, .tile, tr { break-inside: avoid; }
  h2, h3, h4 { break-after: avoid; }
  dl.facts > div, dl.brief p, dl.brief li { break-inside: avoid; }
  dl.brief dt { break-after: avoid; }
  figure { margin: 1rem 0 1.4rem; }
  figure img { max-width: 100% !important; min-width: 0 !important; max-height: 225mm; object-fit: contain;
    object-position: left top; }
  figure label::after { content: "" !important; }
  figcaption { font-size: 8.5pt; }
  table { font-size: 7pt; }
  th, td { padding: .2rem .35rem; }
  thead th.num { min-width: 0; }
  .cards { grid-template-columns: repeat(3, minmax(0, 1fr)); gap: .6rem; }
  .banner, tr.headline > *, .share i, .keys i { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
