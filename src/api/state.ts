import * as v from "valibot";
import { Apply, DesiredDevice, Failure } from "./kernel.ts";
import { Lease, LeaseCounts, LeaseSource, RejectedLease } from "./leases.ts";
import { PeerCounts } from "./peers.ts";
import { Rules } from "./rules.ts";
import { Count, CountsByKind, Duration, Finding, perFamily, Time } from "./values.ts";

/** `/debug/state`: the whole in one document, lists as counts; `/debug/config` and `/debug/interface`. */

export const Health = v.object({
  live: v.boolean(),
  message: v.pipe(v.optional(v.string()), v.description("why it is not")),
});

export const Readiness = v.object({
  ready: v.boolean(),
  reasons: v.pipe(v.array(Finding), v.description("why it is not")),
  warnings: v.pipe(v.array(Finding), v.description("what is wrong beside that")),
});

export const NetworkRange = v.object({
  network: v.string(),
  subnetLength: Count,
  subnetMin: v.string(),
  subnetMax: v.string(),
});

export const Backend = v.object({
  type: v.literal("vxlan"),
  vni: Count,
  port: v.pipe(v.nullable(Count), v.description("null lets the kernel choose, which is 8472")),
  gbp: v.boolean(),
  learning: v.boolean(),
  mtu: v.pipe(v.nullable(Count), v.description("of the underlay, as configured")),
});

export const Config = v.object({
  flags: v.pipe(v.record(v.string(), v.unknown()), v.description("secrets stand as [secret]")),
  network: v.nullable(perFamily(NetworkRange)),
  backend: v.nullable(Backend),
  nftables: v.nullable(v.boolean()),
  warnings: v.array(v.string()),
  logLevel: v.picklist(["info", "debug", "trace"]),
});

export const ExternalInterface = v.object({
  index: Count,
  name: v.string(),
  mtu: Count,
  addresses: v.array(v.string()),
  publicIPs: v.array(v.string()),
});

export const CniConf = v.object({
  source: v.string(),
  file: v.string(),
  written: v.boolean(),
  looks: Count,
  problem: v.nullable(v.string()),
});

export const Reconcile = v.object({
  settled: v.boolean(),
  pruning: v.boolean(),
  busySince: v.nullable(Time),
  turns: Count,
  lastTurnAt: v.nullable(Time),
  failuresInARow: Count,
  fullReads: Count,
  failed: v.pipe(Count, v.description("operations that the kernel refused in the last one")),
  driftsFound: Count,
  repaired: CountsByKind,
});

export const Process = v.object({
  pid: Count,
  cpuMs: v.pipe(Duration, v.description("user and system, since the start")),
  residentBytes: Count,
});

export const State = v.object({
  version: v.string(),
  node: v.nullable(v.string()),
  startedAt: Time,
  uptimeMs: Duration,
  process: Process,
  readiness: Readiness,
  config: Config,
  externalInterface: v.nullable(ExternalInterface),
  leaseSource: LeaseSource,
  lease: v.nullable(Lease),
  leaseProblem: v.nullable(v.string()),
  snapshotTakenAt: v.nullable(Time),
  leaseCounts: LeaseCounts,
  rejectedLeases: v.pipe(v.array(RejectedLease), v.description("the first 100; /debug/leases has all")),
  peerCounts: PeerCounts,
  desired: v.nullable(
    v.object({ devices: v.array(DesiredDevice), routes: Count, blackholes: v.array(v.string()), skipped: Count }),
  ),
  reconcile: Reconcile,
  lastApply: v.nullable(Apply),
  failures: v.pipe(v.array(Failure), v.description("of the last reconcile; the first 100")),
  cniConf: v.nullable(CniConf),
  rules: Rules,
});
export type State = v.InferOutput<typeof State>;
