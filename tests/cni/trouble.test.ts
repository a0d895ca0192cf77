import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { type CniRunner, type Conflist, environmentOf, failureOf } from "../support/cni.ts";
import { Netns, pair } from "../support/netns.ts";
import { describeInNamespaces } from "../support/requires.ts";
import type { TemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";
import { DUAL_STACK, SampleNode, SUBNET_ENV } from "./sample-node.ts";

describeInNamespaces("the plugin when something is missing, wrong or too much", () => {
  let node: SampleNode;
  let folder: TemporaryFolder;
  let runner: CniRunner;
  let list: Conflist;

  beforeEach(() => {
    node = new SampleNode();
    ({ folder, runner, list } = node);
  });
  afterEach(() => node[Symbol.dispose]());

  test("DEL that the delegate refuses keeps the record, for the next try", async () => {
    const a = node.pod("a");
    await runner.add(list, a);
    const answer = '{"cniVersion":"1.0.0","code":11,"msg":"not now","details":"busy"}';
    const path = runner.standIn("bridge", `echo '${answer}'; echo 'a word on stderr' >&2; exit 1`);
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
    for (const [script, says] of [
      ["kill -9 $$", /bridge.*SIGKILL/],
      ["echo oops; exit 3", /bridge.*exit code 3/],
      ["echo oops", /bridge.*no result/],
    ] as const) {
      runner.standIn("bridge", script);
      const { code, message } = await failureOf(runner.add(list, node.pod("a")));
      expect(code).toBe(100);
      expect(message).toMatch(says);
    }
  });

  test("a delegate that is no program of this machine is told, and what to do", async () => {
    const path = runner.standIn("bridge", "");
    for (const [text, errno] of [
      ["\x7fELF, but for another machine", "ENOEXEC"],
      ["#!/absent\n", "ENOENT"],
    ] as const) {
      writeFileSync(path, text);
      const a = node.pod("a");
      const { code, message, details } = await failureOf(runner.add(list, a));
      expect([code, message]).toEqual([100, expect.stringContaining(`bridge (${path}) can't be started: ${errno}`)]);
      expect(details).toContain("Install it anew");
    }
    rmSync(path);
    await runner.del(list, node.pod("a"));
    expect(node.held()).toEqual([[], []]);
  });

  test("a full disk is told before anything is made, and a DEL works on it", async () => {
    const a = node.pod("a");
    await runner.add(list, a);
    // A size limit of the process stands for the disk's: the kernel refuses what the plugin writes.
    const [entry] = list.plugins;
    const conf = { ...entry, name: list.name, cniVersion: list.cniVersion };
    const limited = ["prlimit", "--fsize=1", "--", `${runner.plugins}/flannel`];
    const call = async (verb: string, containerId: string, netns: string) => {
      const environment = environmentOf({ containerId, netns });
      const child = Bun.spawn(node.ns.command(limited), {
        stdin: Buffer.from(JSON.stringify(conf)),
        stdout: "pipe",
        env: { PATH: process.env["PATH"], CNI_COMMAND: verb, CNI_PATH: runner.path.join(":"), ...environment },
      });
      return { stdout: await child.stdout.text(), code: await child.exited };
    };
    const b = node.pod("b");
    const { stdout, code } = await call("ADD", "b", b.netns);
    expect([code, JSON.parse(stdout)]).toEqual([
      1,
      expect.objectContaining({ code: 5, details: expect.stringContaining("disk full") }),
    ]);
    expect(node.held()).toEqual([["a"], ["10.244.7.2"]]);
    expect(await call("DEL", "a", a.netns)).toEqual({ stdout: "", code: 0 });
    expect(node.held()).toEqual([[], []]);
  });

  test("CHECK tells a missing interface, a changed MTU, a subnet that is not ours any more", async () => {
    const a = node.pod("a");
    await runner.add(list, a);
    await runner.check(list, a);
    await a.ns.exec(["ip", "link", "set", "eth0", "mtu", "1300"]);
    expect(await failureOf(runner.check(list, a))).toMatchObject({
      code: 102,
      message: expect.stringMatching(/1300.*1430/),
    });
    await a.ns.exec(["ip", "link", "set", "eth0", "mtu", "1430"]);
    await runner.check(list, a);
    runner.writeSubnetEnv({ ...SUBNET_ENV, FLANNEL_SUBNET: "10.244.9.1/24" });
    expect(await failureOf(runner.check(list, a))).toMatchObject({
      code: 101,
      message: expect.stringContaining("10.244.7.2"),
    });
    runner.writeSubnetEnv({ ...SUBNET_ENV, FLANNEL_MTU: 1400 });
    expect((await failureOf(runner.check(list, a))).code).toBe(102);
    rmSync(folder.at("subnet.env"));
    expect((await failureOf(runner.check(list, a))).code).toBe(11);
    runner.writeSubnetEnv(SUBNET_ENV);
    await runner.check(list, a);
    await a.ns.exec(["ip", "link", "set", "eth0", "name", "eth1"]);
    const { code, message } = await failureOf(runner.check(list, a));
    expect([code, message]).toEqual([5, expect.stringMatching(/MTU of eth0 in \S+ can't be read: .*ENODEV/)]);
    await a.ns.exec(["ip", "link", "set", "eth1", "name", "eth0"]);
    // The delegate's own findings.
    await a.ns.exec(["ip", "address", "flush", "dev", "eth0", "scope", "global"]);
    expect((await failureOf(runner.check(list, a))).code).toBe(999);
  });

  test("an ADD at boot waits for subnet.env", async () => {
    rmSync(folder.at("subnet.env"));
    const a = node.pod("a");
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
      const { code, message, details } = await failureOf(runner.add(list, node.pod("a")));
      expect(code).toBe(11);
      expect(message).toMatch(says);
      expect(details).toMatch(/agent of node \S+ .*tartan or flanneld.*log/);
    }
    expect(runner.records()).toEqual([]);
  });

  test("STATUS: not available while subnet.env or the agent's device is missing", async () => {
    rmSync(folder.at("subnet.env"));
    expect(await failureOf(runner.status(list))).toMatchObject({
      code: 50,
      message: expect.stringContaining("subnet.env"),
    });
    runner.writeSubnetEnv({ ...SUBNET_ENV, TARTAN_DEVICES: "flannel.1" });
    expect(await failureOf(runner.status(list))).toMatchObject({
      code: 50,
      message: expect.stringContaining("flannel.1"),
    });
    using peer = new Netns();
    await pair({ ns: node.ns, name: "flannel.1", addresses: ["10.244.8.0/32"] }, { ns: peer, name: "x" });
    await eventually(async () => (await failureOf(runner.status(list))).message.includes("10.244.7.0"), {
      within: 20_000,
      what: "flannel.1 is running, and its address is what is missing",
    });
    await node.ns.exec(["ip", "address", "add", "10.244.7.0/32", "dev", "flannel.1"]);
    await runner.status(list);
    await node.ns.exec(["ip", "link", "set", "flannel.1", "down"]);
    expect((await failureOf(runner.status(list))).code).toBe(50);
    await node.ns.exec(["ip", "link", "set", "flannel.1", "up"]);
    const both = { ...SUBNET_ENV, ...DUAL_STACK, TARTAN_DEVICES: "flannel.1,flannel-v6.1" };
    runner.writeSubnetEnv(both);
    await eventually(async () => (await failureOf(runner.status(list))).message.includes("flannel-v6.1"), {
      within: 20_000,
      what: "flannel.1 is running again, and flannel-v6.1 is what is missing",
    });
    await pair({ ns: node.ns, name: "flannel-v6.1", addresses: ["fd00:244:0:7::/128"] }, { ns: peer, name: "y" });
    await eventually(() => runner.status(list).then(() => true), { within: 20_000, what: "both devices are there" });
    // flanneld names no device.
    runner.writeSubnetEnv(SUBNET_ENV);
    await runner.status(list);
    mkdirSync(folder.at("bridge-alone"));
    symlinkSync(runner.debian("bridge"), folder.at("bridge-alone", "bridge"));
    for (const [path, missing] of [
      ["/absent", "bridge"],
      [folder.at("bridge-alone"), "host-local"],
    ] as const) {
      const status = runner.call("STATUS", "flannel", runner.flannelConf(list), { CNI_PATH: path });
      const { code, message, details } = await failureOf(status);
      expect([code, message]).toEqual([50, expect.stringContaining(`the plugin ${missing}, `)]);
      expect(details).toContain(`looked in ${path}; `);
    }
  });

  test("IPAM that has no address left says so, and how to get some", async () => {
    runner.writeSubnetEnv({ ...SUBNET_ENV, FLANNEL_SUBNET: "10.244.7.1/30" });
    await runner.add(list, node.pod("a"));
    const b = node.pod("b");
    const { code, message, details } = await failureOf(runner.add(list, b));
    expect(code).not.toBe(0);
    expect(message).toContain("no IP addresses available in range set: 10.244.7.1-10.244.7.2");
    expect(details).toContain(folder.at("networks", "cbr0"));
    // A runtime calls DEL after an ADD that failed.
    await runner.del(list, b);
    expect(runner.records()).toEqual(["a"]);
    expect(runner.addresses()).toEqual(["10.244.7.2"]);
  });

  test("200 pods at once get 200 addresses", async () => {
    runner.writeSubnetEnv({ ...SUBNET_ENV, FLANNEL_IPMASQ: "true" });
    const many = Array.from({ length: 200 }, (_, number) => node.pod(`p${number}`));
    const alone = node.listWith({}, []);
    const results = await Promise.all(many.map((one) => runner.add(alone, one)));
    const addresses = new Set(results.map(({ ips }) => ips[0]?.address));
    expect(addresses.size).toBe(200);
    expect(runner.addresses()).toHaveLength(200);
    expect(runner.records()).toHaveLength(200);
    await Promise.all(many.map((one) => runner.del(alone, one)));
    expect(node.held()).toEqual([[], []]);
    await eventually(async () => !(await node.ns.exec(["ip", "-br", "link"])).includes("veth"), {
      within: 30_000,
      what: "no veth is left on the node",
    });
    expect(readdirSync(folder.at("flannel"))).toEqual([]);
  }, 240_000);
});
