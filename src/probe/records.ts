import { Verdict } from "../api/peers.ts";
import { decodeRtt, encodeRtt, LOST } from "./rtt-code.ts";
import type { Evidence, PathState } from "./verdict.ts";

/** Ways to a peer: through the overlay, to its public address, and through the overlay in packets of full size. */
export type Path = "overlay" | "underlay" | "fullSize";
/** Those of which loss and round-trip time are kept. */
export type MeasuredPath = Exclude<Path, "fullSize">;

/** Probes that are remembered of each path: at the usual interval ten minutes. */
export const WINDOW = 64;

/** Rows of more peers are made this many at a time. */
const CHUNK = 64;

const PATHS: Readonly<Record<Path, number>> = { overlay: 0, underlay: 1, fullSize: 2 };
const STATES: readonly PathState[] = ["unknown", "answers", "silent"];
const VERDICTS = Verdict.options;

/** Loss and round-trip times of one path over the window. Times are milliseconds, moments milliseconds since the epoch. */
export interface PathFacts {
  readonly sent: number;
  readonly received: number;
  readonly lastMs?: number;
  readonly p50Ms?: number;
  readonly p99Ms?: number;
  readonly lastSuccessAt?: number;
}

/** What is known of one peer in one family. */
export interface RowFacts {
  readonly verdict: Verdict;
  /** how long the verdict has been this */
  readonly since?: number;
  readonly lastProbedAt?: number;
  readonly overlay: PathFacts;
  readonly underlay: PathFacts;
  /** whether packets of full size came through when that was last tried */
  readonly fullSizePasses?: boolean;
  readonly fullSizeCheckedAt?: number;
}

interface Columns {
  /** WINDOW for each measured path: a ring of coded round-trip times */
  readonly codes: Uint16Array;
  /** for each measured path: how many were written to the ring, up to WINDOW, and where the next goes */
  readonly filled: Uint8Array;
  readonly next: Uint8Array;
  readonly lastSuccess: Float64Array;
  /** for each path */
  readonly states: Uint8Array;
  /** for each row */
  readonly verdicts: Uint8Array;
  readonly since: Float64Array;
  readonly probedAt: Float64Array;
  readonly checkedAt: Float64Array;
}

function makeColumns(rows: number, from?: Columns): Columns {
  const grown = <T extends Uint8Array | Uint16Array | Float64Array>(made: T, before: T | undefined): T => {
    if (before !== undefined) made.set(before);
    return made;
  };
  return {
    codes: grown(new Uint16Array(rows * 2 * WINDOW), from?.codes),
    filled: grown(new Uint8Array(rows * 2), from?.filled),
    next: grown(new Uint8Array(rows * 2), from?.next),
    lastSuccess: grown(new Float64Array(rows * 2), from?.lastSuccess),
    states: grown(new Uint8Array(rows * 3), from?.states),
    verdicts: grown(new Uint8Array(rows).fill(VERDICTS.indexOf("unknown")), from?.verdicts),
    since: grown(new Float64Array(rows), from?.since),
    probedAt: grown(new Float64Array(rows), from?.probedAt),
    checkedAt: grown(new Float64Array(rows), from?.checkedAt),
  };
}

/**
 * What the probes of one family said, a row for each peer. Columns of numbers instead of objects: some 300 bytes a row, for
 * there are thousands. A moment of 0 stands for "never".
 */
export class Records {
  #rows = 0;
  #columns = makeColumns(0);
  readonly #scratch = new Uint16Array(WINDOW);

  /** Forgets all that is known of a row, and makes it if there is none of that number. */
  clear(row: number): void {
    if (row >= this.#rows) {
      this.#rows = Math.ceil((row + 1) / CHUNK) * CHUNK;
      this.#columns = makeColumns(this.#rows, this.#columns);
    }
    this.beginWindow(row);
    const columns = this.#columns;
    columns.lastSuccess.fill(0, row * 2, row * 2 + 2);
    columns.states.fill(0, row * 3, row * 3 + 3);
    columns.verdicts[row] = VERDICTS.indexOf("unknown");
    columns.since[row] = 0;
    columns.probedAt[row] = 0;
    columns.checkedAt[row] = 0;
  }

  /** Forgets loss and round-trip times, and keeps what was concluded until the next probes. */
  beginWindow(row: number): void {
    this.#columns.filled.fill(0, row * 2, row * 2 + 2);
    this.#columns.next.fill(0, row * 2, row * 2 + 2);
  }

  /** Makes room at once for rows below this number: growing step by step would copy them again and again. */
  reserve(rows: number): void {
    if (rows <= this.#rows) return;
    this.#rows = Math.ceil(rows / CHUNK) * CHUNK;
    this.#columns = makeColumns(this.#rows, this.#columns);
  }

  /**
   * One probe had an answer, or had none in time. With the first answer of all, and the first one after an outage, the window
   * begins anew: how long that took, the verdict's time tells, and probes that were sent while the peer was yet to come up, or
   * was away, must not count as loss for the next ten minutes.
   * @param rtt milliseconds; undefined: it was lost
   */
  record(row: number, path: MeasuredPath, rtt: number | undefined, at: number): void {
    const columns = this.#columns;
    const index = row * 2 + PATHS[path];
    if (rtt !== undefined) {
      columns.lastSuccess[index] = at;
      if (this.state(row, path) !== "answers") {
        columns.filled[index] = 0;
        columns.next[index] = 0;
        this.setState(row, path, "answers");
      }
    }
    const next = columns.next[index] ?? 0;
    columns.codes[index * WINDOW + next] = rtt === undefined ? LOST : encodeRtt(rtt);
    columns.next[index] = (next + 1) % WINDOW;
    columns.filled[index] = Math.min(WINDOW, (columns.filled[index] ?? 0) + 1);
  }

  state(row: number, path: Path): PathState {
    return STATES[this.#columns.states[row * 3 + PATHS[path]] ?? 0] ?? "unknown";
  }

  setState(row: number, path: Path, state: PathState): void {
    this.#columns.states[row * 3 + PATHS[path]] = STATES.indexOf(state);
  }

  verdict(row: number): Verdict {
    return VERDICTS[this.#columns.verdicts[row] ?? 0] ?? "unknown";
  }

  /** @returns milliseconds that the verdict before had held; undefined if it still does, or there was none */
  setVerdict(row: number, verdict: Verdict, at: number): number | undefined {
    if (this.verdict(row) === verdict) return undefined;
    const { verdicts, since } = this.#columns;
    const { [row]: before = 0 } = since;
    verdicts[row] = VERDICTS.indexOf(verdict);
    since[row] = at;
    return before === 0 ? undefined : at - before;
  }

  /** A turn of the row has ended. */
  markProbed(row: number, at: number, fullSizeChecked: boolean): void {
    this.#columns.probedAt[row] = at;
    if (fullSizeChecked) this.#columns.checkedAt[row] = at;
  }

  evidence(row: number): Evidence {
    const { sent, received } = this.#counts(row * 2 + PATHS.overlay);
    return {
      overlay: this.state(row, "overlay"),
      underlay: this.state(row, "underlay"),
      fullSize: this.state(row, "fullSize"),
      sent,
      received,
    };
  }

  facts(row: number): RowFacts {
    const { since, probedAt, checkedAt } = this.#columns;
    const fullSize = this.state(row, "fullSize");
    return {
      verdict: this.verdict(row),
      ...moment("since", since[row]),
      ...moment("lastProbedAt", probedAt[row]),
      overlay: this.#pathFacts(row, "overlay"),
      underlay: this.#pathFacts(row, "underlay"),
      ...(fullSize === "unknown" ? {} : { fullSizePasses: fullSize === "answers" }),
      ...moment("fullSizeCheckedAt", checkedAt[row]),
    };
  }

  #counts(index: number): { sent: number; received: number } {
    const { codes, filled } = this.#columns;
    const sent = filled[index] ?? 0;
    let received = 0;
    for (let at = index * WINDOW; at < index * WINDOW + sent; at++) if (codes[at] !== LOST) received++;
    return { sent, received };
  }

  #pathFacts(row: number, path: MeasuredPath): PathFacts {
    const { codes, filled, next, lastSuccess } = this.#columns;
    const index = row * 2 + PATHS[path];
    const sent = filled[index] ?? 0;
    let last = LOST;
    let received = 0;
    for (let age = sent; age > 0; age--) {
      const code = codes[index * WINDOW + (((next[index] ?? 0) - age + WINDOW) % WINDOW)] ?? LOST;
      if (code === LOST) continue;
      last = code;
      this.#scratch[received++] = code;
    }
    if (received === 0) return { sent, received, ...moment("lastSuccessAt", lastSuccess[index]) };
    const sorted = this.#scratch.subarray(0, received).sort();
    return {
      sent,
      received,
      lastMs: decodeRtt(last),
      p50Ms: decodeRtt(nearestRank(sorted, 0.5)),
      p99Ms: decodeRtt(nearestRank(sorted, 0.99)),
      ...moment("lastSuccessAt", lastSuccess[index]),
    };
  }
}

function nearestRank(sorted: Uint16Array, share: number): number {
  return sorted[Math.ceil(sorted.length * share) - 1] ?? LOST;
}

function moment<Name extends string>(name: Name, at: number | undefined): { readonly [name in Name]?: number } {
  const named: { [name in Name]?: number } = {};
  if (at) named[name] = at;
  return named;
}
