import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import {
  CniFailure,
  CniRunner,
  type Conflist,
  environmentOf,
  type Json,
  type Pod,
  sampleConflist,
} from "../support/cni.ts";
import { Netns, pair } from "../support/netns.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { TemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

const SUBNET_ENV = {
  FLANNEL_NETWORK: "10.244.0.0/16",
  FLANNEL_SUBNET: "10.244.7.1/24",
  FLANNEL_MTU: 1430,
  FLANNEL_IPMASQ: "false",
};
const DUAL_STACK = { FLANNEL_IPV6_NETWORK: "fd00:244::/48", FLANNEL_IPV6_SUBNET: "fd00:244:0:7::1/64" };

const Links = v.array(v.object({ mtu: v.number(), address: v.string() }));
const Routes = v.array(v.object({ dst: v.string(), gateway: v.optional(v.string()) }));

/** The code of what a call failed with. */
async function failure(call: Promise<unknown>): Promise<CniFailure> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof CniFailure) return error;
  throw new Error("the call did not fail as CNI has it", { cause: error });
}

describeInNamespaces("the plugin in a chain with Debian's, against the real kernel", () => {
  let folder: TemporaryFolder;
  let node: Netns;
  let runner: CniRunner;
  let list: Conflist;
  const pods: Netns[] = [];

  beforeAll(() => {
    // Built before a test's time runs.
    using warm = new TemporaryFolder();
    using ns = new Netns();
    new CniRunner(ns, warm.path);
  });

  beforeEach(() => {
    release();
    folder = new TemporaryFolder();
    node = new Netns();
    runner = new CniRunner(node, folder.path);
    list = sampleConflist(folder.path);
    runner.writeSubnetEnv(SUBNET_ENV);
  });

  function release(): void {
    for (const ns of pods.splice(0)) ns[Symbol.dispose]();
    node?.[Symbol.dispose]();
    folder?.[Symbol.dispose]();
  }
  afterAll(release);

  function pod(containerId: string, more: Partial<Pod> = {}): Pod & { readonly ns: Netns } {
    const ns = new Netns();
    pods.push(ns);
    return { ns, containerId, netns: ns.path, ...more };
  }

  /** The list with more in the entry of the plugin, and other plugins after it. */
  function listWith(more: Json, rest: Conflist["plugins"] = list.plugins.slice(1)): Conflist {
    return { ...list, plugins: [...list.plugins.slice(0, 1).map((entry) => ({ ...entry, ...more })), ...rest] };
  }

  const links = async (ns: Netns, name: string) =>
    v.parse(Links, JSON.parse(await ns.exec(["ip", "-j", "link", "show", name])))[0];
  const routes = async (ns: Netns, family: "-4" | "-6" = "-4") =>
    v.parse(Routes, JSON.parse(await ns.exec(["ip", "-j", family, "route"])));
  const nat = (ns: Netns) => ns.exec(["iptables-save", "-t", "nat"]);

  test("ADD gives address, MTU, default route and masquerading; pods reach each other; CHECK; DEL takes all back", async () => {
    const [a, b] = [pod("a"), pod("b")];
    const result = await runner.add(list, a);
    const other = await runner.add(list, b);
    expect(result.cniVersion).toBe("1.0.0");
    expect(result.ips.map(({ address, gateway }) => [address, gateway])).toEqual([["10.244.7.2/24", "10.244.7.1"]]);
    expect((await links(a.ns, "eth0"))?.mtu).toBe(1430);
    expect(await routes(a.ns)).toEqual(
      expect.arrayContaining([
        { dst: "default", gateway: "10.244.7.1" },
        expect.objectContaining({ dst: "10.244.0.0/16" }),
      ]),
    );
    expect(await node.exec(["ip", "-d", "link", "show", "master", "cni0"])).toContain("hairpin on");
    expect(await nat(node)).toContain('name: \\"cbr0\\" id: \\"a\\"');
    await a.ns.exec(["ping", "-c1", "-W5", (other.ips[0]?.address ?? "").split("/")[0] ?? ""]);
    await runner.check(list, a);
    expect(runner.records()).toEqual(["a", "b"]);
    expect(statSync(folder.at("flannel", "a")).mode & 0o777).toBe(0o600);
    for (const one of [a, b]) await runner.del(list, one);
    expect(runner.records()).toEqual([]);
    expect(runner.addresses()).toEqual([]);
    expect(await a.ns.exec(["ip", "-br", "link"])).not.toContain("eth0");
    expect(await nat(node)).not.toMatch(/id: /);
  });

  test("dual-stack: an address of each family, routes to both networks", async () => {
    runner.writeSubnetEnv({ ...SUBNET_ENV, ...DUAL_STACK });
    const a = pod("a");
    const { ips } = await runner.add(list, a);
    expect(ips.map(({ address }) => address)).toEqual(["10.244.7.2/24", "fd00:244:0:7::2/64"]);
    const destinations = [...(await routes(a.ns)), ...(await routes(a.ns, "-6"))].map(({ dst }) => dst);
    expect(destinations).toEqual(expect.arrayContaining(["10.244.0.0/16", "fd00:244::/48"]));
    expect(destinations.filter((dst) => dst === "default")).toHaveLength(2);
    await runner.check(list, a);
    await runner.del(list, a);
    expect(runner.addresses()).toEqual([]);
  });

  test("portmap: what the runtime asks for reaches the later plugin of the chain", async () => {
    const a = pod("a", { capabilities: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }] } });
    await runner.add(list, a);
    expect(await nat(node)).toMatch(/--dport 8080 .*--to-destination 10\.244\.7\.2:80/);
    // portmap's own CHECK wants rules for IPv6 even where the pod has no such address.
    await runner.check(listWith({}, []), a);
    await runner.del(list, a);
    expect(await nat(node)).not.toContain("8080");
  });

  test("bandwidth after it in the chain", async () => {
    const bandwidth = { type: "bandwidth", capabilities: { bandwidth: true } };
    const longer = listWith({}, [...list.plugins.slice(1), bandwidth]);
    const limits = { ingressRate: 8_000_000, ingressBurst: 8_000_000, egressRate: 8_000_000, egressBurst: 8_000_000 };
    const a = pod("a", { capabilities: { bandwidth: limits } });
    const { interfaces } = await runner.add(longer, a);
    const veth = interfaces.find(({ name }) => name.startsWith("veth"))?.name ?? "";
    expect(await node.exec(["tc", "qdisc", "show", "dev", veth])).toContain("tbf");
    await runner.check(longer, a);
    await runner.del(longer, a);
    expect(await node.exec(["ip", "-br", "link"])).not.toMatch(/bwp|veth/);
  });

  test("the plugin's own capabilities reach the delegate", async () => {
    const a = pod("a", { capabilities: { mac: "0a:58:0a:f4:07:02" } });
    await runner.add(listWith({ capabilities: { mac: true } }), a);
    expect((await links(a.ns, "eth0"))?.address).toBe("0a:58:0a:f4:07:02");
  });

  test("each version of a configuration, up to one that the delegate does not know", async () => {
    for (const cniVersion of ["0.3.1", "0.4.0", "1.0.0"]) {
      const a = pod(`a-${cniVersion}`);
      const older = { ...list, cniVersion };
      expect((await runner.add(older, a)).cniVersion).toBe(cniVersion);
      await runner.del(older, a);
    }
    const a = pod("a-1.1.0");
    const alone = { ...list, cniVersion: "1.1.0", plugins: list.plugins.slice(0, 1) };
    expect((await runner.add(alone, a)).cniVersion).toBe("1.1.0");
    await runner.check(alone, a);
    await runner.del(alone, a);
    expect(runner.addresses()).toEqual([]);
  });

  test("a pod that flannel's plugin made is deleted, and one of ours by it", async () => {
    // That plugin calls the delegate with the bytes that it keeps; what it wrote for this list:
    const kept =
      `{"cniVersion":"1.0.0","hairpinMode":true,"ipMasq":true,"ipam":{"dataDir":"${folder.at("networks")}",` +
      '"ranges":[[{"subnet":"10.244.7.0/24"}]],"routes":[{"dst":"10.244.0.0/16"}],"type":"host-local"},' +
      '"isDefaultGateway":true,"isGateway":true,"mtu":1430,"name":"cbr0","type":"bridge"}';
    const theirs = pod("theirs");
    mkdirSync(folder.at("flannel"), { mode: 0o700 });
    writeFileSync(folder.at("flannel", "theirs"), kept, { mode: 0o600 });
    await runner.call(
      "ADD",
      "bridge",
      v.parse(v.record(v.string(), v.unknown()), JSON.parse(kept)),
      environmentOf(theirs),
    );
    const ours = pod("ours");
    await runner.add(list, ours);
    expect(runner.addresses()).toHaveLength(2);
    await runner.del(list, theirs);
    expect([runner.records(), runner.addresses().length]).toEqual([["ours"], 1]);
    // And it deletes ours so: reads the file, calls the plugin that `type` names with it.
    const record = JSON.parse(readFileSync(folder.at("flannel", "ours"), "utf8"));
    expect(record).toEqual(JSON.parse(kept));
    await runner.call("DEL", record.type, record, environmentOf(ours));
    expect(runner.addresses()).toEqual([]);
    expect(await ours.ns.exec(["ip", "-br", "link"])).not.toContain("eth0");
  });

  test("DEL succeeds again and again: without the namespace, the record, subnet.env, the delegate", async () => {
    const a = pod("a");
    await runner.add(list, a);
    rmSync(folder.at("subnet.env"));
    a.ns[Symbol.dispose]();
    await runner.del(list, { ...a, netns: "" });
    expect([runner.records(), runner.addresses()]).toEqual([[], []]);
    for (const netns of ["", a.netns]) await runner.del(list, { ...a, netns });
    runner.writeSubnetEnv(SUBNET_ENV);
    await runner.del(list, { ...a, netns: "" });
    const { CNI_PATH: _, ...environment } = { ...environmentOf(a), CNI_PATH: "" };
    await runner.call("DEL", "flannel", runner.flannelConf(list), { ...environment, CNI_PATH: "/absent" });
  });

  test("without its record a pod is deleted by what subnet.env says; half a record is no obstacle", async () => {
    const [a, b] = [pod("a"), pod("b")];
    for (const one of [a, b]) await runner.add(list, one);
    rmSync(folder.at("flannel", "a"));
    writeFileSync(folder.at("flannel", "b"), '{"cniVersion":"1.0');
    for (const one of [a, b]) await runner.del(list, one);
    expect([runner.records(), runner.addresses()]).toEqual([[], []]);
  });

  test("two interfaces of one container, whose record there is once: nothing stays", async () => {
    const a = pod("a");
    const second = { ...a, ifName: "net1" };
    // The bridge plugin keeps one chain for both, and could not remove it with the first of them.
    runner.writeSubnetEnv({ ...SUBNET_ENV, FLANNEL_IPMASQ: "true" });
    await runner.add(list, a);
    await runner.add(list, second);
    await runner.del(list, second);
    expect(await a.ns.exec(["ip", "-br", "link"])).toContain("eth0");
    await runner.check(list, a);
    await runner.del(list, a);
    expect([runner.records(), runner.addresses()]).toEqual([[], []]);
  });

  test("DEL that the delegate refuses keeps the record, for the next try", async () => {
    const a = pod("a");
    await runner.add(list, a);
    const path = folder.at("plugins", "bridge");
    const answer = '{"cniVersion":"1.0.0","code":11,"msg":"not now","details":"busy"}';
    writeFileSync(path, `#!/bin/sh\necho '${answer}'; echo 'a word on stderr' >&2; exit 1\n`);
    chmodSync(path, 0o755);
    const conf = { ...list.plugins[0], name: list.name, cniVersion: list.cniVersion };
    const { stdout, stderr } = await runner.spawn("DEL", "flannel", conf, environmentOf(a)).outcome;
    expect(JSON.parse(stdout)).toEqual({ cniVersion: "1.0.0", code: 11, msg: "not now", details: "busy" });
    expect(stderr).toContain("a word on stderr");
    expect(runner.records()).toEqual(["a"]);
    rmSync(path);
    await runner.del(list, a);
    expect(runner.addresses()).toEqual([]);
  });

  test("a delegate that ends without an answer, or with no result, is told", async () => {
    const path = folder.at("plugins", "bridge");
    for (const [script, says] of [
      ["kill -9 $$", /bridge.*SIGKILL/],
      ["echo oops; exit 3", /bridge.*exit code 3/],
      ["echo oops", /bridge.*no result/],
    ] as const) {
      writeFileSync(path, `#!/bin/sh\n${script}\n`);
      chmodSync(path, 0o755);
      const { code, message } = await failure(runner.add(list, pod("a")));
      expect(code).toBe(100);
      expect(message).toMatch(says);
    }
  });

  test("CHECK tells a missing interface, a changed MTU, a subnet that is not ours any more", async () => {
    const a = pod("a");
    await runner.add(list, a);
    await runner.check(list, a);
    await a.ns.exec(["ip", "link", "set", "eth0", "mtu", "1300"]);
    expect(await failure(runner.check(list, a))).toMatchObject({
      code: 102,
      message: expect.stringMatching(/1300.*1430/),
    });
    await a.ns.exec(["ip", "link", "set", "eth0", "mtu", "1430"]);
    await runner.check(list, a);
    runner.writeSubnetEnv({ ...SUBNET_ENV, FLANNEL_SUBNET: "10.244.9.1/24" });
    expect(await failure(runner.check(list, a))).toMatchObject({
      code: 101,
      message: expect.stringContaining("10.244.7.2"),
    });
    runner.writeSubnetEnv({ ...SUBNET_ENV, FLANNEL_MTU: 1400 });
    expect((await failure(runner.check(list, a))).code).toBe(102);
    rmSync(folder.at("subnet.env"));
    expect((await failure(runner.check(list, a))).code).toBe(11);
    runner.writeSubnetEnv(SUBNET_ENV);
    await runner.check(list, a);
    // The delegate's own findings.
    await a.ns.exec(["ip", "address", "flush", "dev", "eth0", "scope", "global"]);
    expect((await failure(runner.check(list, a))).code).toBe(999);
  });

  test("an ADD at boot waits for subnet.env", async () => {
    rmSync(folder.at("subnet.env"));
    const a = pod("a");
    const added = runner.add(list, a);
    await Bun.sleep(300);
    // What flannel's own writer may leave for a moment is no subnet.env yet.
    writeFileSync(folder.at("subnet.env"), "FLANNEL_NETWORK=10.244.0.0/16\n");
    await Bun.sleep(100);
    expect(runner.records()).toEqual([]);
    runner.writeSubnetEnv(SUBNET_ENV);
    expect((await added).ips).toHaveLength(1);
  });

  test("and after 5 s says to try again later, and which agent to look at", async () => {
    for (const [text, says] of [
      [undefined, /subnet\.env is missing/],
      ["FLANNEL_SUBNET=10.244.7.1/24\n", /subnet\.env can't be used.*FLANNEL_NETWORK.*FLANNEL_MTU/],
    ] as const) {
      rmSync(folder.at("subnet.env"), { force: true });
      if (text !== undefined) writeFileSync(folder.at("subnet.env"), text);
      const { code, message, details } = await failure(runner.add(list, pod("a")));
      expect(code).toBe(11);
      expect(message).toMatch(says);
      expect(details).toMatch(/agent of node \S+ .*tartan or flanneld.*log/);
    }
    expect(runner.records()).toEqual([]);
  });

  test("STATUS: not available while subnet.env or the agent's device is missing", async () => {
    rmSync(folder.at("subnet.env"));
    expect(await failure(runner.status(list))).toMatchObject({
      code: 50,
      message: expect.stringContaining("subnet.env"),
    });
    runner.writeSubnetEnv({ ...SUBNET_ENV, TARTAN_DEVICES: "flannel.1" });
    expect(await failure(runner.status(list))).toMatchObject({
      code: 50,
      message: expect.stringContaining("flannel.1"),
    });
    using peer = new Netns();
    await pair({ ns: node, name: "flannel.1", addresses: ["10.244.8.0/32"] }, { ns: peer, name: "x" });
    expect((await failure(runner.status(list))).message).toContain("10.244.7.0");
    await node.exec(["ip", "address", "add", "10.244.7.0/32", "dev", "flannel.1"]);
    await runner.status(list);
    await node.exec(["ip", "link", "set", "flannel.1", "down"]);
    expect((await failure(runner.status(list))).code).toBe(50);
    // flanneld names no device.
    runner.writeSubnetEnv(SUBNET_ENV);
    await runner.status(list);
    const absent = runner.call("STATUS", "flannel", runner.flannelConf(list), { CNI_PATH: "/absent" });
    expect((await failure(absent)).message).toMatch(/bridge.*CNI_PATH/);
  });

  test("IPAM that has no address left says so, and how to get some", async () => {
    runner.writeSubnetEnv({ ...SUBNET_ENV, FLANNEL_SUBNET: "10.244.7.1/30" });
    await runner.add(list, pod("a"));
    const b = pod("b");
    const { code, message, details } = await failure(runner.add(list, b));
    expect(code).not.toBe(0);
    expect(message).toContain("no IP addresses available in range set: 10.244.7.1-10.244.7.2");
    expect(details).toContain(folder.at("networks", "cbr0"));
    // A runtime calls DEL after an ADD that failed.
    await runner.del(list, b);
    expect(runner.records()).toEqual(["a"]);
    expect(runner.addresses()).toEqual(["10.244.7.2"]);
  });

  test("another IPAM, other routes: what the operator wrote stays", async () => {
    const ipam = {
      type: "static",
      addresses: [{ address: "10.244.200.9/24", gateway: "10.244.200.1" }],
      routes: [{ dst: "192.0.2.0/24", gw: "10.244.200.1" }],
    };
    const own = listWith({ ipam, delegate: { mtu: 1300, isDefaultGateway: false } }, []);
    const a = pod("a");
    const { ips, routes: told } = await runner.add(own, a);
    expect(ips.map(({ address }) => address)).toEqual(["10.244.200.9/24"]);
    expect(told.map(({ dst }) => dst)).toEqual(["192.0.2.0/24", "10.244.0.0/16"]);
    expect((await links(a.ns, "eth0"))?.mtu).toBe(1300);
    await runner.check(own, a);
    await runner.del(own, a);
    expect(runner.records()).toEqual([]);
  });

  test("200 pods at once get 200 addresses", async () => {
    runner.writeSubnetEnv({ ...SUBNET_ENV, FLANNEL_IPMASQ: "true" });
    const many = Array.from({ length: 200 }, (_, number) => pod(`p${number}`));
    const alone = listWith({}, []);
    const results = await Promise.all(many.map((one) => runner.add(alone, one)));
    const addresses = new Set(results.map(({ ips }) => ips[0]?.address));
    expect(addresses.size).toBe(200);
    expect(runner.addresses()).toHaveLength(200);
    expect(runner.records()).toHaveLength(200);
    await Promise.all(many.map((one) => runner.del(alone, one)));
    expect([runner.records(), runner.addresses()]).toEqual([[], []]);
    await eventually(async () => !(await node.exec(["ip", "-br", "link"])).includes("veth"), {
      within: 30_000,
      what: "no veth is left on the node",
    });
    expect(readdirSync(folder.at("flannel"))).toEqual([]);
    expect(existsSync(join("/var/lib/cni/networks", "cbr0"))).toBe(false);
  }, 240_000);
});
