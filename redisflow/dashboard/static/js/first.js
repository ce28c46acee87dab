// Before anything is drawn, so that a dark page does not flash in white.
const theme = localStorage.getItem("redisflow-theme");
if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
