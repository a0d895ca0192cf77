import { formatCount } from "../base/count.ts";
import { leaseChanges } from "../lease/changes.ts";
import type { Lease, Snapshot } from "../lease/lease.ts";
import { ownerOf, samePublished } from "../lease/ownership.ts";
import { FAMILIES } from "../net/family.ts";
import { formatPrefix } from "../net/prefix.ts";
import type { EventLog, NewEvent } from "../status/event-log.ts";

/** Of more leases that came, changed or went at once only the numbers are told. */
const MOST = 10;

/** Records which leases of other nodes came, changed and went from one snapshot to the next. */
export class LeaseEvents {
  readonly #events: EventLog;
  readonly #source: string;
  readonly #startedAt = performance.now();
  #told: Snapshot | undefined;

  /** @param source the lease source in words */
  constructor(events: EventLog, source: string) {
    this.#events = events;
    this.#source = source;
  }

  /** @param ownKey that of this node's lease, which is told elsewhere */
  look(snapshot: Snapshot, ownKey: string): void {
    const before = this.#told;
    if (before === snapshot) return;
    this.#told = snapshot;
    const cause = `${this.#source} says so`;
    if (before === undefined) {
      const durationMs = performance.now() - this.#startedAt;
      this.#events.add({ kind: "leasesChanged", message: `${count(snapshot.leases.length)} read`, cause, durationMs });
      return;
    }
    // From the source's word on.
    const durationMs = Math.max(0, Date.now() - snapshot.takenAt);
    for (const event of changesAsEvents(before.leases, snapshot.leases, ownKey))
      this.#events.add({ ...event, cause, durationMs });
  }
}

/** One event for each lease, or one for all of them. Pure. Both lists are sorted by key. */
export function changesAsEvents(before: readonly Lease[], after: readonly Lease[], ownKey: string): NewEvent[] {
  const { gone = [], come = [] } = leaseChanges(before, after, ownKey) ?? {};
  const old = new Map(gone.map((lease) => [lease.key, lease]));
  const added: Lease[] = [];
  const changed: { readonly lease: Lease; readonly what: string }[] = [];
  for (const lease of come) {
    const was = old.get(lease.key);
    old.delete(lease.key);
    if (was === undefined) added.push(lease);
    else if (!sameForOthers(was, lease)) changed.push({ lease, what: describeChange(was, lease) });
  }
  const removed = [...old.values()];
  if (added.length + changed.length + removed.length > MOST) {
    const numbers = Object.entries({ added: added.length, changed: changed.length, removed: removed.length });
    const told = numbers.filter(([, number]) => number > 0).map(([what, number]) => `${formatCount(number)} ${what}`);
    return [{ kind: "leasesChanged", message: `${told.join(", ")}; there are ${count(after.length)}` }];
  }
  return [
    ...removed.map(
      (lease): NewEvent => ({ kind: "leaseRemoved", ...about(lease), message: `${titleOf(lease)} is gone` }),
    ),
    ...changed.map(
      ({ lease, what }): NewEvent => ({
        kind: "leaseChanged",
        ...about(lease),
        message: `${titleOf(lease)}: ${what}`,
      }),
    ),
    ...added.map((lease): NewEvent => ({ kind: "leaseAdded", ...about(lease), message: `${titleOf(lease)} is there` })),
  ];
}

function count(leases: number): string {
  return `${formatCount(leases)} ${leases === 1 ? "lease" : "leases"}`;
}

function about({ node, key }: Lease): { node: string } {
  return { node: node ?? key };
}

function titleOf(lease: Lease): string {
  return `lease ${subnetsOf(lease)} of ${ownerOf(lease)}`;
}

function subnetsOf({ subnets }: Lease): string {
  return FAMILIES.flatMap((family) => subnets[family] ?? [])
    .map(formatPrefix)
    .join(" and ");
}

/** True where only the lease's times differ: that it was renewed is no news. */
function sameForOthers(a: Lease, b: Lease): boolean {
  return samePublished(a, b) && a.node === b.node && subnetsOf(a) === subnetsOf(b);
}

function describeChange(before: Lease, after: Lease): string {
  const [old, now] = [wordsOf(before), wordsOf(after)];
  return Object.entries(now)
    .filter(([name, value]) => old[name] !== value)
    .map(([name, value]) => `${name} was ${old[name] ?? "none"}, is ${value}`)
    .join("; ");
}

function wordsOf(lease: Lease): Record<string, string> {
  const addresses = (values: readonly (string | number | undefined)[]) =>
    values.filter((value) => value !== undefined).join(" and ") || "none";
  const vteps = FAMILIES.map((family) => lease.vteps[family]);
  return {
    node: lease.node ?? "none",
    subnet: subnetsOf(lease),
    "public address": addresses(FAMILIES.map((family) => lease.publicIPs[family])),
    backend: lease.backendType,
    VNI: addresses(vteps.map((vtep) => vtep?.vni)),
    "VTEP MAC": addresses(vteps.map((vtep) => vtep?.mac)),
  };
}
