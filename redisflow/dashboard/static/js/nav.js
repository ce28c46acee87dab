// In a narrow window the pages are a strip that scrolls: the one that is shown stands in its middle.
export function startNav() {
  const strip = document.querySelector(".side .pages");
  const here = strip?.querySelector("[aria-current]");
  if (!here) return;
  const [outer, inner] = [strip, here].map((each) => each.getBoundingClientRect());
  strip.scrollLeft += inner.left + inner.width / 2 - outer.left - outer.width / 2;
}
