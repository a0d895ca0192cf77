import { PeerState, type Verdict } from "../../api/peers.ts";
import type { DesiredDevice } from "../../desired/desired.ts";
import { Comparison } from "../../kernel/diff.ts";
import type { Lease } from "../../lease/lease.ts";
import { FAMILIES, type Family } from "../../net/family.ts";
import { formatPrefix, type Prefix } from "../../net/prefix.ts";
import type { Facts } from "../facts.ts";
import { breathe } from "../slices.ts";
import { isOf } from "./leases.ts";

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

/** Peers that are looked at in one go. */
const AT_ONCE = 1000;

/** Every other node, the worst first, then by name. */
export async function peerStatuses(facts: Facts, families: readonly Family[] = FAMILIES): Promise<PeerStatus[]> {
  const byState = new Map(STATES.map((state) => [state, [] as PeerStatus[]]));
  const take = (status: PeerStatus): void => void byState.get(status.state)?.push(status);
  const { leases = [] } = facts.snapshot ?? {};
  for (let at = 0; at < leases.length; at += AT_ONCE) {
    // The kernel's state may change in between.
    const look = new PeerLook(facts, families);
    for (const lease of leases.slice(at, at + AT_ONCE)) {
      const isMeant = families.some((family) => families.length > 1 || lease.subnets[family] !== undefined);
      if (isMeant && lease.key !== facts.own?.key) take(look.at(lease));
    }
    await breathe();
  }
  for (const status of rejectedOnes(facts)) take(status);
  for (const peers of byState.values()) peers.sort((a, b) => compare(a.node ?? a.key, b.node ?? b.key));
  return [...byState.values()].flat();
}

/** Those that are of a node of this name, or whose lease has this key: one as a rule. */
export function peerStatus(facts: Facts, name: string): PeerStatus[] {
  const look = new PeerLook(facts, FAMILIES);
  const leases = facts.snapshot?.leases.filter((lease) => isOf(lease, name) && lease.key !== facts.own?.key) ?? [];
  return [...leases.map((lease) => look.at(lease)), ...rejectedOnes(facts).filter((status) => isOf(status, name))];
}

/** Nodes whose only record is rejected. */
function rejectedOnes({ snapshot, own }: Facts): PeerStatus[] {
  if (snapshot === undefined || snapshot.rejected.length === 0) return [];
  // The last good lease of one may still be in use.
  const used = new Set([...snapshot.leases.map(({ key }) => key), own?.key]);
  return snapshot.rejected
    .filter(({ key }) => !used.has(key))
    .map(({ key, node, reason }) => {
      return { key, node, state: "leftOut", lease: undefined, families: [], leftOut: reason };
    });
}

export function countStates(statuses: Iterable<PeerStatus>): Record<PeerState, number> {
  const counts = { down: 0, notProgrammed: 0, leftOut: 0, degraded: 0, unknown: 0, up: 0 };
  for (const { state } of statuses) counts[state]++;
  return counts;
}

function compare(a: string, b: string): number {
  return Number(a > b) - Number(a < b);
}

class PeerLook {
  readonly #facts: Facts;
  readonly #families: readonly Family[];
  readonly #comparison: Comparison | undefined;
  readonly #devices: readonly DesiredDevice[];
  readonly #skipped: ReadonlyMap<string, string>;

  constructor(facts: Facts, families: readonly Family[]) {
    const { desired, actual } = facts;
    this.#facts = facts;
    this.#families = families;
    this.#comparison = desired && actual && new Comparison(desired, actual, { prune: false });
    this.#devices = desired?.devices ?? [];
    this.#skipped = new Map(desired?.skipped.map(({ key, reason }) => [key, reason]));
  }

  at(lease: Lease): PeerStatus {
    const families: FamilyStatus[] = [];
    for (const family of this.#families) {
      const subnet = lease.subnets[family];
      if (subnet !== undefined) families.push(this.#ofFamily(lease, family, subnet));
    }
    const { key, node } = lease;
    const wanted = families.filter(({ device }) => device !== undefined);
    const leftOut = wanted.length === 0 ? this.#skipped.get(key) : undefined;
    if (leftOut !== undefined) return { key, node, state: "leftOut", lease, families, leftOut };
    // Where nothing is wanted yet, the lease has just come.
    const state = STATES.find((one) => wanted.some((part) => part.state === one)) ?? "notProgrammed";
    return { key, node, state, lease, families, leftOut };
  }

  #ofFamily(lease: Lease, family: Family, subnet: Prefix): FamilyStatus {
    const device = this.#devices.find((one) => one.family === family);
    const mac = lease.vteps[family]?.mac;
    if (device === undefined || mac === undefined || device.neighbours.get(subnet.address) !== mac)
      return { family, subnet, state: "notProgrammed", device: undefined, has: undefined, verdict: undefined };
    const comparison = this.#comparison;
    const has = comparison && {
      route: comparison.hasRoute(formatPrefix(subnet)),
      neighbour: comparison.hasNeighbour(device, subnet.address),
      forwarding: comparison.hasForwarding(device, mac),
    };
    const verdict = this.#facts.probes?.verdict(lease.key, family);
    const isThere = has === undefined || (has.route && has.neighbour && has.forwarding);
    return {
      family,
      subnet,
      state: isThere ? BY_VERDICT[verdict ?? "unknown"] : "notProgrammed",
      device,
      has,
      verdict,
    };
  }
}
