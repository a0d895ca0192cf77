import { describe, expect, test } from "bun:test";
import { chmodSync, cpSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { TemporaryFolder } from "../support/temp.ts";
import { MANIFESTS, plainDaemonSet } from "./objects.ts";

const UNIT = join(MANIFESTS, "systemd", "tartan.service");
const ANALYZE = Bun.which("systemd-analyze");
/** tenths; 100 is a service without any protection, and 50 what systemd-analyze still calls OK */
const MOST_EXPOSED = 25;

if (ANALYZE === null)
  console.error("skipped: systemd's own checks of the unit: needs systemd-analyze (Debian: systemd)");

/** A host's file system so far as it matters to the unit, and the unit in it. */
async function host(unit: string): Promise<TemporaryFolder> {
  const root = new TemporaryFolder();
  await Bun.write(root.at("etc/systemd/system/tartan.service"), unit);
  for (const name of ["sysinit", "basic", "multi-user", "network-online", "shutdown"]) {
    await Bun.write(root.at(`usr/lib/systemd/system/${name}.target`), "[Unit]\n");
  }
  for (const folder of ["usr/local/bin", "usr/bin"]) mkdirSync(root.at(folder), { recursive: true });
  for (const path of ["usr/local/bin/tartan", "usr/bin/touch"]) {
    cpSync("/bin/true", root.at(path), { dereference: true });
    chmodSync(root.at(path), 0o755);
  }
  return root;
}

/** @returns the exit code and what it complains of */
async function analyze(unit: string, ...args: readonly string[]) {
  using root = await host(unit);
  const command = [ANALYZE ?? "systemd-analyze", ...args, `--root=${root.path}`, "tartan.service"];
  const child = Bun.spawn(command, { stdout: "ignore", stderr: "pipe" });
  const [stderr, code] = await Promise.all([child.stderr.text(), child.exited]);
  return { code, stderr };
}

const Container = v.object({ securityContext: v.object({ capabilities: v.object({ add: v.array(v.string()) }) }) });

describe("the systemd unit", async () => {
  const unit = await Bun.file(UNIT).text();
  const sound = { code: 0, stderr: "" };

  test.skipIf(ANALYZE === null)("is understood by systemd", async () => {
    expect(await analyze(unit, "verify")).toEqual(sound);
    const misspelt = await analyze(unit.replace("ProtectClock=", "ProtectClocks="), "verify");
    expect(misspelt.stderr).toContain("ProtectClocks");
  });

  test.skipIf(ANALYZE === null)("exposes little, by systemd's own measure", async () => {
    const security = ["security", "--offline=true", `--threshold=${MOST_EXPOSED}`];
    expect(await analyze(unit, ...security)).toEqual(sound);
    expect(await analyze(unit.replace(/^CapabilityBoundingSet=.*$/m, ""), ...security)).not.toEqual(sound);
  });

  test("has the capabilities of the DaemonSet", async () => {
    const [container] = (await plainDaemonSet()).spec.template.spec.containers;
    const wanted = v.parse(Container, container).securityContext.capabilities.add.map((name) => `CAP_${name}`);
    expect(/^CapabilityBoundingSet=(.*)$/m.exec(unit)?.[1]?.split(" ")).toEqual(wanted);
  });
});
