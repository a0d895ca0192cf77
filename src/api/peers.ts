import * as v from "valibot";
import { Count, Duration, page, perFamily, Time } from "./values.ts";

/** `/debug/peers`: every other node as this one sees it. */

/**
 * The worst first, which is how lists are sorted.
 * - `down`: programmed, and no answer through the overlay
 * - `notProgrammed`: something that belongs to it is missing in the kernel
 * - `leftOut`: its lease is rejected or of another backend, so nothing is programmed for it
 * - `degraded`: it answers, but packets get lost, or those of full size do not come through
 * - `unknown`: programmed, and not probed yet, or probes are off
 * - `up`: programmed, and it answers, also to packets of full size
 */
export const PeerState = v.picklist(["down", "notProgrammed", "leftOut", "degraded", "unknown", "up"]);
export type PeerState = v.InferOutput<typeof PeerState>;

/**
 * What the probes of one family say together.
 * - `reachable`
 * - `lossy`: it answers, but more than a tenth of the last probes got no answer
 * - `mtuTooSmall`: small packets come through the overlay, those of full size do not
 * - `overlayBlocked`: the public address answers, the overlay does not: VXLAN's UDP port is blocked, or the peer's device is
 *   wrong
 * - `unreachable`: neither answers: the node or the way to it is down
 * - `unknown`: not probed yet
 */
export const Verdict = v.picklist(["reachable", "lossy", "mtuTooSmall", "overlayBlocked", "unreachable", "unknown"]);
export type Verdict = v.InferOutput<typeof Verdict>;

/** Echo requests along one path, over the last probes. */
export const ProbePath = v.object({
  sent: Count,
  received: Count,
  lossPercent: v.nullable(v.pipe(v.number(), v.minValue(0), v.maxValue(100))),
  lastMs: v.nullable(Duration),
  p50Ms: v.nullable(Duration),
  p99Ms: v.nullable(Duration),
  lastSuccessAt: v.nullable(Time),
});

export const ProbeResult = v.object({
  verdict: Verdict,
  since: v.pipe(v.nullable(Time), v.description("how long the verdict has been this")),
  lastProbedAt: v.nullable(Time),
  overlay: v.pipe(ProbePath, v.description("to the peer's VTEP address, through the VXLAN device")),
  underlay: v.pipe(ProbePath, v.description("to the peer's public address")),
  mtu: v.object({
    bytes: v.pipe(Count, v.description("the IP packet of full size that is sent through the overlay unfragmented")),
    passes: v.nullable(v.boolean()),
    lastCheckedAt: v.nullable(Time),
  }),
});

const PeerFamily = v.object({
  subnet: v.string(),
  publicIP: v.nullable(v.string()),
  vtepMAC: v.nullable(v.string()),
  device: v.nullable(v.string()),
  kernel: v.pipe(
    v.nullable(v.object({ route: v.boolean(), neighbour: v.boolean(), forwarding: v.boolean() })),
    v.description("which of its entries the kernel has as they are wanted; null where none are wanted"),
  ),
  probe: v.nullable(ProbeResult),
});

export const Peer = v.object({
  key: v.pipe(v.string(), v.description("of its lease")),
  node: v.nullable(v.string()),
  state: PeerState,
  since: v.nullable(Time),
  why: v.pipe(v.nullable(v.string()), v.description("why it is not up")),
  fix: v.pipe(v.nullable(v.string()), v.description("what to do about it")),
  ...perFamily(PeerFamily).entries,
});
export type Peer = v.InferOutput<typeof Peer>;

export const PeerCounts = v.object({
  down: Count,
  notProgrammed: Count,
  leftOut: Count,
  degraded: Count,
  unknown: Count,
  up: Count,
});

/** Sorted by state, the worst first, then by node's name or key. */
export const PeerList = v.object({
  ...page(Peer),
  counts: PeerCounts,
  probeIntervalMs: v.pipe(v.nullable(Duration), v.description("null where probes are off")),
});
