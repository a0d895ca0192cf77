import type { NetworkConfig, NetworkRange } from "../config/network.ts";
import { addressFromBigInt, addressToBigInt } from "../net/address.ts";
import { type Family, familiesOf, mapFamilies, type PerFamily } from "../net/family.ts";
import { type Mac, macFromBytes } from "../net/mac.ts";
import { formatPrefix, type Prefix, rangeOf, sizeOf } from "../net/prefix.ts";
import { claimsOf, vtepMark } from "./claims.ts";
import type { Lease, LeaseAttributes, RejectedLease, Snapshot } from "./lease.ts";
import { sameOwner } from "./ownership.ts";
import { type LeaseRequest, OutOfSubnetsError } from "./source.ts";
import { claimedSubnets } from "./wire.ts";

/** What a node gets, and what must become of the records that are there. */
export interface Allocation {
  readonly subnets: PerFamily<Prefix>;
  /** to be published; the MACs may differ from those asked for */
  readonly attributes: LeaseAttributes;
  /** this node's lease, to be updated under its key; undefined means that a new record is made */
  readonly reused: Lease | undefined;
  /** keys of this node's records that are of no use any more, to be deleted first */
  readonly discarded: readonly string[];
}

/** flannel picks among so many of the lowest free subnets, so that nodes that start together seldom pick the same. */
const CHOICE = 100;

/**
 * Chooses a node's subnets by flannel's rules (pkg/subnet/etcd/local_manager.go): the lease with the same public address
 * (of the network's first family) if it fits the network, while one that does not is discarded; else the previous subnet,
 * if nobody claims a part of it; else one of the 100 lowest free ones at random. Beyond flannel's rules:
 * - the lease that the node holds, or one with its name, is taken back where none has its public address: that changed;
 * - a rejected record with the node's name or public address is discarded, so that the node can have its subnet again,
 *   and so is one in the place of the lease that the node holds, if it does not say whose it is;
 * - each family keeps its previous subnet, or gets a new one, by itself;
 * - a taken lease keeps its VTEP MAC if the backend type and the VNI stay; a proposed MAC that another lease has is
 *   replaced.
 * What a key names counts as taken even where its record is rejected.
 * @param stored all that is in the store, expired records left out
 * @param random a number from 0 to below 1
 * @throws OutOfSubnetsError
 */
export function chooseSubnets(
  network: NetworkConfig,
  stored: Pick<Snapshot, "leases" | "rejected">,
  request: LeaseRequest,
  random: () => number,
): Allocation {
  const family = familiesOf(network.ranges).find((each) => request.publicIPs[each] !== undefined);
  const hasAddress = ({ publicIPs }: Pick<RejectedLease, "publicIPs">) =>
    family !== undefined && publicIPs?.[family] === request.publicIPs[family];
  const hasName = ({ node }: Pick<Lease, "node">) => node !== undefined && node === request.node;

  const discarded = new Set<string>();
  const { held } = request;
  const isHeld = (lease: Lease) => lease.key === held?.key && sameOwner(lease, held);
  for (const record of stored.rejected) {
    const isNobodys = record.key === held?.key && record.node === undefined && record.publicIPs === undefined;
    if (isNobodys || hasAddress(record) || hasName(record)) discarded.add(record.key);
  }
  let reused = stored.leases.find(hasAddress);
  if (reused !== undefined && !fitsNetwork(reused.subnets, network)) {
    discarded.add(reused.key);
    reused = undefined;
  }
  reused ??= stored.leases.find((lease) => (isHeld(lease) || hasName(lease)) && fitsNetwork(lease.subnets, network));

  const others = stored.leases.filter((lease) => lease !== reused && !discarded.has(lease.key));
  const blockedKeys = stored.rejected.flatMap(({ key }) => (discarded.has(key) ? [] : [key]));
  const chooseNew = (range: NetworkRange, family: Family) =>
    choose(range, request.previous[family], takenRanges(family, others, blockedKeys), random);
  return {
    subnets: reused?.subnets ?? mapFamilies(network.ranges, chooseNew),
    attributes: keepMacs(request, reused, others, random),
    reused,
    discarded: [...discarded],
  };
}

interface BigRange {
  readonly first: bigint;
  readonly last: bigint;
}

/** By their first addresses. They may overlap. */
function takenRanges(family: Family, leases: readonly Lease[], keys: readonly string[]): BigRange[] {
  const ranges: BigRange[] = [];
  for (const lease of leases) {
    const range = claimsOf(lease)[family]?.range;
    if (range !== undefined) ranges.push({ first: BigInt(range.first), last: BigInt(range.last) });
  }
  for (const key of keys) {
    for (const subnet of claimedSubnets(key)) if (subnet.family === family) ranges.push(rangeOf(subnet));
  }
  return ranges.sort((a, b) => (a.first < b.first ? -1 : Number(a.first > b.first)));
}

/** Whether these are the families of the network, each with one of the subnets that may be allocated. */
function fitsNetwork(subnets: PerFamily<Prefix>, { ranges }: NetworkConfig): boolean {
  const families = familiesOf(ranges);
  return (
    familiesOf(subnets).join() === families.join() &&
    families.every((family) => fitsRange(subnets[family], ranges[family]))
  );
}

function fitsRange(subnet: Prefix | undefined, range: NetworkRange | undefined): boolean {
  if (subnet === undefined || range === undefined || subnet.length !== range.subnetLength) return false;
  const first = addressToBigInt(subnet.address);
  return first >= addressToBigInt(range.subnetMin) && first <= addressToBigInt(range.subnetMax);
}

function choose(
  range: NetworkRange,
  previous: Prefix | undefined,
  taken: readonly BigRange[],
  random: () => number,
): Prefix {
  const { family } = range.network;
  if (previous !== undefined && fitsRange(previous, range)) {
    const { first, last } = rangeOf(previous);
    if (!taken.some((other) => other.first <= last && first <= other.last)) return previous;
  }
  const free = lowestFree(range, taken);
  const picked = free[Math.floor(random() * free.length)];
  if (picked === undefined) throw outOfSubnets(range, taken.length);
  return { family, address: addressFromBigInt(picked, family), length: range.subnetLength };
}

/**
 * The first addresses of the lowest free subnets, at most 100. One pass over both.
 * @param taken sorted by their first addresses
 */
function lowestFree(range: NetworkRange, taken: readonly BigRange[]): bigint[] {
  const size = sizeOf(range.network.family, range.subnetLength);
  const min = addressToBigInt(range.subnetMin);
  const max = addressToBigInt(range.subnetMax);
  const free: bigint[] = [];
  let next = 0;
  for (let at = min; at <= max && free.length < CHOICE; ) {
    const block = taken[next];
    if (block === undefined || block.first >= at + size) {
      free.push(at);
      at += size;
    } else if (block.last < at) {
      next++;
    } else {
      // To the first subnet that starts after the block.
      at = min + ((block.last - min) / size + 1n) * size;
    }
  }
  return free;
}

function outOfSubnets(range: NetworkRange, count: number): OutOfSubnetsError {
  const { network, subnetLength, subnetMin, subnetMax } = range;
  return new OutOfSubnetsError(
    `no /${subnetLength} subnet is free from ${subnetMin} to ${subnetMax} in ${formatPrefix(network)}: ` +
      `${count} leases claim addresses; remove leases of nodes that are gone, or widen the network in net-conf.json`,
  );
}

/** The attributes to publish: with the MACs of the lease that is taken back, and none that another lease has. */
function keepMacs(
  request: LeaseRequest,
  reused: Lease | undefined,
  others: readonly Lease[],
  random: () => number,
): LeaseAttributes {
  const { previous: _previous, held: _held, ...attributes } = request;
  const sameBackend = reused?.backendType === request.backendType;
  const marks = new Set<string>();
  for (const lease of others) {
    for (const { marks: theirs } of Object.values(claimsOf(lease))) for (const { id } of theirs) marks.add(id);
  }
  const vteps = mapFamilies(request.vteps, ({ vni, mac }, family) => {
    const published = reused?.vteps[family];
    const wanted = { vni, mac: sameBackend && published?.vni === vni ? published.mac : mac };
    if (!marks.has(vtepMark(family, wanted))) return wanted;
    let tail = Math.floor(random() * 2 ** 40);
    while (marks.has(vtepMark(family, { vni, mac: localMac(tail) }))) tail = (tail + 1) % 2 ** 40;
    return { vni, mac: localMac(tail) };
  });
  return { ...attributes, vteps };
}

/** The locally administered unicast address with these 40 bits after its first byte. */
function localMac(tail: number): Mac {
  return macFromBytes(
    Uint8Array.from({ length: 6 }, (_, i) => (i === 0 ? 2 : Math.floor(tail / 2 ** (8 * (5 - i))) % 256)),
  );
}
