import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  annotationsOf,
  BACKEND_DATA,
  PREFIX,
  PUBLIC_IP,
  podCIDR,
  publishedNode,
} from "../support/flannel/annotations.ts";
import { asFlanneld } from "../support/flannel/entries.ts";
import { KubeCluster } from "../support/kube.ts";
import { describeWithKubernetes } from "../support/kube-binaries.ts";
import { Overlay } from "../support/overlay.ts";
import { withoutLoss } from "../support/ping.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

describeInNamespaces("agents that keep their leases in Kubernetes", () => {
  describeWithKubernetes("of its own network, with flannel's service account", () => {
    // Before the folder goes: what still runs would write into it again.
    afterAll(async () => {
      await cluster?.[Symbol.asyncDispose]();
      overlay[Symbol.dispose]();
    });

    const folder = useTemporaryFolder();
    const overlay = new Overlay(folder.path);
    let cluster: KubeCluster;

    beforeAll(async () => {
      await overlay.create(0);
      cluster = await KubeCluster.start({ place: { ns: await overlay.addHost(250), address: "192.0.2.250" } });
      const kubeconfig = await cluster.kubeconfig({ token: await cluster.token() });
      overlay.leases = ["--kube-subnet-mgr", `--kubeconfig-file=${kubeconfig}`, `--net-config-path=${overlay.netConf}`];
      for (const number of [1, 2]) await overlay.addNode(number);
      // Older than n1, with the same podCIDR, and no lease at first.
      await cluster.createNode("n8", { spec: podCIDR("10.244.1.0/24") });
    });

    const published = async (name: string) => {
      const { annotations } = (await cluster.node(name)).metadata;
      return Object.fromEntries(Object.entries(annotations).filter(([key]) => key.startsWith(PREFIX)));
    };

    test("wait for their Node and its podCIDR, and go on when it comes", async () => {
      const { agent } = overlay.node(1);
      agent.spawn();
      const isTold = (text: string) => async () =>
        (await agent.readiness()).reasons.some(({ message }) => message.includes(text));
      await eventually(isTold("there is no Node n1"), {
        within: 10_000,
        what: "readiness says that the Node is missing",
      });
      await cluster.createNode("n1");
      await eventually(isTold("Node n1 has no podCIDR yet"), {
        within: 30_000,
        what: "readiness says what is missing",
      });
      expect((await agent.readiness()).status).toBe(503);
      await cluster.request("PATCH", "/api/v1/nodes/n1", { spec: podCIDR("10.244.1.0/24") });
      await agent.ready(3_000);
    });

    test("reach each other; what they publish is flannel's, the network is there for all to see", async () => {
      await cluster.createNode("n2", { spec: podCIDR("10.244.2.0/24") });
      await overlay.node(2).agent.start();
      await Promise.all(overlay.nodes.map(({ agent }) => agent.settled(2)));
      await overlay.attachPods();
      await overlay.withoutLoss(async () => {});
      const { ipv4, key, node } = await overlay.node(1).agent.lease();
      expect([key, node, ipv4.subnet]).toEqual(["n1", "n1", "10.244.1.0/24"]);
      expect(await published("n1")).toEqual(annotationsOf("192.0.2.1", ipv4.vtepMAC));
      await eventually(
        async () =>
          (await cluster.node("n1")).status.conditions.some(
            ({ type, status, reason }) =>
              type === "NetworkUnavailable" && status === "False" && reason === "FlannelIsUp",
          ),
        { within: 15_000, what: "the condition is set" },
      );
      expect(overlay.node(1).agent.log).not.toContain(await cluster.token());
    });

    test("a node that follows flannel's recipe by hand is reached, and reaches", async () => {
      const ns = await overlay.addHost(9);
      const mac = "02:00:00:00:00:09";
      const peer = await overlay.node(1).agent.lease();
      const own = { subnet: "10.244.9.0/24", publicIP: "192.0.2.9", mac };
      const { ip, bridge } = asFlanneld(4, own, [{ ...peer.ipv4, mac: peer.ipv4.vtepMAC }]);
      await ns.exec(["ip", "-batch", "-"], ip.join("\n"));
      await ns.exec(["bridge", "-batch", "-"], bridge.join("\n"));
      await cluster.createNode("n9", { spec: podCIDR("10.244.9.0/24") });
      await cluster.annotate("n9", annotationsOf("192.0.2.9", mac));
      await overlay.node(1).agent.settled(3);
      await withoutLoss(ns, overlay.node(1).podAddress, async () => {});
      await withoutLoss(overlay.node(1).pod, "10.244.9.0", async () => {});
      await cluster.deleteNode("n9");
      await overlay.node(1).agent.settled(2);
    });

    test("what somebody does to a node's own annotations is mended, and no packet is lost", async () => {
      const before = await published("n1");
      const isBack = async () => Bun.deepEquals(await published("n1"), before);
      await overlay.withoutLoss(async () => {
        await cluster.annotate("n1", { [BACKEND_DATA]: "nonsense", [PUBLIC_IP]: null });
        await eventually(isBack, { within: 10_000, what: "the annotations are back" });
        await cluster.annotate("n1", Object.fromEntries(Object.keys(before).map((key) => [key, null])));
        await eventually(isBack, { within: 10_000, what: "all of them are back" });
      });
      await Promise.all(overlay.nodes.map(({ agent }) => agent.settled(2)));
    });

    test("a Node that is deleted and made anew is taken again", async () => {
      const before = await published("n1");
      await cluster.deleteNode("n1");
      await overlay.node(2).agent.settled(1);
      await cluster.createNode("n1", { spec: podCIDR("10.244.1.0/24") });
      await Promise.all(overlay.nodes.map(({ agent }) => agent.settled(2, 30_000)));
      expect(await published("n1")).toEqual(before);
      await overlay.withoutLoss(async () => {});
    });

    test("an administrator's address is published while it runs; without it the next start publishes the node's own", async () => {
      const overwrite = `${PREFIX}public-ip-overwrite`;
      const isPublished = (address: string) =>
        eventually(async () => (await published("n2"))[PUBLIC_IP] === address, {
          within: 10_000,
          what: `${address} is published`,
        });
      await cluster.annotate("n2", { [overwrite]: "192.0.2.222" });
      await isPublished("192.0.2.222");
      await cluster.annotate("n2", { [overwrite]: null });
      await isPublished("192.0.2.2");
      await eventually(async () => (await overlay.node(1).agent.leases())[1]?.ipv4.publicIP === "192.0.2.2", {
        within: 10_000,
        what: "the other node follows",
      });
      await Promise.all(overlay.nodes.map((node) => node.agent.settled(2)));
      await overlay.withoutLoss(async () => {});
    });

    /** The routes of ours on the first node, by destination. */
    const routes = async () => {
      const text = await overlay.node(1).ns.exec(["ip", "route", "show", "dev", "flannel.1"]);
      return text.split("\n").flatMap((line) => line.split(" ")[0] || []);
    };

    /** While a node's own lease does not count it follows those that come, and removes nothing. */
    const followsOthers = async (): Promise<void> => {
      const { agent } = overlay.node(1);
      const isSettled = async (come: string[]) => {
        const [leases, { reconcile }] = [await agent.leases(), await agent.state()];
        return reconcile.settled && come.every((name) => leases.some(({ key }) => key === name));
      };
      for (const number of [77, 78]) await cluster.createNode(`n${number}`, publishedNode(number));
      await eventually(() => isSettled(["n77", "n78"]), { within: 10_000, what: "it follows the nodes that come" });
      await cluster.annotate("n78", annotationsOf("192.0.2.178", "02:00:00:00:00:78"));
      const forwarding = () => overlay.node(1).ns.exec(["bridge", "fdb", "show", "dev", "flannel.1"]);
      await eventually(async () => (await forwarding()).includes("02:00:00:00:00:78 dst 192.0.2.178 "), {
        within: 10_000,
        what: "it follows one that moves",
      });
      await cluster.deleteNode("n77");
      await eventually(async () => !(await agent.leases()).some(({ key }) => key === "n77"), {
        within: 10_000,
        what: "it knows of the one that went",
      });
      expect(await routes()).toEqual(expect.arrayContaining(["10.244.2.0/24", "10.244.77.0/24", "10.244.78.0/24"]));
      expect((await agent.readiness()).ready).toBe(true);
      await cluster.deleteNode("n78");
    };

    const followsAgain = async (): Promise<void> => {
      const { agent } = overlay.node(1);
      await agent.warned("lease", false);
      await agent.settled(2);
      await eventually(async () => Bun.deepEquals(await routes(), ["10.244.2.0/24"]), {
        within: 10_000,
        what: "it removes what was left",
      });
    };

    test("a node whose subnet an older one takes says so, follows the others, and sends nothing of its subnet away", async () => {
      const { agent } = overlay.node(1);
      // It would believe the winner, and send it what is for the first node.
      overlay.node(2).agent.signal("SIGSTOP");
      try {
        await overlay.withoutLoss(async () => {
          await cluster.annotate("n8", annotationsOf("192.0.2.8", "02:00:00:00:00:08"));
          expect(await agent.warned("lease", true)).toContain("its subnet 10.244.1.0/24 overlaps 10.244.1.0/24 of");
          await followsOthers();
          expect(await routes()).not.toContain("10.244.1.0/24");
          expect(await agent.warnings("peers")).toContain(
            "lease n8 of n8 is left out: its subnet 10.244.1.0/24 overlaps this node's own",
          );
          await cluster.deleteNode("n8");
          await followsAgain();
        });
      } finally {
        overlay.node(2).agent.signal("SIGCONT");
      }
      await overlay.node(2).agent.settled(2);
    });

    test("a node whose address an older one claims says that it is left out, also after a restart", async () => {
      const overwrite = `${PREFIX}public-ip-overwrite`;
      // n1's Node was made anew above.
      const [older, younger] = [2, 1].map((number) => overlay.node(number).agent);
      const claim = "its public address 192.0.2.1 is that of the older lease";
      await cluster.annotate("n2", { [overwrite]: "192.0.2.1" });
      expect(await younger?.warned("lease", true)).toContain(claim);
      await followsOthers();
      const forwarding = await overlay.node(1).ns.exec(["bridge", "fdb", "show", "dev", "flannel.1"]);
      expect(forwarding).toContain(" dst 192.0.2.2 ");
      expect(forwarding).not.toContain(" dst 192.0.2.1 ");
      await younger?.stop();
      younger?.spawn();
      await eventually(
        async () => (await younger?.readiness())?.reasons.some(({ message }) => message.includes(claim)),
        { within: 10_000, what: "it says why it is not ready" },
      );
      await cluster.annotate("n2", { [overwrite]: null });
      await Promise.all([older, younger].map((agent) => agent?.settled(2, 30_000)));
      await followsAgain();
      await overlay.withoutLoss(async () => {});
    });

    test("an administrator's address that makes no sense is told at once, and the one that is published stays", async () => {
      const { agent } = overlay.node(2);
      const overwrite = `${PREFIX}public-ip-overwrite`;
      await overlay.withoutLoss(async () => {
        await cluster.annotate("n2", { [overwrite]: "nonsense" });
        expect(await agent.warned("lease", true)).toContain(
          `this node's lease n2 stays as it was: Node n2: annotation ${overwrite} must be a unicast IPv4 address`,
        );
        expect((await agent.readiness()).ready).toBe(true);
        await cluster.createNode("n77", publishedNode(77));
        await agent.settled(3);
        await cluster.deleteNode("n77");
        await agent.settled(2);
        await cluster.annotate("n2", { [overwrite]: null });
        await agent.warned("lease", false);
      });
      expect((await published("n2"))[PUBLIC_IP]).toBe("192.0.2.2");
    });

    test("a node whose annotations can't be published any more says why", async () => {
      const { agent } = overlay.node(2);
      const overwrite = `${PREFIX}public-ip-overwrite`;
      await cluster.annotate("n2", { [overwrite]: "nonsense", [PUBLIC_IP]: null });
      expect(await agent.warned("lease", true)).toContain(`annotation ${PUBLIC_IP} is missing`);
      await cluster.annotate("n2", { [overwrite]: null });
      await agent.warned("lease", false);
      expect((await published("n2"))[PUBLIC_IP]).toBe("192.0.2.2");
    });
  });
});
