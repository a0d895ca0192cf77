import type { Address } from "../../net/address.ts";
import { type Family, familiesOf, type PerFamily } from "../../net/family.ts";
import { watchFrames } from "./capture.ts";
import { OverlayEvidence } from "./evidence.ts";
import { inParallel } from "./parallel.ts";
import { PINGS_AT_A_TIME, type PingSummary, ping } from "./ping.ts";
import type { LabNode } from "./plan.ts";

/** A pod as the pings see it. */
export interface Station {
  readonly node: LabNode;
  readonly families: PerFamily<StationFamily>;
}

interface StationFamily {
  readonly podAddress: Address;
  /** of its node, in CIDR notation */
  readonly subnet: string;
  /** of its node, on the underlay */
  readonly publicIP: Address;
}

export interface PairResult extends PingSummary {
  readonly from: string;
  readonly to: string;
  readonly family: Family;
}

export interface Probe {
  readonly pairs: readonly PairResult[];
  /** every pair was seen in VXLAN between the switch's ports, and none outside of it */
  readonly encapsulated: boolean;
  /** one of the packets of each family, as tcpdump would print it */
  readonly capture: string | undefined;
}

/** Pings every pod from every other, and watches on the switch how the packets travel. */
export async function probePairs(
  stations: readonly Station[],
  switchNamespace: string,
  signal: AbortSignal,
): Promise<Probe> {
  const evidence = new OverlayEvidence(stations.flatMap(({ families }) => Object.values(families)));
  using watch = watchFrames([switchNamespace], (frame, time) => evidence.observe(frame, time));
  const pairs = await inParallel(pairsOf(stations), { limit: PINGS_AT_A_TIME, signal }, async (pair, either) => {
    const { from, to, family, address } = pair;
    return { from: from.name, to: to.name, family, ...(await ping(from.podNamespace, address, either)) };
  });
  watch.look();
  return { pairs, encapsulated: evidence.encapsulated, capture: evidence.lines };
}

/** Every pod with every other, in each family. */
function pairsOf(stations: readonly Station[]) {
  return stations.flatMap(({ node: from }) =>
    stations.flatMap(({ node: to, families }) =>
      familiesOf(from === to ? {} : families).flatMap((family) => {
        const address = families[family]?.podAddress;
        return address === undefined ? [] : [{ from, to, family, address }];
      }),
    ),
  );
}
