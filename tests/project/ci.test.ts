import { describe, expect, test } from "bun:test";
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { TemporaryFolder } from "../support/temp.ts";

const SCRIPT = join(import.meta.dir, "..", "..", "scripts", "ci.mjs");

interface Ending {
  readonly prints: string;
  readonly code: number;
}

/** Runs the script with suites that end so. @returns its exit code and what it printed of its own */
async function ci(test: Ending, cluster: Ending) {
  using folder = new TemporaryFolder();
  const branch = ({ prints, code }: Ending) => `printf '%s\\n' '${prints}'; exit ${code}`;
  const npm = `#!/bin/sh\nif [ "$1" = test ]; then ${branch(test)}; fi\n[ "$2" = test:cluster ] && { ${branch(cluster)}; }\n`;
  await Bun.write(folder.at("npm"), npm);
  chmodSync(folder.at("npm"), 0o755);
  const env = { ...process.env, PATH: `${folder.path}:${process.env["PATH"]}` };
  const child = Bun.spawn(["node", SCRIPT, "npm test", "npm run test:cluster"], {
    env,
    stdout: "pipe",
    stderr: "inherit",
  });
  const [stdout, code] = await Promise.all([child.stdout.text(), child.exited]);
  const [before = "", own = ""] = stdout.split("\n== all suites\n");
  return { code, before, own: own.trimEnd().split("\n") };
}

const passed: Ending = { prints: "== result\n4 passed, 0 failed", code: 0 };

describe("all suites together", () => {
  test("pass with the sum of both, below what they print", async () => {
    const { code, before, own } = await ci({ prints: "types\n3 passed, 0 failed, 2 skipped", code: 0 }, passed);
    expect({ code, own }).toEqual({ code: 0, own: ["7 passed, 0 failed, 2 skipped"] });
    expect(before).toBe("types\n3 passed, 0 failed, 2 skipped\n== result\n4 passed, 0 failed\n");
  });

  test("fail when either does, and still run both", async () => {
    const failed: Ending = { prints: "failed: a test\n3 passed, 1 failed", code: 1 };
    for (const pair of [ci(failed, passed), ci(passed, failed)]) {
      expect(await pair).toMatchObject({ code: 1, own: ["7 passed, 1 failed"] });
    }
  });

  test.each([
    [{ prints: "setup: missing: ip", code: 1 }, "npm test: no result, exit code 1"],
    [{ prints: "0 passed, 0 failed", code: 130 }, "npm test: exit code 130, though 0 passed, 0 failed"],
  ])("count a suite that broke off as one failure: %p", async (broken, failure) => {
    const { code, own } = await ci(broken, passed);
    expect({ code, own }).toEqual({ code: 1, own: [`failed: ${failure}`, "4 passed, 1 failed"] });
  });
});
