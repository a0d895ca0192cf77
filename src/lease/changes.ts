import type { Lease } from "./lease.ts";

/** A lease that changed is in both. */
export interface LeaseChanges {
  readonly gone: readonly Lease[];
  readonly come: readonly Lease[];
}

/**
 * What is in one list and not in the other, both sorted by key; one lease, this node's, is left out. Leases keep their
 * identity, so that of thousands those that stayed cost a comparison of pointers each.
 * @param most with more changes than this it is given up, and nothing returned
 */
export function leaseChanges(
  before: readonly Lease[],
  after: readonly Lease[],
  ownKey: string,
  most = Number.POSITIVE_INFINITY,
): LeaseChanges | undefined {
  const gone: Lease[] = [];
  const come: Lease[] = [];
  for (let i = 0, j = 0; i < before.length || j < after.length; ) {
    const [old, now] = [before[i], after[j]];
    if (old === now) {
      i++;
      j++;
      continue;
    }
    const order =
      old === undefined ? 1 : now === undefined ? -1 : Number(old.key > now.key) - Number(old.key < now.key);
    if (order <= 0) {
      if (old !== undefined && old.key !== ownKey) gone.push(old);
      i++;
    }
    if (order >= 0) {
      if (now !== undefined && now.key !== ownKey) come.push(now);
      j++;
    }
    if (gone.length + come.length > most) return undefined;
  }
  return { gone, come };
}
