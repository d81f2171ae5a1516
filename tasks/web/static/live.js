// The live view: draws the frames of a WebSocket and sends what a viewer does. Layout of a frame:
// tasks/arcade/live/messages.py.
import { RamGrid } from "./live-ram.js";
import { LiveSound } from "./live-sound.js";
import { drawChart, drawOutline } from "./live-drawing.js";

const BYTES = 128, COLORS = 768, SAMPLES = 512, HISTORY = 600;
const KEYS = { ArrowLeft: "left", ArrowUp: "up", ArrowDown: "down", ArrowRight: "right", " ": "fire",
  a: "left", w: "up", s: "down", d: "right" };
const $ = (id) => document.getElementById(id);
const view = $("live"), screen = $("screen"), context = screen.getContext("2d");
let socket, game, image, state, history = [], held = new Set(), pending, decoding = false, frames = 0;

function send(command) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(command));
}

const grid = new RamGrid($("ram"), $("byte"), (byte, value) => send({ do: "write", byte, value }), () => outline());

const sound = new LiveSound($("sound"));

function connect() {
  const address = new URL(view.dataset.socket, location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => (typeof data === "string" ? receive(JSON.parse(data)) : enqueue(data));
  socket.onclose = () => { if (!view.dataset.failed) cover("The connection was lost. Reload the page to watch again."); };
}

function cover(text) {
  $("cover").textContent = text;
  $("cover").hidden = !text;
}

function notice(...parts) {
  $("notice").replaceChildren(...parts);
  $("notice").hidden = false;
}

function receive(message) {
  if (message.type === "hello") start(message);
  else if (message.type === "viewers") $("viewers").textContent = message.count > 1 ? `· ${message.count} people watch and share the controls` : "";
  else if (message.type === "notice") notice(message.message);
  else if (message.type === "keeping") notice("Rendering the video of the episode …");
  else if (message.type === "kept") showKept(message);
  else if (message.type === "failure") {
    view.dataset.failed = "true";
    cover(message.message);
  }
}

function showKept(message) {
  const button = document.createElement("button"), link = document.createElement("a");
  button.textContent = "Verify";
  button.id = "verify";
  link.href = `/runs/${message.run}/artifacts/${message.path}`;
  link.textContent = "Video";
  const yours = message.humanSteps ? `, ${message.humanSteps} of them yours` : "";
  const line = `Kept in the run: ${message.steps} steps${yours}, return ${message.episodeReturn}. `;
  button.onclick = async () => {
    button.disabled = true;
    button.textContent = "Verifying …";
    const address = `/live/verify?${new URLSearchParams({ run: message.run, path: message.path })}`;
    const proof = await (await fetch(address, { method: "POST" })).json();
    notice(line, link, ` ${proof.line}`);
    $("notice").dataset.verified = proof.ok;
  };
  notice(line, link, " ", button);
}

function start(hello) {
  game = hello;
  screen.width = game.width;
  screen.height = game.height;
  image = context.createImageData(game.width, game.height);
  $("who").textContent = game.approach;
  $("actions-title").textContent = game.outputs === "q-values" ? "Q-values" : "Action probabilities";
  $("bars").replaceChildren(...game.actions.map((name) => {
    const item = document.createElement("li");
    item.innerHTML = '<span></span><span class="bar"><i></i></span><span></span>';
    item.firstChild.textContent = name;
    return item;
  }));
  $("bars").classList.toggle("many", game.actions.length > 9);
  grid.start(game.atlas, game.pixels);
  sound.start(game.fps, SAMPLES);
}

// A frame that arrives while another one is decoded replaces the one that waits.
async function enqueue(data) {
  pending = data;
  if (decoding || !game) return;
  decoding = true;
  try {
    while (pending) {
      const frame = pending;
      pending = undefined;
      const stream = new Blob([frame]).stream().pipeThrough(new DecompressionStream("deflate"));
      draw(new Uint8Array(await new Response(stream).arrayBuffer()));
    }
  } finally {
    decoding = false;
  }
}

function draw(raw) {
  const length = new DataView(raw.buffer).getUint32(0, true);
  const json = JSON.parse(new TextDecoder().decode(raw.subarray(4, 4 + length)));
  let at = 4 + length;
  const take = (size) => raw.subarray(at, (at += size));
  const ram = take(BYTES), saliency = take(BYTES), before = take(BYTES), palette = take(COLORS), samples = take(SAMPLES);
  paint(take(game.width * game.height), palette);
  const isNew = !state || json.step !== state.step || json.tampered !== state.tampered;
  state = { ...json, ram, saliency, before };
  if (isNew || state.paused) showState();
  if (state.speed === 1 && !state.paused) sound.play(samples);
  outline();
  frames += 1;
  view.dataset.frames = frames;
  view.dataset.digest = state.digest;
  view.dataset.step = state.step;
  cover(state.ended ? "The episode has ended. Restart plays it again; another seed plays another one." : "");
}

function paint(indices, palette) {
  const pixels = new Uint32Array(image.data.buffer), colors = new Uint32Array(256);
  for (let index = 0; index < 256; index++)
    colors[index] = 0xff000000 | (palette[3 * index + 2] << 16) | (palette[3 * index + 1] << 8) | palette[3 * index];
  for (let index = 0; index < indices.length; index++) pixels[index] = colors[indices[index]];
  context.putImageData(image, 0, 0);
}

const number = (value) => value.toLocaleString("en-US").replace("-", "−");

function showState() {
  grid.update(state.ram, state.saliency);
  [...$("bars").children].forEach((item, index) => {
    item.children[1].firstChild.style.width = `${100 * state.bars[index]}%`;
    item.children[2].textContent = state.labels[index];
    item.classList.toggle("chosen", index === state.action);
  });
  $("value").textContent = number(Number(state.value.toFixed(2)));
  $("agent-return").textContent = number(state.agentReturn);
  $("human-return").textContent = state.humanSteps ? number(state.humanReturn) : "–";
  const seconds = Math.floor(state.frame / game.fps);
  $("step-number").textContent = `${number(state.step)} · ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  $("digest").textContent = state.digest.slice(0, 16);
  $("digest").title = state.digest;
  const tags = [state.human && "You play", state.tampered && "RAM modified: cannot be kept", state.paused && "Paused"].filter(Boolean);
  $("tag").hidden = !tags.length;
  $("tag").textContent = tags.join(" · ");
  $("pause").firstChild.textContent = state.paused ? "Play " : "Pause ";
  $("speed").value = String(state.speed);
  $("keep").disabled = state.tampered || state.step === 0;
  const last = history.at(-1)?.step ?? -1;
  if (last > state.step) history = [];
  if (last !== state.step) history.push({ step: state.step, value: state.value, total: state.agentReturn + state.humanReturn });
  if (history.length > HISTORY) history.shift();
  drawChart($("value-chart"), history.map((one) => one.value), "--value");
  drawChart($("return-chart"), history.map((one) => one.total), "--accent");
}

function outline() {
  if (game) drawOutline($("outline"), grid.position, state?.before, game);
}

// What is held, on the keyboard and on the page's joystick.
function hold(name, down) {
  if (down === held.has(name)) return;
  down ? held.add(name) : held.delete(name);
  for (const button of document.querySelectorAll(".key")) button.classList.toggle("held", held.has(button.dataset.key));
  send({ do: "keys", keys: Object.fromEntries([...held].map((one) => [one, true])) });
}

function releaseAll() {
  for (const name of [...held]) hold(name, false);
}

const isTyping = (target) => target.closest?.("input, select, textarea, [role=grid]");
const shortcuts = { p: "pause", n: "step", r: "restart", k: "keep", m: "sound" };

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  if (event.target.closest?.("button, a") && (event.key === " " || event.key === "Enter")) return;
  const name = KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
  if (name) {
    event.preventDefault();
    hold(name, true);
  } else if (!event.repeat && shortcuts[event.key.toLowerCase()]) $(shortcuts[event.key.toLowerCase()]).click();
});
addEventListener("keyup", (event) => {
  const name = KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
  if (name) hold(name, false);
});
addEventListener("blur", releaseAll);
document.addEventListener("visibilitychange", () => document.hidden && releaseAll());
addEventListener("resize", () => { if (state) { showState(); outline(); } });

for (const button of document.querySelectorAll(".key")) {
  const { key } = button.dataset;
  button.addEventListener("pointerdown", (event) => { button.setPointerCapture(event.pointerId); hold(key, true); });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) button.addEventListener(end, () => hold(key, false));
  button.addEventListener("keydown", (event) => { if (event.key === " " || event.key === "Enter") { event.preventDefault(); hold(key, true); } });
  button.addEventListener("keyup", () => hold(key, false));
  button.addEventListener("contextmenu", (event) => event.preventDefault());
}
$("pause").onclick = () => send({ do: state?.paused ? "resume" : "pause" });
$("step").onclick = () => send({ do: "step" });
$("restart").onclick = () => { history = []; send({ do: "restart" }); };
$("keep").onclick = () => send({ do: "keep" });
$("speed").onchange = ({ target }) => { send({ do: "speed", speed: target.value }); target.blur(); };
// After a click with the pointer the space bar is the joystick's button again.
for (const button of document.querySelectorAll(".controls button")) button.addEventListener("click", (event) => event.detail && button.blur());
$("choose-run").onchange = ({ target }) => { location.href = `/live?${new URLSearchParams({ run: target.value })}`; };
$("choose-step").onchange = ({ target }) => target.form.requestSubmit();
connect();
