import { formatPrefix } from "../../net/prefix.ts";
import type { PathFacts } from "../../probe/records.ts";
import { gauges, type MetricSpec, type PeerSeen, type Sample, type Scrape, seconds } from "./spec.ts";

// A node may have two leases for a while, with etcd after it came back with another subnet: the subnet tells them apart.
const LABELS = ["peer", "family", "subnet"];
const PATH_LABELS = [...LABELS, "path"];

/** With --peer-metrics: series of each peer, which are as many as there are nodes times nodes in a cluster. */
export const EACH_PEER_METRICS: Readonly<Record<string, MetricSpec>> = {
  tartan_peer_programmed: gauges("1 while the kernel has what belongs to this peer.", LABELS, ({ peers }) =>
    eachFamily(peers, ({ state, has }) => (has === undefined ? undefined : Number(state !== "notProgrammed"))),
  ),
  tartan_peer_up: gauges("1 while this peer answers through the overlay.", LABELS, ({ peers }) =>
    eachFamily(peers, ({ state }) =>
      state === "unknown" ? undefined : Number(state === "up" || state === "degraded"),
    ),
  ),
  tartan_peer_loss_ratio: gauges("Share of the last probes without an answer.", PATH_LABELS, (scrape) =>
    eachPath(scrape, ({ sent, received }) => (sent === 0 ? undefined : 1 - received / sent)),
  ),
  tartan_peer_rtt_seconds: gauges("Median round-trip time of the last probes.", PATH_LABELS, (scrape) =>
    eachPath(scrape, ({ p50Ms }) => seconds(p50Ms)),
  ),
  tartan_peer_last_success_timestamp_seconds: gauges("When a probe was last answered.", PATH_LABELS, (scrape) =>
    eachPath(scrape, ({ lastSuccessAt }) => seconds(lastSuccessAt)),
  ),
};

type Part = PeerSeen["families"][number];

function labelsOf({ key, node }: PeerSeen, { family, subnet }: Part): readonly string[] {
  return [node ?? key, `ipv${family}`, formatPrefix(subnet)];
}

function* eachFamily(peers: readonly PeerSeen[], value: (part: Part) => number | undefined): Generator<Sample> {
  for (const peer of peers) {
    for (const part of peer.families) {
      const found = value(part);
      if (found !== undefined) yield [labelsOf(peer, part), found];
    }
  }
}

function* eachPath({ facts, peers }: Scrape, value: (path: PathFacts) => number | undefined): Generator<Sample> {
  for (const peer of peers) {
    for (const part of peer.families) {
      const found = facts.probes?.of(peer.key, part.family);
      if (found === undefined) continue;
      const labels = labelsOf(peer, part);
      for (const path of ["overlay", "underlay"] as const) {
        const one = value(found[path]);
        if (one !== undefined) yield [[...labels, path], one];
      }
    }
  }
}
