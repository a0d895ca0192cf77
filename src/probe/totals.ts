import { Histogram, type HistogramFacts } from "../base/histogram.ts";
import type { Family } from "../net/family.ts";
import type { Path } from "./records.ts";

/** From neighbours on one switch to nodes on another continent. */
const SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1];

/** The probes of all peers along one path in one family since the start. */
export interface PathTotals {
  readonly family: Family;
  readonly path: Path;
  readonly sent: number;
  /** of those that were answered */
  readonly rttSeconds: HistogramFacts;
}

/** Counts all probes, also of peers that are gone. */
export class ProbeTotals {
  readonly #all: { readonly family: Family; readonly path: Path; readonly rtt: Histogram; sent: number }[] = [];

  /** @param rtt milliseconds; undefined: it was lost */
  add(family: Family, path: Path, rtt: number | undefined): void {
    let one = this.#all.find((known) => known.family === family && known.path === path);
    if (one === undefined) {
      one = { family, path, rtt: new Histogram(SECONDS), sent: 0 };
      this.#all.push(one);
    }
    one.sent++;
    if (rtt !== undefined) one.rtt.observe(Math.max(0, rtt) / 1000);
  }

  facts(): PathTotals[] {
    return this.#all.map(({ family, path, sent, rtt }) => ({ family, path, sent, rttSeconds: rtt.facts() }));
  }
}
