// Draws the embedded figures and gives them the page's colours, in light and in dark.
const page = getComputedStyle(document.documentElement);
const dark = matchMedia("(prefers-color-scheme: dark)");
const colour = (name) => page.getPropertyValue(name).trim();

function theme(layout) {
  const change = { "font.color": colour("--text"), "hoverlabel.bgcolor": colour("--card"),
                   "hoverlabel.font.color": colour("--text"), "hoverlabel.bordercolor": colour("--line") };
  for (const key of Object.keys(layout)) {
    if (/^[xy]axis/.test(key)) {
      change[`${key}.gridcolor`] = colour("--line");
      change[`${key}.linecolor`] = colour("--line");
    }
  }
  return change;
}

for (const source of document.querySelectorAll("script[data-figure]")) {
  const { data, layout } = JSON.parse(source.textContent);
  const element = document.getElementById(source.dataset.figure);
  Plotly.newPlot(element, data, layout, { responsive: true, displaylogo: false, displayModeBar: false })
    .then(() => Plotly.relayout(element, theme(layout)));
  dark.addEventListener("change", () => Plotly.relayout(element, theme(layout)));
}
