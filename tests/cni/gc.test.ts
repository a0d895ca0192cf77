import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { type CniRunner, type Conflist, environmentOf, failureOf } from "../support/cni.ts";
import type { Netns } from "../support/netns.ts";
import { describeInNamespaces } from "../support/requires.ts";
import type { TemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";
import { SampleNode } from "./sample-node.ts";

/** Where an ADD is killed: what stands in for the delegate or its IPAM plugin, and waits there until it may go on. */
const MOMENTS = [
  { moment: "before the delegate does anything", plugin: "bridge", before: true, given: 0 },
  { moment: "with the interface made, before an address is given", plugin: "host-local", before: true, given: 0 },
  { moment: "with the address given, before it is on the interface", plugin: "host-local", before: false, given: 1 },
  { moment: "with the delegate done", plugin: "bridge", before: false, given: 1 },
] as const;

describeInNamespaces("GC", () => {
  let node: SampleNode;
  let folder: TemporaryFolder;
  let runner: CniRunner;
  let list: Conflist;

  beforeEach(() => {
    node = new SampleNode();
    ({ folder, runner, list } = node);
  });
  afterEach(() => node[Symbol.dispose]());

  const pod = (containerId: string) => node.pod(containerId);
  const held = () => node.held();
  const addConf = () => ({ ...runner.flannelConf(list), cniVersion: list.cniVersion });

  /** Stands before one of Debian's plugins: at ADD it says that it is there and waits, before or after the plugin's work. */
  function hold(plugin: string, before: boolean): void {
    const wait = `touch ${folder.at("arrived")}; while [ ! -e ${folder.at("go-on")} ]; do sleep 0.01; done`;
    const real = runner.debian(plugin);
    const work = before ? `${wait}; exec ${real}` : `${real}; code=$?; ${wait}; exit $code`;
    runner.standIn(plugin, `[ "$CNI_COMMAND" = ADD ] || exec ${real}\n${work}`);
  }

  function livingIn(ns: Netns): number[] {
    const { stdout } = Bun.spawnSync(["ip", "netns", "pids", ns.name], { stdout: "pipe" });
    return stdout.toString().split("\n").filter(Boolean).map(Number);
  }

  function killAllIn(ns: Netns): void {
    for (const pid of livingIn(ns)) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It ended by itself meanwhile.
      }
    }
  }

  test("releases what the runtime does not know any more, and leaves the rest", async () => {
    const [a, b, c] = [pod("a"), pod("b"), pod("c")];
    for (const one of [a, b, c]) await runner.add(list, one);
    // What another network keeps in the same directory is not ours to judge.
    writeFileSync(folder.at("flannel", "other"), '{"type":"bridge","name":"other","ipam":{"type":"host-local"}}');
    a.ns[Symbol.dispose]();
    await runner.gc(list, [b]);
    expect(held()).toEqual([["b", "other"], ["10.244.7.3"]]);
    await runner.check(list, b);
    await runner.gc(list, [b]);
    await runner.del(list, b);
    expect(held()).toEqual([["other"], []]);
  });

  test("an address without a record, of a container or of one of its interfaces", async () => {
    const [a, b] = [pod("a"), pod("b")];
    const second = { ...b, ifName: "net1" };
    for (const one of [a, b, second]) await runner.add(list, one);
    rmSync(folder.at("flannel", "a"));
    await runner.gc(list, [b]);
    expect(held()).toEqual([["b"], ["10.244.7.3"]]);
    rmSync(folder.at("flannel", "b"));
    await runner.gc(list, []);
    expect(held()).toEqual([[], []]);
  });

  test("without subnet.env too: the records say enough; what has none waits for it, and is told", async () => {
    const [a, b] = [pod("a"), pod("b")];
    for (const one of [a, b]) await runner.add(list, one);
    rmSync(folder.at("subnet.env"));
    rmSync(folder.at("flannel", "a"));
    await runner.gc(list, []);
    expect(held()).toEqual([[], []]);
    await runner.gc(list, []);
    writeFileSync(folder.at("networks", "cbr0", "10.244.7.9"), "gone\r\neth0");
    expect(await failureOf(runner.gc(list, []))).toMatchObject({
      code: 103,
      details: expect.stringContaining("subnet.env"),
    });
  });

  test("one that can't be released keeps no other, and is named", async () => {
    const [a, b, c] = [pod("a"), pod("b"), pod("c")];
    for (const one of [a, b, c]) await runner.add(list, one);
    const path = runner.standIn("bridge", `[ "$CNI_CONTAINERID" = b ] && kill -9 $$\nexec ${runner.debian("bridge")}`);
    const { code, details } = await failureOf(runner.gc(list, []));
    expect(code).toBe(103);
    expect(details).toMatch(/^container b: .*SIGKILL/);
    expect(runner.records()).toEqual(["b"]);
    rmSync(path);
    await runner.gc(list, []);
    expect(held()).toEqual([[], []]);
  });

  test("what is no record, and a subnet.env that can't be used, keep nothing from being released", async () => {
    await runner.add(list, pod("a"));
    mkdirSync(folder.at("flannel", "0-folder"));
    writeFileSync(folder.at("flannel", "1-half"), '{"type');
    writeFileSync(folder.at("subnet.env"), "FLANNEL_MTU=\0\n");
    await runner.gc(list, []);
    expect(held()).toEqual([["0-folder", "1-half"], []]);
    // There is nothing left to release, and the bridge plugin has no GC.
    await runner.gc(list, []);
  });

  test("a list of valid attachments that is missing is no empty list", async () => {
    await runner.add(list, pod("a"));
    expect((await failureOf(runner.call("GC", "flannel", runner.flannelConf(list)))).code).toBe(7);
    expect(runner.addresses()).toHaveLength(1);
  });

  test("what a writer left that was killed goes, once nobody can be writing it", async () => {
    await runner.add(list, pod("a"));
    const [old, fresh] = [".x.0b7c8e7e-4f6a-4c39-9d2e-2f6b3c1d5a10", ".y.0b7c8e7e-4f6a-4c39-9d2e-2f6b3c1d5a11"];
    for (const name of [old, fresh]) writeFileSync(folder.at("flannel", name), "{");
    utimesSync(folder.at("flannel", old), 1_000_000, 1_000_000);
    await runner.gc(list, []);
    expect(runner.records()).toEqual([fresh]);
  });

  test("a delegate that has the verb is told, with the attachments; one that has STATUS too", async () => {
    const supported = '{"cniVersion":"1.1.0","supportedVersions":["1.0.0","1.1.0"]}';
    runner.standIn("bridge", `[ $CNI_COMMAND = VERSION ] && echo '${supported}' || cat > ${folder.path}/$CNI_COMMAND`);
    await runner.gc(list, [{ containerId: "a", netns: "" }]);
    expect(await Bun.file(folder.at("GC")).json()).toMatchObject({
      cniVersion: "1.1.0",
      name: "cbr0",
      type: "bridge",
      ipam: { ranges: [[{ subnet: "10.244.7.0/24" }]] },
      "cni.dev/valid-attachments": [{ containerID: "a", ifname: "eth0" }],
    });
    await runner.status(list);
    expect(await Bun.file(folder.at("STATUS")).json()).toMatchObject({ cniVersion: "1.1.0", mtu: 1430 });
  });

  for (const { moment, plugin, before, given } of MOMENTS) {
    test(`kill -9 ${moment}: no address is left after it`, async () => {
      hold(plugin, before);
      for (const goesOn of [false, true]) {
        const a = pod(`a-${goesOn}`);
        const { child, outcome } = runner.spawn("ADD", "flannel", addConf(), environmentOf(a));
        await eventually(() => existsSync(folder.at("arrived")), {
          within: 20_000,
          what: "the ADD is where it is killed",
        });
        process.kill(child.pid, "SIGKILL");
        expect([runner.records(), runner.addresses().length]).toEqual([[a.containerId], given]);
        if (!goesOn) killAllIn(node.ns);
        // The delegate lives on without its parent, as it does under a runtime that kills only what it started.
        else await runner.gc(list, []);
        writeFileSync(folder.at("go-on"), "");
        await eventually(() => livingIn(node.ns).length === 0, {
          within: 20_000,
          what: "nothing of the ADD runs",
        });
        expect((await outcome).code).not.toBe(0);
        await runner.gc(list, []);
        expect(held()).toEqual([[], []]);
        for (const name of ["arrived", "go-on"]) rmSync(folder.at(name));
      }
      // All of the addresses are to be had.
      const b = pod("b");
      rmSync(folder.at("plugins", plugin));
      await runner.add(list, b);
      await runner.del(list, b);
    });
  }

  test("kill -9 at any time of many ADDs at once: no address is left after it", async () => {
    const many = Array.from({ length: 24 }, (_, number) => pod(`p${number}`));
    await Promise.all(
      many.map(async (one, number) => {
        const { child, outcome } = runner.spawn("ADD", "flannel", addConf(), environmentOf(one));
        await Bun.sleep(number * 25);
        if (child.exitCode === null) process.kill(child.pid, "SIGKILL");
        await outcome;
      }),
    );
    await eventually(() => livingIn(node.ns).length === 0, { within: 30_000, what: "nothing of the ADDs runs" });
    await runner.gc(list, []);
    expect(runner.addresses()).toEqual([]);
    // One that was killed while it wrote its record leaves a file that GC removes later.
    expect(runner.records().filter((name) => !name.startsWith("."))).toEqual([]);
  });
});
