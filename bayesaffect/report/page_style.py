"""The page's style sheet, laid over the base of mne.Report: calm on a screen, whole on a phone, plain on paper."""

from __future__ import annotations

CSS = """
:root { --ink: #1f2328; --soft: #5b6570; --line: #e2e5e9; --tint: #f6f7f9; --fused: #b34a00; --link: #005a94; }
html { scroll-behavior: smooth; }
body { color: var(--ink); background: #fff;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, "Liberation Sans", sans-serif; }
#top-bar { background: #fff !important; border-bottom: 1px solid var(--line); box-shadow: none !important;
  padding: .35rem .5rem; }
#top-bar img, #filter-by-tags-dropdown-menu, .accordion-header .badge, footer { display: none !important; }
#top-bar .fs-3 { font-size: 1rem !important; font-weight: 600; white-space: normal; }
#toc { border-right: 1px solid var(--line); padding: .5rem .5rem 4rem !important; }
#toc h5 { font-size: .75rem; text-transform: uppercase; letter-spacing: .06em; color: var(--soft); }
#toc a { border: 0 !important; padding: .3rem .6rem; font-size: .92rem; color: var(--ink); border-radius: 4px; }
#toc a.active { background: var(--tint); color: var(--fused); font-weight: 600; }
#content { max-width: 62rem; padding: 0 1.75rem; }
#content .accordion-item { border: 0; background: transparent; margin: 0 0 2.25rem; }
#content .accordion-header { margin: 0; }
#content .accordion-button { background: transparent !important; box-shadow: none !important;
  padding: .25rem 0 !important;
  border-bottom: 2px solid var(--ink); border-radius: 0; color: var(--ink); }
#content .accordion-button a { font-size: 1.35rem; font-weight: 650; color: var(--ink); }
#content .accordion-body { padding: .9rem 0 0; }
#Summary > .accordion-header { display: none; }
.ba h1.name { font-size: 2.1rem; line-height: 1.15; font-weight: 700; letter-spacing: -.01em; margin: .4rem 0 1.1rem; }
.ba h3 { font-size: 1.05rem; font-weight: 650; margin: 1.6rem 0 .5rem; }
.ba p { margin: 0 0 .7rem; max-width: 46rem; }
.ba .lead p { font-size: 1.15rem; font-weight: 400; margin-bottom: .5rem; }
.banner { border-left: 6px solid; border-radius: 4px; padding: .8rem 1.1rem; margin: 0 0 1.3rem;
  overflow-wrap: anywhere; }
.banner ul { margin: .4rem 0 0; padding-left: 1.2rem; }
.banner.failed { background: #fdecea; border-color: #b3261e; color: #7a150f; font-size: 1.05rem; }
.banner.doubtful { background: #fff5e0; border-color: #b87900; color: #5f4000; }
.banner.passed { background: #e8f5ee; border-color: #00784f; color: #064d35; }
.scroll { display: block; overflow-x: auto; max-width: 100%; -webkit-overflow-scrolling: touch; margin: 0 0 .8rem; }
.ba table { border-collapse: collapse; font-size: .875rem; line-height: 1.35; }
.ba th, .ba td { padding: .34rem .75rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
.ba thead th { border-bottom: 1.5px solid var(--soft); font-weight: 600; vertical-align: bottom; }
.ba tbody th { font-weight: 500; }
.ba details tbody th, .ba table:not(.facts):not(.scores) tbody th { min-width: 8rem; }
.ba .num { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.ba .interval { display: block; color: var(--soft); font-weight: 400; font-size: .93em; }
.ba thead th.num { white-space: normal; min-width: 5.5rem; }
.ba table.scores tbody th { white-space: nowrap; }
.ba tr.headline > * { background: #fdf1e8; }
.ba tr.headline > th { color: var(--fused); font-weight: 700; }
.ba table.facts th { color: var(--soft); font-weight: 500; white-space: nowrap; }
.ba table.facts td { overflow-wrap: anywhere; }
.ba details { margin: .2rem 0 1rem; }
.ba summary { cursor: pointer; color: var(--link); font-size: .92rem; margin-bottom: .5rem; }
.ba pre.command { background: var(--tint); border: 1px solid var(--line); border-radius: 4px;
  padding: .8rem 1rem; white-space: pre-wrap;
  overflow-wrap: anywhere; font-size: .875rem; }
.ba figure { margin: 2rem 0 2.4rem; }
.ba figure img { display: block; max-width: 100%; height: auto; cursor: zoom-in; }
.ba figure label { cursor: inherit; }
.ba figure input.zoom { position: absolute; opacity: 0; width: 1px; height: 1px; }
.ba figure input.zoom:focus-visible + label { outline: 2px solid var(--link); }
.ba figure input.zoom:checked + label img { max-width: none; min-width: 62rem; cursor: zoom-out; }
.ba figcaption { font-size: .9rem; color: var(--soft); max-width: 50rem; border-top: 1px solid var(--line);
  padding-top: .45rem; }
.ba figcaption b { color: var(--ink); }
@media (max-width: 900px) {
  #toc { display: none; }
  #content { width: 100%; max-width: none; flex: 0 0 100%; margin-left: 0; padding: 0 1rem; }
  .ba figure label::after { content: "tap the figure to enlarge it"; display: block; font-size: .75rem;
  color: var(--soft); padding-top: .2rem; }
  .ba figure input.zoom:checked + label::after { content: ""; }
  .ba h1.name { font-size: 1.6rem; }
  .ba .lead p { font-size: 1.05rem; }
  .ba table { font-size: .8rem; }
  .ba th, .ba td { padding: .3rem .5rem; }
  .ba table.facts th { white-space: normal; min-width: 6rem; }
}
@media print {
  @page { margin: 16mm; }
  #top-bar, #toc, .ba details > summary { display: none !important; }
  body { font-size: 10pt; }
  #content { width: 100%; max-width: none; flex: 0 0 100%; margin: 0 !important; padding: 0; }
  #content .accordion-button::after { display: none; }
  .accordion-collapse { display: block !important; height: auto !important; }
  .scroll { overflow: visible; }
  .ba figure, .banner { break-inside: avoid; }
  .ba figure img { max-width: 100% !important; min-width: 0 !important; }
  .ba tr { break-inside: avoid; }
  .accordion-header { break-after: avoid; }
  .ba table { font-size: 7.5pt; }
  .banner, .ba tr.headline > * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
