import * as v from "valibot";
import { Count, CountsByKind, Duration, FamilyName, page, Time } from "./values.ts";

/** `/debug/desired`, `/debug/kernel` and `/debug/diff`. */

const OnOff = v.nullable(v.picklist(["on", "off"]));

const Device = v.object({
  name: v.string(),
  family: FamilyName,
  vni: v.number(),
  port: v.nullable(v.number()),
  gbp: v.boolean(),
  learning: v.boolean(),
  mac: v.nullable(v.string()),
  mtu: v.pipe(Count, v.description("bytes")),
  local: v.pipe(v.nullable(v.string()), v.description("source of the encapsulated packets")),
  underlay: v.pipe(Count, v.description("ifindex of the interface below it")),
  address: v.nullable(v.string()),
});

export const DesiredDevice = v.object({
  ...Device.entries,
  network: v.string(),
  txChecksum: v.object({ wanted: OnOff, actual: OnOff, why: v.string() }),
  neighbours: Count,
  forwarding: Count,
});

export const KernelDevice = v.object({
  ...Device.entries,
  index: Count,
  up: v.boolean(),
  txChecksum: OnOff,
});

const entry = { family: FamilyName, device: v.string() };

/** One thing that belongs to a peer. */
export const Entry = v.variant("kind", [
  v.object({
    kind: v.literal("route"),
    ...entry,
    destination: v.string(),
    gateway: v.nullable(v.string()),
    onlink: v.boolean(),
    protocol: v.number(),
  }),
  v.object({ kind: v.literal("neighbour"), ...entry, address: v.string(), mac: v.nullable(v.string()) }),
  v.object({ kind: v.literal("forwarding"), ...entry, mac: v.string(), destination: v.nullable(v.string()) }),
]);
export type Entry = v.InferOutput<typeof Entry>;

/** What tartan wants in the kernel. */
export const Desired = v.object({
  ...page(Entry),
  devices: v.array(DesiredDevice),
  blackholes: v.pipe(v.array(v.string()), v.description("subnets")),
  networks: v.pipe(v.array(v.string()), v.description("the pod network of each family")),
});

/** What of it, and of what flanneld may have left, the kernel has. */
export const KernelState = v.object({
  ...page(Entry),
  devices: v.array(KernelDevice),
  blackholes: v.array(v.string()),
  fullReads: v.pipe(Count, v.description("how often all was read; in between notifications keep it up to date")),
});

export const Change = v.object({
  action: v.picklist(["add", "change", "remove"]),
  kind: v.pipe(v.string(), v.description("route, neighbour, forwarding, link, address, …")),
  object: v.string(),
  why: v.string(),
});

/** What the next reconcile would do; nothing when the kernel is as desired. */
export const Diff = v.object({
  ...page(Change),
  settled: v.boolean(),
  pruning: v.pipe(v.boolean(), v.description("what is ours and not desired is removed")),
});

export const Failure = v.object({
  operation: v.string(),
  object: v.string(),
  error: v.pipe(v.string(), v.description("errno's name")),
  message: v.string(),
});

export const Apply = v.object({
  at: Time,
  durationMs: Duration,
  cause: v.string(),
  done: CountsByKind,
  failures: v.pipe(v.array(Failure), v.description("the first 100")),
});
