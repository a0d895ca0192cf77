import { type Candidate, decodeRecord, type LeaseCandidate, type LeaseRecord } from "./records.ts";

/**
 * Remembers the lease that a record made while it made sense: a node whose record turns bad stays reachable as it was,
 * beside the rejection, until the record is good again or gone.
 */
export class LastGood {
  readonly #isOwn: (key: string) => boolean;
  readonly #good = new Map<string, LeaseCandidate>();

  /** @param isOwn whether the lease with that key is this node's: what is wrong with that is to be mended, not borne */
  constructor(isOwn: (key: string) => boolean) {
    this.#isOwn = isOwn;
  }

  /** Reads a record that is new, or not as it was. It never throws. */
  decode(record: LeaseRecord): Candidate {
    const candidate = decodeRecord(record);
    if (candidate.rejected === undefined) this.#good.set(record.key, candidate);
    // Another record under the same key: the one before was deleted.
    else if (this.#good.get(record.key)?.rank !== record.rank) this.#good.delete(record.key);
    return candidate;
  }

  /** @param candidates all that there are now; each was made by `decode` */
  complete(candidates: readonly Candidate[]): readonly Candidate[] {
    const bad = candidates.filter(({ rejected }) => rejected !== undefined);
    if (this.#good.size > candidates.length - bad.length) this.#forgetAllBut(candidates);
    if (bad.length === 0) return candidates;
    const kept = bad.flatMap(({ rejected }) => {
      const good = rejected && !this.#isOwn(rejected.key) ? this.#good.get(rejected.key) : undefined;
      return good ?? [];
    });
    return [...candidates, ...kept];
  }

  #forgetAllBut(candidates: readonly Candidate[]): void {
    const present = new Set(candidates.map((each) => (each.rejected ?? each.lease).key));
    for (const key of this.#good.keys()) if (!present.has(key)) this.#good.delete(key);
  }
}
