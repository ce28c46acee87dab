// Light, dark, or as the system has it: chosen here, kept in this browser.
const NEXT = { system: "light", light: "dark", dark: "system" };

function apply(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  const button = document.querySelector("[data-theme-switch]");
  if (!button) return;
  button.title = button.ariaLabel = `Theme: ${theme}`;
  for (const icon of button.querySelectorAll("[data-for]")) icon.classList.toggle("hidden", icon.dataset.for !== theme);
}

export function startTheme() {
  const known = () => localStorage.getItem("redisflow-theme") || "system";
  apply(known());
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-theme-switch]")) return;
    localStorage.setItem("redisflow-theme", NEXT[known()]);
    apply(known());
    document.dispatchEvent(new CustomEvent("redisflow:theme"));
  });
}
