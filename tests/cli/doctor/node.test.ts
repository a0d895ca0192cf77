import { afterAll, beforeAll, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { executable } from "../../support/executable.ts";
import { Overlay } from "../../support/overlay.ts";
import { describeInNamespaces } from "../../support/requires.ts";
import { useTemporaryFolder } from "../../support/temp.ts";
import { diagnose, runDoctor } from "./running-doctor.ts";

const FLANNEL = '{"name":"cbr0","cniVersion":"1.0.0","plugins":[{"type":"flannel"},{"type":"portmap"}]}';

describeInNamespaces("tartan doctor on a node with an agent", () => {
  const folder = useTemporaryFolder();
  const overlay = new Overlay(folder.path);
  const confFolder = folder.at("net.d");
  const binFolder = folder.at("bin");
  const dirs = [`--cni-conf-dir=${confFolder}`, `--cni-bin-dir=${binFolder}`];

  beforeAll(async () => {
    mkdirSync(confFolder);
    mkdirSync(binFolder);
    await Bun.write(join(confFolder, "10-flannel.conflist"), FLANNEL);
    for (const name of ["bridge", "host-local", "portmap", "loopback"])
      symlinkSync(`/usr/lib/cni/${name}`, join(binFolder, name));
    copyFileSync(executable(), join(binFolder, "flannel"));
    await overlay.create(2, undefined, ["--ip-masq"]);
    await overlay.start();
    await overlay.attachPods();
  });

  afterAll(() => overlay[Symbol.dispose]());

  const ns = () => overlay.node(1).ns;
  const sh = (script: string) => ns().exec(["sh", "-ec", script]);
  const look = (...args: string[]) => diagnose(ns(), [...dirs, ...args]);

  /** Looks while something is not as it should be. */
  async function looking(change: string, back: string) {
    await sh(change);
    try {
      return await look();
    } finally {
      await sh(back);
    }
  }

  test("all is well: nothing but ok and skipped, exit code 0, from the agent's own flags", async () => {
    const { code, report, problems, of } = await look();
    expect(problems).toEqual([]);
    expect([code, report.worst]).toEqual([0, "ok"]);
    expect(report.configuration.from).toMatch(/^the command line of tartan \(process \d+\)$/);
    expect(report.configuration.leaseSource).toBe("embedded");
    expect(of("device")).toEqual(["ok: flannel.1 is as it should be"]);
    expect(of("external-interface")).toEqual(["ok: eth0 with 192.0.2.1, MTU 1500"]);
    expect(of("readiness")).toEqual(["ok: it is ready, and warns of nothing"]);
  });
});
