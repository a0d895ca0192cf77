import { PacketCapture } from "../../ffi/packet-capture.ts";
import type { Address } from "../../net/address.ts";
import { namespacePath } from "./command.ts";
import { OverlayEvidence } from "./evidence.ts";
import { inParallel } from "./parallel.ts";
import { type PingSummary, ping } from "./ping.ts";

/** How many pings run at a time; each lasts half a second and does next to nothing. */
const PINGS_AT_A_TIME = 24;
const CAPTURE_POLL_MS = 10;

/** A pod as the pings see it. */
export interface Station {
  /** of its node */
  readonly name: string;
  readonly podNamespace: string;
  readonly podAddress: Address;
  /** of its node, on the underlay */
  readonly publicIP: Address;
}

export interface PairResult extends PingSummary {
  readonly from: string;
  readonly to: string;
}

export interface Probe {
  readonly pairs: readonly PairResult[];
  /** every pair was seen in VXLAN between the switch's ports, and none outside of it */
  readonly encapsulated: boolean;
  /** one of the packets, as tcpdump would print it */
  readonly capture: string | undefined;
}

/** Pings every pod from every other, and watches on the switch how the packets travel. */
export async function probePairs(
  stations: readonly Station[],
  switchNamespace: string,
  signal: AbortSignal,
): Promise<Probe> {
  const evidence = new OverlayEvidence(stations);
  using capture = new PacketCapture(namespacePath(switchNamespace));
  const look = () => {
    for (const frame of capture.frames()) evidence.observe(frame, () => capture.timeOfLast());
  };
  const timer = setInterval(look, CAPTURE_POLL_MS);
  try {
    const ordered = stations.flatMap((from) => stations.filter((to) => to !== from).map((to) => ({ from, to })));
    const pairs = await inParallel(ordered, { limit: PINGS_AT_A_TIME, signal }, async ({ from, to }, either) => ({
      from: from.name,
      to: to.name,
      ...(await ping(from.podNamespace, to.podAddress, either)),
    }));
    look();
    return { pairs, encapsulated: evidence.encapsulated, capture: evidence.line };
  } finally {
    clearInterval(timer);
  }
}
