import { afterAll, beforeAll, expect, test } from "bun:test";
import type { AgentState } from "../support/agent.ts";
import { KubeCluster } from "../support/kube.ts";
import { describeWithKubernetes } from "../support/kube-binaries.ts";
import { Overlay } from "../support/overlay.ts";
import { startPing } from "../support/ping.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

const PREFIX = "flannel.alpha.coreos.com/";

/** What flannel writes for a node. */
const annotationsOf = (publicIP: string, mac: string): Record<string, string> => ({
  [`${PREFIX}backend-data`]: `{"VNI":1,"VtepMAC":"${mac}"}`,
  [`${PREFIX}backend-type`]: "vxlan",
  [`${PREFIX}kube-subnet-manager`]: "true",
  [`${PREFIX}public-ip`]: publicIP,
});

const podCIDR = (third: number) => ({ podCIDR: `10.244.${third}.0/24`, podCIDRs: [`10.244.${third}.0/24`] });

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
    });

    const leaseOf = ({ lease }: AgentState): NonNullable<AgentState["lease"]> => {
      if (lease === null) throw new Error("the agent has no lease");
      return lease;
    };
    const published = async (name: string) => {
      const { annotations } = (await cluster.node(name)).metadata;
      return Object.fromEntries(Object.entries(annotations).filter(([key]) => key.startsWith(PREFIX)));
    };
    const warnings = async (condition: string) =>
      (await overlay.node(1).agent.readiness()).warnings.filter((warning) => warning.condition === condition);
    /** Pings from pod to pod while something happens. @returns when not a packet was lost */
    const withoutLoss = async (happening: () => Promise<unknown>) => {
      const ping = startPing(overlay.node(1).pod, overlay.node(2).podAddress);
      await ping.answers(10, 10_000);
      await happening();
      await ping.answers(10, 10_000);
      const { sent, received } = await ping.stop();
      expect(received).toBe(sent);
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
      await cluster.request("PATCH", "/api/v1/nodes/n1", { spec: podCIDR(1) });
      await agent.ready(3_000);
    });

    test("reach each other; what they publish is flannel's, the network is there for all to see", async () => {
      await cluster.createNode("n2", { spec: podCIDR(2) });
      await overlay.node(2).agent.start();
      await Promise.all(overlay.nodes.map(({ agent }) => agent.settled(2)));
      await overlay.attachPods();
      await withoutLoss(async () => {});
      const { ipv4, key, node } = leaseOf(await overlay.node(1).agent.state());
      expect([key, node, ipv4.subnet]).toEqual(["n1", "n1", "10.244.1.0/24"]);
      expect(await published("n1")).toEqual(annotationsOf("192.0.2.1", ipv4.vtepMAC));
      await eventually(
        async () =>
          (await cluster.node("n1")).status.conditions.some(
            ({ type, status, reason }) =>
              type === "NetworkUnavailable" && status === "False" && reason === "FlannelIsUp",
          ),
        { within: 5_000, what: "the condition is set" },
      );
      expect(overlay.node(1).agent.log).not.toContain(await cluster.token());
    });

    test("the API server gone for a while: no packet is lost, a warning says why and since when", async () => {
      await withoutLoss(async () => {
        await cluster.signal("kube-apiserver", "SIGKILL");
        await eventually(async () => (await warnings("leaseSource")).length > 0, {
          within: 20_000,
          what: "the warning is there",
        });
        const [warning] = await warnings("leaseSource");
        expect(warning?.message).toMatch(
          /kubernetes https:\/\/192\.0\.2\.250:6443: last contact \d+ s ago: can't .* nodes/,
        );
        expect(await overlay.node(1).agent.readiness()).toMatchObject({ status: 200, ready: true });
        await cluster.restart();
        await eventually(async () => (await warnings("leaseSource")).length === 0, {
          within: 40_000,
          what: "it is gone again",
        });
      });
      // What happens there is followed again.
      await cluster.createNode("n7", {
        spec: podCIDR(7),
        annotations: annotationsOf("192.0.2.7", "02:00:00:00:00:07"),
      });
      await overlay.node(1).agent.settled(3);
      await cluster.deleteNode("n7");
      await overlay.node(1).agent.settled(2);
    });

    test("nonsense in other Nodes harms nobody", async () => {
      const bad = { ...annotationsOf("192.0.2.8", "02:00:00:00:00:08"), [`${PREFIX}backend-data`]: '{"VNI":"x"}' };
      await withoutLoss(async () => {
        await cluster.createNode("n8", { spec: podCIDR(8), annotations: bad });
        await eventually(async () => (await warnings("peers")).length > 0, { within: 5_000, what: "it is told" });
        expect((await warnings("peers"))[0]?.message).toContain("lease n8 of n8 is left out: annotation");
        await overlay.node(1).agent.settled(2);
      });
      await cluster.deleteNode("n8");
      await eventually(async () => (await warnings("peers")).length === 0, { within: 5_000, what: "it is gone" });
    });

    test("a node that follows flannel's recipe by hand is reached, and reaches", async () => {
      const ns = await overlay.addHost(9);
      const mac = "02:00:00:00:00:09";
      const peer = leaseOf(await overlay.node(1).agent.state());
      for (const command of [
        `ip link add flannel.1 address ${mac} mtu 1450 type vxlan id 1 local 192.0.2.9 dev eth0 dstport 8472 nolearning`,
        "ip address add 10.244.9.0/32 dev flannel.1",
        "ip link set flannel.1 up",
        `ip neighbour replace 10.244.1.0 lladdr ${peer.ipv4.vtepMAC} dev flannel.1 nud permanent`,
        `bridge fdb replace ${peer.ipv4.vtepMAC} dev flannel.1 dst 192.0.2.1 self permanent`,
        "ip route replace 10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink",
      ]) {
        await ns.exec(command.split(" "));
      }
      await cluster.createNode("n9", { spec: podCIDR(9) });
      await cluster.annotate("n9", annotationsOf("192.0.2.9", mac));
      await overlay.node(1).agent.settled(3);
      for (const ping of [startPing(ns, overlay.node(1).podAddress), startPing(overlay.node(1).pod, "10.244.9.0")]) {
        await ping.answers(10, 10_000);
        const { sent, received } = await ping.stop();
        expect(received).toBe(sent);
      }
      await cluster.deleteNode("n9");
      await overlay.node(1).agent.settled(2);
    });

    test("what somebody does to a node's own annotations is mended, and no packet is lost", async () => {
      const before = await published("n1");
      const isBack = async () => Bun.deepEquals(await published("n1"), before);
      await withoutLoss(async () => {
        await cluster.annotate("n1", { [`${PREFIX}backend-data`]: "nonsense", [`${PREFIX}public-ip`]: null });
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
      await cluster.createNode("n1", { spec: podCIDR(1) });
      await Promise.all(overlay.nodes.map(({ agent }) => agent.settled(2, 30_000)));
      expect(await published("n1")).toEqual(before);
      await withoutLoss(async () => {});
    });

    test("an administrator's address, and then a changed address of the interface, are published while it runs", async () => {
      const overwrite = `${PREFIX}public-ip-overwrite`;
      const isPublished = (address: string) => async () => (await published("n2"))[`${PREFIX}public-ip`] === address;
      await cluster.annotate("n2", { [overwrite]: "192.0.2.222" });
      await eventually(isPublished("192.0.2.222"), {
        within: 10_000,
        what: "the administrator's address is published",
      });
      await cluster.annotate("n2", { [overwrite]: null });
      const { ns, agent } = overlay.node(2);
      await ns.exec(["ip", "address", "del", "192.0.2.2/24", "dev", "eth0"]);
      await ns.exec(["ip", "address", "add", "192.0.2.102/24", "dev", "eth0"]);
      await eventually(isPublished("192.0.2.102"), {
        within: 60_000,
        what: "the interface's new address is published",
      });
      await agent.ready();
      const { agent: other } = overlay.node(1);
      const isFollowed = async () => (await other.state()).leases.some(({ ipv4 }) => ipv4.publicIP === "192.0.2.102");
      await eventually(isFollowed, { within: 10_000, what: "the other node follows" });
      await withoutLoss(async () => {});
      await cluster.createNode("n7", {
        spec: podCIDR(7),
        annotations: annotationsOf("192.0.2.7", "02:00:00:00:00:07"),
      });
      await agent.settled(3, 30_000);
    });
  });
});
