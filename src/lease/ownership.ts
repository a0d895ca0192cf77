import { FAMILIES } from "../net/family.ts";
import type { Lease, LeaseAttributes, Snapshot } from "./lease.ts";

/**
 * Whether two leases are the same node's: the public addresses are the same, and so are the names where both are known
 * (etcd knows none).
 */
export function sameOwner(a: LeaseAttributes, b: LeaseAttributes): boolean {
  const sameNode = a.node === undefined || b.node === undefined || a.node === b.node;
  return sameNode && FAMILIES.every((family) => a.publicIPs[family] === b.publicIPs[family]);
}

/** Whether two leases of one node publish the same for the others. */
export function samePublished(a: LeaseAttributes, b: LeaseAttributes): boolean {
  return (
    a.backendType === b.backendType &&
    FAMILIES.every((family) => {
      const [ours, theirs] = [a.vteps[family], b.vteps[family]];
      return a.publicIPs[family] === b.publicIPs[family] && ours?.vni === theirs?.vni && ours?.mac === theirs?.mac;
    })
  );
}

/** What a snapshot says of this node's lease. */
export type OwnVerdict =
  /** there, perhaps with other times */
  | { readonly kind: "kept"; readonly lease: Lease }
  /** there, but it publishes something else than we did */
  | { readonly kind: "changed"; readonly reason: string }
  /** there, but nobody can use it */
  | { readonly kind: "rejected"; readonly reason: string }
  /** gone, or another node's */
  | { readonly kind: "lost"; readonly reason: string };

export function judgeOwn(own: Lease, { leases, rejected }: Snapshot): OwnVerdict {
  const lease = leases.find(({ key }) => key === own.key);
  if (lease !== undefined) {
    if (!sameOwner(lease, own)) return { kind: "lost", reason: `lease ${own.key} belongs to ${ownerOf(lease)} now` };
    if (samePublished(lease, own)) return { kind: "kept", lease };
    return { kind: "changed", reason: `lease ${own.key} was changed by someone else` };
  }
  const refusal = rejected.find(({ key }) => key === own.key);
  if (refusal !== undefined) return { kind: "rejected", reason: `lease ${own.key} can't be used: ${refusal.reason}` };
  return { kind: "lost", reason: `lease ${own.key} is gone from the store` };
}

/** A lease's node in words: its name where it is known, and its public addresses. */
export function ownerOf({ node, publicIPs }: Pick<LeaseAttributes, "node" | "publicIPs">): string {
  const addresses = Object.values(publicIPs).join(" and ") || "no public address";
  return node === undefined ? `the node with ${addresses}` : `node ${node} (${addresses})`;
}
