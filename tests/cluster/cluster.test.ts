import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import * as v from "valibot";
import { IMAGE } from "../../scripts/image/reference.ts";
import { Report } from "../../src/cli/doctor/report.ts";
import { OUTSIDE, TestCluster } from "../support/cluster/cluster.ts";
import { TestPod, WEB_PORT } from "../support/cluster/pod.ts";
import { describeWithCluster } from "../support/cluster/requirements.ts";
import { BUILD_TIMEOUT_MS, buildImage } from "../support/image.ts";
import { withoutLoss } from "../support/ping.ts";
import { eventually } from "../support/wait.ts";

const MANIFEST = join(import.meta.dir, "..", "..", "manifests", "tartan.yml");
const DAEMON_SET = "daemonset/kube-flannel-ds";
const SERVICE_ADDRESS = "10.96.10.10";
const HOST_PORT = 18080;
const SECOND = { on: "n2", labels: { app: "web" }, hostPort: HOST_PORT };
/** of a test in which the DaemonSet's pods are replaced, one node after the other, each ready for ten seconds */
const ROLLOUT_MS = 300_000;
setDefaultTimeout(120_000);

const Node = v.object({
  metadata: v.object({ annotations: v.record(v.string(), v.string()) }),
  spec: v.object({ podCIDR: v.string() }),
  status: v.object({ conditions: v.array(v.object({ type: v.string(), status: v.string() })) }),
});
const Events = v.object({ items: v.array(v.object({ reason: v.string(), message: v.string() })) });
const Agents = v.object({
  items: v.array(
    v.object({
      metadata: v.object({ name: v.string() }),
      spec: v.object({ nodeName: v.string(), containers: v.tuple([v.object({ image: v.string() })]) }),
    }),
  ),
});

const WEB_SERVICE = {
  apiVersion: "v1",
  kind: "Service",
  metadata: { name: "web" },
  spec: { clusterIP: SERVICE_ADDRESS, selector: { app: "web" }, ports: [{ port: 80, targetPort: WEB_PORT }] },
};

describeWithCluster("a real cluster", () => {
  let cluster: TestCluster;
  /** on n1 */
  let first: TestPod;
  /** on n2 */
  let second: TestPod;

  beforeAll(async () => {
    const image = await buildImage(process.arch === "arm64" ? "arm64" : "amd64");
    cluster = await TestCluster.start([image]);
    await cluster.addNode(1);
    await cluster.addNode(2);
    first = await TestPod.create(cluster, "first", { on: "n1" });
    second = await TestPod.create(cluster, "second", SECOND);
    for (const { name } of [first, second]) {
      await eventually(async () => (await reasonsOf(name)).includes("NetworkNotReady"), {
        within: 120_000,
        what: `the kubelet has ${name} wait for a network`,
      });
    }
    await cluster.kubectl.run(["apply", "-f", MANIFEST]);
    await cluster.nodesReady();
    await rolledOut();
    for (const pod of [first, second]) await pod.ready();
  }, BUILD_TIMEOUT_MS);
  afterAll(async () => cluster?.[Symbol.asyncDispose]());

  const kubectl = (...args: readonly string[]) => cluster.kubectl.run(args);
  const inFlannel = (...args: readonly string[]) => kubectl("--namespace=kube-flannel", ...args);
  const rolledOut = () => inFlannel("rollout", "status", DAEMON_SET, "--timeout=180s");

  async function reasonsOf(pod: string): Promise<string[]> {
    const { items } = await cluster.kubectl.get(Events, "events", `--field-selector=involvedObject.name=${pod}`);
    return items.map(({ reason }) => reason);
  }

  async function agents() {
    const { items } = await cluster.kubectl.get(Agents, "pods", "--namespace=kube-flannel", "--selector=app=flannel");
    return items.map(({ metadata: { name }, spec }) => ({ name, on: spec.nodeName, image: spec.containers[0].image }));
  }

  /** The names that containerd on a node has of the sandboxes that belong to a pod, whether they run or not. */
  async function sandboxesOf(pod: TestPod): Promise<string[]> {
    const { metadata, spec } = await pod.look();
    const filter = `labels."io.kubernetes.pod.uid"==${metadata.uid},labels."io.cri-containerd.kind"==sandbox`;
    return (await cluster.node(spec.nodeName).ctr("containers", "list", "--quiet", filter)).split("\n").filter(Boolean);
  }

  test("pods that are there before the agent wait for it, and start at once then", async () => {
    for (const pod of [first, second]) {
      expect(await reasonsOf(pod.name)).not.toContain("FailedCreatePodSandBox");
      expect(await sandboxesOf(pod)).toHaveLength(1);
      expect((await pod.look()).status.containerStatuses[0].restartCount).toBe(0);
    }
  });

  test.each([
    ["n1", "192.0.2.1"],
    ["n2", "192.0.2.2"],
  ])("%s uses the podCIDR that the controller gave it, and says that its network is there", async (name, address) => {
    const { metadata, spec, status } = await cluster.kubectl.get(Node, "node", name);
    const environment = await cluster.node(name).machine.exec(["cat", "/run/flannel/subnet.env"]);
    expect(environment).toContain(`FLANNEL_SUBNET=${spec.podCIDR.replace(/0\/24$/, "1/24")}\n`);
    expect(metadata.annotations["flannel.alpha.coreos.com/public-ip"]).toBe(address);
    expect(status.conditions).toContainEqual({ type: "NetworkUnavailable", status: "False" });
    const pod = name === "n1" ? first : second;
    expect(await pod.address()).toStartWith(spec.podCIDR.replace(/0\/24$/, ""));
  });

  test("the doctor in an agent's pod finds nothing wrong with its node, its rights and its API server", async () => {
    const [agent] = await agents();
    const text = await inFlannel("exec", agent?.name ?? "", "--", "tartan", "doctor", "-o", "json");
    const { configuration, findings } = v.parse(Report, JSON.parse(text));
    expect(findings.filter(({ status }) => status === "error" || status === "warning")).toEqual([]);
    expect(configuration).toEqual({ from: "the command line of flanneld (process 1)", leaseSource: "kubernetes" });
    const found = (name: string) => findings.find(({ check }) => check === name)?.status;
    for (const name of ["lease-source", "rights", "node", "clock", "cni-conf", "device"])
      expect(found(name)).toBe("ok");
  });

  test("pods of two nodes reach each other by ping and TCP", async () => {
    for (const [from, to] of [
      [first, second],
      [second, first],
    ] as const) {
      expect(await from.exec("ping", "-c", "3", "-W", "5", await to.address())).toContain("3 packets received");
      expect(await from.get(await to.address(), WEB_PORT)).toBe(to.name);
    }
  });

  test("nodes reach pods of the other node, and pods the other node", async () => {
    const { machine } = cluster.node("n1");
    expect(await machine.exec(["ping", "-c", "3", "-W", "5", await second.address()])).toContain("3 received");
    expect(await second.exec("ping", "-c", "3", "-W", "5", "192.0.2.1")).toContain("3 packets received");
  });

  test("a Service's address leads to its pod, from a pod of either node", async () => {
    await cluster.kubectl.run(["create", "-f=-"], JSON.stringify(WEB_SERVICE));
    for (const pod of [first, second]) {
      await eventually(async () => (await pod.get(SERVICE_ADDRESS, 80)) === second.name, {
        within: 30_000,
        what: `kube-proxy leads ${pod.name} to the Service`,
      });
    }
  });

  test("a hostPort leads to its pod, from outside and from a pod of the other node", async () => {
    const url = `http://192.0.2.2:${HOST_PORT}/`;
    expect((await cluster.gateway.exec(fetchCommand(url))).trim()).toBe(second.name);
    expect(await first.get("192.0.2.2", HOST_PORT)).toBe(second.name);
  });

  test("pods reach what is outside of the cluster under their node's address", async () => {
    for (const pod of [first, second]) {
      expect(await pod.exec("ping", "-c", "3", "-W", "5", OUTSIDE)).toContain("3 packets received");
    }
    // To a pod's own address nobody there could have answered.
    await expect(cluster.gateway.exec(["ip", "route", "get", await first.address()])).rejects.toThrow("unreachable");
  });

  test("kubectl exec and logs reach pods on both nodes", async () => {
    for (const pod of [first, second]) {
      expect(await pod.exec("cat", "/www/index.html")).toBe(`${pod.name}\n`);
      expect(await kubectl("logs", pod.name)).toBe(`${pod.name} serves\n`);
    }
  });

  test(
    "a node that is removed is gone for the others, and takes part again when it is added again",
    async () => {
      const routes = () => cluster.node("n1").machine.exec(["ip", "route", "show", "dev", "flannel.1"]);
      const { spec } = await cluster.kubectl.get(Node, "node", "n2");
      expect(await routes()).toContain(spec.podCIDR);
      await cluster.removeNode("n2");
      await second.forget();
      await eventually(async () => (await routes()) === "", { within: 30_000, what: "n1 has no route to n2's pods" });
      await cluster.addNode(2);
      await cluster.nodesReady();
      second = await TestPod.create(cluster, "second", SECOND);
      await second.ready();
      expect(await second.exec("ping", "-c", "3", "-W", "5", await first.address())).toContain("3 packets received");
      expect(await first.get(await second.address(), WEB_PORT)).toBe(second.name);
      expect(await sandboxesOf(second)).toHaveLength(1);
    },
    ROLLOUT_MS,
  );

  describe("a ping at 100 a second between pods loses nothing", () => {
    const lossless = async (happening: () => Promise<unknown>) => {
      const before = await agents();
      await withoutLoss(await first.network(), await second.address(), happening);
      const after = await agents();
      expect(after.map(({ on }) => on).sort()).toEqual(before.map(({ on }) => on).sort());
      for (const { name } of after) expect(before.map((agent) => agent.name)).not.toContain(name);
      return after;
    };

    test(
      "while the DaemonSet restarts",
      async () => {
        await lossless(async () => {
          await inFlannel("rollout", "restart", DAEMON_SET);
          await rolledOut();
        });
      },
      ROLLOUT_MS,
    );

    test(
      "while the DaemonSet changes to another image",
      async () => {
        const next = `${IMAGE}-next`;
        for (const node of cluster.nodes.values()) await node.ctr("images", "tag", IMAGE, next);
        const after = await lossless(async () => {
          await inFlannel("set", "image", DAEMON_SET, `kube-flannel=${next}`, `install-cni=${next}`);
          await rolledOut();
        });
        expect(after.map(({ image }) => image)).toEqual([next, next]);
      },
      ROLLOUT_MS,
    );
  });

  test(
    "pods of a node that has restarted wait for its agent, and leave no failed sandbox behind",
    async () => {
      const label = "tartan.test/agent=wanted";
      const patch = { spec: { template: { spec: { nodeSelector: Object.fromEntries([label.split("=")]) } } } };
      await kubectl("label", "node", "n1", label);
      await inFlannel("patch", DAEMON_SET, `--patch=${JSON.stringify(patch)}`);
      await eventually(async () => (await agents()).every(({ on }) => on !== "n2"), {
        within: 60_000,
        what: "n2 has no agent",
      });
      // A restart empties /run and leaves the conflist, by which the kubelet takes the network for ready.
      const { machine } = cluster.node("n2");
      await machine.exec(["rm", "/run/flannel/subnet.env"]);
      const third = await TestPod.create(cluster, "third", { on: "n2" });
      await eventually(async () => (await reasonsOf(third.name)).includes("FailedCreatePodSandBox"), {
        within: 120_000,
        what: "the pod can't get its network",
      });
      await kubectl("label", "node", "n2", label);
      await third.ready();
      expect(await third.exec("ping", "-c", "3", "-W", "5", await first.address())).toContain("3 packets received");
      expect(await sandboxesOf(third)).toHaveLength(1);
      const addresses = [await second.address(), await third.address()];
      const reserved = await machine.exec(["sh", "-c", "cd /var/lib/cni/networks/cbr0 && echo *.*.*.*"]);
      expect(reserved.trim().split(" ").sort()).toEqual(addresses.sort());
    },
    ROLLOUT_MS,
  );
});

/** Prints what a web server answers. */
const fetchCommand = (url: string) => [
  ...[process.execPath, "--eval"],
  `process.stdout.write(await (await fetch("${url}")).text())`,
];
