import type * as v from "valibot";
import type * as api from "../../api/leases.ts";
import { describeError } from "../../base/errors.ts";
import { show } from "../../config/schema.ts";
import type { Lease, RejectedLease } from "../../lease/lease.ts";
import { familiesOf } from "../../net/family.ts";
import { formatPrefix } from "../../net/prefix.ts";
import type { Facts } from "../facts.ts";
import type { Shown } from "../items.ts";
import type { Question } from "../question.ts";
import { Refusal } from "../refusals.ts";
import { pageOf } from "./page.ts";
import { familyName, familyNamed, time } from "./values.ts";

export function leaseView(lease: Lease): v.InferOutput<typeof api.Lease> {
  const view: v.InferOutput<typeof api.Lease> = {
    key: lease.key,
    node: lease.node ?? null,
    backendType: lease.backendType,
    createdAt: time(lease.createdAt),
    expiresAt: time(lease.expiresAt),
  };
  for (const family of familiesOf(lease.subnets)) {
    const subnet = lease.subnets[family];
    const vtep = lease.vteps[family];
    view[familyName(family)] = {
      subnet: subnet === undefined ? null : formatPrefix(subnet),
      publicIP: lease.publicIPs[family] ?? null,
      vni: vtep?.vni ?? null,
      vtepMAC: vtep?.mac ?? null,
    };
  }
  return view;
}

export function sourceView({ source }: Pick<Facts, "source">): v.InferOutput<typeof api.LeaseSource> {
  const { kind, location, contact } = source;
  return {
    kind,
    location,
    lastContactAt: time(contact.lastContactAt),
    error: contact.error === undefined ? null : describeError(contact.error),
  };
}

export function ownLeaseView(facts: Facts): v.InferOutput<typeof api.OwnLease> {
  const { own, leaseProblem } = facts;
  return {
    lease: own === undefined ? null : leaseView(own),
    problem: leaseProblem ?? null,
    source: sourceView(facts),
  };
}

export function leaseCounts({ snapshot, rejections }: Facts): v.InferOutput<typeof api.LeaseCounts> {
  return {
    used: snapshot?.leases.length ?? 0,
    rejected: snapshot?.rejected.length ?? 0,
    rejectedSinceStart: rejections,
  };
}

/** @param isAsked which of them are shown */
export function rejectedView(
  { snapshot }: Pick<Facts, "snapshot">,
  isAsked: (lease: RejectedLease) => boolean = () => true,
): v.InferOutput<typeof api.RejectedLease>[] {
  if (snapshot === undefined || snapshot.rejected.length === 0) return [];
  const used = new Set(snapshot.leases.map(({ key }) => key));
  return snapshot.rejected
    .filter(isAsked)
    .map(({ key, node, reason }) => ({ key, node: node ?? null, reason, kept: used.has(key) }));
}

/** Whether a lease is the one of a node, by the node's name or the lease's key. */
export function isOf(
  { key, node }: { readonly key: string; readonly node?: string | undefined },
  name: string,
): boolean {
  return key === name || node === name;
}

/**
 * The lease of a node, by the node's name or the lease's key.
 * @returns undefined where there is one that is rejected
 * @throws Refusal with status 404 where there is none
 */
export function leaseOf({ own, snapshot }: Pick<Facts, "own" | "snapshot">, name: string): Lease | undefined {
  const found = snapshot?.leases.find((lease) => isOf(lease, name)) ?? (own && isOf(own, name) ? own : undefined);
  if (found !== undefined || snapshot?.rejected.some((lease) => isOf(lease, name))) return found;
  throw new Refusal(404, `no lease is of a node ${show(name)} or has this key; /debug/leases has them all`);
}

export async function leasesView(facts: Facts, question: Question): Promise<Shown<typeof api.LeaseList>> {
  const { node, family } = question.query;
  if (node !== undefined) leaseOf(facts, node);
  const leases = facts.snapshot?.leases ?? [];
  const asked =
    node === undefined && family === undefined
      ? leases
      : leases.filter(
          (lease) =>
            (node === undefined || isOf(lease, node)) &&
            (family === undefined || lease.subnets[familyNamed(family)] !== undefined),
        );
  return {
    ...(await pageOf(asked, question, leaseView)),
    snapshotTakenAt: time(facts.snapshot?.takenAt),
    counts: leaseCounts(facts),
    rejected: rejectedView(facts, (lease) => node === undefined || isOf(lease, node)),
  };
}
