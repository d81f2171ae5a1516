// Learning curves as SVG: mean training returns as a line, evaluations of checkpoints as points with their intervals.

const NAMESPACE = "http://www.w3.org/2000/svg";

export async function fetchCurve(run) {
  const response = await fetch(`/api/runs/${run}/curve`);
  if (!response.ok) throw new Error(`curve of ${run}: ${response.status}`);
  return response.json();
}

export function addPoint(curve, step, value) {
  const last = curve.training.at(-1);
  if (value === null || (last && step <= last[0])) return false;
  curve.training.push([step, value]);
  return true;
}

function element(name, attributes) {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

export function formatNumber(value) {
  const digits = Math.abs(value) < 1000 ? 1 : 0;
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function formatSteps(step) {
  if (step >= 1e6) return `${(step / 1e6).toLocaleString("en-US", { maximumFractionDigits: 2 })}M`;
  return step >= 1e4 ? `${Math.round(step / 1e3)}k` : `${step}`;
}

// Draws into the box (left, top, width, height) of the view box.
function plot(svg, curve, box) {
  const values = [...curve.training.map((point) => point[1])];
  for (const [, mean, low, high] of curve.evaluated) values.push(mean, low ?? mean, high ?? mean);
  if (!values.length) return null;
  const [lowest, highest] = [Math.min(...values), Math.max(...values)];
  const pad = (highest - lowest || 1) * 0.06;
  const [bottom, top] = [lowest - pad, highest + pad];
  const last = Math.max(curve.steps || 0, 1, ...curve.training.slice(-1).map((p) => p[0]), ...curve.evaluated.map((p) => p[0]));
  const x = (step) => +(box.left + (step / last) * box.width).toFixed(2);
  const y = (value) => +(box.top + (1 - (value - bottom) / (top - bottom)) * box.height).toFixed(2);
  if (curve.training.length > 1) {
    const line = curve.training.map(([step, value]) => `${x(step)},${y(value)}`).join(" ");
    const [first, end] = [curve.training[0][0], curve.training.at(-1)[0]];
    const base = box.top + box.height;
    svg.append(element("polygon", { class: "area", points: `${x(first)},${base} ${line} ${x(end)},${base}` }));
    svg.append(element("polyline", { class: "line", points: line }));
  }
  return { x, y, lowest, highest, last };
}

export function drawSpark(svg, curve) {
  svg.replaceChildren();
  // Without training returns, as of some imported runs, the evaluations are the curve.
  const evaluated = curve.training.length > 1 ? [] : curve.evaluated.map(([step, mean]) => [step, mean, null, null]);
  const scale = plot(svg, { ...curve, evaluated }, { left: 1, top: 2, width: 238, height: 40 });
  if (!scale || !evaluated.length) return;
  const line = evaluated.map(([step, mean]) => `${scale.x(step)},${scale.y(mean)}`).join(" ");
  svg.append(element("polyline", { class: "line", points: line }));
}

export function drawChart(svg, curve) {
  svg.replaceChildren();
  const width = Math.max(280, Math.round(svg.clientWidth)), height = 220;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const box = { left: 56, top: 10, width: width - 72, height: height - 40 };
  const axes = element("g", {});
  svg.append(axes);
  const scale = plot(svg, curve, box);
  if (!scale) {
    const text = element("text", { x: width / 2, y: height / 2, "text-anchor": "middle" });
    text.textContent = "No finished episode yet";
    svg.append(text);
    return;
  }
  for (const value of scale.lowest === scale.highest ? [scale.lowest] : [scale.lowest, (scale.lowest + scale.highest) / 2, scale.highest]) {
    axes.append(element("line", { class: "grid", x1: box.left, x2: box.left + box.width, y1: scale.y(value), y2: scale.y(value) }));
    const text = element("text", { x: box.left - 8, y: scale.y(value) + 4, "text-anchor": "end" });
    text.textContent = formatNumber(value);
    axes.append(text);
  }
  for (const part of [0, 0.5, 1]) {
    const step = Math.round(part * scale.last);
    const text = element("text", { x: scale.x(step), y: height - 6, "text-anchor": part === 1 ? "end" : part ? "middle" : "start" });
    text.textContent = part ? `${formatSteps(step)} steps` : "0";
    axes.append(text);
  }
  for (const [step, mean, low, high] of curve.evaluated) {
    if (low !== null && high !== null) {
      svg.append(element("line", { class: "interval", x1: scale.x(step), x2: scale.x(step), y1: scale.y(low), y2: scale.y(high) }));
    }
    svg.append(element("circle", { class: "evaluated", cx: scale.x(step), cy: scale.y(mean), r: 3.2 }));
  }
}
