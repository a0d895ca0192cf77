import { afterAll, beforeAll, expect, test } from "bun:test";
import { makePeer, putPeers } from "../bench/peers.ts";
import { openStore } from "../support/agent.ts";
import { Overlay } from "../support/overlay.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { tartan } from "./running-cli.ts";

const PEERS = 5_000;

describeInNamespaces("commands on a node of 5,000 peers", () => {
  const overlay = new Overlay(useTemporaryFolder().path);
  const peers = Array.from({ length: PEERS }, (_, number) => makePeer(256 + number));
  const run = (...args: string[]) => tartan(overlay.node(1), args);

  beforeAll(async () => {
    await overlay.create(1, { Network: "10.0.0.0/8", SubnetLen: 24, Backend: { Type: "vxlan" } }, [
      "--probe-interval=0",
    ]);
    await overlay.start();
    using store = openStore(overlay.store);
    putPeers(store, peers);
    await overlay.node(1).agent.settled(PEERS + 1, 60_000);
  });
  afterAll(() => overlay[Symbol.dispose]());

  test("show all of them, over all pages", async () => {
    const { items, next } = JSON.parse((await run("get", "desired")).stdout);
    expect({ count: items.length, next }).toEqual({ count: 3 * PEERS, next: null });
    const { stdout } = await run("peers");
    expect(stdout.trimEnd().split("\n")).toHaveLength(1 + PEERS + 1);
    expect(stdout).toContain("5000 peers: 5000 unknown; not probed\n");
    for (const line of stdout.split("\n")) expect(Bun.stringWidth(line)).toBeLessThanOrEqual(80);
  });

  test("find the one entry that is missing, with the agent and without it", async () => {
    const { ns, agent } = overlay.node(1);
    expect(await run("diff")).toMatchObject({ code: 0, stdout: "The kernel, read by this command, is as desired.\n" });
    await agent.stop();
    const { mac, subnet } = peers[PEERS - 1] ?? makePeer(0);
    await ns.exec(["bridge", "fdb", "del", mac, "dev", "flannel.1"]);
    const diff = await run("diff");
    expect(diff).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(new RegExp(`^\\+ {2}forwarding {2}${mac} on flannel.1 .*\n1 change`)),
    });
    expect((await run("peers")).stdout.split("\n")[1]).toMatch(new RegExp(`^${subnet}/24 .* lacks forwarding$`));
  });
});
