// The gallery: videos and curves of the cards on the screen, filter and order, progress of what is being trained.

import { addPoint, drawSpark, fetchCurve } from "./curve.js";
import { followRunning, showSteps } from "./running.js";

const cards = [...document.querySelectorAll(".card")];
const curves = new Map();
const motion = document.getElementById("motion");
let moving = !matchMedia("(prefers-reduced-motion: reduce)").matches;

function play(video) {
  if (!video.src) {
    video.src = video.dataset.src;
    video.addEventListener("loadedmetadata", () => {
      video.parentElement.classList.toggle("has-panel", video.videoWidth === 1280 && video.videoHeight === 720);
    });
    video.addEventListener("error", () => {
      video.hidden = true;
      video.nextElementSibling.hidden = false;
    });
  }
  if (moving) video.play().catch(() => {});
  else video.preload = "auto";
}

async function showCurve(svg) {
  if (curves.has(svg)) return;
  curves.set(svg, null);
  try {
    const curve = await fetchCurve(svg.dataset.curve);
    curves.set(svg, curve);
    drawSpark(svg, curve);
  } catch {
    curves.delete(svg);
  }
}

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const video = entry.target.querySelector("video");
    entry.target.classList.toggle("on-screen", entry.isIntersecting);
    if (entry.isIntersecting) {
      if (video) play(video);
      showCurve(entry.target.querySelector(".curve"));
    } else if (video) video.pause();
  }
}, { rootMargin: "120px" });
cards.forEach((card) => seen.observe(card));

function setMotion(on) {
  moving = on;
  motion.textContent = on ? "Pause videos" : "Play videos";
  motion.setAttribute("aria-pressed", String(!on));
  for (const card of cards) {
    const video = card.querySelector("video");
    if (!video) continue;
    if (!on) video.pause();
    else if (card.classList.contains("on-screen")) play(video);
  }
}

if (motion) {
  setMotion(moving);
  motion.addEventListener("click", () => setMotion(!moving));
  const filter = document.getElementById("filter"), order = document.getElementById("order");
  const nothing = document.getElementById("nothing");
  filter.addEventListener("input", () => {
    const wanted = filter.value.trim().toLowerCase();
    for (const card of cards) card.hidden = !card.dataset.title.includes(wanted);
    nothing.hidden = cards.some((card) => !card.hidden);
  });
  order.addEventListener("change", () => {
    const by = order.value;
    const key = (card) => (card.dataset[by] === "" ? -Infinity : Number(card.dataset[by]));
    const sorted = [...cards];
    if (by !== "title") sorted.sort((a, b) => key(b) - key(a));
    document.getElementById("cards").append(...sorted);
  });
}

const list = document.getElementById("cards");
if ("incomplete" in list.dataset) {
  setTimeout(() => location.reload(), 2000);
} else {
  const status = document.getElementById("status");
  followRunning("/api/running", list.dataset.runs.split(" ").filter(Boolean), (running) => {
    showSteps(running);
    for (const [svg, curve] of curves) {
      const run = running.get(svg.dataset.curve);
      if (curve && run && addPoint(curve, run.step, run.return)) drawSpark(svg, curve);
    }
  }, () => {
    if (document.getElementById("reload")) return;
    const link = document.createElement("a");
    Object.assign(link, { id: "reload", href: "", textContent: "Runs have started or ended: reload" });
    status.append(" ", link);
  });
}
