import type { Candidate, LeaseCandidate } from "./records.ts";

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

  /** @param candidates all that there are now; each has a key of its own */
  complete(candidates: readonly Candidate[]): readonly Candidate[] {
    const kept: LeaseCandidate[] = [];
    let known = 0;
    for (const candidate of candidates) {
      if (candidate.rejected === undefined) {
        this.#good.set(candidate.lease.key, candidate);
        known++;
        continue;
      }
      const { key } = candidate.rejected;
      const good = this.#good.get(key);
      // With another rank it is another record: the one before was deleted.
      if (good === undefined || good.rank !== candidate.rank) {
        this.#good.delete(key);
        continue;
      }
      known++;
      if (!this.#isOwn(key)) kept.push(good);
    }
    if (this.#good.size > known) this.#forgetAllBut(candidates);
    return kept.length === 0 ? candidates : [...candidates, ...kept];
  }

  #forgetAllBut(candidates: readonly Candidate[]): void {
    const present = new Set(candidates.map((each) => (each.rejected ?? each.lease).key));
    for (const key of this.#good.keys()) if (!present.has(key)) this.#good.delete(key);
  }
}
