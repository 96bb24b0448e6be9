// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// What is wrong with this page for somebody who sees badly, hears the page, or has
// a small screen: a list of sentences.
(() => {
  const faults = [];
  const shown = (e) => e.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true });

  if (!document.documentElement.lang) faults.push("the page does not say its language");
  if (!document.title.trim()) faults.push("the page has no title");
  const headings = document.querySelectorAll("h1").length;
  if (headings !== 1) faults.push(`the page has ${headings} h1`);
  if (document.querySelectorAll("main").length !== 1) faults.push("the page has not one main part");
  if (document.documentElement.scrollWidth > window.innerWidth)
    faults.push(`the page is ${document.documentElement.scrollWidth} wide on a screen of ${window.innerWidth}`);
  if (document.querySelector("script, [style], style")) faults.push("the page has a script or a style of its own");

  // Names

  const nameOf = (e) =>
    e.getAttribute("aria-label") ||
    [...(e.labels ?? [])].map((l) => l.textContent).join(" ") ||
    (e.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join(" ") ||
    (["BUTTON", "A", "SUMMARY"].includes(e.tagName) ? e.textContent : "");
  for (const e of document.querySelectorAll("input, select, textarea, button, a[href], summary")) {
    if (e.type === "hidden") continue;
    if (!nameOf(e).trim()) faults.push(`a control has no name: ${e.outerHTML.slice(0, 80)}`);
    if (e.tagName === "BUTTON" && e.getBoundingClientRect().height < 24) faults.push(`too small to hit: ${e.textContent.trim()}`);
  }
  for (const e of document.querySelectorAll("img, svg"))
    if (!e.closest("[aria-hidden=true]") && !e.getAttribute("alt") && !e.getAttribute("aria-label")) faults.push("a picture has no words");

  // Contrast (WCAG 2.2, 1.4.3), the worst case where there is a gradient

  const parse = (text) => {
    const n = (text.match(/[\d.]+/g) ?? []).map(Number);
    return { r: n[0], g: n[1], b: n[2], a: n[3] ?? 1 };
  };
  const over = (top, under) => {
    const mix = (x, y) => x * top.a + y * (1 - top.a);
    return { r: mix(top.r, under.r), g: mix(top.g, under.g), b: mix(top.b, under.b), a: 1 };
  };
  const grounds = (e) => {
    const under = e.parentElement ? grounds(e.parentElement) : [{ r: 255, g: 255, b: 255, a: 1 }];
    const style = getComputedStyle(e);
    const plain = under.map((u) => over(parse(style.backgroundColor), u));
    const tints = (style.backgroundImage.match(/rgba?\([^)]*\)/g) ?? []).map(parse);
    return plain.concat(tints.flatMap((t) => plain.map((p) => over(t, p))));
  };
  const luminance = ({ r, g, b }) => {
    const [x, y, z] = [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const contrast = (x, y) => {
    const [light, dark] = [luminance(x), luminance(y)].sort((p, q) => q - p);
    return (light + 0.05) / (dark + 0.05);
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    const e = node.parentElement;
    if (!node.textContent.trim() || !shown(e)) continue;
    const ink = getComputedStyle(e).color;
    for (const ground of grounds(e)) {
      const ratio = contrast(over(parse(ink), ground), ground);
      if (ratio < 4.5) {
        faults.push(`contrast ${ratio.toFixed(2)}: ${node.textContent.trim().slice(0, 40)}`);
        break;
      }
    }
  }
  for (const e of document.querySelectorAll("input:not([type=hidden])")) {
    const ratio = Math.min(...grounds(e).map((g) => contrast(parse(getComputedStyle(e).color), g)));
    if (ratio < 4.5) faults.push(`contrast ${ratio.toFixed(2)} in a field`);
  }
  return faults;
})();
