import { afterAll, beforeAll, expect, test } from "bun:test";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { BOTH_FAMILIES, CommandedOverlay } from "./running-cli.ts";

describeInNamespaces("commands on a node whose agent is stopped", () => {
  const overlay = new CommandedOverlay(useTemporaryFolder().path);
  beforeAll(async () => {
    await overlay.bringUp();
    await overlay.node(1).agent.stop();
  });
  afterAll(() => overlay[Symbol.dispose]());

  const run = (...args: string[]) => overlay.run(...args);

  test("what the kernel says is shown, and that the agent does not answer", async () => {
    const status = await run("status", overlay.subnetFile);
    expect(status).toMatchObject({ code: 3, stderr: expect.stringContaining("no agent answers at unix:") });
    expect(status.stdout).toMatch(/^devices +flannel\.1 up, MTU 1450, 10\.244\.\d+\.0\/32/m);
    expect(status.stdout).toMatch(/^ +2 routes, 2 neighbours, 2 forwarding entries$/m);
    expect(status.stdout).toMatch(/^subnet\.env 10\.244\.\S+ fd00:10:244:\S+ of 10\.244\.0\.0\/16/m);
    const peers = await run("peers");
    expect(peers.code).toBe(3);
    expect(
      peers.stdout.match(/^(?:10\.244|fd00:).*192\.0\.2\.[23] +complete$|^fd00:.*2001:db8::[23] +complete$/gm),
    ).toHaveLength(4);
    expect(await overlay.diff()).toEqual({ code: 3, source: "kernelAlone", settled: null, changes: [] });
    expect(await overlay.trace(overlay.podOf(2, 6))).toMatchObject({
      code: 0,
      kind: "pod",
      lost: false,
      agentAnswers: false,
    });
  });

  test.each(["get leases", "events", "events -f", "resync", "log-level debug"])(
    "%s says so, by exit code 3",
    async (command) => {
      expect(await run(...command.split(" "))).toMatchObject({
        code: 3,
        stdout: "",
        stderr: expect.stringContaining("no agent answers"),
      });
    },
  );

  test.each(BOTH_FAMILIES)(
    "a deleted IPv%d forwarding entry is found by diff, peers, status and trace",
    async (family) => {
      const { ns } = overlay.node(1);
      const device = family === 4 ? "flannel.1" : "flannel-v6.1";
      await ns.exec(["bridge", "fdb", "del", overlay.macs[family], "dev", device]);
      const found = await overlay.diff();
      expect(found).toMatchObject({
        code: 1,
        changes: [{ action: "add", kind: "forwarding", object: `${overlay.macs[family]} on ${device}` }],
      });
      expect(await run("peers")).toMatchObject({ code: 1, stdout: expect.stringContaining("lacks forwarding") });
      expect((await run("status", overlay.subnetFile)).stdout).toContain("1 peer incomplete: the agent mends it");
      const lost = await overlay.trace(overlay.podOf(2, family));
      expect(lost).toMatchObject({
        code: 1,
        lost: true,
        problem: expect.stringContaining(`${overlay.macs[family]} on ${device} is missing`),
      });
      expect(lost.steps.at(-1)).toMatchObject({ step: "fdb", ok: false });
      expect(await overlay.trace(overlay.podOf(3, family))).toMatchObject({ code: 0, lost: false });
      // What helps by hand does help.
      const publicIP = family === 4 ? "192.0.2.2" : "2001:db8::2";
      const [, command = ""] = /until then: (.*)$/.exec(lost.fix ?? "") ?? [];
      await ns.exec(command.replace("ITS-PUBLIC-ADDRESS", publicIP).split(" "));
      expect(await overlay.trace(overlay.podOf(2, family))).toMatchObject({ code: 0, lost: false });
      expect((await overlay.diff()).changes).toEqual([]);
    },
  );

  test("a missing neighbour, and a device that is down or gone", async () => {
    const { ns } = overlay.node(1);
    await ns.exec(["ip", "neigh", "flush", "dev", "flannel.1", "nud", "all"]);
    expect(await overlay.trace(overlay.podOf(2, 4))).toMatchObject({
      code: 1,
      problem: expect.stringContaining("the neighbour entry for"),
    });
    expect((await overlay.diff()).changes.map(({ kind }) => kind)).toEqual(["neighbour", "neighbour"]);
    await ns.exec(["ip", "link", "set", "flannel.1", "down"]);
    expect(await overlay.trace(overlay.podOf(2, 4))).toMatchObject({ code: 1, problem: "flannel.1 is down" });
    expect((await overlay.diff()).changes).toContainEqual(
      expect.objectContaining({ kind: "link", object: "flannel.1", why: "it is down" }),
    );
    await ns.exec(["ip", "link", "del", "flannel.1"]);
    expect((await overlay.diff()).changes).toContainEqual(
      expect.objectContaining({ kind: "link", object: "flannel.1", why: "subnet.env names it" }),
    );
    await overlay.node(1).agent.start();
    await overlay.node(1).agent.settled(3);
    expect(await run("diff")).toMatchObject({ code: 0 });
  });
});
