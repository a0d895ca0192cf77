import { describe } from "bun:test";
import { unpackedCommand } from "./unpacked.ts";

const PROMTOOL = unpackedCommand("promtool", "prometheus");

/** `describe` for tests with promtool. Where there is none, it skips them and says why in one line. */
export function describeWithPromtool(name: string, tests: () => void): void {
  if (PROMTOOL === undefined)
    console.error(`skipped: ${name}: needs promtool; get it with: node scripts/setup.mjs test`);
  describe.skipIf(PROMTOOL === undefined)(name, tests);
}

/** @param input for its stdin @returns its exit code and all that it printed */
export async function promtool(
  args: readonly string[],
  input = "",
): Promise<{ readonly code: number; readonly output: string }> {
  if (PROMTOOL === undefined) throw new Error("there is no promtool");
  const child = Bun.spawn([PROMTOOL, ...args], { stdin: Buffer.from(input), stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { code, output: stdout + stderr };
}
