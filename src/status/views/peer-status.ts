import { PeerState, type Verdict } from "../../api/peers.ts";
import type { DesiredDevice } from "../../desired/desired.ts";
import { Comparison } from "../../kernel/diff.ts";
import type { Lease, RejectedLease } from "../../lease/lease.ts";
import { FAMILIES, type Family, mapFamilies, type PerFamily } from "../../net/family.ts";
import { formatPrefix, type Prefix } from "../../net/prefix.ts";
import type { Facts } from "../facts.ts";
import { breathe } from "../slices.ts";

/** How one peer is, as far as all of them are looked at for the counts; `peers.ts` has the rest. */
export interface PeerStatus {
  readonly key: string;
  readonly node: string | undefined;
  readonly state: PeerState;
  /** undefined where its only record is rejected */
  readonly lease: Lease | undefined;
  readonly families: readonly FamilyStatus[];
  /** why nothing is programmed for it */
  readonly leftOut: string | undefined;
}

/** The part of one family, which the lease has. */
export interface FamilyStatus {
  readonly family: Family;
  readonly subnet: Prefix;
  readonly state: PeerState;
  /** the device on which its entries are wanted; undefined where none are */
  readonly device: DesiredDevice | undefined;
  /** undefined where none are wanted, and while the kernel's state is to be read again */
  readonly has: EntriesThere | undefined;
  readonly verdict: Verdict | undefined;
}

export interface EntriesThere {
  readonly route: boolean;
  readonly neighbour: boolean;
  readonly forwarding: boolean;
}

const BY_VERDICT: Readonly<Record<Verdict, PeerState>> = {
  reachable: "up",
  lossy: "degraded",
  mtuTooSmall: "degraded",
  overlayBlocked: "down",
  unreachable: "down",
  unknown: "unknown",
};

/** From the worst on. */
const STATES = PeerState.options;
const RANK: Readonly<Record<PeerState, number>> = {
  down: 0,
  notProgrammed: 1,
  leftOut: 2,
  degraded: 3,
  unknown: 4,
  up: 5,
};

/** While the kernel is as desired. */
const ALL_THERE: EntriesThere = { route: true, neighbour: true, forwarding: true };

/** Peers that are looked at in one go. */
const AT_ONCE = 1000;

/** The states of all peers, of which there may be thousands: nothing is made for one that is not shown. */
export interface PeerOrder {
  /** the worst first, then by name: the leases, and the records of nodes that have no other */
  readonly peers: readonly (Lease | RejectedLease)[];
  readonly counts: Readonly<Record<PeerState, number>>;
}

/** All peers in numbers. */
export interface PeerCounts {
  readonly states: Record<PeerState, number>;
  /** in each family that has a device; of those that are probed */
  readonly verdicts: PerFamily<Record<Verdict, number>>;
}

/** Looks at every other node, in slices, and keeps nothing of it: this is asked every few seconds as long as the agent runs. */
export async function countPeers(look: PeerLook): Promise<PeerCounts> {
  const { states, verdicts }: PeerCounts = {
    states: { down: 0, notProgrammed: 0, leftOut: 0, degraded: 0, unknown: 0, up: 0 },
    verdicts: look.noVerdicts(),
  };
  let looked = 0;
  for (const lease of look.leases()) {
    states[look.stateOf(lease, verdicts)]++;
    if (++looked % AT_ONCE === 0) await breathe();
  }
  states.leftOut += look.rejected().length;
  return { states, verdicts };
}

/** Looks at every other node, in slices. */
export async function orderPeers(look: PeerLook): Promise<PeerOrder> {
  const byState = new Map(STATES.map((state) => [state, [] as (Lease | RejectedLease)[]]));
  let looked = 0;
  for (const lease of look.leases()) {
    byState.get(look.stateOf(lease))?.push(lease);
    if (++looked % AT_ONCE === 0) await breathe();
  }
  byState.get("leftOut")?.push(...look.rejected());
  const counts = { down: 0, notProgrammed: 0, leftOut: 0, degraded: 0, unknown: 0, up: 0 };
  for (const [state, peers] of byState) {
    counts[state] = peers.length;
    peers.sort((a, b) => compare(a.node ?? a.key, b.node ?? b.key));
  }
  return { peers: [...byState.values()].flat(), counts };
}

function compare(a: string, b: string): number {
  return Number(a > b) - Number(a < b);
}

/**
 * How peers are in these families. It may be used over several turns of the event loop: what the kernel has is looked up
 * each time, only what it knows of our devices is of the moment when this was made.
 */
export class PeerLook {
  readonly #facts: Facts;
  readonly #families: readonly Family[];
  /** undefined where there is nothing to compare with, or no need to */
  readonly #comparison: Comparison | undefined;
  readonly #devices: PerFamily<DesiredDevice> = {};
  readonly #skipped: ReadonlyMap<string, string>;

  constructor(facts: Facts, families: readonly Family[] = FAMILIES) {
    const { desired, actual, asDesired } = facts;
    this.#facts = facts;
    this.#families = families;
    if (desired && actual && !asDesired) this.#comparison = new Comparison(desired, actual, { prune: false });
    for (const device of desired?.devices ?? []) this.#devices[device.family] = device;
    this.#skipped = new Map(desired?.skipped.map(({ key, reason }) => [key, reason]));
  }

  /** Of the other nodes; where one family is asked for, of those that have it. */
  *leases(): Generator<Lease> {
    const [first = 4, ...others] = this.#families;
    for (const lease of this.#facts.snapshot?.leases ?? []) {
      if (lease.key === this.#facts.own?.key) continue;
      if (others.length > 0 || lease.subnets[first] !== undefined) yield lease;
    }
  }

  /** Records of nodes whose only one is rejected: the last good lease of one may still be in use. */
  rejected(): readonly RejectedLease[] {
    const { snapshot, own } = this.#facts;
    if (snapshot === undefined || snapshot.rejected.length === 0) return [];
    const used = new Set([...snapshot.leases.map(({ key }) => key), own?.key]);
    return snapshot.rejected.filter(({ key }) => !used.has(key));
  }

  /** Nothing counted yet. */
  noVerdicts(): PeerCounts["verdicts"] {
    const none = { unknown: 0, reachable: 0, lossy: 0, mtuTooSmall: 0, overlayBlocked: 0, unreachable: 0 };
    return mapFamilies(this.#devices, () => ({ ...none }));
  }

  /** As `at`, the state alone. @param verdicts in which the peer's own are counted */
  stateOf(lease: Lease, verdicts: PeerCounts["verdicts"] = {}): PeerState {
    let worst: PeerState | undefined;
    for (const family of this.#families) {
      const subnet = lease.subnets[family];
      const device = subnet && this.#deviceFor(lease, family, subnet);
      if (subnet === undefined || device === undefined) continue;
      const verdict = this.#facts.probes?.verdict(lease.key, family);
      const counted = verdicts[family];
      if (verdict !== undefined && counted !== undefined) counted[verdict]++;
      const state = this.#stateIn(lease, family, subnet, device, verdict);
      if (worst === undefined || RANK[state] < RANK[worst]) worst = state;
    }
    if (worst !== undefined) return worst;
    // Where nothing is wanted yet, the lease has just come.
    return this.#unwanted(lease);
  }

  #unwanted({ key }: Lease): PeerState {
    return this.#skipped.has(key) ? "leftOut" : "notProgrammed";
  }

  at(peer: Lease | RejectedLease): PeerStatus {
    const { key, node } = peer;
    if (!("subnets" in peer)) {
      return { key, node, state: "leftOut", lease: undefined, families: [], leftOut: peer.reason };
    }
    const families: FamilyStatus[] = [];
    for (const family of this.#families) {
      const subnet = peer.subnets[family];
      if (subnet !== undefined) families.push(this.#ofFamily(peer, family, subnet));
    }
    let worst: PeerState | undefined;
    for (const { device, state } of families) {
      if (device !== undefined && (worst === undefined || RANK[state] < RANK[worst])) worst = state;
    }
    const state = worst ?? this.#unwanted(peer);
    const leftOut = state === "leftOut" ? this.#skipped.get(key) : undefined;
    return { key, node, state, lease: peer, families, leftOut };
  }

  /** The device on which the peer's entries are wanted. */
  #deviceFor(lease: Lease, family: Family, { address }: Prefix): DesiredDevice | undefined {
    const device = this.#devices[family];
    const mac = lease.vteps[family]?.mac;
    return mac !== undefined && device?.neighbours.get(address) === mac ? device : undefined;
  }

  #stateIn(
    lease: Lease,
    family: Family,
    subnet: Prefix,
    device: DesiredDevice,
    verdict: Verdict | undefined,
  ): PeerState {
    const comparison = this.#comparison;
    const mac = lease.vteps[family]?.mac;
    const isThere =
      comparison === undefined ||
      (comparison.hasRoute(formatPrefix(subnet)) &&
        comparison.hasNeighbour(device, subnet.address) &&
        (mac === undefined || comparison.hasForwarding(device, mac)));
    return isThere ? BY_VERDICT[verdict ?? "unknown"] : "notProgrammed";
  }

  #ofFamily(lease: Lease, family: Family, subnet: Prefix): FamilyStatus {
    const device = this.#deviceFor(lease, family, subnet);
    const mac = lease.vteps[family]?.mac;
    if (device === undefined || mac === undefined)
      return { family, subnet, state: "notProgrammed", device: undefined, has: undefined, verdict: undefined };
    const comparison = this.#comparison;
    const has = comparison && {
      route: comparison.hasRoute(formatPrefix(subnet)),
      neighbour: comparison.hasNeighbour(device, subnet.address),
      forwarding: comparison.hasForwarding(device, mac),
    };
    const verdict = this.#facts.probes?.verdict(lease.key, family);
    const state = this.#stateIn(lease, family, subnet, device, verdict);
    return { family, subnet, state, device, has: this.#facts.asDesired ? ALL_THERE : has, verdict };
  }
}
