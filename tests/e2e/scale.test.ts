import { afterAll, beforeAll, expect, test } from "bun:test";
import { makePeer, putPeers } from "../bench/peers.ts";
import { openStore } from "../support/agent.ts";
import { Overlay } from "../support/overlay.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

const PEERS = 5_000;

/** What only one of them has. */
function difference(found: readonly string[], wanted: readonly string[]): string[] {
  return [...new Set(found).symmetricDifference(new Set(wanted))];
}

describeInNamespaces("5,000 peers", () => {
  const overlay = new Overlay(useTemporaryFolder().path);
  const peers = Array.from({ length: PEERS }, (_, number) => makePeer(256 + number));

  beforeAll(async () => {
    await overlay.create(1, { Network: "10.0.0.0/8", SubnetLen: 24, Backend: { Type: "vxlan" } });
    await overlay.start();
  });

  afterAll(() => overlay[Symbol.dispose]());

  const kernel = async (): Promise<{ routes: string[]; neighbours: string[]; forwarding: string[] }> => {
    const { ns } = overlay.node(1);
    const lines = async (command: string[]): Promise<string[]> =>
      (await ns.exec(command)).split("\n").filter(Boolean).sort();
    return {
      routes: (await lines(["ip", "-4", "route", "show", "dev", "flannel.1"])).map((line) =>
        line.replace(/ proto \d+/, "").trim(),
      ),
      neighbours: (await lines(["ip", "-4", "neigh", "show", "dev", "flannel.1"])).map((line) => line.trim()),
      forwarding: (await lines(["bridge", "fdb", "show", "dev", "flannel.1"])).map((line) => line.trim()),
    };
  };

  test("all 15,000 entries are in the kernel, and nothing beyond them; all are gone when the leases are", async () => {
    const { agent } = overlay.node(1);
    using store = openStore(overlay.store);
    putPeers(store, peers);
    await agent.settled(PEERS + 1, 60_000);
    const found = await kernel();
    expect(
      difference(
        found.routes,
        peers.map(({ subnet }) => `${subnet}/24 via ${subnet} onlink`),
      ),
    ).toEqual([]);
    expect(
      difference(
        found.neighbours,
        peers.map(({ subnet, mac }) => `${subnet} lladdr ${mac} PERMANENT`),
      ),
    ).toEqual([]);
    expect(
      difference(
        found.forwarding,
        peers.map(({ mac, publicIP }) => `${mac} dst ${publicIP} self permanent`),
      ),
    ).toEqual([]);
    const reads = (await agent.state()).reconcile.fullReads;
    putPeers(store, [makePeer(300, 1)]);
    const { mac, publicIP } = makePeer(300, 1);
    await agent.settled(PEERS + 1);
    await eventually(async () => (await kernel()).forwarding.includes(`${mac} dst ${publicIP} self permanent`), {
      within: 15_000,
      what: "the changed peer is programmed",
    });
    expect((await agent.state()).reconcile.fullReads).toBe(reads);
    // Nothing at level 0 is told for each peer.
    expect(agent.log.split("\n").length).toBeLessThan(40);
    store.run("DELETE FROM leases WHERE node IS NULL");
    await agent.settled(1, 60_000);
    // Our lease is a new one, so the agent waits a while for leases that may be on their way back.
    await eventually(async () => Bun.deepEquals(await kernel(), { routes: [], neighbours: [], forwarding: [] }), {
      within: 30_000,
      what: "no entry is left",
    });
  }, 180_000);
});
