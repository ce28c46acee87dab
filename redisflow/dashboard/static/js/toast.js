// A word in the corner about what was just done.
export function toast(text, { tone = "ok", href = null, link = null } = {}) {
  const box = document.querySelector(".toasts");
  const it = document.createElement("div");
  it.className = `toast is-${tone}`;
  it.append(text);
  if (href) {
    const a = document.createElement("a");
    a.href = href;
    a.textContent = link;
    it.append(a);
  }
  box.append(it);
  setTimeout(() => it.remove(), tone === "fail" ? 12000 : 6000);
}
