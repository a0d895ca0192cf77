import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TestAgent } from "../support/agent.ts";
import { Overlay } from "../support/overlay.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

const CONF = readFileSync(join(import.meta.dir, "..", "..", "manifests", "cni-conflist.json"), "utf8");
const FLANNELS = '{"name":"cbr0","cniVersion":"0.3.1","plugins":[{"type":"flannel"}]}';
const MESHED = CONF.replace('"plugins": [', '"plugins": [ { "type": "mesh" },');

describeInNamespaces("the conflist", () => {
  const folder = useTemporaryFolder();
  const overlay = new Overlay(folder.path);
  const source = folder.at("cni-conf.json");
  const netd = folder.at("net.d");
  const file = join(netd, "10-flannel.conflist");
  const netConf = folder.at("own-net-conf.json");
  let agent: TestAgent;

  beforeAll(async () => {
    await overlay.create(1);
    agent = new TestAgent({
      ns: overlay.node(1).ns,
      folder: folder.path,
      name: "n1",
      store: overlay.store,
      netConf,
      flags: [`--cni-conf-source=${source}`, `--cni-conf-file=${file}`],
    });
  });

  afterEach(async () => {
    if (agent.exitCode === null) await agent.stop();
    rmSync(netd, { recursive: true, force: true });
  });

  afterAll(() => overlay[Symbol.dispose]());

  const holds = (text: string) =>
    eventually(() => readFileSync(file, "utf8") === text, {
      within: 15_000,
      what: `${file} has the expected text`,
    }).catch((cause: unknown) => {
      throw new Error(`the agent's log:\n${agent.log}`, { cause });
    });
  const looks = async () => (await agent.state()).cniConf?.looks ?? 0;
  const looksTwice = async () => {
    const before = await looks();
    await eventually(async () => (await looks()) > before + 1, { within: 15_000, what: "it has looked twice" });
  };
  const good = async () => {
    await Bun.write(source, CONF);
    await Bun.write(netConf, readFileSync(overlay.netConf));
  };

  test("appears when the agent is ready for the first time, not before, and stays when it stops", async () => {
    await good();
    await Bun.write(netConf, "no configuration");
    agent.spawn();
    await eventually(async () => (await agent.readiness()).status === 503, { within: 15_000, what: "it is not ready" });
    await eventually(async () => (await agent.state()).reconcile.turns > 1, { within: 15_000, what: "it tries again" });
    expect(existsSync(netd)).toBe(false);
    await good();
    await eventually(() => existsSync(file), { within: 20_000, what: "the conflist is there" });
    expect((await agent.readiness()).status).toBe(200);
    expect(existsSync(agent.subnetFile)).toBe(true);
    expect(readFileSync(file, "utf8")).toBe(CONF);
    expect(statSync(file).mode & 0o777).toBe(0o644);
    expect(readdirSync(netd)).toEqual(["10-flannel.conflist"]);
    expect(await agent.stop()).toBe(0);
    expect(readFileSync(file, "utf8")).toBe(CONF);
  });

  test("takes the place of flannel's, and is left alone by the next start if it is the same", async () => {
    await good();
    mkdirSync(netd);
    writeFileSync(file, FLANNELS);
    await agent.start();
    await holds(CONF);
    await agent.stop();
    const { ino } = statSync(file);
    await agent.start();
    await eventually(async () => (await agent.state()).cniConf?.written, { within: 15_000, what: "it was looked at" });
    expect(statSync(file).ino).toBe(ino);
    // Not ready any more: pods go on.
    await Bun.write(source, FLANNELS);
    const { ns } = overlay.node(1);
    await ns.exec(["ip", "link", "set", "eth0", "down"]);
    await ns.exec(["ip", "link", "set", "eth0", "name", "other0"]);
    await eventually(async () => (await agent.readiness()).status === 503, { within: 15_000, what: "it is not ready" });
    await looksTwice();
    expect(readFileSync(file, "utf8")).toBe(CONF);
    await ns.exec(["ip", "link", "set", "other0", "name", "eth0"]);
    await ns.exec(["ip", "link", "set", "eth0", "up"]);
    await agent.ready();
    await looksTwice();
    expect(readFileSync(file, "utf8")).toBe(CONF);
    // What the source has now counts from the next start on.
    await agent.stop();
    await agent.start();
    await holds(FLANNELS);
  });

  test("comes back when somebody removes it or writes garbage; what others add to it stays", async () => {
    await good();
    await agent.start();
    await holds(CONF);
    rmSync(file);
    await holds(CONF);
    rmSync(netd, { recursive: true });
    await holds(CONF);
    writeFileSync(file, '{"cniVersion": "1.0');
    await holds(CONF);
    expect(await agent.warnings("cni")).toEqual([]);
    // At once: half of it would be garbage.
    writeFileSync(`${file}.new`, MESHED);
    renameSync(`${file}.new`, file);
    await looksTwice();
    expect(readFileSync(file, "utf8")).toBe(MESHED);
  });

  test.each([
    ["empty", "", "it is empty"],
    ["half of one", CONF.slice(0, 60), "it is not JSON"],
    ["without our plugin", CONF.replace('"flannel"', '"other"'), "plugins must have a plugin of the type flannel"],
    ["of a version that nobody speaks", CONF.replace("1.0.0", "9.9.9"), "cniVersion must be one of"],
    ["that is missing", undefined, "can't be read"],
  ])("a source %s is a warning, and nothing is written until it is right", async (_, text, says) => {
    await good();
    if (text === undefined) rmSync(source);
    else await Bun.write(source, text);
    await agent.start();
    const message = await agent.warned("cni", true);
    expect(message).toContain(source);
    expect(message).toContain(says);
    expect((await agent.readiness()).status).toBe(200);
    expect(existsSync(netd)).toBe(false);
    await good();
    await holds(CONF);
    await agent.warned("cni", false);
  });

  test("something else of its name is a warning that says what to do", async () => {
    await good();
    await agent.start();
    await holds(CONF);
    rmSync(file);
    mkdirSync(file);
    const message = await agent.warned("cni", true);
    expect(message).toStartWith(`${file} can't be read`);
    expect(message).toMatch(/remove it.*EISDIR/);
    rmSync(file, { recursive: true });
    await holds(CONF);
    await agent.warned("cni", false);
  });

  test("a folder that can't be written to is a warning with the cause, and is tried again", async () => {
    await good();
    writeFileSync(netd, "a file in the folder's place");
    await agent.start();
    expect(await agent.warned("cni", true)).toMatch(/write .*10-flannel\.conflist: E(NOTDIR|EXIST)/);
    rmSync(netd);
    await holds(CONF);
    await agent.warned("cni", false);
  });
});
