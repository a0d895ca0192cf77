import { afterAll, beforeAll, expect, test } from "bun:test";
import { openStore } from "../support/agent.ts";
import { Overlay } from "../support/overlay.ts";
import { startPing } from "../support/ping.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

describeInNamespaces("an agent that stops, is killed and starts again", () => {
  const overlay = new Overlay(useTemporaryFolder().path);

  beforeAll(async () => {
    await overlay.create(3);
    await overlay.start();
    await overlay.attachPods();
  });

  afterAll(() => overlay[Symbol.dispose]());

  const deviceIndex = async (): Promise<string> =>
    (await overlay.node(1).ns.exec(["ip", "-o", "link", "show", "flannel.1"])).split(":")[0] ?? "";

  for (const signal of ["SIGKILL", "SIGTERM", "SIGINT"] as const) {
    test(`${signal}: pods lose no packet, the device keeps its index, the MAC and the subnet stay`, async () => {
      const { agent, pod } = overlay.node(1);
      const before = { index: await deviceIndex(), lease: (await agent.state()).lease };
      const ping = startPing(pod, overlay.node(2).podAddress);
      await ping.answers(10, 10_000);
      const stoppedAt = performance.now();
      const code = await agent.stop(signal);
      if (signal !== "SIGKILL") {
        expect(code).toBe(0);
        expect(performance.now() - stoppedAt).toBeLessThan(1_000);
      }
      await ping.answers(10, 10_000);
      await agent.start();
      await agent.settled(3);
      await ping.answers(10, 10_000);
      const { sent, received } = await ping.stop();
      expect(received).toBe(sent);
      expect({ index: await deviceIndex(), lease: (await agent.state()).lease }).toMatchObject({
        index: before.index,
        lease: { ipv4: before.lease?.ipv4 ?? {} },
      });
    });
  }

  test("a peer that left while the agent was down is gone, the others and foreign routes stay", async () => {
    const { agent, ns } = overlay.node(1);
    const gone = (await overlay.node(3).agent.state()).lease;
    const kept = (await overlay.node(2).agent.state()).lease;
    if (!gone || !kept) throw new Error("a node has no lease");
    await ns.exec(["ip", "route", "add", "203.0.113.0/24", "via", "192.0.2.200"]);
    await agent.stop("SIGKILL");
    await overlay.node(3).agent.stop();
    using store = openStore(overlay.store);
    store.run("DELETE FROM leases WHERE key = ?", [gone.key]);
    await agent.start();
    const entries = async () => [
      await ns.exec(["ip", "route", "show"]),
      await ns.exec(["bridge", "fdb", "show", "dev", "flannel.1"]),
      await ns.exec(["ip", "neigh", "show", "dev", "flannel.1"]),
    ];
    const isOfThePeer = (text: string) => text.includes(gone.ipv4.subnet) || text.includes(gone.ipv4.vtepMAC);
    await eventually(async () => !(await entries()).some(isOfThePeer), {
      within: 10_000,
      what: "the route to the peer that left is gone, and so are its other entries",
    });
    const [routes] = await entries();
    expect(routes).toContain(kept.ipv4.subnet);
    expect(routes).toContain("203.0.113.0/24 via 192.0.2.200");
  });

  test("a wiped store prunes nothing, and the leases come back as they were", async () => {
    const { agent, pod } = overlay.node(1);
    await agent.settled(2);
    const before = (await agent.leases()).map(({ key }) => key).sort();
    const ping = startPing(pod, overlay.node(2).podAddress);
    await ping.answers(5, 10_000);
    using store = openStore(overlay.store);
    store.run("DELETE FROM leases");
    await eventually(async () => Bun.deepEquals((await agent.leases()).map(({ key }) => key).sort(), before), {
      within: 15_000,
      what: "both leases are back",
    });
    await ping.answers(20, 10_000);
    const { sent, received } = await ping.stop();
    expect(received).toBe(sent);
  });

  test("state that flanneld left is taken over in place, without a lost packet", async () => {
    const { agent, pod, ns } = overlay.node(1);
    await agent.settled(2);
    const peer = (await agent.leases()).find(({ node }) => node === "n2");
    if (!peer) throw new Error("node n2 has no lease");
    await agent.stop();
    // As flanneld makes it: no alias, no protocol.
    await ns.exec(["ip", "link", "set", "flannel.1", "alias", ""]);
    await ns.exec([
      "ip",
      "route",
      "replace",
      peer.ipv4.subnet,
      "via",
      peer.ipv4.subnet.replace("/24", ""),
      "dev",
      "flannel.1",
      "onlink",
    ]);
    await ns.exec(["ip", "route", "add", "10.244.250.0/24", "via", "10.244.250.0", "dev", "flannel.1", "onlink"]);
    const before = await deviceIndex();
    const ping = startPing(pod, overlay.node(2).podAddress);
    await ping.answers(10, 10_000);
    await agent.start();
    await agent.settled(2);
    await ping.answers(10, 10_000);
    const { sent, received } = await ping.stop();
    expect(received).toBe(sent);
    expect(await deviceIndex()).toBe(before);
    const routes = await ns.exec(["ip", "route", "show", "dev", "flannel.1"]);
    expect(routes).toContain(peer.ipv4.subnet);
    expect(routes).not.toContain("10.244.250.0/24");
  });
});
