import type { NetworkConfig } from "../config/network.ts";
import { RANGE_NAMES } from "../config/network-range.ts";
import { familiesOf, mapFamilies } from "../net/family.ts";
import { randomMac } from "../net/mac.ts";
import { containsPrefix, formatPrefix, samePrefix } from "../net/prefix.ts";
import { claimsOf, vtepMark } from "./claims.ts";
import {
  type AnnotationNames,
  addressesSet,
  decodeNodeLease,
  encodeAnnotations,
  publishedVteps,
  subnetsOf,
} from "./kube-annotations.ts";
import type { KubeNode } from "./kube-proto.ts";
import type { Lease } from "./lease.ts";
import { samePublished } from "./ownership.ts";
import type { Candidate } from "./records.ts";
import type { LeaseRequest } from "./source.ts";

/** Why a Node's podCIDRs are of no use in this network, or undefined if there is one of each family in it. */
export function whyNoSubnets({ name, podCIDRs }: KubeNode, { ranges }: NetworkConfig): string | undefined {
  const subnets = subnetsOf(podCIDRs);
  for (const family of familiesOf(ranges)) {
    const network = ranges[family]?.network;
    const subnet = subnets[family];
    if (network === undefined) continue;
    const field = RANGE_NAMES[family].network;
    if (subnet === undefined) {
      return `Node ${name} has no IPv${family} podCIDR (only ${podCIDRs.join(", ")}), but net-conf.json has ${field}`;
    }
    if (!containsPrefix(network, subnet)) {
      return (
        `the podCIDR ${formatPrefix(subnet)} of Node ${name} lies outside ${field} ${formatPrefix(network)}; set ${field} in ` +
        "net-conf.json to the --cluster-cidr of kube-controller-manager"
      );
    }
  }
  return undefined;
}

/**
 * What a Node's annotations must have so that they publish what its agent asks for. An administrator's address wins; the
 * published VTEP MAC stays if the VNI does and no older lease has it.
 * @param candidates the cluster's leases, as far as they are known
 * @returns undefined if all of it is there
 * @throws Error if an administrator's annotation makes no sense
 */
export function planPublication(
  names: AnnotationNames,
  node: KubeNode,
  request: LeaseRequest,
  candidates: readonly Candidate[],
): Readonly<Record<string, string>> | undefined {
  const overwrites = addressesSet(names, "overwrite", node);
  const published = publishedVteps(names, node.annotations);
  const taken = marksOfOlder(node, candidates);
  const vteps = mapFamilies(request.vteps, (wanted, family) => {
    const kept = published[family]?.vni === wanted.vni ? published[family] : wanted;
    const free = [kept, wanted].find((vtep) => !taken.has(vtepMark(family, vtep)));
    return free ?? { vni: wanted.vni, mac: randomMac() };
  });
  const publicIPs = mapFamilies(request.publicIPs, (address, family) => overwrites[family] ?? address);
  const annotations = encodeAnnotations(
    names,
    { backendType: request.backendType, publicIPs, vteps },
    node.annotations,
  );
  const complete = Object.entries(annotations).every(([name, value]) => node.annotations[name] === value);
  return complete ? undefined : annotations;
}

/** What leases have that win over this Node's. */
function marksOfOlder(node: KubeNode, candidates: readonly Candidate[]): ReadonlySet<string> {
  const marks = new Set<string>();
  for (const { lease, rank = 0 } of candidates.filter((one) => one.rejected === undefined)) {
    if (lease.key === node.name || rank > node.createdAt || (rank === node.createdAt && lease.key > node.name))
      continue;
    for (const claim of Object.values(claimsOf(lease))) for (const { id } of claim.marks) marks.add(id);
  }
  return marks;
}

/**
 * The lease that a Node has published, or why it is none.
 * @param own the lease that it is to be still
 */
export function leaseStillThere(names: AnnotationNames, node: KubeNode, own?: Lease): Lease | string {
  const start = `Node ${node.name} has no usable lease`;
  if (node.annotations[names.managed] !== "true") return `${start}: annotation ${names.managed} is not "true"`;
  if (node.podCIDRs.length === 0) return `${start}: it has no podCIDR yet`;
  const decoded = decodeNodeLease(names, node);
  if (!decoded.ok) return `${start}: ${decoded.reason}`;
  if (own === undefined) return decoded.value;
  const lease = decoded.value;
  const sameSubnets = familiesOf({ ...own.subnets, ...lease.subnets }).every((family) => {
    const [ours, theirs] = [own.subnets[family], lease.subnets[family]];
    return ours !== undefined && theirs !== undefined && samePrefix(ours, theirs);
  });
  if (!sameSubnets) return `Node ${node.name} has another podCIDR now, ${node.podCIDRs.join(" and ")}`;
  if (!samePublished(own, lease)) return `the annotations of Node ${node.name} were changed by someone else`;
  return lease;
}
