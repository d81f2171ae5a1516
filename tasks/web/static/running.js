// What is being trained now: asked every few seconds while the page is visible.

const EVERY_MS = 3000;

// Shows the steps of the running runs wherever the page has a place for them.
export function showSteps(running) {
  for (const [id, one] of running) {
    for (const place of document.querySelectorAll(`[data-step="${id}"]`)) place.textContent = one.step.toLocaleString("en-US");
    for (const bar of document.querySelectorAll(`[data-progress="${id}"]`)) bar.value = one.step;
  }
}

// Calls `show` with the running runs by id; `changed` when a run was started or has ended since the page was made.
export function followRunning(address, known, show, changed) {
  let ids = [...known].sort().join();
  async function ask() {
    if (document.hidden) return;
    try {
      const response = await fetch(address);
      if (!response.ok) return;
      const runs = await response.json();
      const now = runs.map((run) => run.run).sort().join();
      if (now !== ids) changed();
      ids = now;
      show(new Map(runs.map((run) => [run.run, run])));
    } catch {
      // The server is being restarted; the next request finds it again.
    }
  }
  ask();
  setInterval(ask, EVERY_MS);
  document.addEventListener("visibilitychange", ask);
}
