// The sound of the frames, one after the other. Off at first: browsers play sound only after a click.
const LEAD_SECONDS = 0.08, MOST_SECONDS = 0.4;

export class LiveSound {
  constructor(button) {
    Object.assign(this, { button, on: false, next: 0 });
    button.addEventListener("click", () => this.toggle());
  }

  // At the frames' own sample rate nothing is resampled, which would be heard at the seams.
  start(fps, samples) {
    this.rate = Math.round(fps * samples);
    this.button.disabled = false;
  }

  toggle() {
    this.on = !this.on;
    this.context ??= new AudioContext({ sampleRate: this.rate });
    if (this.on) this.context.resume();
    else this.context.suspend();
    this.button.setAttribute("aria-pressed", String(this.on));
  }

  play(samples) {
    const now = this.context?.currentTime;
    if (!this.on || this.next > now + MOST_SECONDS) return;
    const buffer = this.context.createBuffer(1, samples.length, this.rate), source = this.context.createBufferSource();
    buffer.copyToChannel(Float32Array.from(samples, (sample) => (sample - 128) / 128), 0);
    source.buffer = buffer;
    source.connect(this.context.destination);
    // What comes too late starts a moment later: frames arrive unevenly.
    if (this.next < now) this.next = now + LEAD_SECONDS;
    source.start(this.next);
    this.next += buffer.duration;
  }
}
