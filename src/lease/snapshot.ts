import type { NetworkConfig } from "../config/network.ts";
import { familiesOf } from "../net/family.ts";
import { containsPrefix, formatPrefix } from "../net/prefix.ts";
import { compareKeys, findConflicts } from "./conflicts.ts";
import type { Lease, RejectedLease, Snapshot } from "./lease.ts";
import type { Candidate, LeaseCandidate } from "./records.ts";

/**
 * The snapshot that a source's records make together: what lies outside the network is rejected, and so is what claims
 * something that an older lease has. The result depends on the records, not on their order, and holds the candidates' own
 * lease objects, so that an unchanged lease keeps its identity.
 * @param takenAt milliseconds since the epoch
 */
export function buildSnapshot(candidates: readonly Candidate[], network: NetworkConfig, takenAt: number): Snapshot {
  const rejected: RejectedLease[] = [];
  const usable: LeaseCandidate[] = [];
  for (const candidate of candidates) {
    if (candidate.rejected !== undefined) {
      rejected.push(candidate.rejected);
      continue;
    }
    const reason = outsideReason(candidate.lease, network);
    if (reason === undefined) usable.push(candidate);
    else rejected.push(rejectLease(candidate.lease, reason));
  }
  const losers = findConflicts(usable, familiesOf(network.ranges));
  const leases: Lease[] = [];
  for (const candidate of usable) {
    const reason = losers.get(candidate);
    if (reason === undefined) leases.push(candidate.lease);
    else rejected.push(rejectLease(candidate.lease, reason));
  }
  return { leases: leases.sort(compareKeys), rejected: rejected.sort(compareKeys), takenAt };
}

function rejectLease({ key, node, publicIPs }: Lease, reason: string): RejectedLease {
  return { key, ...(node === undefined ? {} : { node }), publicIPs, reason };
}

const judged = new WeakMap<Lease, { readonly network: NetworkConfig; readonly reason: string | undefined }>();

/**
 * Why a lease is none of this network, or undefined if it is. Depends on the two alone, so it is worked out once for each
 * pair in a row.
 */
export function outsideReason(lease: Lease, network: NetworkConfig): string | undefined {
  let known = judged.get(lease);
  if (known?.network !== network) {
    known = { network, reason: findOutside(lease, network) };
    judged.set(lease, known);
  }
  return known.reason;
}

/** A family that the network does not have is nobody's concern here: nothing is programmed for it. */
function findOutside({ subnets }: Lease, { ranges }: NetworkConfig): string | undefined {
  let inside = 0;
  for (const family of familiesOf(ranges)) {
    const range = ranges[family];
    const subnet = subnets[family];
    if (range === undefined || subnet === undefined) continue;
    if (!containsPrefix(range.network, subnet)) {
      return `its subnet ${formatPrefix(subnet)} lies outside the network ${formatPrefix(range.network)}`;
    }
    inside++;
  }
  const families = familiesOf(ranges).map((family) => `IPv${family}`);
  return inside > 0 ? undefined : `it has no subnet of a family that the network has (${families.join(", ")})`;
}
