import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import * as v from "valibot";
import { type CniRunner, type Conflist, environmentOf } from "../support/cni.ts";
import type { Netns } from "../support/netns.ts";
import { describeInNamespaces } from "../support/requires.ts";
import type { TemporaryFolder } from "../support/temp.ts";
import { DUAL_STACK, SampleNode, SUBNET_ENV } from "./sample-node.ts";

const Links = v.array(v.object({ mtu: v.number(), address: v.string() }));
const Routes = v.array(v.object({ dst: v.string(), gateway: v.optional(v.string()) }));

describeInNamespaces("the plugin in a chain with Debian's, against the real kernel", () => {
  let node: SampleNode;
  let folder: TemporaryFolder;
  let runner: CniRunner;
  let list: Conflist;

  beforeEach(() => {
    node = new SampleNode();
    ({ folder, runner, list } = node);
  });
  afterEach(() => node[Symbol.dispose]());

  const links = async (ns: Netns, name: string) =>
    v.parse(Links, JSON.parse(await ns.exec(["ip", "-j", "link", "show", name])))[0];
  const routes = async (ns: Netns, family: "-4" | "-6" = "-4") =>
    v.parse(Routes, JSON.parse(await ns.exec(["ip", "-j", family, "route"])));
  const nat = (ns: Netns) => ns.exec(["iptables-save", "-t", "nat"]);

  test("ADD gives address, MTU, default route and masquerading; pods reach each other; CHECK; DEL takes all back", async () => {
    const [a, b] = [node.pod("a"), node.pod("b")];
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
    expect(await node.ns.exec(["ip", "-d", "link", "show", "master", "cni0"])).toContain("hairpin on");
    expect(await nat(node.ns)).toContain('name: \\"cbr0\\" id: \\"a\\"');
    await a.ns.exec(["ping", "-c1", "-W5", (other.ips[0]?.address ?? "").split("/")[0] ?? ""]);
    await runner.check(list, a);
    expect(runner.records()).toEqual(["a", "b"]);
    expect(statSync(folder.at("flannel", "a")).mode & 0o777).toBe(0o600);
    for (const one of [a, b]) await runner.del(list, one);
    expect(runner.records()).toEqual([]);
    expect(runner.addresses()).toEqual([]);
    expect(await a.ns.exec(["ip", "-br", "link"])).not.toContain("eth0");
    expect(await nat(node.ns)).not.toMatch(/id: /);
  });

  test("dual-stack: an address of each family, routes to both networks", async () => {
    runner.writeSubnetEnv({ ...SUBNET_ENV, ...DUAL_STACK });
    const a = node.pod("a");
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
    const a = node.pod("a", {
      capabilities: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }] },
    });
    await runner.add(list, a);
    expect(await nat(node.ns)).toMatch(/--dport 8080 .*--to-destination 10\.244\.7\.2:80/);
    // portmap's own CHECK wants rules for IPv6 even where the pod has no such address.
    await runner.check(node.listWith({}, []), a);
    await runner.del(list, a);
    expect(await nat(node.ns)).not.toContain("8080");
  });

  test("bandwidth after it in the chain", async () => {
    const bandwidth = { type: "bandwidth", capabilities: { bandwidth: true } };
    const longer = node.listWith({}, [...list.plugins.slice(1), bandwidth]);
    const limits = { ingressRate: 8_000_000, ingressBurst: 8_000_000, egressRate: 8_000_000, egressBurst: 8_000_000 };
    const a = node.pod("a", { capabilities: { bandwidth: limits } });
    const { interfaces } = await runner.add(longer, a);
    const veth = interfaces.find(({ name }) => name.startsWith("veth"))?.name ?? "";
    expect(await node.ns.exec(["tc", "qdisc", "show", "dev", veth])).toContain("tbf");
    await runner.check(longer, a);
    await runner.del(longer, a);
    expect(await node.ns.exec(["ip", "-br", "link"])).not.toMatch(/bwp|veth/);
  });

  test("the plugin's own capabilities reach the delegate", async () => {
    const a = node.pod("a", { capabilities: { mac: "0a:58:0a:f4:07:02" } });
    await runner.add(node.listWith({ capabilities: { mac: true } }), a);
    expect((await links(a.ns, "eth0"))?.address).toBe("0a:58:0a:f4:07:02");
  });

  test("the result of what ran before is passed on as it came, and not kept", async () => {
    const prevResult = { cniVersion: "1.0.0", interfaces: [], ips: [], dns: { search: ["x"] } };
    const conf = { ...runner.flannelConf(list), cniVersion: "1.0.0", prevResult };
    runner.standIn("bridge", `tee ${folder.path}/$CNI_COMMAND`);
    for (const verb of ["ADD", "CHECK", "DEL"]) {
      await runner.call(verb, "flannel", { ...conf, delegate: { mtu: 0 } }, environmentOf(node.pod("a")));
      const given = JSON.parse(readFileSync(folder.at(verb), "utf8"));
      expect(given).toMatchObject({ type: "bridge", cniVersion: "1.0.0", prevResult });
      if (verb === "ADD") expect(readFileSync(folder.at("flannel", "a"), "utf8")).not.toContain("prevResult");
    }
  });

  test("each version of a configuration, up to one that the delegate does not know", async () => {
    for (const cniVersion of ["0.3.1", "0.4.0", "1.0.0"]) {
      const a = node.pod(`a-${cniVersion}`);
      const older = { ...list, cniVersion };
      expect((await runner.add(older, a)).cniVersion).toBe(cniVersion);
      await runner.del(older, a);
    }
    const unnamed = { ...runner.flannelConf(list), cniVersion: undefined };
    const plain = node.pod("a-plain");
    const result = JSON.parse(await runner.call("ADD", "flannel", unnamed, environmentOf(plain)));
    expect(result).toMatchObject({ ip4: { gateway: "10.244.7.1" } });
    await runner.call("DEL", "flannel", unnamed, environmentOf(plain));
    const a = node.pod("a-1.1.0");
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
    const theirs = node.pod("theirs");
    mkdirSync(folder.at("flannel"), { mode: 0o700 });
    writeFileSync(folder.at("flannel", "theirs"), kept, { mode: 0o600 });
    await runner.call(
      "ADD",
      "bridge",
      v.parse(v.record(v.string(), v.unknown()), JSON.parse(kept)),
      environmentOf(theirs),
    );
    const ours = node.pod("ours");
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
    const a = node.pod("a");
    await runner.add(list, a);
    rmSync(folder.at("subnet.env"));
    a.ns[Symbol.dispose]();
    await runner.del(list, { ...a, netns: "" });
    expect(node.held()).toEqual([[], []]);
    for (const netns of ["", a.netns]) await runner.del(list, { ...a, netns });
    runner.writeSubnetEnv(SUBNET_ENV);
    await runner.del(list, { ...a, netns: "" });
    const { CNI_PATH: _, ...environment } = { ...environmentOf(a), CNI_PATH: "" };
    await runner.call("DEL", "flannel", runner.flannelConf(list), { ...environment, CNI_PATH: "/absent" });
  });

  test("without its record a pod is deleted by what subnet.env says; half a record is no obstacle", async () => {
    const [a, b] = [node.pod("a"), node.pod("b")];
    for (const one of [a, b]) await runner.add(list, one);
    rmSync(folder.at("flannel", "a"));
    writeFileSync(folder.at("flannel", "b"), '{"cniVersion":"1.0');
    for (const one of [a, b]) await runner.del(list, one);
    expect(node.held()).toEqual([[], []]);
  });

  test("two interfaces of one container, whose record there is once: nothing stays", async () => {
    const a = node.pod("a");
    const second = { ...a, ifName: "net1" };
    // The bridge plugin keeps one chain for both, and could not remove it with the first of them.
    runner.writeSubnetEnv({ ...SUBNET_ENV, FLANNEL_IPMASQ: "true" });
    await runner.add(list, a);
    await runner.add(list, second);
    await runner.del(list, second);
    expect(await a.ns.exec(["ip", "-br", "link"])).toContain("eth0");
    await runner.check(list, a);
    await runner.del(list, a);
    expect(node.held()).toEqual([[], []]);
  });

  test("another IPAM, other routes: what the operator wrote stays", async () => {
    const ipam = {
      type: "static",
      addresses: [{ address: "10.244.200.9/24", gateway: "10.244.200.1" }],
      routes: [{ dst: "192.0.2.0/24", gw: "10.244.200.1" }],
    };
    const own = node.listWith({ ipam, delegate: { mtu: 1300, isDefaultGateway: false } }, []);
    const a = node.pod("a");
    const { ips, routes: told } = await runner.add(own, a);
    expect(ips.map(({ address }) => address)).toEqual(["10.244.200.9/24"]);
    expect(told.map(({ dst }) => dst)).toEqual(["192.0.2.0/24", "10.244.0.0/16"]);
    expect((await links(a.ns, "eth0"))?.mtu).toBe(1300);
    await runner.check(own, a);
    await runner.del(own, a);
    expect(runner.records()).toEqual([]);
  });
});
