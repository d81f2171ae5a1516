// The page of a game: videos of the selected run by checkpoint, its curve and reel, the sorted table, live progress.

import { addPoint, drawChart, fetchCurve, formatNumber } from "./curve.js";
import { followRunning, showSteps } from "./running.js";

const player = document.querySelector(".player"), run = player.dataset.run;
const video = document.getElementById("video"), missing = document.getElementById("missing");
const slider = document.getElementById("checkpoint"), caption = document.getElementById("caption");
const live = document.getElementById("live"), chart = document.getElementById("chart");
let videos = [], curve = null;

function describe(one) {
  const interval = one.low === null ? "" : ` [${formatNumber(one.low)}, ${formatNumber(one.high)}]`;
  const mean = one.mean === null ? "" : `: mean return ${formatNumber(one.mean)}${interval}`;
  return `Step ${one.step.toLocaleString("en-US")}${mean}`;
}

function showVideo(index) {
  const one = videos[index];
  slider.value = index;
  caption.textContent = describe(one);
  slider.setAttribute("aria-valuetext", caption.textContent);
  if (video.getAttribute("src") !== one.src) video.src = one.src;
  video.hidden = false;
  missing.hidden = true;
  if (player.dataset.live) live.href = `${player.dataset.live}&step=${one.step}`;
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) video.play().catch(() => {});
}

function showReel(reel) {
  if (!reel.video) return;
  const film = document.createElement("video");
  Object.assign(film, { controls: true, muted: true, loop: true, playsInline: true, preload: "none", src: reel.video });
  if (reel.animation) film.poster = reel.animation;
  const place = document.getElementById("reel");
  place.replaceChildren(film);
  film.setAttribute("aria-labelledby", "reel-title");
  if (reel.grid) {
    const link = document.createElement("a");
    Object.assign(link, { href: reel.grid, textContent: "All checkpoints side by side" });
    place.append(link);
  }
}

async function loadMedia() {
  const response = await fetch(`/api/runs/${run}/media`);
  const media = await response.json();
  if (!response.ok) {
    missing.textContent = media.error;
    return;
  }
  showReel(media.reel);
  const last = videos.length - 1, followed = Number(slider.value) === last;
  const before = videos.length;
  videos = media.videos;
  if (!videos.length) {
    missing.textContent = `No video yet: ramreel record ${run.slice(0, 8)} makes one of every checkpoint.`;
    return;
  }
  slider.max = videos.length - 1;
  document.getElementById("slider").hidden = false;
  if (!before || (followed && videos.length > before)) showVideo(videos.length - 1);
}

video.addEventListener("error", () => {
  video.hidden = true;
  missing.hidden = false;
  missing.textContent = "This video cannot be played: it is damaged, or its file is gone.";
});
slider.addEventListener("input", () => showVideo(Number(slider.value)));
loadMedia();

async function loadCurve() {
  curve = await fetchCurve(run);
  drawChart(chart, curve);
}
loadCurve().catch(() => {});
new ResizeObserver(() => curve && drawChart(chart, curve)).observe(chart.parentElement);

const table = document.getElementById("table"), body = table.tBodies[0];
for (const header of table.querySelectorAll("th[data-key]")) {
  header.querySelector("button").addEventListener("click", () => {
    const was = header.getAttribute("aria-sort");
    for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
    // Of returns and steps the highest come first.
    const descending = was ? was === "ascending" : ["return", "steps"].includes(header.dataset.key);
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const value = (row) => row.dataset[header.dataset.key];
    const rows = [...body.rows].sort((a, b) => {
      const [one, other] = [value(a), value(b)];
      // What has no value comes last in either order.
      if ((one === "") !== (other === "")) return one === "" ? 1 : -1;
      const order = header.dataset.kind === "number" ? one - other : one.localeCompare(other);
      return descending ? -order : order;
    });
    body.append(...rows);
  });
}

const known = [...body.rows].filter((row) => row.dataset.status === "running").map((row) => row.dataset.run);
let checkpoints = null;
followRunning(`/api/running?game=${encodeURIComponent(player.dataset.game)}`, known, (running) => {
  showSteps(running);
  const mine = running.get(run);
  if (!mine || !curve) return;
  if (addPoint(curve, mine.step, mine.return)) drawChart(chart, curve);
  const evaluated = mine.evaluated ? mine.evaluated[0] : null;
  if (checkpoints !== null && evaluated !== checkpoints) {
    loadMedia();
    loadCurve().catch(() => {});
  }
  checkpoints = evaluated;
}, () => {
  if (document.getElementById("reload")) return;
  const link = document.createElement("a");
  Object.assign(link, { id: "reload", href: "", textContent: "Runs have started or ended: reload" });
  document.getElementById("status").append(" ", link);
});
