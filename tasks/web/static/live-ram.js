// The RAM as a grid of bytes: what changed, what is salient, what the atlas knows, and typing.
const COLUMNS = 16, ROWS = 8;
const hex = (value, digits = 2) => value.toString(16).toUpperCase().padStart(digits, "0");

export class RamGrid {
  constructor(table, description, write, onPoint) {
    Object.assign(this, { table, description, write, onPoint, cells: [], ages: [], typed: "", help: description.textContent });
    const head = document.createElement("tr");
    head.append(document.createElement("th"), ...this.heads(COLUMNS, (column) => hex(column, 1)));
    table.append(head);
    for (let row = 0; row < ROWS; row++) this.addRow(row);
    this.cells[0].tabIndex = 0;
    table.addEventListener("keydown", (event) => this.type(event));
    table.addEventListener("pointerover", ({ target }) => this.point(this.cells.indexOf(target.closest("td"))));
    table.addEventListener("pointerleave", () => this.point(this.cells.indexOf(document.activeElement)));
    table.addEventListener("focusin", ({ target }) => this.point(this.cells.indexOf(target)));
    table.addEventListener("focusout", () => { this.cancel(); this.point(-1); });
    table.addEventListener("click", ({ target }) => target.closest("td")?.focus());
  }

  heads(count, text) {
    return Array.from({ length: count }, (_, index) => {
      const head = document.createElement("th");
      head.textContent = text(index);
      head.scope = "col";
      return head;
    });
  }

  addRow(row) {
    const line = document.createElement("tr"), head = document.createElement("th");
    head.textContent = `${hex(row, 1)}0`;
    head.scope = "row";
    line.append(head);
    for (let column = 0; column < COLUMNS; column++) {
      const cell = document.createElement("td");
      cell.tabIndex = -1;
      cell.textContent = "··";
      line.append(cell);
      this.cells.push(cell);
      this.ages.push(9);
    }
    this.table.append(line);
  }

  start(atlas, pixels) {
    this.atlas = atlas;
    this.pixels = pixels;
    this.point(-1);
  }

  update(ram, saliency) {
    this.cells.forEach((cell, byte) => {
      const changed = this.ram && this.ram[byte] !== ram[byte];
      this.ages[byte] = changed ? 0 : this.ages[byte] + 1;
      const typing = this.typed && cell === document.activeElement;
      if (!typing && (!this.ram || changed)) cell.textContent = hex(ram[byte]);
      const strength = saliency[byte] >= 170 ? 3 : saliency[byte] >= 85 ? 2 : saliency[byte] >= 40 ? 1 : 0;
      const marks = [this.ages[byte] < 3 && `c${this.ages[byte]}`, strength && `s${strength}`, byte === this.pointed && "pointed",
        typing && "typing"].filter(Boolean).join(" ");
      if (cell.className !== marks) cell.className = marks;
    });
    this.ram = ram.slice();
    this.saliency = saliency.slice();
  }

  get position() {
    return this.atlas?.[this.pointed]?.position;
  }

  point(byte) {
    if (this.pointed >= 0) this.cells[this.pointed].classList.remove("pointed");
    this.pointed = byte;
    if (byte >= 0) this.cells[byte].classList.add("pointed");
    this.description.textContent = byte < 0 ? this.idle() : this.describe(byte);
    this.onPoint();
  }

  idle() {
    const notes = [this.help];
    if (this.atlas === null) notes.push("There is no atlas of this game yet: ramreel atlas measures one.");
    if (this.pixels) notes.push("This agent observes the screen: no byte is salient.");
    return notes.join(" ");
  }

  describe(byte) {
    const entry = this.atlas?.[byte], value = this.ram ? ` = ${this.ram[byte]} (0x${hex(this.ram[byte])})` : "";
    const name = `Byte ${byte} (0x${hex(byte)})${value}`;
    if (!entry) return `${name}. Type two hexadecimal digits to change it.`;
    const object = entry.object ? `, ${entry.object}` : "", sure = entry.kind === "none" ? "" : ` (${entry.relation}, ${Math.round(100 * entry.confidence)}%)`;
    return `${name}${object}: ${entry.effect}${sure}${entry.position ? ", outlined" : ""}.`;
  }

  type(event) {
    const byte = this.cells.indexOf(document.activeElement);
    if (byte < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -COLUMNS, ArrowDown: COLUMNS }[event.key];
    if (move) this.move(byte, byte + move);
    else if (event.key === "Escape") this.typed ? this.cancel() : this.cells[byte].blur();
    else if (/^[0-9a-f]$/i.test(event.key)) this.digit(byte, event.key.toUpperCase());
    else return;
    event.preventDefault();
  }

  move(from, to) {
    if (!this.cells[to]) return;
    this.cells[from].tabIndex = -1;
    this.cells[to].tabIndex = 0;
    this.cells[to].focus();
  }

  digit(byte, digit) {
    this.typed += digit;
    const cell = this.cells[byte];
    cell.textContent = this.typed.padEnd(2, "_");
    cell.classList.add("typing");
    if (this.typed.length < 2) return;
    this.write(byte, parseInt(this.typed, 16));
    this.typed = "";
    cell.classList.remove("typing");
  }

  cancel() {
    if (!this.typed) return;
    this.typed = "";
    this.cells.forEach((cell, byte) => { if (this.ram) cell.textContent = hex(this.ram[byte]); });
  }
}
