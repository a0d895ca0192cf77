import type { Family } from "../net/family.ts";
import { formatPrefix } from "../net/prefix.ts";
import { type AddressRange, claimsOf } from "./claims.ts";
import type { Lease } from "./lease.ts";
import type { LeaseCandidate } from "./records.ts";

/**
 * One range of addresses among all that are claimed. Subnets either hold one another or are apart, so they make a forest:
 * two overlap if and only if one is the other or stands above it.
 */
interface Node extends AddressRange {
  readonly parent: Node | undefined;
  /** the accepted lease that has this very range, and one that has a range below it */
  holder?: Lease;
  holderBelow?: Lease;
}

type Forest = ReadonlyMap<Lease, Node>;

/**
 * Finds leases that claim what another one has: an overlapping subnet, the same public address, the same VTEP MAC. The
 * older wins, by rank and then by key, whatever the order given. O(n log n).
 * @param families those that count
 * @returns the losers with the reason
 */
export function findConflicts(
  candidates: readonly LeaseCandidate[],
  families: readonly Family[],
): ReadonlyMap<LeaseCandidate, string> {
  const losers = new Map<LeaseCandidate, string>();
  if (areApart(candidates, families)) return losers;
  const forests = families.map((family) => ({ family, forest: rangeForest(candidates, family) }));
  const marked = new Map<string, Lease>();
  for (const candidate of candidates.toSorted(byAge)) {
    const { lease } = candidate;
    let reason: string | undefined;
    for (const { family, forest } of forests) {
      reason ??= subnetConflict(lease, family, forest) ?? markConflict(lease, family, marked);
    }
    if (reason !== undefined) {
      losers.set(candidate, reason);
      continue;
    }
    for (const { family, forest } of forests) hold(lease, family, forest, marked);
  }
  return losers;
}

/**
 * Tells of a lease whether it claims what this node's own does. No snapshot that our own lease counts in has such a one.
 * @returns why, in words
 */
export function clashWith(own: Lease, families: readonly Family[]): (lease: Lease) => string | undefined {
  const ours = claimsOf(own);
  return (lease) => {
    if (lease === own) return undefined;
    const theirs = claimsOf(lease);
    for (const family of families) {
      const [a, b] = [ours[family], theirs[family]];
      const subnet = lease.subnets[family];
      if (a === undefined || b === undefined || subnet === undefined) continue;
      if (a.range.first <= b.range.last && b.range.first <= a.range.last)
        return `its subnet ${formatPrefix(subnet)} overlaps this node's own`;
      const mark = b.marks.find(({ id }) => a.marks.some((other) => other.id === id));
      if (mark !== undefined) return `its ${mark.what} is this node's own`;
    }
    return undefined;
  };
}

/** The usual case, and quickly told: subnets of one length overlap only if they are the same, and no mark is there twice. */
function areApart(candidates: readonly LeaseCandidate[], families: readonly Family[]): boolean {
  const marks = new Set<string>();
  for (const family of families) {
    const starts = new Set<number | bigint>();
    let length: number | undefined;
    for (const { lease } of candidates) {
      const claim = claimsOf(lease)[family];
      if (claim === undefined) continue;
      length ??= lease.subnets[family]?.length;
      if (lease.subnets[family]?.length !== length || starts.has(claim.range.first)) return false;
      starts.add(claim.range.first);
      for (const { id } of claim.marks) {
        if (marks.has(id)) return false;
        marks.add(id);
      }
    }
  }
  return true;
}

function byAge(a: LeaseCandidate, b: LeaseCandidate): number {
  return (a.rank < b.rank ? -1 : Number(a.rank > b.rank)) || compareKeys(a.lease, b.lease);
}

export function compareKeys(a: { readonly key: string }, b: { readonly key: string }): number {
  return a.key < b.key ? -1 : Number(a.key > b.key);
}

function rangeForest(candidates: readonly LeaseCandidate[], family: Family): Forest {
  const claimed: { lease: Lease; range: AddressRange }[] = [];
  for (const { lease } of candidates) {
    const claim = claimsOf(lease)[family];
    if (claim !== undefined) claimed.push({ lease, range: claim.range });
  }
  claimed.sort((a, b) => widerFirst(a.range, b.range));
  const nodes = new Map<Lease, Node>();
  let open: Node | undefined;
  for (const { lease, range } of claimed) {
    while (open !== undefined && open.last < range.first) open = open.parent;
    // Leases with the same range share its node, so no chain is longer than an address has bits.
    if (open?.first !== range.first || open.last !== range.last) open = { ...range, parent: open };
    nodes.set(lease, open);
  }
  return nodes;
}

/** By the first address; of those with the same one, a range comes before the ranges that it holds. */
function widerFirst(a: AddressRange, b: AddressRange): number {
  if (a.first !== b.first) return a.first < b.first ? -1 : 1;
  return a.last > b.last ? -1 : Number(a.last < b.last);
}

function subnetConflict(lease: Lease, family: Family, forest: Forest): string | undefined {
  const own = forest.get(lease);
  let holder = own?.holderBelow;
  for (let node = own; node !== undefined && holder === undefined; node = node.parent) holder = node.holder;
  const subnet = lease.subnets[family];
  const theirs = holder?.subnets[family];
  if (holder === undefined || subnet === undefined || theirs === undefined) return undefined;
  return `its subnet ${formatPrefix(subnet)} overlaps ${formatPrefix(theirs)} of the older lease ${holder.key}`;
}

function markConflict(lease: Lease, family: Family, marked: ReadonlyMap<string, Lease>): string | undefined {
  for (const { what, id } of claimsOf(lease)[family]?.marks ?? []) {
    const holder = marked.get(id);
    if (holder !== undefined) return `its ${what} is that of the older lease ${holder.key}`;
  }
  return undefined;
}

function hold(lease: Lease, family: Family, forest: Forest, marked: Map<string, Lease>): void {
  for (const { id } of claimsOf(lease)[family]?.marks ?? []) marked.set(id, lease);
  const node = forest.get(lease);
  if (node === undefined) return;
  node.holder = lease;
  // What is above a marked node is marked already.
  for (let at = node.parent; at !== undefined && at.holderBelow === undefined; at = at.parent) at.holderBelow = lease;
}
