import { afterAll, beforeAll, expect, test } from "bun:test";
import { describeWithEtcd, EtcdServer } from "../support/etcd.ts";
import { asFlanneld } from "../support/flannel/entries.ts";
import { etcdValue } from "../support/flannel/leases.ts";
import { Overlay } from "../support/overlay.ts";
import { withoutLoss } from "../support/ping.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

/** New leases get one of the lowest 100 subnets; what the tests write themselves lies above. */
const SUBNETS = "/coreos.com/network/subnets";
const CONFIG = '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}';
const PASSWORD = "open-sesame";

/** The kernel tells entries in the order of a hash table, which grows as others on the machine add to theirs. */
const inOrder = (text: string): string[] => text.split("\n").sort();

describeInNamespaces("agents that keep their leases in etcd", () => {
  describeWithEtcd("of its own network", () => {
    // Before the folder goes: what still runs would write into it again.
    afterAll(async () => {
      await etcd?.[Symbol.asyncDispose]();
      overlay[Symbol.dispose]();
    });

    const folder = useTemporaryFolder();
    const overlay = new Overlay(folder.path);
    let etcd: EtcdServer;

    beforeAll(async () => {
      await overlay.create(0);
      etcd = await EtcdServer.start({ place: { ns: await overlay.addHost(250), address: "192.0.2.250" } });
      // Users are off there; the password is a test of what the agents tell.
      overlay.leases = [`--etcd-endpoints=${etcd.endpoint}`, "--etcd-username=me", `--etcd-password=${PASSWORD}`];
      for (const number of [1, 2]) await overlay.addNode(number);
    });

    test("are alive, and say what they wait for, while etcd swallows what it is sent", async () => {
      const { ns, agent } = overlay.node(1);
      // As a firewall that drops: nobody answers, not even that there is nobody.
      await ns.exec(["nft", "add table inet fw; add chain inet fw out { type filter hook output priority 0; }"]);
      await ns.exec(["nft", "add rule inet fw out tcp dport 2379-65535 ip daddr 192.0.2.250 drop"]);
      agent.spawn();
      await eventually(
        async () => (await agent.readiness()).reasons.some(({ message }) => message.includes("has not answered yet")),
        { within: 15_000, what: "readiness says who does not answer" },
      );
      const { turns } = (await agent.state()).reconcile;
      await eventually(async () => (await agent.state()).reconcile.turns > turns, {
        within: 15_000,
        what: "the loop turns",
      });
      await ns.exec(["nft", "delete table inet fw"]);
      await agent.stop();
    });

    test("wait for the network's configuration, and go on when it comes", async () => {
      const { agent } = overlay.node(1);
      agent.spawn();
      const isTold = async () =>
        (await agent.readiness()).reasons.some(({ message }) =>
          message.includes("etcdctl put /coreos.com/network/config"),
        );
      await eventually(isTold, { within: 10_000, what: "readiness says what to do" });
      await etcd.ctl(["put", "/coreos.com/network/config", CONFIG]);
      await agent.ready(30_000);
    });

    test("reach each other, and their leases are flannel's", async () => {
      await overlay.node(2).agent.start();
      await Promise.all(overlay.nodes.map(({ agent }) => agent.settled(2)));
      await overlay.attachPods();
      await overlay.withoutLoss(async () => {});
      const { ipv4, key, node } = await overlay.node(1).agent.lease();
      expect(node).toBeNull();
      const [value] = (await etcd.ctl(["get", "--print-value-only", `${SUBNETS}/${key}`])).split("\n");
      expect(value).toBe(etcdValue("192.0.2.1", ipv4.vtepMAC));
    });

    test("do not tell the password", async () => {
      const state = await (await overlay.node(1).agent.fetch("/debug/state")).text();
      expect(state).toContain(etcd.endpoint);
      expect(state).not.toContain(PASSWORD);
      expect(overlay.node(1).agent.log).not.toContain(PASSWORD);
    });

    test("a node that follows flannel's recipe by hand is reached, and reaches", async () => {
      const ns = await overlay.addHost(9);
      const mac = "02:00:00:00:00:09";
      const peer = await overlay.node(1).agent.lease();
      const own = { subnet: "10.244.199.0/24", publicIP: "192.0.2.9", mac };
      const { ip, bridge } = asFlanneld(4, own, [{ ...peer.ipv4, mac: peer.ipv4.vtepMAC }]);
      await ns.exec(["ip", "-batch", "-"], ip.join("\n"));
      await ns.exec(["bridge", "-batch", "-"], bridge.join("\n"));
      await etcd.ctl(["put", `${SUBNETS}/10.244.199.0-24`, etcdValue("192.0.2.9", mac)]);
      await overlay.node(1).agent.settled(3);
      await withoutLoss(ns, overlay.node(1).podAddress, async () => {});
      await withoutLoss(overlay.node(1).pod, "10.244.199.0", async () => {});
      await etcd.ctl(["del", `${SUBNETS}/10.244.199.0-24`]);
      await overlay.node(1).agent.settled(2);
    });

    test("a lease that somebody deletes ends its agent with code 1; the state stays, and a start takes it again", async () => {
      const { agent, ns } = overlay.node(1);
      const before = await agent.lease();
      const kernel = async () => [
        await ns.exec(["ip", "-o", "link", "show", "flannel.1"]),
        await ns.exec(["ip", "route", "show", "dev", "flannel.1"]),
        inOrder(await ns.exec(["bridge", "fdb", "show", "dev", "flannel.1"])),
        inOrder(await ns.exec(["ip", "neighbour", "show", "dev", "flannel.1", "nud", "permanent"])),
      ];
      const state = await kernel();
      await etcd.ctl(["del", `${SUBNETS}/${before.key}`]);
      await eventually(() => agent.exitCode !== null, { within: 10_000, what: "the agent ends" });
      expect(agent.exitCode).toBe(1);
      expect(agent.log).toContain(`stopping: lease ${before.key} is gone from etcd: its key was deleted`);
      expect(await kernel()).toEqual(state);
      await overlay.node(2).agent.settled(1);
      await agent.start();
      expect(await agent.lease()).toEqual(before);
      await Promise.all(overlay.nodes.map((node) => node.agent.settled(2)));
      await overlay.withoutLoss(async () => {});
    });
  });
});
