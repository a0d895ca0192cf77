import { describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync } from "node:fs";
import { type ChildPlan, childBecomes, restartLine, startChild } from "../../src/cli/lab/child.ts";
import { type LeaseKind, leaseFlags } from "../../src/cli/lab/lease-plan.ts";
import { type FamilySet, hostsOf, type LabShape, planLab, type RulesMode } from "../../src/cli/lab/plan.ts";
import {
  adviceFor,
  findServer,
  missingServers,
  placesFrom,
  requireServers,
  unpackServers,
} from "../../src/cli/lab/servers/binaries.ts";
import { etcdArguments } from "../../src/cli/lab/servers/etcd-arguments.ts";
import { kubeconfigText } from "../../src/cli/lab/servers/kubeconfig.ts";
import { parseNetConf } from "../../src/config/net-conf.ts";
import { findKubeConfig } from "../../src/lease/kube-config.ts";
import { TemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

const never = new AbortController().signal;
const BOTH = { Network: "10.244.0.0/16", EnableIPv6: true, IPv6Network: "fd00:10:244::/48" };

async function withFiles(folder: TemporaryFolder, ...paths: readonly string[]): Promise<void> {
  for (const path of paths) await Bun.write(folder.at(path), "#!/bin/sh\n");
}

describe("the plan of a lab", () => {
  const SHAPE: LabShape = { nodes: 2, lease: "embedded", family: "4", rules: "iptables" };

  test.each<[LeaseKind, string[]]>([
    ["embedded", ["n1", "n2", "outside"]],
    ["etcd", ["n1", "n2", "outside", "server"]],
    ["kube", ["n1", "n2", "outside", "server"]],
  ])("joins with --lease %s: %p", (lease, expected) => {
    const hosts = hostsOf(planLab("abcde", { ...SHAPE, lease, family: "46" }));
    expect(hosts.map(({ name }) => name)).toEqual(expected);
    for (const family of [4, 6] as const) {
      expect(new Set(hosts.map(({ addresses }) => addresses[family])).size).toBe(hosts.length);
    }
    for (const { name, namespace } of hosts) expect(namespace).toBe(`tartan-lab-abcde-${name}`);
  });

  test.each<[LeaseKind, string[]]>([
    ["embedded", ["--lease-store=/run/tartan-lab/abcde/leases.db", "--net-config-path=/conf"]],
    ["etcd", ["--etcd-endpoints=http://192.0.2.250:2379"]],
    [
      "kube",
      ["--kube-subnet-mgr", "--kubeconfig-file=/run/tartan-lab/abcde/agent.kubeconfig", "--net-config-path=/conf"],
    ],
  ])("gives each agent with --lease %s its flags", (lease, expected) => {
    expect(leaseFlags(planLab("abcde", { ...SHAPE, nodes: 20, lease }).lease, "/conf")).toEqual(expected);
  });

  const VXLAN = { Backend: { Type: "vxlan" } };
  test.each<[FamilySet, RulesMode, object]>([
    ["4", "iptables", { Network: "10.244.0.0/16", ...VXLAN }],
    ["4", "nft", { Network: "10.244.0.0/16", EnableNFTables: true, ...VXLAN }],
    ["6", "iptables", { EnableIPv4: false, EnableIPv6: true, IPv6Network: "fd00:10:244::/48", ...VXLAN }],
    ["46", "nft", { ...BOTH, EnableNFTables: true, ...VXLAN }],
  ])("configures the network with --family %s and --rules %s", (family, rules, expected) => {
    const { content } = planLab("abcde", { ...SHAPE, family, rules }).netConf;
    expect(JSON.parse(content)).toEqual(expected);
    expect(parseNetConf(content, "net-conf.json").config.nftables).toBe(rules === "nft");
  });

  test.each<[FamilySet, object, object]>([
    ["4", { 4: "192.0.2.2" }, { 4: "198.51.100.2" }],
    ["6", { 6: "2001:db8::2" }, { 6: "2001:db8:0:1::2" }],
    ["46", { 4: "192.0.2.2", 6: "2001:db8::2" }, { 4: "198.51.100.2", 6: "2001:db8:0:1::2" }],
  ])("gives each node with --family %s its addresses, and one outside", (family, node, outside) => {
    const [, second] = planLab("abcde", { ...SHAPE, family }).nodes;
    expect<unknown>(second).toMatchObject({ addresses: node, outside });
  });

  test.each<[FamilySet, object]>([
    ["4", { url: "https://192.0.2.250:6443", clusterCIDR: "10.244.0.0/16", serviceCIDR: "10.96.0.0/16" }],
    ["6", { url: "https://[2001:db8::fa]:6443", clusterCIDR: "fd00:10:244::/48", serviceCIDR: "fd00:10:96::/112" }],
    ["46", { url: "https://192.0.2.250:6443", clusterCIDR: "10.244.0.0/16,fd00:10:244::/48" }],
  ])("has with --lease kube and --family %s an API server, and podCIDRs, of that family", (family, expected) => {
    expect(planLab("abcde", { ...SHAPE, lease: "kube", family }).lease).toMatchObject({ kube: expected });
  });
});

describe("servers are found", () => {
  test("etcd: in KUBEBUILDER_ASSETS, else in the checkout", async () => {
    using folder = new TemporaryFolder();
    await withFiles(folder, "assets/etcd", "checkout/.cache/debs/etcd-server/usr/bin/etcd");
    const [assets, checkout] = [folder.at("assets"), folder.at("checkout")];
    expect(findServer("etcd", { assets, checkout })).toBe(folder.at("assets", "etcd"));
    const unpacked = folder.at("checkout/.cache/debs/etcd-server/usr/bin/etcd");
    expect(findServer("etcd", { checkout })).toBe(unpacked);
    expect(findServer("etcd", { assets: folder.at("nowhere"), checkout })).toBe(unpacked);
  });

  test("Kubernetes': in KUBEBUILDER_ASSETS alone if it is set, so that versions do not mix", async () => {
    using folder = new TemporaryFolder();
    await withFiles(folder, "assets/kube-apiserver", "checkout/.cache/envtest/kube-controller-manager");
    const [assets, checkout] = [folder.at("assets"), folder.at("checkout")];
    expect(findServer("kube-apiserver", { assets, checkout })).toBe(folder.at("assets/kube-apiserver"));
    expect(findServer("kube-controller-manager", { assets, checkout })).toBeUndefined();
    expect(findServer("kube-controller-manager", { checkout })).toBe(
      folder.at("checkout/.cache/envtest/kube-controller-manager"),
    );
    expect(findServer("kube-apiserver", {})).toBeUndefined();
  });

  test("packed ones beside the checkout are unpacked into its cache, complete or not at all", async () => {
    using folder = new TemporaryFolder();
    const checkout = folder.at("checkout");
    const etcd = ["etcd-server/usr/bin/etcd", "etcd-client/usr/bin/etcdctl"].map((path) => `.cache/debs/${path}`);
    await withFiles(folder, ...etcd.map((path) => `checkout/${path}`), "shared/envtest/kube-apiserver");
    expect(Bun.spawnSync(["xz", folder.at("shared/envtest/kube-apiserver")]).exitCode).toBe(0);
    await Bun.write(folder.at("shared/envtest/kube-controller-manager.xz"), "no xz at all");
    const told: string[] = [];
    const require = () => requireServers("kube", { checkout }, (text) => told.push(text), never);
    await expect(require()).rejects.toThrow("kube-controller-manager.xz can't be unpacked: ");
    expect(told).toHaveLength(2);
    const cached = [...new Bun.Glob("*").scanSync(folder.at("checkout/.cache/envtest"))];
    expect(cached).toEqual(["kube-apiserver"]);
    expect(await Bun.file(folder.at("checkout/.cache/envtest/kube-apiserver")).text()).toBe("#!/bin/sh\n");

    await withFiles(folder, "checkout/.cache/envtest/kube-controller-manager");
    const paths = await require();
    expect(told).toHaveLength(2);
    expect(paths("etcdctl")).toBe(folder.at("checkout", etcd[1] ?? ""));
    expect(paths("kube-apiserver")).toBe(folder.at("checkout/.cache/envtest/kube-apiserver"));
  });

  test("an unpacking that is stopped leaves nothing in the cache", async () => {
    using folder = new TemporaryFolder();
    const cached = () => [...new Bun.Glob("*").scanSync(folder.at("checkout/.cache/envtest"))];
    mkdirSync(folder.at("shared/envtest"), { recursive: true });
    // xz waits for somebody to write.
    expect(Bun.spawnSync(["mkfifo", folder.at("shared/envtest/kube-apiserver.xz")]).exitCode).toBe(0);
    const stop = new AbortController();
    const unpacking = unpackServers({ checkout: folder.at("checkout") }, () => {}, stop.signal);
    await eventually(() => cached().length === 1, { within: 10_000, what: "it has begun" });
    stop.abort("stopped");
    await expect(unpacking).rejects.toBe("stopped");
    expect(cached()).toEqual([]);
  });

  test("the embedded store needs none", () => {
    expect(missingServers("embedded", {})).toEqual([]);
  });

  test("the places come from the environment, where an empty variable is none", () => {
    expect(placesFrom({ KUBEBUILDER_ASSETS: "/a", TARTAN_CHECKOUT: "/b" })).toEqual({ assets: "/a", checkout: "/b" });
    expect(placesFrom({ KUBEBUILDER_ASSETS: "" })).toEqual({});
  });
});

test("what is missing comes with a way to get it", () => {
  const built = "'npm run envtest' in a checkout of tartan builds them for 'npm run lab' there, in ten minutes";
  expect(adviceFor(["kube-apiserver"], {})).toBe(
    `kube-apiserver (${built}; or name a folder that has them in KUBEBUILDER_ASSETS)`,
  );
  expect(adviceFor(["kube-apiserver"], { assets: "/a" })).toBe(
    `kube-apiserver (KUBEBUILDER_ASSETS is /a, which lacks them; without it, ${built})`,
  );
  expect(adviceFor(["etcd", "etcdctl"], {})).toBe(
    "etcd, etcdctl ('npm run lab' in a checkout of tartan brings them; or, on Debian: apt install etcd-server etcd-client)",
  );
  expect(adviceFor(["etcdctl", "kube-apiserver"], {})).toMatch(/^kube-apiserver \(.*\), etcdctl \(.*etcd-client\)$/);
});

describe("etcd's arguments", () => {
  const SETTINGS = { name: "a", dataDir: "/d", clientUrl: "http://192.0.2.1:1", peerUrl: "http://192.0.2.1:2" };

  test("make a cluster of one unless others are named", () => {
    expect(etcdArguments(SETTINGS)).toContain("--initial-cluster=a=http://192.0.2.1:2");
    const cluster = [SETTINGS, { name: "b", peerUrl: "http://192.0.2.2:2" }];
    expect(etcdArguments({ ...SETTINGS, cluster })).toContain(
      "--initial-cluster=a=http://192.0.2.1:2,b=http://192.0.2.2:2",
    );
  });

  test("ask for certificates only where there are some", () => {
    expect(etcdArguments(SETTINGS).filter((argument) => /cert|key|ca-file/.test(argument))).toEqual([]);
    const certificate = { cert: "/c", key: "/k" };
    expect(etcdArguments({ ...SETTINGS, certificate, clientCa: "/ca" })).toEqual(
      expect.arrayContaining(["--cert-file=/c", "--key-file=/k", "--trusted-ca-file=/ca", "--client-cert-auth"]),
    );
  });
});

test("the agent reads a kubeconfig as it is written", async () => {
  using folder = new TemporaryFolder();
  const kubeconfigFile = folder.at("kubeconfig");
  await Bun.write(kubeconfigFile, kubeconfigText("https://192.0.2.250:6443", "/ca.pem", { token: "secret" }));
  const { cluster, user } = findKubeConfig({ kubeconfigFile, environment: {} });
  expect([cluster.server, cluster.caFile, user.token]).toEqual(["https://192.0.2.250:6443", "/ca.pem", "secret"]);
});

describe("a child", () => {
  const plan = (folder: TemporaryFolder, script: string): ChildPlan => ({
    name: "the server",
    command: ["/bin/sh", "-c", script],
    logFile: folder.at("log"),
  });

  test("that ends before it is as it should be is told with the end of its log", async () => {
    using folder = new TemporaryFolder();
    const child = startChild(plan(folder, "seq 8; exit 7"));
    const become = childBecomes("ready", child, 10_000, never, async () => ({ lacks: "patience" }));
    await expect(become).rejects.toMatchObject({
      message: "the server ended with exit code 7",
      log: ["4", "5", "6", "7", "8"],
    });
  });

  test("that takes too long is told with what it lacks", async () => {
    using folder = new TemporaryFolder();
    // It ends when the fifo is read.
    expect(Bun.spawnSync(["mkfifo", folder.at("fifo")]).exitCode).toBe(0);
    const child = startChild(plan(folder, `echo > ${folder.at("fifo")}`));
    const become = childBecomes("ready", child, 100, never, () => Promise.reject(new Error("no answer")));
    await expect(become).rejects.toThrow("the server is not ready after 0.1 s: no answer");
    expect(await Bun.file(folder.at("fifo")).text()).toBe("\n");
    expect(await child.ended).toBe("with exit code 0");
  });

  test("is started again by a line for the shell", async () => {
    using folder = new TemporaryFolder();
    const path = folder.at("a server");
    await Bun.write(path, '#!/bin/sh\necho "$NAME $1"\n');
    chmodSync(path, 0o755);
    const line = restartLine({ ...plan(folder, ""), command: [path, "--x=a b"], variables: { NAME: "it's" } });
    expect(Bun.spawnSync(["sh", "-c", line]).stdout.toString()).toBe("it's --x=a b\n");
  });
});
