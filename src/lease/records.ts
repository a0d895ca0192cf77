import type { Lease, RejectedLease } from "./lease.ts";
import { decodeAttributes, missingPublicIP, parseSubnetKey } from "./wire.ts";

/** A record in flannel's wire form, as etcd and the embedded store keep it. */
export interface LeaseRecord {
  readonly key: string;
  readonly value: string;
  readonly node?: string;
  /** milliseconds since the epoch, where the source has such times */
  readonly createdAt?: number;
  readonly expiresAt?: number;
  /** see Candidate */
  readonly rank: number;
}

/** A record as far as it can be judged by itself, without a look at the others or at the network. Immutable. */
export type Candidate = LeaseCandidate | RejectedCandidate;

interface RejectedCandidate {
  readonly rejected: RejectedLease;
  /** as of a lease, where that is known */
  readonly rank?: number;
}

export interface LeaseCandidate {
  readonly lease: Lease;
  /** age among the source's records, smaller is older: the creation time, or etcd's create revision */
  readonly rank: number;
  readonly rejected?: undefined;
}

/** Reads a record in flannel's wire form. It never throws. */
export function decodeRecord({ key, value, rank, ...known }: LeaseRecord): Candidate {
  const { createdAt: _createdAt, expiresAt: _expiresAt, ...whose } = known;
  const subnets = parseSubnetKey(key);
  const attributes = decodeAttributes(value);
  const publicIPs = attributes.ok ? attributes.value.publicIPs : attributes.publicIPs;
  const reject = (reason: string): Candidate => ({
    rejected: { key, ...whose, ...(publicIPs && { publicIPs }), reason },
    rank,
  });
  if (!subnets.ok) return reject(subnets.reason);
  if (!attributes.ok) return reject(attributes.reason);
  const missing = missingPublicIP(subnets.value, attributes.value.publicIPs);
  if (missing !== undefined) return reject(missing);
  return { lease: { key, ...known, subnets: subnets.value, ...attributes.value }, rank };
}

/**
 * Decodes a source's records anew each time, but each record only once: one that is the same as last time gives the very
 * object that it gave then.
 */
export class RecordMemo<Raw, Out> {
  #known = new Map<unknown, { readonly raw: Raw; readonly out: Out }>();
  #outputs: readonly Out[] = [];
  readonly #idOf: (raw: Raw) => unknown;
  readonly #same: (a: Raw, b: Raw) => boolean;
  readonly #decode: (raw: Raw) => Out;

  /** @param idOf what tells records of one moment apart, usable as a Map's key */
  constructor(idOf: (raw: Raw) => unknown, same: (a: Raw, b: Raw) => boolean, decode: (raw: Raw) => Out) {
    this.#idOf = idOf;
    this.#same = same;
    this.#decode = decode;
  }

  /** @returns the very array of the last call if nothing changed */
  decode(raws: readonly Raw[]): readonly Out[] {
    const known = new Map<unknown, { readonly raw: Raw; readonly out: Out }>();
    const outputs: Out[] = [];
    let changed = raws.length !== this.#known.size;
    for (const raw of raws) {
      const id = this.#idOf(raw);
      let entry = this.#known.get(id);
      if (entry === undefined || !this.#same(entry.raw, raw)) {
        entry = { raw, out: this.#decode(raw) };
        changed = true;
      }
      known.set(id, entry);
      outputs.push(entry.out);
    }
    this.#known = known;
    if (changed) this.#outputs = outputs;
    return this.#outputs;
  }

  /** How many records there would be if these were added to, or took the place of, those of the last call. */
  sizeWith(raws: readonly Raw[]): number {
    return this.#known.size + raws.filter((raw) => !this.#known.has(this.#idOf(raw))).length;
  }

  /** Takes these records beside, or in the place of, those of the last call. */
  merge(raws: readonly Raw[]): readonly Out[] {
    let changed = false;
    for (const raw of raws) {
      const id = this.#idOf(raw);
      const before = this.#known.get(id);
      if (before !== undefined && this.#same(before.raw, raw)) continue;
      this.#known.set(id, { raw, out: this.#decode(raw) });
      changed = true;
    }
    if (changed) this.#outputs = Array.from(this.#known.values(), ({ out }) => out);
    return this.#outputs;
  }
}
