import type { Database } from "bun:sqlite";
import { encodeAttributes } from "../../src/lease/wire.ts";
import type { Address } from "../../src/net/address.ts";
import { type Mac, macFromBytes } from "../../src/net/mac.ts";

const PEERS = 5_000;
/** The numbers below it are left for the agent itself. */
export const FIRST_PEER = 256;

/** A made-up node for the benchmarks. */
export interface Peer {
  readonly key: string;
  /** first address of its /24 */
  readonly subnet: Address;
  readonly publicIP: Address;
  readonly mac: Mac;
}

/** @param generation another one gives another MAC and public address for the same subnet */
export function makePeer(number: number, generation = 0): Peer {
  const [high, low] = [number >> 8, number & 255];
  const subnet = `10.${100 + high}.${low}.0` as Address;
  return {
    key: `${subnet}-24`,
    subnet,
    publicIP: `172.${16 + (generation % 16)}.${high}.${low}` as Address,
    mac: macFromBytes(Uint8Array.of(0x02, generation & 255, 0, 0, high, low)),
  };
}

/** As many as each part of the bench has. */
export function makePeers(): Peer[] {
  return Array.from({ length: PEERS }, (_, number) => makePeer(FIRST_PEER + number));
}

/** flannel's record of it. */
export function peerValue({ publicIP, mac }: Peer): string {
  return encodeAttributes({ publicIPs: { 4: publicIP }, backendType: "vxlan", vteps: { 4: { vni: 1, mac } } });
}

/** Writes the peers' leases in one transaction. */
export function putPeers(store: Database, peers: readonly Peer[]): void {
  const columns = "key, value, node, created_at, expires_at";
  const insert = store.prepare(
    `INSERT INTO leases (${columns}) VALUES (?, ?, NULL, ?, ?)
     ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at`,
  );
  store.transaction(() => {
    const now = Date.now();
    for (const peer of peers) insert.run(peer.key, peerValue(peer), now, now + 86_400_000);
  })();
}
