import { afterEach, beforeAll, beforeEach, expect, test } from "bun:test";
import type { KubernetesOptions } from "../../src/lease/kube.ts";
import type { LeaseSource } from "../../src/lease/source.ts";
import { type KubeCluster, useKubernetes } from "../support/kube.ts";
import { describeWithKubernetes } from "../support/kube-binaries.ts";
import { TcpRelay } from "../support/tcp-relay.ts";
import { eventually } from "../support/wait.ts";
import { Follower } from "./follower.ts";
import { createPublished, openInPod, PREFIX } from "./kube-sample.ts";
import { address, NETWORK, requestOf } from "./samples.ts";

const never = new AbortController().signal;

describeWithKubernetes("Kubernetes in bad times", () => {
  const kubernetes = useKubernetes();
  const opened: LeaseSource[] = [];
  let cluster: KubeCluster;
  let relay: TcpRelay;

  beforeAll(async () => {
    cluster = await kubernetes.start();
  });

  beforeEach(() => {
    relay = new TcpRelay(cluster.port);
  });

  afterEach(async () => {
    for (const source of opened.splice(0)) source.close();
    relay[Symbol.dispose]();
    await cluster.deleteAllNodes();
  });

  /** A source whose connections go through the relay. */
  async function open(options: Partial<KubernetesOptions> = {}): Promise<LeaseSource> {
    const source = await openInPod(cluster, "node-1", { apiUrl: `https://127.0.0.1:${relay.port}`, ...options });
    opened.push(source);
    return source;
  }

  const out = (source: LeaseSource, within = 20_000) =>
    eventually(() => source.contact.error, { within, what: "the source notices" });
  const back = (source: LeaseSource, within = 30_000) =>
    eventually(() => source.contact.error === undefined, { within, what: "the source is in contact again" });

  test("connections that end are made anew, and what happened meanwhile is seen", async () => {
    await createPublished(cluster, 1);
    await createPublished(cluster, 2);
    const source = await open();
    await using follower = new Follower(source);
    await follower.untilKeys(["node-1", "node-2"]);
    const { count } = follower;
    relay.cut();
    await out(source);
    const { lastContactAt } = source.contact;
    await cluster.deleteNode("node-2");
    await createPublished(cluster, 3);
    relay.mend();
    await back(source);
    await follower.untilKeys(["node-1", "node-3"]);
    expect(source.contact.lastContactAt ?? 0).toBeGreaterThan(lastContactAt ?? Number.POSITIVE_INFINITY);
    // Two changes, and never an empty or a shorter list on the way.
    expect(follower.count).toBeLessThanOrEqual(count + 2);
  });

  test("a connection that stays open but says nothing is given up a little after its time", async () => {
    await createPublished(cluster, 1);
    const source = await open({ watchSeconds: [2, 2], graceMs: 500 });
    await using follower = new Follower(source);
    const keys = ["node-1"];
    await follower.untilKeys(keys);
    let isTold = false;
    source.onContact((error) => {
      isTold ||= error !== undefined;
    });
    // At a moment between two watches there is nothing that could be stalled.
    await eventually(
      async () => {
        relay.stall();
        keys.push((await createPublished(cluster, keys.length + 1)).metadata.name);
        const told = eventually(() => isTold, { within: 8_000, what: "the source notices" });
        return told.catch(() => false);
      },
      { within: 30_000, what: "the source notices that its watch does not end" },
    );
    await follower.untilKeys(keys);
    await back(source);
  });

  test("a connection that stays open but does not tell what we write is given up at once", async () => {
    await createPublished(cluster, 1);
    const source = await open();
    await using follower = new Follower(source);
    await source.acquire(requestOf(1), NETWORK, never);
    await follower.untilKeys(["node-1"]);
    relay.stall();
    await createPublished(cluster, 2);
    await source.acquire(requestOf(1, { publicIPs: { 4: address("198.51.100.1") } }), NETWORK, never);
    await follower.untilKeys(["node-1", "node-2"], 20_000);
    expect(follower.latest?.leases[0]?.publicIPs[4]).toBe(address("198.51.100.1"));
    await back(source);
  });

  test("watches that end in time are followed by others, without a word and without a gap", async () => {
    await createPublished(cluster, 1);
    const source = await open({ watchSeconds: [1, 1] });
    await using follower = new Follower(source);
    await follower.untilKeys(["node-1"]);
    for (let n = 2; n < 12; n++) {
      await createPublished(cluster, n);
      await Bun.sleep(250);
      expect(source.contact.error).toBeUndefined();
    }
    await follower.until("all of them", ({ leases }) => leases.length === 11);
  });

  test("a server that hangs", async () => {
    await createPublished(cluster, 1);
    const source = await open({ watchSeconds: [2, 2], graceMs: 500 });
    await using follower = new Follower(source);
    await follower.untilKeys(["node-1"]);
    await cluster.signal("kube-apiserver", "SIGSTOP");
    try {
      const { message } = await out(source, 40_000);
      // By the watch that was open, or by the next one if that had just ended.
      expect(message).toMatch(/the watch did not end when it should have|no answer within 10 s/);
      expect(follower.latest?.leases).toHaveLength(1);
    } finally {
      await cluster.signal("kube-apiserver", "SIGCONT");
    }
    await createPublished(cluster, 2);
    await follower.untilKeys(["node-1", "node-2"], 30_000);
    await back(source);
  });

  test("a server that hangs is found out long before its watch would have ended", async () => {
    await createPublished(cluster, 1);
    const source = await open({ quietMs: 1000 });
    await using follower = new Follower(source);
    await follower.untilKeys(["node-1"]);
    await cluster.signal("kube-apiserver", "SIGSTOP");
    try {
      expect((await out(source, 40_000)).message).toContain("no answer within 10 s");
    } finally {
      await cluster.signal("kube-apiserver", "SIGCONT");
    }
    await createPublished(cluster, 2);
    await follower.untilKeys(["node-1", "node-2"], 30_000);
    await back(source);
  });

  test("a server that is killed and comes back, with our history forgotten and our token refused", async () => {
    await createPublished(cluster, 1);
    await createPublished(cluster, 2);
    await createPublished(cluster, 3);
    const metadata = { name: "holds-a-token", namespace: "kube-flannel" };
    await cluster.request("POST", "/api/v1/namespaces/kube-flannel/secrets", { metadata });
    const account = await cluster.serviceAccountFolder("rotated", await cluster.token("holds-a-token"));
    const source = await open({ serviceAccountFolder: account });
    await using follower = new Follower(source);
    const before = await follower.untilKeys(["node-1", "node-2", "node-3"]);
    const version = (await cluster.node("node-3")).metadata.resourceVersion;
    await cluster.request("DELETE", "/api/v1/namespaces/kube-flannel/secrets/holds-a-token");
    await cluster.serviceAccountFolder("rotated");

    await cluster.signal("kube-apiserver", "SIGKILL");
    relay.cut();
    expect((await out(source)).message).toContain("can't watch nodes at https://127.0.0.1");
    expect(follower.latest).toBe(before);
    await expect(source.renew(before.leases[0] ?? fail(), never)).rejects.toThrow("can't get nodes node-1");
    await cluster.restart();
    await cluster.deleteNode("node-2");
    await createPublished(cluster, 4);
    await cluster.annotate("node-3", { [`${PREFIX}public-ip`]: "198.51.100.3" });
    // Its memory begins after what we know.
    const watch = `/api/v1/nodes?watch=1&timeoutSeconds=1&resourceVersion=${version}`;
    expect(JSON.stringify(await cluster.request("GET", watch))).toContain('"code":410');

    relay.mend();
    const after = await follower.untilKeys(["node-1", "node-3", "node-4"], 30_000);
    expect(after.leases[0]).toBe(before.leases[0] ?? fail());
    expect(after.leases[1]?.publicIPs).toEqual({ 4: address("198.51.100.3") });
    await back(source);
    expect((await source.acquire(requestOf(1), NETWORK, never)).key).toBe("node-1");
  });
});

function fail(): never {
  throw new Error("a lease is missing");
}
