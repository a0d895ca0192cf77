import { describe } from "bun:test";

/** Why this machine can't run tests that make network namespaces, or undefined if it can. */
function whyNoNamespaces(): string | undefined {
  if (process.getuid?.() !== 0) return "needs root, to make network namespaces";
  for (const command of ["ip", "nsenter", "unshare"]) {
    if (Bun.which(command) === null) return `needs the command ${command}`;
  }
  const { exitCode, stderr } = Bun.spawnSync(["unshare", "--net", "true"], { stdout: "ignore", stderr: "pipe" });
  return exitCode === 0 ? undefined : `needs network namespaces: ${stderr.toString().trim()}`;
}

const missing = whyNoNamespaces();

/** `describe` for tests that make network namespaces. Where that can't be, it skips them and says why in one line. */
export function describeInNamespaces(name: string, tests: () => void): void {
  if (missing !== undefined) console.error(`skipped: ${name}: ${missing}`);
  describe.skipIf(missing !== undefined)(name, tests);
}
