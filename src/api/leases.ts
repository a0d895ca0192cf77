import * as v from "valibot";
import { Count, page, perFamily, Time } from "./values.ts";

/** `/debug/lease` and `/debug/leases`. */

const LeaseFamily = v.object({
  subnet: v.nullable(v.pipe(v.string(), v.description("address/length"))),
  publicIP: v.nullable(v.string()),
  vni: v.nullable(v.number()),
  vtepMAC: v.nullable(v.string()),
});

export const Lease = v.object({
  key: v.pipe(v.string(), v.description("unique in the lease source: flannel's etcd key, or the Node's name")),
  node: v.nullable(v.string()),
  backendType: v.string(),
  createdAt: v.nullable(Time),
  expiresAt: v.nullable(Time),
  ...perFamily(LeaseFamily).entries,
});

export const RejectedLease = v.object({
  key: v.string(),
  node: v.nullable(v.string()),
  reason: v.string(),
  kept: v.pipe(v.boolean(), v.description("its last good lease stays in use")),
});

export const LeaseSource = v.object({
  kind: v.picklist(["embedded", "etcd", "kubernetes"]),
  location: v.string(),
  lastContactAt: v.nullable(Time),
  error: v.nullable(v.string()),
});

export const OwnLease = v.object({
  lease: v.nullable(Lease),
  problem: v.pipe(v.nullable(v.string()), v.description("what is wrong with it, though there is one")),
  source: LeaseSource,
});

export const LeaseCounts = v.object({
  used: Count,
  rejected: Count,
  rejectedSinceStart: Count,
});

export const LeaseList = v.object({
  ...page(Lease),
  snapshotTakenAt: v.nullable(Time),
  counts: LeaseCounts,
  rejected: v.array(RejectedLease),
});
