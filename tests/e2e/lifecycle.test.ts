import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openStore, TestAgent } from "../support/agent.ts";
import { executable } from "../support/executable.ts";
import { Overlay } from "../support/overlay.ts";
import { startPing } from "../support/ping.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

const HALF_A_ROW = '{"PublicIP":"192.0.2.77","BackendType":"vx';

describeInNamespaces("an agent in bad and good times", () => {
  const folder = useTemporaryFolder();
  const overlay = new Overlay(folder.path);

  beforeAll(async () => {
    await overlay.create(2);
    await overlay.start();
    await overlay.attachPods();
  });

  afterAll(() => overlay[Symbol.dispose]());

  /** Another agent in node 2's place, with files and flags of its own. */
  const another = async (options: {
    netConf?: string;
    store?: string;
    name?: string;
    flags?: string[];
    environment?: Record<string, string>;
  }) => {
    const { ns } = overlay.node(2);
    await overlay.node(2).agent.stop();
    return new TestAgent({
      ns,
      folder: folder.path,
      name: options.name ?? "other",
      store: options.store ?? overlay.store,
      netConf: options.netConf ?? overlay.netConf,
      flags: options.flags ?? [],
      environment: options.environment ?? {},
    });
  };

  /** Brings node 2 back as it was. */
  const restore = async (agent: TestAgent): Promise<void> => {
    if (agent.exitCode === null) await agent.stop();
    await overlay.node(2).agent.start();
    await overlay.node(2).agent.settled(2);
  };

  test("garbage rows in the store reject themselves, are shown, and harm nobody", async () => {
    const { agent, pod } = overlay.node(1);
    const ping = startPing(pod, overlay.node(2).podAddress);
    await ping.answers(5, 15_000);
    using store = openStore(overlay.store);
    const insert = store.prepare(
      "INSERT INTO leases (key, value, node, created_at, expires_at) VALUES (?, ?, ?, ?, ?)",
    );
    const garbage: [string, string | Uint8Array | null][] = [
      ["10.244.201.0-24", ""],
      ["10.244.202.0-24", HALF_A_ROW],
      ["10.244.203.0-24", new Uint8Array([0, 255, 1, 254])],
      [
        "10.244.204.0-24",
        '{"PublicIP":"192.0.2.9","BackendType":"vxlan","BackendData":{"VNI":"x","VtepMAC":"02:00:00:00:00:01"}}',
      ],
      ["nonsense", "{}"],
    ];
    for (const [key, value] of garbage) insert.run(key, value, null, 1, null);
    await eventually(async () => (await agent.state()).rejectedLeases.length === garbage.length, {
      within: 15_000,
      what: "all garbage is shown as rejected",
    });
    const answer = await agent.readiness();
    expect(answer.status).toBe(200);
    expect(answer.warnings.filter(({ condition }) => condition === "peers")).toHaveLength(garbage.length);
    expect(await agent.leases()).toHaveLength(2);
    store.run("DELETE FROM leases WHERE created_at = 1");
    await eventually(async () => (await agent.state()).rejectedLeases.length === 0, {
      within: 15_000,
      what: "none is left",
    });
    await ping.answers(5, 15_000);
    const { sent, received } = await ping.stop();
    expect(received).toBe(sent);
  });

  test("a store that turns into garbage: a warning, the data path stays; in order again: no warning", async () => {
    const { agent, pod } = overlay.node(1);
    const ping = startPing(pod, overlay.node(2).podAddress);
    await ping.answers(5, 15_000);
    const good = { main: readFileSync(overlay.store) };
    using database = openStore(overlay.store);
    database.run("PRAGMA wal_checkpoint(TRUNCATE)");
    good.main = readFileSync(overlay.store);
    database.close();
    writeFileSync(overlay.store, "this is no database, whatever its name says. ".repeat(200));
    await eventually(
      async () => (await agent.readiness()).warnings.some(({ condition }) => condition === "leaseSource"),
      {
        within: 15_000,
        what: "the warning names the lease source",
      },
    );
    const answer = await agent.readiness();
    expect(answer.status).toBe(200);
    expect(answer.warnings.find(({ condition }) => condition === "leaseSource")?.message).toContain(overlay.store);
    writeFileSync(overlay.store, good.main);
    await eventually(async () => (await agent.readiness()).warnings.length === 0, {
      within: 15_000,
      what: "the warning is gone",
    });
    await agent.settled(2);
    await ping.answers(5, 15_000);
    const { sent, received } = await ping.stop();
    expect(received).toBe(sent);
  });

  for (const [name, text, says] of [
    ["empty", "", /empty|JSON/],
    ["half written", '{"Network":"10.244.0', /JSON/],
    ["binary", "\u0000\u0001\ufffd", /JSON/],
    [
      "of another backend",
      '{"Network":"10.244.0.0/16","Backend":{"Type":"host-gw"}}',
      /host-gw.*not available in this build/,
    ],
    [
      "with DirectRouting",
      '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan","DirectRouting":true}}',
      /DirectRouting.*not available in this build/,
    ],
    ["too small", '{"Network":"10.244.0.0/30","Backend":{"Type":"vxlan"}}', /Network/],
  ] as const) {
    test(`a net-conf.json that is ${name}: says so, not ready, and goes on once it is right`, async () => {
      const netConf = folder.at("other-net-conf.json");
      await Bun.write(netConf, text);
      const agent = await another({ netConf });
      agent.spawn();
      await eventually(
        async () =>
          (await agent.readiness()).reasons.some(
            ({ condition, message }) => condition === "config" && says.test(message),
          ),
        {
          within: 15_000,
          what: `readiness says ${says}`,
        },
      );
      const { status, reasons } = await agent.readiness();
      expect(status).toBe(503);
      expect(reasons[0]?.message).toContain(netConf);
      expect((await agent.fetch("/healthz")).status).toBe(200);
      await Bun.write(netConf, readFileSync(overlay.netConf));
      await agent.ready();
      await restore(agent);
    });
  }

  for (const [name, content] of [
    ["empty", ""],
    ["half written", "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.24"],
    ["binary", "\u0000\u0001\u0002"],
  ] as const) {
    test(`a subnet.env that is ${name} is told, and written anew`, async () => {
      const agent = await another({ name: `env-${name.replace(" ", "-")}` });
      await Bun.write(agent.subnetFile, content);
      await agent.start();
      expect(await Bun.file(agent.subnetFile).text()).toMatch(
        /^FLANNEL_NETWORK=10\.244\.0\.0\/16\nFLANNEL_SUBNET=10\.244\.\d+\.1\/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\nTARTAN_DEVICES=flannel\.1\n$/,
      );
      await agent.logged(`${agent.subnetFile} is not used`);
      await restore(agent);
    });
  }

  test("a VNI that another device holds: not ready, with the cause; ready once it is free", async () => {
    const { ns } = overlay.node(2);
    const agent = await another({});
    await ns.exec(["ip", "link", "del", "flannel.1"]);
    await ns.exec([
      "ip",
      "link",
      "add",
      "foreign",
      "type",
      "vxlan",
      "id",
      "1",
      "dstport",
      "8472",
      "local",
      "192.0.2.2",
      "dev",
      "eth0",
    ]);
    agent.spawn();
    await eventually(async () => (await agent.state()).failures.length > 0, {
      within: 15_000,
      what: "the refusal is shown",
    });
    const { status, reasons } = await agent.readiness();
    expect(status).toBe(503);
    expect(reasons.map(({ condition }) => condition)).toContain("device");
    expect((await agent.state()).failures[0]).toMatchObject({
      operation: "add link",
      object: "flannel.1",
      error: "EEXIST",
    });
    await ns.exec(["ip", "link", "del", "foreign"]);
    await agent.ready();
    expect((await agent.state()).failures).toEqual([]);
    await restore(agent);
  });

  test("an external interface that is not there: not ready, with a list of those that are", async () => {
    const { ns } = overlay.node(2);
    const agent = await another({ flags: ["--iface=absent0"] });
    // Flags add up, so eth0 must not be there either.
    await ns.exec(["ip", "link", "set", "eth0", "down"]);
    await ns.exec(["ip", "link", "set", "eth0", "name", "uplink0"]);
    agent.spawn();
    await eventually(async () => (await agent.readiness()).reasons.some(({ message }) => message.includes("uplink0")), {
      within: 15_000,
      what: "the reason lists what there is",
    });
    expect((await agent.readiness()).status).toBe(503);
    await ns.exec(["ip", "link", "set", "uplink0", "name", "eth0"]);
    await ns.exec(["ip", "link", "set", "eth0", "up"]);
    await agent.ready();
    await restore(agent);
  });

  test("the published MAC wins over the device's; without a lease the device keeps its own", async () => {
    const { ns, agent } = overlay.node(2);
    const published = (await agent.state()).lease;
    if (!published) throw new Error("node 2 has no lease");
    await agent.stop();
    await ns.exec(["ip", "link", "set", "flannel.1", "address", "02:00:00:00:00:42"]);
    await agent.start();
    await agent.settled(2);
    expect(await ns.exec(["ip", "link", "show", "flannel.1"])).toContain(published.ipv4.vtepMAC);
    await agent.stop();
    await ns.exec(["ip", "link", "set", "flannel.1", "address", "02:00:00:00:00:43"]);
    using store = openStore(overlay.store);
    store.run("DELETE FROM leases WHERE key = ?", [published.key]);
    await agent.start();
    const renewed = (await agent.state()).lease;
    expect(renewed?.ipv4).toMatchObject({ subnet: published.ipv4.subnet, vtepMAC: "02:00:00:00:00:43" });
    await overlay.node(1).agent.settled(2);
  });

  test("JSON logs: one document a line, with level and time", async () => {
    const agent = await another({ flags: ["--log-format=json", "-v", "2"] });
    await agent.start();
    await agent.stop();
    const lines = agent.log.trimEnd().split("\n");
    expect(lines.length).toBeGreaterThan(3);
    for (const line of lines)
      expect(JSON.parse(line)).toMatchObject({ level: expect.any(String), "@timestamp": expect.any(String) });
    await restore(agent);
  });

  test("as process 1 it stops on SIGTERM within a second", async () => {
    const { ns, agent } = overlay.node(2);
    await agent.stop();
    const socket = join(folder.path, "one.sock");
    const child = ns.spawn(
      [
        "unshare",
        "--pid",
        "--fork",
        executable(),
        `--lease-store=${overlay.store}`,
        `--net-config-path=${overlay.netConf}`,
        "--iface=eth0",
        `--subnet-file=${join(folder.path, "one.env")}`,
        `--debug-addr=unix:${socket}`,
        "--debug-socket=off",
      ],
      {
        stdin: "ignore",
        stdout: "ignore",
        stderr: "ignore",
        env: { PATH: process.env["PATH"] ?? "", NODE_NAME: "n2" },
      },
    );
    await eventually(async () => (await fetch("http://agent/readyz", { unix: socket })).ok, {
      within: 15_000,
      what: "it is ready",
    });
    const inner = Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").trim());
    process.kill(inner, "SIGTERM");
    await eventually(() => child.exitCode !== null, { within: 1_000, what: "it has ended" });
    expect(child.exitCode).toBe(0);
    await agent.start();
  });

  test("without libnl it is not ready, and says which package has it", async () => {
    const { ns, agent } = overlay.node(2);
    await agent.stop();
    const socket = folder.at("bare.sock");
    const hide = "for f in /usr/lib/*/libnl-3.so.200; do mount --bind /dev/null $(readlink -f $f) || exit 9; done";
    const flags = [
      `--lease-store=${overlay.store}`,
      `--net-config-path=${overlay.netConf}`,
      "--iface=eth0",
      `--subnet-file=${folder.at("bare.env")}`,
      `--debug-addr=unix:${socket}`,
      "--debug-socket=off",
    ];
    const child = ns.spawn(["unshare", "--mount", "sh", "-c", `${hide}; exec "$0" "$@"`, executable(), ...flags], {
      stdin: "ignore",
      stdout: "ignore",
      stderr: "ignore",
      env: { PATH: process.env["PATH"] ?? "", NODE_NAME: "n2" },
    });
    await eventually(
      async () => {
        const response = await fetch("http://agent/readyz", { unix: socket });
        return response.status === 503 && (await response.text()).includes("apt install libnl-3-200");
      },
      { within: 15_000, what: "/readyz names the package" },
    );
    expect((await fetch("http://agent/healthz", { unix: socket })).status).toBe(200);
    child.kill("SIGTERM");
    expect(await child.exited).toBe(0);
    await agent.start();
  });

  test("--healthz-port serves the probes, and only those", async () => {
    const agent = await another({ flags: ["--healthz-ip=127.0.0.1", "--healthz-port=10256"] });
    await agent.start();
    const status = async (path: string): Promise<string> =>
      agent.ns.exec([
        "bash",
        "-c",
        `exec 3<>/dev/tcp/127.0.0.1/10256; printf 'GET ${path} HTTP/1.0\\r\\n\\r\\n' >&3; head -1 <&3`,
      ]);
    expect(await status("/healthz")).toContain(" 200 ");
    expect(await status("/readyz")).toContain(" 200 ");
    expect(await status("/debug/state")).toContain(" 404 ");
    await restore(agent);
  });
});
