// A diary counted in code points, as the server counts, and in UTF-16 units, as the browser does.

const SPACE = /\s/u;

export class Text {
  constructor(string) {
    this.string = string;
    this.points = Array.from(string);
    this.units = new Uint32Array(this.points.length + 1);
    this.points.forEach((point, n) => { this.units[n + 1] = this.units[n] + point.length; });
    this.words = wordsOf(this.points);
  }

  get length() { return this.points.length; }

  slice(start, end) { return this.string.slice(this.units[start], this.units[end]); }

  // The code point that a UTF-16 unit belongs to.
  pointAt(unit) {
    let low = 0, high = this.points.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.units[middle] < unit) low = middle + 1; else high = middle;
    }
    return low;
  }

  // A stretch without the white space around it; null where nothing is left.
  trimmed(start, end) {
    while (start < end && SPACE.test(this.points[start])) start++;
    while (end > start && SPACE.test(this.points[end - 1])) end--;
    return start < end ? [start, end] : null;
  }

  // Move one end of a span by a word; null where it cannot go there.
  moved(start, end, which, by) {
    if (which === "start") {
      const to = by < 0 ? this.words.findLast(([a]) => a < start)?.[0] : this.words.find(([a]) => a > start)?.[0];
      return to !== undefined && to < end ? [to, end] : null;
    }
    const to = by > 0 ? this.words.find(([, b]) => b > end)?.[1] : this.words.findLast(([, b]) => b < end)?.[1];
    return to !== undefined && to > start ? [start, to] : null;
  }
}

// Stretches of letters, digits and what stands within words, as [start, end] in code points.
function wordsOf(points) {
  const words = [];
  const inner = /[\p{L}\p{N}\p{M}'’\-/.,%°]/u, core = /[\p{L}\p{N}]/u;
  for (let at = 0; at < points.length;) {
    if (!core.test(points[at])) { at++; continue; }
    let end = at + 1;
    while (end < points.length && inner.test(points[end])) end++;
    while (end > at + 1 && !/[\p{L}\p{N}\p{M}%°]/u.test(points[end - 1])) end--;
    words.push([at, end]);
    at = end;
  }
  return words;
}
