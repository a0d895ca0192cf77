import { afterEach, beforeAll, describe, expect, test } from "bun:test";
import { UsageError } from "../../src/base/errors.ts";
import { type KubernetesOptions, openKubernetes } from "../../src/lease/kube.ts";
import type { Lease } from "../../src/lease/lease.ts";
import { LeaseLostError, type LeaseRequest, type LeaseSource } from "../../src/lease/source.ts";
import { type KubeCluster, useKubernetes } from "../support/kube.ts";
import { describeWithKubernetes } from "../support/kube-binaries.ts";
import { expectUsually } from "../support/usual-time.ts";
import { eventually } from "../support/wait.ts";
import { Follower } from "./follower.ts";
import { annotationsOf, createPublished, openInPod, PREFIX, podCIDRsOf, podEnvironment } from "./kube-sample.ts";
import { address, attributesOf, macOf, NETWORK, networkOf, requestOf } from "./samples.ts";

const never = new AbortController().signal;

describeWithKubernetes("Kubernetes", () => {
  const kubernetes = useKubernetes();
  const opened: LeaseSource[] = [];
  let cluster: KubeCluster;

  beforeAll(async () => {
    cluster = await kubernetes.start();
  });

  afterEach(async () => {
    for (const source of opened.splice(0)) source.close();
    await cluster.deleteAllNodes();
  });

  async function open(n: number, options: Partial<KubernetesOptions> = {}): Promise<LeaseSource> {
    const source = await openInPod(cluster, `node-${n}`, options);
    opened.push(source);
    return source;
  }

  const acquire = (source: LeaseSource, n: number, changes: Partial<LeaseRequest> = {}): Promise<Lease> =>
    source.acquire(requestOf(n, changes), NETWORK, never);

  const published = async (name: string) => {
    const { annotations } = (await cluster.node(name)).metadata;
    return Object.fromEntries(Object.entries(annotations).filter(([key]) => key.startsWith(PREFIX)));
  };

  const until = (source: LeaseSource, text: string) =>
    eventually(() => source.contact.error?.message.includes(text), { within: 10_000, what: `the source says ${text}` });

  describe("our own Node", () => {
    test("publishes what flannel would, byte for byte, and is written to only when something changes", async () => {
      await cluster.createNode("node-1", { spec: podCIDRsOf(1), annotations: { "example.com/other": "x" } });
      const source = await open(1);
      const lease = await acquire(source, 1);
      expect(await published("node-1")).toEqual(annotationsOf(1));
      const { metadata } = await cluster.node("node-1");
      expect(metadata.annotations).toHaveProperty(["example.com/other"], "x");
      expect(lease).toMatchObject({ key: "node-1", node: "node-1", createdAt: Date.parse(metadata.creationTimestamp) });
      await acquire(await open(1), 1, { vteps: { 4: { vni: 1, mac: macOf(77) } } });
      expect((await cluster.node("node-1")).metadata.resourceVersion).toBe(metadata.resourceVersion);
    });

    test("takes over from flanneld: same MAC, same subnet", async () => {
      await createPublished(cluster, 1);
      const lease = await acquire(await open(1), 1, { vteps: { 4: { vni: 1, mac: macOf(77) } } });
      expect(lease.vteps[4]?.mac).toBe(macOf(1));
      expect(await published("node-1")).toEqual(annotationsOf(1));
    });

    test("publishes a changed public address, VNI or backend, and the other nodes see it", async () => {
      await createPublished(cluster, 1);
      await createPublished(cluster, 2);
      const source = await open(1);
      await using follower = new Follower(await open(2));
      await follower.untilKeys(["node-1", "node-2"]);
      const moved = await acquire(source, 1, { publicIPs: { 4: address("198.51.100.1") } });
      expect(moved).toMatchObject({ publicIPs: { 4: "198.51.100.1" }, vteps: { 4: { vni: 1, mac: macOf(1) } } });
      const isMoved = ({ leases }: { leases: readonly Lease[] }) => leases[0]?.publicIPs[4] === "198.51.100.1";
      await follower.until("the new address", isMoved);
      await acquire(source, 1, { vteps: { 4: { vni: 9, mac: macOf(99) } } });
      expect((await published("node-1"))[`${PREFIX}backend-data`]).toBe(`{"VNI":9,"VtepMAC":"${macOf(99)}"}`);
      await acquire(source, 1, { backendType: "host-gw", vteps: {} });
      expect(await published("node-1")).toEqual({
        ...annotationsOf(1),
        [`${PREFIX}backend-type`]: "host-gw",
        [`${PREFIX}backend-data`]: "null",
      });
    });

    test("publishes an administrator's address instead, also one that is set later", async () => {
      await cluster.createNode("node-1", {
        spec: podCIDRsOf(1),
        annotations: { [`${PREFIX}public-ip-overwrite`]: "198.51.100.1" },
      });
      const source = await open(1);
      await using follower = new Follower(source);
      expect((await acquire(source, 1)).publicIPs).toEqual({ 4: address("198.51.100.1") });
      expect(await published("node-1")).toEqual({
        ...annotationsOf(1),
        [`${PREFIX}public-ip`]: "198.51.100.1",
        [`${PREFIX}public-ip-overwrite`]: "198.51.100.1",
      });
      await follower.untilKeys(["node-1"]);
      await cluster.annotate("node-1", { [`${PREFIX}public-ip-overwrite`]: "198.51.100.2" });
      // That makes the keeper take the lease again.
      await follower.until(
        "that it is to be published anew",
        ({ rejected }) => rejected[0]?.reason.includes("198.51.100.2") === true,
      );
      expect((await acquire(source, 1)).publicIPs).toEqual({ 4: address("198.51.100.2") });
      await follower.untilKeys(["node-1"]);
      await cluster.annotate("node-1", { [`${PREFIX}public-ip-overwrite`]: null });
      const ownAddress = `${attributesOf(1).publicIPs[4]}`;
      await follower.until(
        "that the node's own address is to be published again",
        ({ rejected }) => rejected[0]?.reason === `annotation ${PREFIX}public-ip is to be ${ownAddress}`,
      );
      expect((await acquire(source, 1)).publicIPs).toEqual({ 4: address(ownAddress) });
      await follower.untilKeys(["node-1"]);
      // What makes no sense changes nothing that is published.
      await cluster.annotate("node-1", { [`${PREFIX}public-ip-overwrite`]: "x" });
      await follower.untilKeys(["node-1"]);
      await expect(acquire(source, 1)).rejects.toThrow(`${PREFIX}public-ip-overwrite must be a unicast IPv4 address`);
    });

    test("has another MAC when an older node has the proposed one, or the published one", async () => {
      await createPublished(cluster, 1);
      await cluster.createNode("node-2", {
        spec: podCIDRsOf(2),
        annotations: {
          ...annotationsOf(2),
          [`${PREFIX}backend-data`]: annotationsOf(1)[`${PREFIX}backend-data`] ?? "",
        },
      });
      const source = await open(2);
      await using follower = new Follower(source);
      const isLeftOut = ({ rejected }: { rejected: readonly { reason: string }[] }) =>
        rejected[0]?.reason === `its VTEP MAC ${macOf(1)} is that of the older lease node-1`;
      await follower.until("that the younger one is left out", isLeftOut);
      expect((await acquire(source, 2)).vteps[4]?.mac).toBe(macOf(2));
      await follower.untilKeys(["node-1", "node-2"]);
    });

    test("that is not there is awaited, and then its podCIDR, and it is told what is missing", async () => {
      for (const watches of [false, true]) {
        await expectUsually(3000, async () => {
          const source = await open(1);
          await using _follower = watches ? new Follower(source) : undefined;
          const taking = acquire(source, 1);
          await until(source, "there is no Node node-1 at https://");
          await cluster.createNode("node-1");
          await until(source, "Node node-1 has no podCIDR yet");
          expect(await published("node-1")).toEqual({});
          await cluster.request("PATCH", "/api/v1/nodes/node-1", { spec: podCIDRsOf(1) });
          const setAt = performance.now();
          expect((await taking).subnets[4]?.address).toBe(address("10.244.1.0"));
          const taken = performance.now() - setAt;
          expect(source.contact.error).toBeUndefined();
          await cluster.deleteAllNodes();
          return [taken];
        });
      }
    });

    test("is not waited for by somebody who gave up", async () => {
      const stop = new AbortController();
      const source = await open(1);
      const taking = source.acquire(requestOf(1), NETWORK, stop.signal);
      await until(source, "there is no Node node-1");
      stop.abort(new Error("given up"));
      await expect(taking).rejects.toThrow("given up");
      expect(source.contact.error).toBeUndefined();
    });

    test("with a podCIDR outside of the network is refused with both", async () => {
      await createPublished(cluster, 1);
      const source = await open(1);
      const network = networkOf({ 4: { network: "10.99.0.0/16" } });
      await expect(source.acquire(requestOf(1), network, never)).rejects.toThrow(
        "the podCIDR 10.244.1.0/24 of Node node-1 lies outside Network 10.99.0.0/16; set Network in net-conf.json to the --cluster-cidr",
      );
      const dual = networkOf({ 4: { network: "10.244.0.0/16" }, 6: { network: "fd00::/48" } });
      await expect(source.acquire(requestOf(1), dual, never)).rejects.toThrow(
        "Node node-1 has no IPv6 podCIDR (only 10.244.1.0/24)",
      );
    });

    test("that was spoilt, or is another one by now, has lost its lease", async () => {
      await createPublished(cluster, 1);
      const source = await open(1);
      const lease = await acquire(source, 1);
      expect(await source.renew(lease, never)).toEqual(lease);
      await cluster.annotate("node-1", { [`${PREFIX}public-ip`]: "198.51.100.77" });
      await expect(source.renew(lease, never)).rejects.toThrow(
        "the annotations of Node node-1 were changed by someone else",
      );
      await cluster.annotate("node-1", { [`${PREFIX}backend-data`]: "garbage" });
      await expect(source.renew(lease, never)).rejects.toThrow(LeaseLostError);
      expect(await acquire(source, 1)).toEqual({ ...lease, vteps: { 4: { vni: 1, mac: macOf(1) } } });
      await cluster.deleteNode("node-1");
      await cluster.createNode("node-1", { spec: podCIDRsOf(99), annotations: annotationsOf(1) });
      await expect(source.renew(lease, never)).rejects.toThrow("Node node-1 has another podCIDR now, 10.244.99.0/24");
      expect((await acquire(source, 1)).subnets[4]?.address).toBe(address("10.244.99.0"));
    });

    test("is found by the pod's name, and has an address set for it", async () => {
      await cluster.createNode("node-1", {
        annotations: { [`${PREFIX}node-public-ip`]: "198.51.100.1" },
        spec: podCIDRsOf(1),
      });
      await cluster.request("POST", "/api/v1/namespaces/kube-flannel/pods", {
        metadata: { name: "agent-x" },
        spec: { nodeName: "node-1", containers: [{ name: "a", image: "none" }] },
      });
      const environment = { ...podEnvironment(cluster), POD_NAME: "agent-x", POD_NAMESPACE: "kube-flannel" };
      const source = await open(1, { environment });
      expect((await source.settings(never)).publicIPs).toEqual({ 4: address("198.51.100.1") });
      const { node: _node, ...nameless } = requestOf(1);
      expect((await source.acquire(nameless, NETWORK, never)).node).toBe("node-1");
      await cluster.annotate("node-1", { [`${PREFIX}node-public-ip`]: "x" });
      await expect(source.settings(never)).rejects.toThrow(
        `annotation ${PREFIX}node-public-ip must be a unicast IPv4 address`,
      );
      const lost = await open(1, { environment: { ...environment, POD_NAME: "agent-y" } });
      await expect(lost.settings(never)).rejects.toThrow("there is no pod agent-y at https://");
    });

    test("must be named somehow, and the prefix be one", async () => {
      const options = {
        annotationPrefix: "flannel.alpha.coreos.com",
        setNodeNetworkUnavailable: true,
        readNetwork: async () => ({ config: NETWORK, warnings: [] }),
      };
      expect(() => openKubernetes({ ...options, environment: { POD_NAME: "x" } })).toThrow(UsageError);
      expect(() => openKubernetes({ ...options, environment: { NODE_NAME: "x" }, annotationPrefix: "x" })).toThrow(
        UsageError,
      );
    });
  });

  describe("the NetworkUnavailable condition", () => {
    const condition = async () => {
      const { conditions } = (await cluster.node("node-1")).status;
      return conditions.find(({ type }) => type === "NetworkUnavailable");
    };
    const unavailable = {
      status: { conditions: [{ type: "NetworkUnavailable", status: "True", reason: "NoRouteCreated" }] },
    };

    test("is false once the node is ready, also on a Node that is made anew", async () => {
      await cluster.createNode("node-1", { spec: podCIDRsOf(1), ...unavailable });
      const source = await open(1);
      await acquire(source, 1);
      expect(await condition()).toMatchObject({ status: "True" });
      await source.announceReady(never);
      expect(await condition()).toMatchObject({
        status: "False",
        reason: "FlannelIsUp",
        message: "Flannel is running on this node",
      });
      await cluster.deleteNode("node-1");
      await cluster.createNode("node-1", { spec: podCIDRsOf(1), ...unavailable });
      await acquire(source, 1);
      await eventually(async () => (await condition())?.["status"] === "False", {
        within: 20_000,
        what: "it is set again",
      });
    });

    test("is set when that becomes possible, and is left alone if so wished", async () => {
      const source = await open(1);
      const announcing = source.announceReady(never);
      await until(source, "can't set the Node's NetworkUnavailable condition, trying again: there is no Node node-1");
      await cluster.createNode("node-1", unavailable);
      await announcing;
      expect(source.contact.error).toBeUndefined();
      expect(await condition()).toMatchObject({ status: "False" });
      await cluster.deleteNode("node-1");
      await cluster.createNode("node-1", unavailable);
      await (await open(1, { setNodeNetworkUnavailable: false })).announceReady(never);
      expect(await condition()).toMatchObject({ status: "True" });
    });
  });

  describe("other Nodes", () => {
    test("whose annotations turn bad keep their last good lease, one that never had good ones is left out", async () => {
      await createPublished(cluster, 1);
      await createPublished(cluster, 2);
      await cluster.createNode("node-3", {
        spec: podCIDRsOf(3),
        annotations: { ...annotationsOf(3), [`${PREFIX}backend-data`]: '{"VNI":"x"}' },
      });
      await cluster.createNode("node-4", { spec: podCIDRsOf(4) });
      await using follower = new Follower(await open(1));
      const first = await follower.untilKeys(["node-1", "node-2"]);
      expect(first.rejected).toMatchObject([
        { key: "node-3", reason: expect.stringContaining('VNI must be a whole number from 0 to 16777215, not "x"') },
      ]);
      await cluster.annotate("node-2", { [`${PREFIX}backend-data`]: '{"VNI":"x"}' });
      const second = await follower.until("the spoilt one is told", ({ rejected }) => rejected.length === 2);
      expect(second.leases).toEqual(first.leases);
      await cluster.annotate("node-3", { [`${PREFIX}backend-data`]: annotationsOf(3)[`${PREFIX}backend-data`] ?? "" });
      await follower.untilKeys(["node-1", "node-2", "node-3"]);
      await cluster.deleteNode("node-2");
      expect((await follower.untilKeys(["node-1", "node-3"])).rejected).toEqual([]);
    });

    test("that come back with the same name have their new podCIDR", async () => {
      await createPublished(cluster, 1);
      await createPublished(cluster, 2);
      await using follower = new Follower(await open(1));
      await follower.untilKeys(["node-1", "node-2"]);
      await cluster.deleteNode("node-2");
      await cluster.createNode("node-2", { spec: podCIDRsOf(200), annotations: annotationsOf(2) });
      const isNew = ({ leases }: { leases: readonly Lease[] }) =>
        leases[1]?.subnets[4]?.address === address("10.244.200.0");
      await follower.until("the new podCIDR", isNew);
    });

    test("get their podCIDR after their annotations", async () => {
      await createPublished(cluster, 1);
      await using follower = new Follower(await open(1));
      await follower.untilKeys(["node-1"]);
      await cluster.createNode("node-2", { annotations: annotationsOf(2) });
      await follower.until(
        "that it has none yet",
        ({ rejected }) => rejected[0]?.reason === "the Node has no podCIDR yet",
      );
      await cluster.request("PATCH", "/api/v1/nodes/node-2", { spec: podCIDRsOf(2) });
      expect((await follower.untilKeys(["node-1", "node-2"])).rejected).toEqual([]);
    });

    test("make no snapshot by their heartbeats", async () => {
      await createPublished(cluster, 1);
      await createPublished(cluster, 2);
      await using follower = new Follower(await open(1));
      await follower.untilKeys(["node-1", "node-2"]);
      const { count } = follower;
      for (let beat = 0; beat < 30; beat++) {
        const conditions = [{ type: "Ready", status: "True", lastHeartbeatTime: new Date(beat * 1000).toISOString() }];
        await cluster.request("PATCH", `/api/v1/nodes/node-${1 + (beat % 2)}/status`, { status: { conditions } });
      }
      await cluster.deleteNode("node-2");
      await follower.untilKeys(["node-1"]);
      expect(follower.count).toBe(count + 1);
    });

    test("may be many: 500 join within a second, and are listed in pages", async () => {
      await createPublished(cluster, 1);
      await using follower = new Follower(await open(1), networkOf({ 4: { network: "10.0.0.0/8" } }));
      await follower.untilKeys(["node-1"]);
      const rest = Array.from({ length: 509 }, (_, i) => i + 2);
      const keys = ["node-1", ...rest.map((n) => `node-${n}`)];
      const workers = Array.from({ length: 16 }, async () => {
        for (let n = rest.pop(); n !== undefined; n = rest.pop()) {
          const podCIDR = `10.${n >> 8}.${n & 255}.0/24`;
          await cluster.createNode(`node-${n}`, {
            annotations: annotationsOf(n),
            spec: { podCIDR, podCIDRs: [podCIDR] },
          });
        }
      });
      await Promise.all(workers);
      const { rejected } = await follower.untilKeys(keys);
      expect(rejected).toEqual([]);
      await using late = new Follower(await open(1), networkOf({ 4: { network: "10.0.0.0/8" } }));
      expect((await late.until("the first snapshot", () => true)).leases.map(({ key }) => key)).toEqual(keys.sort());
    });
  });
});
