// Charts, and the outline of what a byte moves on the screen.
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function sized(canvas) {
  const scale = devicePixelRatio || 1, width = Math.round(canvas.clientWidth * scale), height = Math.round(canvas.clientHeight * scale);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  return { context, width, height, scale };
}

export function drawChart(canvas, values, name) {
  const { context, width, height, scale } = sized(canvas);
  if (values.length < 2 || !width) return;
  const low = Math.min(...values), high = Math.max(...values), span = high - low || 1, pad = 4 * scale;
  const y = (value) => height - pad - ((value - low) / span) * (height - 2 * pad);
  context.strokeStyle = color("--line");
  context.lineWidth = scale;
  context.strokeRect(0.5, 0.5, width - 1, height - 1);
  context.strokeStyle = color(name);
  context.lineWidth = 1.6 * scale;
  context.beginPath();
  values.forEach((value, index) => context.lineTo((index / (values.length - 1)) * width, y(value)));
  context.stroke();
  context.fillStyle = color("--soft");
  context.font = `${11 * scale}px system-ui, sans-serif`;
  const text = (value) => (Math.round(10 * value) / 10 || 0).toLocaleString("en-US").replace("-", "−");
  context.fillText(text(high), 5 * scale, 13 * scale);
  if (high !== low) context.fillText(text(low), 5 * scale, height - 5 * scale);
}

// As `ScreenPosition.at` of an atlas: the center is scale * ram[byte] + offset.
function interval(axis, ram, limit) {
  const center = axis.byte === null ? axis.offset : axis.scale * ram[axis.byte] + axis.offset;
  const begin = Math.round(center - axis.extent / 2);
  return [Math.max(0, begin), Math.min(limit, begin + axis.extent)];
}

export function drawOutline(canvas, position, ram, game) {
  const { context, width, height, scale } = sized(canvas);
  if (!position || !ram) return;
  const [left, right] = interval(position.x, ram, game.width), [top, bottom] = interval(position.y, ram, game.height);
  if (left >= right || top >= bottom) return;
  const x = width / game.width, y = height / game.height, margin = 3 * scale;
  context.strokeStyle = "#5cb8ff";
  context.lineWidth = 3 * scale;
  context.strokeRect(left * x - margin, top * y - margin, (right - left) * x + 2 * margin, (bottom - top) * y + 2 * margin);
}
