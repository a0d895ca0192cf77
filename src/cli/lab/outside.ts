import type { Address } from "../../net/address.ts";
import { type Family, familiesOf } from "../../net/family.ts";
import { watchFrames } from "./capture.ts";
import { ip } from "./ip.ts";
import type { LabHost } from "./lease-plan.ts";
import type { Station } from "./pairs.ts";
import { inParallel } from "./parallel.ts";
import { PINGS_AT_A_TIME, type PingSummary, ping } from "./ping.ts";
import { decodeFrame } from "./vxlan-packet.ts";

/** How a pod and the outside reach each other. */
export interface OutsideResult extends PingSummary {
  readonly node: string;
  readonly family: Family;
  /** from the pod to the outside, or the other way */
  readonly direction: "out" | "in";
  readonly reached: boolean;
  /** where the packets have to come from: out, from the node's address; in, from the outside's own */
  readonly sourceWanted: string;
  /** where they came from as the other end saw them; null if it saw none */
  readonly sourceSeen: string | null;
  readonly ok: boolean;
}

/** A ping between a pod and the outside. No two go to the same address. */
interface Way extends Pick<OutsideResult, "node" | "family" | "direction"> {
  /** network namespaces */
  readonly from: string;
  readonly to: string;
  readonly destination: Address;
  readonly sourceWanted: Address;
}

/**
 * Pings the outside from every pod, as long as it knows no way to the pods; then gives it a route to each node's pods,
 * and pings every pod from there.
 */
export async function probeOutside(
  stations: readonly Station[],
  outside: LabHost,
  signal: AbortSignal,
): Promise<OutsideResult[]> {
  const ways = stations.flatMap((station) => waysOf(station, outside));
  const out = await pingAll(
    ways.filter(({ direction }) => direction === "out"),
    signal,
  );
  await ip(stations.flatMap(routeCommands), { namespace: outside.namespace, signal });
  const back = await pingAll(
    ways.filter(({ direction }) => direction === "in"),
    signal,
  );
  return [...out, ...back];
}

function waysOf({ node, families }: Station, outside: LabHost): Way[] {
  return familiesOf(families).flatMap((family): Way[] => {
    const [station, address] = [families[family], node.outside[family]];
    if (station === undefined || address === undefined) return [];
    const [pod, host] = [node.podNamespace, outside.namespace];
    const { podAddress, publicIP } = station;
    const both = { node: node.name, family };
    return [
      { ...both, direction: "out", from: pod, to: host, destination: address, sourceWanted: publicIP },
      { ...both, direction: "in", from: host, to: pod, destination: podAddress, sourceWanted: address },
    ];
  });
}

/** `ip` commands for the outside's namespace: the way to a node's pods is by that node. */
function routeCommands({ node, families }: Station): string[] {
  return familiesOf(families).map((family) => {
    const { subnet, publicIP } = families[family] ?? {};
    return `route add ${subnet} via ${publicIP} dev eth0 src ${node.outside[family]}`;
  });
}

async function pingAll(ways: readonly Way[], signal: AbortSignal): Promise<OutsideResult[]> {
  const sources = new Map<string, Set<Address>>(ways.map(({ destination }) => [destination, new Set()]));
  const namespaces = [...new Set(ways.map(({ to }) => to))];
  using watch = watchFrames(namespaces, (frame) => {
    const { echo, outer } = decodeFrame(frame) ?? {};
    if (echo?.kind === "request" && outer === undefined) sources.get(echo.destination)?.add(echo.source);
  });
  const summaries = await inParallel(ways, { limit: PINGS_AT_A_TIME, signal }, ({ from, destination }, either) =>
    ping(from, destination, either),
  );
  watch.look();
  return ways.flatMap(({ node, family, direction, destination, sourceWanted }, at) => {
    const summary = summaries[at];
    if (summary === undefined) return [];
    const seen = [...(sources.get(destination) ?? [])].join(", ");
    const reached = summary.received > 0;
    const ok = reached && seen === sourceWanted;
    return [{ node, family, direction, ...summary, reached, sourceWanted, sourceSeen: seen || null, ok }];
  });
}
