import { type Family, mapFamilies, type PerFamily } from "../net/family.ts";
import { rangeOf } from "../net/prefix.ts";
import type { Lease, Vtep } from "./lease.ts";

/** First and last address as numbers of one kind: plain ones for IPv4, which are many times faster, bigint for IPv6. */
export interface AddressRange {
  readonly first: number | bigint;
  readonly last: number | bigint;
}

/** Something that only one lease may have: what it is, in words, and a text that is equal where two have the same. */
export interface Mark {
  readonly what: string;
  readonly id: string;
}

/** What a lease claims of one family and nobody else may. */
export interface Claim {
  readonly range: AddressRange;
  readonly marks: readonly Mark[];
}

const cache = new WeakMap<Lease, PerFamily<Claim>>();

/** The claims of a lease for each family that it has a subnet of. Leases are immutable: worked out once for each. */
export function claimsOf(lease: Lease): PerFamily<Claim> {
  let claims = cache.get(lease);
  if (claims === undefined) {
    claims = mapFamilies(lease.subnets, (subnet, family) => {
      const { first, last } = rangeOf(subnet);
      const range = family === 4 ? { first: Number(first), last: Number(last) } : { first, last };
      return { range, marks: marksOf(lease, family) };
    });
    cache.set(lease, claims);
  }
  return claims;
}

function marksOf(lease: Lease, family: Family): Mark[] {
  const marks: Mark[] = [];
  const publicIP = lease.publicIPs[family];
  if (publicIP !== undefined) marks.push({ what: `public address ${publicIP}`, id: publicIP });
  const vtep = lease.vteps[family];
  // The families' devices are different ones, and so are those of different VNIs.
  if (vtep !== undefined) marks.push({ what: `VTEP MAC ${vtep.mac}`, id: vtepMark(family, vtep) });
  return marks;
}

export function vtepMark(family: Family, { vni, mac }: Vtep): string {
  return `${family} ${vni} ${mac}`;
}
