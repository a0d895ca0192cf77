import { afterAll, beforeAll, expect, test } from "bun:test";
import * as v from "valibot";
import { RESOURCES } from "../../src/api/resources.ts";
import { executable } from "../support/executable.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";
import { BOTH_FAMILIES, CommandedOverlay, tartan } from "./running-cli.ts";

describeInNamespaces("commands on a node whose agent runs", () => {
  const overlay = new CommandedOverlay(useTemporaryFolder().path);
  beforeAll(() => overlay.bringUp());
  afterAll(() => overlay[Symbol.dispose]());

  const run = (...args: string[]) => overlay.run(...args);

  test("status is one screen, and its exit code says ready", async () => {
    const { code, stdout, stderr } = await run("status");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^node +n1, agent up/);
    expect(stdout).toMatch(/^state +ready$/m);
    expect(stdout).toMatch(/^lease +10\.244\.\d+\.0\/24 at 192\.0\.2\.1, /m);
    expect(stdout).toMatch(/^peers +2 peers: 2 up$/m);
    expect(stdout).toMatch(/^kernel +as desired/m);
    expect(stdout).toMatch(/^rules +\S+ .*IPv4 in place, IPv6 in place$/m);
    expect(stdout.split("\n").length).toBeLessThanOrEqual(24);
  });

  test("status tells that the executable is another than the agent's, and is JSON if asked", async () => {
    const { stdout } = await run("status", "-o", "json");
    const body = v.parse(
      v.object({ agentAnswers: v.literal(true), executableVersion: v.string(), state: RESOURCES.state.schema }),
      JSON.parse(stdout),
    );
    expect(body.executableVersion).toBe(body.state.version);
    expect(body.state.node).toBe("n1");
  });

  test("peers has each, with what the probes say", async () => {
    const { code, stdout } = await run("peers");
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^NODE +STATE +SINCE +LOSS +RTT +WHY\nn2 +up .* 0 % .* ms\nn3 +up .*\n2 peers: 2 up; probed every 1 s\n$/,
    );
    const wide = await run("peers", "--node=n2", "-o", "wide");
    expect(wide.stdout.match(/^n2 .*IPv[46] .*192\.0\.2\.2|^n2 .*2001:db8::2/gm)).toHaveLength(2);
    expect(await run("peers", "--node=nobody")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('there is no peer "nobody"'),
    });
  });

  test("peers --watch goes on, and says what changes", async () => {
    const { ns, agent } = overlay.node(1);
    const watch = ns.spawn([executable(), "peers", "--watch", `--socket=${agent.debugSocket}`], {
      stdout: "pipe",
      stderr: "ignore",
    });
    const third = overlay.node(3).ns;
    try {
      let text = "";
      const decoder = new TextDecoder();
      const reading = (async () => {
        for await (const chunk of watch.stdout) text += decoder.decode(chunk, { stream: true });
      })();
      await eventually(async () => text.includes("n3"), { within: 10_000, what: "the table is there" });
      await third.exec(["ip", "link", "set", "eth0", "down"]);
      await eventually(async () => /^\S+Z {2}n3 {2}\w+ -> down {2}/m.test(text), {
        within: 30_000,
        what: "n3 is down",
      });
      expect((await run("peers")).code).toBe(1);
      watch.kill();
      await reading;
    } finally {
      watch.kill();
      await third.exec(["ip", "link", "set", "eth0", "up"]);
      await third.exec(["ip", "address", "replace", "2001:db8::3/64", "dev", "eth0", "nodad"]);
    }
    await overlay.peersUp();
  });

  test.each(["status", "peers -o wide", "get state", "doctor", "events -f", "peers --watch"])(
    "%s ends quietly when nobody reads it any more",
    async (words) => {
      const { ns, agent } = overlay.node(1);
      const place = words === "doctor" ? "" : `--socket=${agent.debugSocket}`;
      // The shell tells the code of the command, not that of its reader.
      const line = `{ "$0" ${words} ${place}; echo "$?" >&2; } | true`;
      const child = ns.spawn(["sh", "-c", line, executable()], { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
      const told = child.stderr.text();
      const hasEnded = async () => {
        // Who follows notices with the next thing to tell; the first one may have come before it followed.
        if (words === "events -f") await run("resync");
        return child.exitCode !== null;
      };
      const ended = eventually(hasEnded, { within: 30_000, what: `${words} ends` });
      const cabling = words === "peers --watch" ? overlay.cable(3, "down") : undefined;
      await Promise.all([ended, cabling]).finally(() => overlay.cable(3, "up"));
      expect(await told).toMatch(/^[013]\n$/);
    },
  );

  test("diff reads the kernel by itself", async () => {
    expect(await run("diff")).toEqual({
      code: 0,
      stdout: "The kernel, read by this command, is as desired.\n",
      stderr: "",
    });
    expect(await overlay.diff()).toEqual({ code: 0, source: "kernel", settled: true, changes: [] });
  });

  test("diff takes the agent's own view from another network namespace", async () => {
    const { agent } = overlay.node(1);
    const { code, stderr, stdout } = await tartan({ ...overlay.node(2), agent }, ["diff"]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "The kernel, as the agent knows it, is as desired.\n" });
    expect(stderr).toContain("not the agent's network namespace");
  });

  test("events has what happened, and -f what happens, also over a restart of the agent", async () => {
    const { ns, agent } = overlay.node(1);
    const listed = await run("events", "--kind=ready");
    expect(listed.code).toBe(0);
    expect(listed.stdout).toMatch(/^\S+Z {2}ready .*\n$/);
    const follow = ns.spawn(
      [executable(), "events", "-f", "-o", "json", "--kind=repaired,started", `--socket=${agent.debugSocket}`],
      {
        stdout: "pipe",
        stderr: "pipe",
      },
    );
    const seen: string[] = [];
    const decoder = new TextDecoder();
    const reading = (async () => {
      for await (const chunk of follow.stdout) seen.push(decoder.decode(chunk, { stream: true }));
    })();
    const kinds = () =>
      seen
        .join("")
        .split("\n")
        // After the last line's end: nothing, or the beginning of another.
        .slice(0, -1)
        .map((line) => JSON.parse(line).kind);
    try {
      await eventually(async () => kinds().includes("started"), { within: 10_000, what: "the stream begins" });
      const before = kinds().length;
      await ns.exec(["bridge", "fdb", "del", overlay.macs[4], "dev", "flannel.1"]);
      await eventually(async () => kinds().slice(before).includes("repaired"), {
        within: 10_000,
        what: "the repair is told",
      });
      await agent.stop();
      await agent.start();
      await agent.settled(3);
      await eventually(async () => kinds().filter((kind) => kind === "started").length === 2, {
        within: 20_000,
        what: "the new agent's start is told",
      });
      expect((await run("status")).stdout).not.toContain("repairs");
    } finally {
      follow.kill();
      await reading;
    }
    expect(await follow.stderr.text()).toContain("the agent ended the stream; trying again");
  });

  test("diff shows drift that the agent does not mend: it stands still", async () => {
    const { ns, agent } = overlay.node(1);
    const desired = JSON.parse((await run("get", "desired")).stdout);
    const kept = JSON.parse((await run("get", "diff")).stdout);
    agent.signal("SIGSTOP");
    const socket = `${overlay.store}.stand.sock`;
    // What the agent wants, told in its place.
    await using _ = Bun.serve({
      unix: socket,
      fetch: (request) => Response.json(request.url.includes("/desired") ? desired : kept),
    });
    try {
      await ns.exec(["bridge", "fdb", "del", overlay.macs[4], "dev", "flannel.1"]);
      await ns.exec([
        "ip",
        "route",
        "add",
        "10.244.254.0/24",
        "via",
        "10.244.254.0",
        "dev",
        "flannel.1",
        "onlink",
        "proto",
        "112",
      ]);
      const child = Bun.spawn(ns.command([executable(), "diff", `--socket=${socket}`]), {
        stdout: "pipe",
        stderr: "inherit",
      });
      const stdout = await child.stdout.text();
      expect(await child.exited).toBe(1);
      expect(stdout).toMatch(
        new RegExp(
          `^\\+ {2}forwarding {2}${overlay.macs[4]} to 192\\.0\\.2\\.2 +it is missing\\n- {2}route +10\\.244\\.254\\.0/24 +no lease has it\\n2 changes: 1 to add, 1 to remove`,
        ),
      );
    } finally {
      agent.signal("SIGCONT");
    }
    await eventually(async () => (await run("diff")).code === 0, { within: 10_000, what: "the agent has mended it" });
  });

  test("get prints every resource, as JSON, YAML or a table", async () => {
    for (const [name, { schema }] of Object.entries(RESOURCES)) {
      const args = name === "peer" ? ["peer", "n2"] : [name];
      const { code, stdout } = await run("get", ...args);
      expect({ name, code }).toEqual({ name, code: 0 });
      v.parse(schema, JSON.parse(stdout));
      expect(Bun.YAML.parse((await run("get", ...args, "-o", "yaml")).stdout)).toBeDefined();
    }
    const { stdout } = await run("get", "kernel", "--node=n2", "--family=ipv4", "-o", "wide");
    expect(stdout).toMatch(/^KIND .*\n(?:(?:route|neighbour|forwarding) .*\n){3}$/);
    expect(await run("get", "peer", "nobody")).toMatchObject({ code: 1, stderr: expect.stringContaining("nobody") });
    expect(await run("get", "leasse")).toMatchObject({ code: 2 });
    expect(await run("get", "rules", "--node=n2")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("--node"),
    });
  });

  test("resync and log-level reach the agent", async () => {
    const fullReads = async () => (await overlay.node(1).agent.state()).reconcile.fullReads;
    const before = await fullReads();
    expect(await run("resync")).toMatchObject({ code: 0, stdout: expect.stringMatching(/^asked at \d{4}-/) });
    await eventually(async () => (await fullReads()) > before, { within: 10_000, what: "the kernel is read anew" });
    expect(await run("log-level", "debug")).toMatchObject({ code: 0, stdout: "the agent logs debug\n" });
    expect(JSON.parse((await run("get", "config")).stdout)).toMatchObject({ logLevel: "debug" });
    expect(JSON.parse((await run("log-level", "info", "-o", "json")).stdout)).toEqual({ level: "info" });
    expect(JSON.parse((await run("resync", "-o", "json")).stdout)).toEqual({ askedAt: expect.any(String) });
    expect(await run("log-level", "loud")).toMatchObject({ code: 2 });
  });

  test.each(BOTH_FAMILIES)("trace names the node of an IPv%d pod and each step to it", async (family) => {
    const { code, lost, kind, lease, steps } = await overlay.trace(overlay.podOf(2, family));
    expect({ code, lost, kind, lease }).toMatchObject({ code: 0, lost: false, kind: "pod", lease: { node: "n2" } });
    expect(steps.map(({ step }) => step)).toEqual([
      "route",
      "device",
      "neighbour",
      "fdb",
      "underlay",
      "source",
      "mtu",
      "masquerade",
    ]);
    expect(steps[3]?.text).toContain(`${overlay.macs[family]} is behind `);
  });

  test("trace knows pods of this node, addresses of none, and the outside", async () => {
    expect(await overlay.trace(overlay.podOf(1, 4))).toMatchObject({
      code: 0,
      kind: "localPod",
      lease: { node: "n1" },
    });
    expect(await overlay.trace(overlay.podOf(1, 6))).toMatchObject({ code: 0, kind: "localPod" });
    expect(await overlay.trace("192.0.2.3")).toMatchObject({ code: 0, kind: "outside" });
    expect(await overlay.trace("127.0.0.1")).toMatchObject({ code: 0, kind: "local" });
    expect(await overlay.trace("10.244.255.77")).toMatchObject({
      code: 1,
      lost: true,
      problem: expect.stringContaining("no node has a lease"),
    });
    expect(await overlay.trace("203.0.113.1")).toMatchObject({
      code: 1,
      problem: "this node has no route to 203.0.113.1",
    });
    expect(await run("trace", "10.244.1")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("TARGET must be an IP address"),
    });
  });

  test("commands end soon where the agent hangs", async () => {
    const { agent } = overlay.node(1);
    agent.signal("SIGSTOP");
    try {
      expect(await run("status", overlay.subnetFile)).toMatchObject({
        code: 3,
        stderr: expect.stringContaining("it hangs"),
      });
      expect(await run("get", "state")).toMatchObject({ code: 3, stderr: expect.stringContaining("it hangs") });
      expect(await overlay.trace(overlay.podOf(2, 4))).toMatchObject({ code: 0, agentAnswers: false });
    } finally {
      agent.signal("SIGCONT");
    }
  });
});
