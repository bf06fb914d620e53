#!/usr/bin/env python3
"""Looks at a report in headless Chromium: see_report.py CHROMIUM REPORT.html OUT

Takes pictures in light, dark and narrow windows and a PDF, and fails if the page asks for anything, says anything on the
console, is wider than its window, has text whose contrast is under 4.5 (WCAG 2.2, 1.4.3), or lacks what the keyboard and a screen
reader need. The probe that measures is put into a copy of the page; the page itself runs no script.
"""
import os
import re
import subprocess
import sys

PROBE = """<script>addEventListener('load', () => {
  document.querySelectorAll('details').forEach(d => d.open = true);
  const parse = c => (c.match(/[\\d.]+/g) || []).map(Number);
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] > 0) return c; } return [255, 255, 255]; };
  const found = [];
  for (const e of document.querySelectorAll('body *')) {
    if (e.closest('svg, .skip') || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const a = light(parse(getComputedStyle(e).color)), b = light(behind(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push('contrast ' + ratio.toFixed(2) + ' ' + e.tagName + ' ' + e.textContent.slice(0, 30));
  }
  const all = selector => [...document.querySelectorAll(selector)];
  const need = (good, what) => { if (!good) found.push(what); };
  const named = e => { const by = e.getAttribute('aria-labelledby');
    return ((e.getAttribute('aria-label') || (by && document.getElementById(by) || {}).textContent || '').trim()).length > 0; };
  need(document.documentElement.lang && document.title, 'no language or no title');
  for (const part of ['main', 'header', 'footer', 'nav', 'h1']) need(all(part).length === 1, 'not one ' + part);
  let level = 0;
  for (const e of all('h1, h2, h3, h4')) { const n = +e.tagName[1]; need(n <= level + 1, 'heading skips a level: ' + e.textContent); level = n; }
  const ids = all('[id]').map(e => e.id);
  need(new Set(ids).size === ids.length, 'an id is there twice');
  for (const e of all('a')) need(/^#./.test(e.getAttribute('href')) && document.getElementById(e.hash.slice(1)), 'a link leads nowhere: ' + e.textContent);
  for (const e of all('section, nav, [role=region]')) need(named(e), 'a part without a name: ' + e.className + e.id);
  for (const e of all('svg')) need(e.getAttribute('aria-hidden') === 'true' || (e.getAttribute('role') === 'img' && (named(e) || e.querySelector('title'))), 'an image without a text');
  for (const e of all('table')) { need(e.caption && e.caption.textContent.trim(), 'a table without a caption');
    need([...e.querySelectorAll('th')].every(h => ['col', 'row'].includes(h.scope)), 'a table head without a scope'); }
  // What scrolls or opens is reached by the keyboard, in the order of the page, and shows that it is.
  for (const e of all('.scroll')) need(e.tabIndex === 0, 'a table that scrolls cannot be reached');
  for (const e of all('a, summary, .scroll')) { need(e.tabIndex === 0, 'not reached by keyboard: ' + e.textContent.slice(0, 30));
    e.focus(); need(document.activeElement === e, 'does not take the focus: ' + e.tagName); }
  // Whether a window without a screen has the focus is chance, so the rule is looked at and not what it draws.
  const rules = [...document.styleSheets].flatMap(sheet => [...sheet.cssRules]).filter(rule => rule.style);
  need(rules.some(rule => rule.selectorText === ':focus-visible' && /^[2-9]px solid/.test(rule.style.outline)), 'focus is not shown');
  need(!rules.some(rule => /none|^0/.test(rule.style.outline)), 'focus is hidden somewhere');
  document.activeElement.blur();
  scrollTo(0, 0);
  const root = document.documentElement;
  if (root.scrollWidth > innerWidth) found.push('page of ' + root.scrollWidth + ' in a window of ' + innerWidth);
  if (performance.getEntriesByType('resource').length) found.push('the page loads something');
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  document.title = 'SEEN ' + (dark ? 'dark' : 'light') + ' [' + found.join('; ') + ']';
});</script></head>"""


def chromium(program, *options):
    base = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr", "--disable-dev-shm-usage"]
    return subprocess.run([program, *base, *options], capture_output=True, text=True, timeout=90, check=True)


def main(program, report, out):
    os.makedirs(out, exist_ok=True)
    page = "file://" + os.path.abspath(report)
    with open(report, encoding="utf-8") as file:
        html = file.read()
    assert "<script" not in html and "http-equiv=\"Content-Security-Policy\"" in html, "script, or no policy"
    probed = os.path.join(out, "probed.html")
    with open(probed, "w", encoding="utf-8") as file:
        # The probe may run only without the policy; the plain page is shown with it.
        file.write(re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html).replace("</head>", PROBE, 1))
    themes = {"light": [], "dark": ["--blink-settings=preferredColorScheme=0"]}
    for theme, options in themes.items():
        for width in (1280, 500):
            # Headless Chromium has no window under 500; 400 is looked at in a frame below.
            size = f"--window-size={width},1500"
            said = chromium(program, *options, size, "--screenshot=" + os.path.join(out, f"{theme}-{width}.png"), page).stderr
            assert "CONSOLE" not in said, said
            dom = chromium(program, *options, size, "--dump-dom", "file://" + os.path.abspath(probed)).stdout
            seen = re.search(r"<title>SEEN (\w+) \[(.*?)\]</title>", dom, re.S)
            assert seen, "the probe did not run"
            assert seen.group(1) == theme, f"asked for {theme}, got {seen.group(1)}"
            assert not seen.group(2), f"{theme} {width}: {seen.group(2)}"
    narrow = os.path.join(out, "narrow.html")
    with open(narrow, "w", encoding="utf-8") as file:
        file.write(f"<iframe id=f src='probed.html' width=400 height=1400></iframe><script>f.onload=()=>setTimeout(()=>"
                   "document.title='W'+f.contentDocument.documentElement.scrollWidth,500)</script>")
    dom = chromium(program, "--allow-file-access-from-files", "--virtual-time-budget=3000", "--window-size=500,1450",
                   "--screenshot=" + os.path.join(out, "narrow.png"), "--dump-dom", "file://" + narrow).stdout
    width = re.search(r"<title>W(\d+)</title>", dom)
    assert width and int(width.group(1)) <= 400, f"at 400 wide: {width and width.group(1)}"
    pdf = os.path.join(out, "print.pdf")
    chromium(program, "--blink-settings=preferredColorScheme=0", "--no-pdf-header-footer", "--print-to-pdf=" + pdf, page)
    with open(pdf, "rb") as file:
        assert file.read(5) == b"%PDF-"
    print("seen")


if __name__ == "__main__":
    main(*sys.argv[1:])
