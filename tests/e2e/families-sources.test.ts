import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Family } from "../../src/net/family.ts";
import { describeWithEtcd, EtcdServer } from "../support/etcd.ts";
import { KubeCluster } from "../support/kube.ts";
import { describeWithKubernetes } from "../support/kube-binaries.ts";
import { Overlay } from "../support/overlay.ts";
import { startPing } from "../support/ping.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

/** The lease sources hold both families, in flannel's forms. */

const PREFIX = "flannel.alpha.coreos.com/";
const SUBNETS = "/coreos.com/network/subnets";
const IPV6 = { EnableIPv6: true, IPv6Network: "fd00:10:244::/48" };
const DUAL = { Network: "10.244.0.0/16", ...IPV6 };
const VXLAN = { Backend: { Type: "vxlan" } };

async function expectPods(overlay: Overlay, families: readonly Family[]): Promise<void> {
  for (const family of families) {
    const ping = startPing(overlay.node(1).pod, overlay.node(2).podAddresses[family] ?? "");
    await ping.answers(10, 10_000);
    await ping.stop();
  }
}

describeInNamespaces("etcd", () => {
  const CASES: readonly (readonly [string, readonly Family[], object])[] = [
    ["both families", [4, 6], { ...DUAL, ...VXLAN }],
    ["IPv6 alone", [6], { EnableIPv4: false, ...IPV6, ...VXLAN }],
  ];
  for (const [name, families, config] of CASES) {
    describeWithEtcd(`holds leases of ${name}`, () => {
      // Before the folder goes: what still runs would write into it again.
      afterAll(async () => {
        await etcd?.[Symbol.asyncDispose]();
        overlay[Symbol.dispose]();
      });

      const folder = useTemporaryFolder();
      const overlay = new Overlay(folder.path, [4, 6]);
      let etcd: EtcdServer;

      beforeAll(async () => {
        await overlay.create(0);
        etcd = await EtcdServer.start({ place: { ns: await overlay.addHost(250), address: "192.0.2.250" } });
        await etcd.ctl(["put", "/coreos.com/network/config", JSON.stringify(config)]);
        overlay.leases = [`--etcd-endpoints=${etcd.endpoint}`];
        // No probes: they would tell of the node that is made up below.
        for (const number of [1, 2]) await overlay.addNode(number, ["--probe-interval=0"]);
        await overlay.start();
        await overlay.attachPods();
      });

      test("under flannel's key, with flannel's value, and pods reach each other", async () => {
        await expectPods(overlay, families);
        const { lease } = await overlay.node(1).agent.state();
        const [ipv4, ipv6] = [lease?.ipv4, lease?.ipv6];
        const dashed = (subnet = "") => subnet.replace("/", "-");
        const has4 = families.includes(4);
        expect(lease?.key).toBe(`${has4 ? dashed(ipv4?.subnet) : "0.0.0.0-0"}&${dashed(ipv6?.subnet)}`);
        const [value] = (await etcd.ctl(["get", "--print-value-only", `${SUBNETS}/${lease?.key}`])).split("\n");
        const data = has4 ? `"BackendData":{"VNI":1,"VtepMAC":"${ipv4?.vtepMAC}"},` : "";
        expect(value).toBe(
          `{"PublicIP":"${has4 ? "192.0.2.1" : "0.0.0.0"}","PublicIPv6":"2001:db8::1","BackendType":"vxlan",${data}` +
            `"BackendV6Data":{"VNI":1,"VtepMAC":"${ipv6?.vtepMAC}"}}`,
        );
      });

      test("and a node of flannel's is programmed in each family", async () => {
        const has4 = families.includes(4);
        const key = `${has4 ? "10.244.199.0-24" : "0.0.0.0-0"}&fd00:10:244:c7::-64`;
        const data = has4 ? '"BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:04:c7"},' : "";
        const value =
          `{"PublicIP":"${has4 ? "192.0.2.199" : "0.0.0.0"}","PublicIPv6":"2001:db8::c7","BackendType":"vxlan",${data}` +
          '"BackendV6Data":{"VNI":1,"VtepMAC":"02:00:00:00:06:c7"}}';
        await etcd.ctl(["put", `${SUBNETS}/${key}`, value]);
        const { agent, ns } = overlay.node(1);
        await agent.settled(3);
        const run = async (...command: string[]) => (await ns.exec(command)).replaceAll(/ +/g, " ");
        expect(await run("ip", "-6", "route", "show", "dev", "flannel-v6.1", "proto", "all")).toContain(
          "fd00:10:244:c7::/64 via fd00:10:244:c7:: proto",
        );
        expect(await run("ip", "-6", "neigh", "show", "dev", "flannel-v6.1")).toContain(
          "fd00:10:244:c7:: lladdr 02:00:00:00:06:c7 PERMANENT",
        );
        expect(await run("bridge", "fdb", "show", "dev", "flannel-v6.1")).toContain(
          "02:00:00:00:06:c7 dst 2001:db8::c7 self permanent",
        );
        if (has4) {
          expect(await run("bridge", "fdb", "show", "dev", "flannel.1")).toContain(
            "02:00:00:00:04:c7 dst 192.0.2.199 self permanent",
          );
        }
        expect((await agent.readiness()).warnings).toEqual([]);
      });
    });
  }
});

describeInNamespaces("Kubernetes", () => {
  describeWithKubernetes("holds leases of both families", () => {
    // Before the folder goes: what still runs would write into it again.
    afterAll(async () => {
      await cluster?.[Symbol.asyncDispose]();
      overlay[Symbol.dispose]();
    });

    const folder = useTemporaryFolder();
    const overlay = new Overlay(folder.path, [4, 6]);
    let cluster: KubeCluster;

    beforeAll(async () => {
      await overlay.create(0);
      const place = { ns: await overlay.addHost(250), address: "192.0.2.250" };
      cluster = await KubeCluster.start({ place, dualStack: true });
      const kubeconfig = await cluster.kubeconfig({ token: await cluster.token() });
      overlay.leases = ["--kube-subnet-mgr", `--kubeconfig-file=${kubeconfig}`, `--net-config-path=${overlay.netConf}`];
      for (const number of [1, 2]) {
        const podCIDRs = [`10.244.${number}.0/24`, `fd00:10:244:${number}::/64`];
        await cluster.createNode(`n${number}`, { spec: { podCIDR: podCIDRs[0], podCIDRs } });
        await overlay.addNode(number);
      }
      await overlay.start();
      await overlay.attachPods();
    });

    const published = async (name: string) => {
      const { annotations } = (await cluster.node(name)).metadata;
      return Object.fromEntries(Object.entries(annotations).filter(([key]) => key.startsWith(PREFIX)));
    };

    test("in flannel's annotations, and pods reach each other", async () => {
      await expectPods(overlay, [4, 6]);
      const { lease } = await overlay.node(1).agent.state();
      expect(await published("n1")).toEqual({
        [`${PREFIX}backend-data`]: `{"VNI":1,"VtepMAC":"${lease?.ipv4.vtepMAC}"}`,
        [`${PREFIX}backend-v6-data`]: `{"VNI":1,"VtepMAC":"${lease?.ipv6.vtepMAC}"}`,
        [`${PREFIX}backend-type`]: "vxlan",
        [`${PREFIX}kube-subnet-manager`]: "true",
        [`${PREFIX}public-ip`]: "192.0.2.1",
        [`${PREFIX}public-ipv6`]: "2001:db8::1",
      });
      expect(lease).toMatchObject({ ipv4: { subnet: "10.244.1.0/24" }, ipv6: { subnet: "fd00:10:244:1::/64" } });
    });

    test("with the IPv6 address that an administrator set, which the others send to", async () => {
      const { ns } = overlay.node(1);
      const forwarding = async () => ns.exec(["bridge", "fdb", "show", "dev", "flannel-v6.1"]);
      expect(await forwarding()).toContain("dst 2001:db8::2");
      await cluster.annotate("n2", { [`${PREFIX}public-ipv6-overwrite`]: "2001:db8::22" });
      await eventually(async () => (await forwarding()).includes("dst 2001:db8::22"), {
        within: 15_000,
        what: "the overwritten address is sent to",
      });
      expect((await published("n2"))[`${PREFIX}public-ip`]).toBe("192.0.2.2");
      await cluster.annotate("n2", { [`${PREFIX}public-ipv6-overwrite`]: null });
      const { agent } = overlay.node(2);
      await agent.stop();
      await cluster.annotate("n2", { [`${PREFIX}node-public-ipv6`]: "2001:db8::33" });
      await agent.start();
      await eventually(async () => (await forwarding()).includes("dst 2001:db8::33"), {
        within: 15_000,
        what: "the address set for the node is sent to",
      });
      // It is on no interface: what the node itself sends comes from its own one.
      expect(await overlay.node(2).ns.exec(["ip", "-d", "link", "show", "flannel-v6.1"])).toContain(
        "local 2001:db8::2 ",
      );
    });
  });

  describeWithKubernetes("with a Node that lacks an IPv6 podCIDR", () => {
    afterAll(async () => {
      await cluster?.[Symbol.asyncDispose]();
      overlay[Symbol.dispose]();
    });

    const folder = useTemporaryFolder();
    const overlay = new Overlay(folder.path, [4, 6]);
    let cluster: KubeCluster;

    test("says so and is not ready", async () => {
      await overlay.create(0);
      cluster = await KubeCluster.start({ place: { ns: await overlay.addHost(250), address: "192.0.2.250" } });
      const kubeconfig = await cluster.kubeconfig({ token: await cluster.token() });
      overlay.leases = ["--kube-subnet-mgr", `--kubeconfig-file=${kubeconfig}`, `--net-config-path=${overlay.netConf}`];
      await cluster.createNode("n1", { spec: { podCIDR: "10.244.1.0/24", podCIDRs: ["10.244.1.0/24"] } });
      const { agent } = await overlay.addNode(1);
      agent.spawn();
      const why = "Node n1 has no IPv6 podCIDR (only 10.244.1.0/24), but net-conf.json has IPv6Network";
      const isTold = async () => (await agent.readiness()).reasons.some(({ message }) => message.includes(why));
      await eventually(isTold, { within: 15_000, what: "readiness says what is missing" });
      expect((await agent.readiness()).ready).toBe(false);
    });
  });
});
