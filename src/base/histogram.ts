/** How many of some values fell below each of some bounds, since the start. */
export interface HistogramFacts {
  /** rising */
  readonly bounds: readonly number[];
  /** values up to each bound and above the one before; the last one is of those above all bounds */
  readonly counts: readonly number[];
  readonly sum: number;
}

/** Counts values by their size, at the cost of a few comparisons for each. */
export class Histogram {
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;

  /** @param bounds rising */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = Array.from({ length: bounds.length + 1 }, () => 0);
  }

  observe(value: number): void {
    const at = this.#bounds.findIndex((bound) => value <= bound);
    const bucket = at === -1 ? this.#bounds.length : at;
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#sum += value;
  }

  facts(): HistogramFacts {
    return { bounds: this.#bounds, counts: [...this.#counts], sum: this.#sum };
  }
}
