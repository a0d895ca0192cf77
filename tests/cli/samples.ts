import type { Peer, PeerState } from "../../src/api/peers.ts";

/** A peer as the agent tells of it. */
export function samplePeer(number: number, changes: Partial<Peer> = {}): Peer {
  const path = { sent: 10, received: 10, lossPercent: 0, lastMs: 0.3, p50Ms: 0.25, p99Ms: 0.9, lastSuccessAt: null };
  const [high, low] = [Math.floor(number / 250), number % 250];
  return {
    key: `10.244.${number}.0-24`,
    node: `node-${number}`,
    state: "up",
    since: "2026-11-26T05:00:00.000Z",
    why: null,
    fix: null,
    ipv4: {
      subnet: `10.${high}.${low}.0/24`,
      publicIP: `192.0.${high}.${low}`,
      vtepMAC: "02:00:00:00:00:01",
      device: "flannel.1",
      kernel: { route: true, neighbour: true, forwarding: true },
      probe: {
        verdict: "reachable",
        since: null,
        lastProbedAt: null,
        overlay: path,
        underlay: path,
        mtu: { bytes: 1450, passes: true, lastCheckedAt: null },
      },
    },
    ...changes,
  };
}

/** Peers of which some are in trouble, sorted as the agent does. */
export function samplePeers(count: number, bad: PeerState = "down"): Peer[] {
  return Array.from({ length: count }, (_, at) => {
    const isBad = at < count / 10;
    return samplePeer(
      at,
      isBad ? { state: bad, why: `the public address answers, and the overlay does not (${at})` } : {},
    );
  });
}
