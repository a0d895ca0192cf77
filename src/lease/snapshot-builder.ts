import type { NetworkConfig } from "../config/network.ts";
import { FAMILIES, type Family, familiesOf } from "../net/family.ts";
import { formatPrefix } from "../net/prefix.ts";
import { claimsOf } from "./claims.ts";
import { compareKeys } from "./conflicts.ts";
import type { Lease, Snapshot } from "./lease.ts";
import type { Candidate } from "./records.ts";
import { buildSnapshot, outsideReason } from "./snapshot.ts";

interface Member {
  lease: Lease;
  seenIn: number;
}

/** More changes at once than this are cheaper to look at from scratch. */
const FEW = 100;

/**
 * Builds one snapshot after the other of the same source, each as `buildSnapshot` would. While nothing is rejected, the
 * usual case, a few changed leases among thousands are held against an index of what the others claim.
 */
export class SnapshotBuilder {
  readonly #network: NetworkConfig;
  readonly #families: readonly Family[];
  readonly #members = new Map<string, Member>();
  readonly #claims = new Map<string, Lease>();
  /** how many subnets of each length there are */
  readonly #lengths = new Map<string, number>();
  #leases: Lease[] = [];
  #builds = 0;
  #usable = false;

  constructor(network: NetworkConfig) {
    this.#network = network;
    this.#families = familiesOf(network.ranges);
  }

  /** @param takenAt milliseconds since the epoch */
  build(candidates: readonly Candidate[], takenAt: number): Snapshot {
    if (this.#usable && this.#update(candidates)) return { leases: this.#leases, rejected: [], takenAt };
    const snapshot = buildSnapshot(candidates, this.#network, takenAt);
    this.#reset(snapshot);
    return snapshot;
  }

  #reset({ leases, rejected }: Snapshot): void {
    this.#members.clear();
    this.#claims.clear();
    this.#lengths.clear();
    this.#leases = [...leases];
    this.#usable = rejected.length === 0;
    if (!this.#usable) return;
    for (const lease of leases) {
      this.#members.set(lease.key, { lease, seenIn: this.#builds });
      this.#claim(lease);
    }
    // Two records with one key can't be told apart here.
    this.#usable = this.#members.size === leases.length;
  }

  /** @returns false when only a build from scratch tells the outcome; the index is of no use then */
  #update(candidates: readonly Candidate[]): boolean {
    this.#builds++;
    const changed: Lease[] = [];
    let seen = 0;
    for (const candidate of candidates) {
      if (candidate.rejected !== undefined || changed.length > FEW) return false;
      const { lease } = candidate;
      const member = this.#members.get(lease.key);
      if (member?.seenIn === this.#builds) return false;
      if (member !== undefined) {
        member.seenIn = this.#builds;
        seen++;
      }
      if (member?.lease !== lease) changed.push(lease);
    }
    const leases = [...this.#leases];
    if (seen < this.#members.size) this.#removeUnseen(leases);
    for (const lease of changed) {
      const before = this.#members.get(lease.key);
      if (before !== undefined) this.#release(before.lease);
    }
    for (const lease of changed) {
      if (outsideReason(lease, this.#network) !== undefined || !this.#isFree(lease)) return false;
      this.#claim(lease);
      const at = placeOf(lease, leases);
      leases.splice(at, leases[at]?.key === lease.key ? 1 : 0, lease);
      this.#members.set(lease.key, { lease, seenIn: this.#builds });
    }
    this.#leases = leases;
    return true;
  }

  #removeUnseen(leases: Lease[]): void {
    for (const [key, { lease, seenIn }] of this.#members) {
      if (seenIn === this.#builds) continue;
      this.#members.delete(key);
      this.#release(lease);
      leases.splice(placeOf(lease, leases), 1);
    }
  }

  #claim(lease: Lease): void {
    for (const id of this.#idsOf(lease)) this.#claims.set(id, lease);
    for (const length of lengthsOf(lease)) this.#lengths.set(length, (this.#lengths.get(length) ?? 0) + 1);
  }

  #release(lease: Lease): void {
    for (const id of this.#idsOf(lease)) this.#claims.delete(id);
    for (const length of lengthsOf(lease)) {
      const left = (this.#lengths.get(length) ?? 0) - 1;
      if (left > 0) this.#lengths.set(length, left);
      else this.#lengths.delete(length);
    }
  }

  /** True if nobody else claims what it does. Where subnets have several lengths, that is not told here. */
  #isFree(lease: Lease): boolean {
    const lengths = new Set(lengthsOf(lease));
    if ([...this.#lengths.keys()].some((length) => !lengths.has(length))) return false;
    return this.#idsOf(lease).every((id) => !this.#claims.has(id));
  }

  #idsOf(lease: Lease): string[] {
    return this.#families.flatMap((family) => {
      const subnet = lease.subnets[family];
      const marks = claimsOf(lease)[family]?.marks ?? [];
      return [...(subnet ? [formatPrefix(subnet)] : []), ...marks.map(({ id }) => id)];
    });
  }
}

/** The lengths of a lease's subnets, each with its family. */
function lengthsOf(lease: Lease): string[] {
  return FAMILIES.flatMap((family) => {
    const subnet = lease.subnets[family];
    return subnet === undefined ? [] : [`${family} ${subnet.length}`];
  });
}

/** Where a lease stands, or would stand, among leases sorted by key. */
function placeOf(lease: Lease, leases: readonly Lease[]): number {
  let [low, high] = [0, leases.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const other = leases[middle];
    if (other !== undefined && compareKeys(other, lease) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
