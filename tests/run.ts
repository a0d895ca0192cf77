// Runs what checks the project: `bun tests/run.ts`, or only some test files: `bun tests/run.ts PART-OF-A-PATH…`. Those of
// tests/cluster/, which take minutes, run only when a part of their path is named: `npm run test:cluster`.
// The last line is `N passed, N failed`, with `, N skipped` if any were. Each static check counts as one.
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { join, relative, resolve } from "node:path";
import { parseReport } from "./support/junit.ts";
import { TemporaryFolder } from "./support/temp.ts";

const ROOT = resolve(import.meta.dir, "..");
/** of one test, unless it names another: a hung one must not hang the run, and a slow machine must not fail a sound one */
const TIMEOUT_MS = 120_000;
/** of tests that run when they are asked for */
const SLOW = "tests/cluster/";
const SUCCESS = "exit code 0";
/** settings for agents, of a service manager, and for programs whose output a test reads */
const PERSONAL = /^(FLANNELD_.*|NOTIFY_SOCKET|FORCE_COLOR)$/;
/** addresses of the tests' servers: here, and in namespaces */
const DIRECT = ["localhost", "127.0.0.1", "::1", "192.0.2.0/24"];

interface Tally {
  passed: number;
  skipped: number;
  /** names */
  readonly failed: string[];
}

const tool = (name: string) => join(ROOT, "node_modules", ".bin", name);

const CHECKS: readonly { readonly name: string; readonly command: readonly string[] }[] = [
  { name: "types", command: [tool("tsc"), "--noEmit"] },
  { name: "types of the mesh page", command: [tool("tsc"), "-p", "src/status/page/browser"] },
  { name: "lint", command: [tool("biome"), "check", "--error-on-warnings", "."] },
  { name: "unused code", command: [tool("knip"), "--no-progress"] },
  { name: "README", command: [process.execPath, "scripts/readme.ts", "--check"] },
  { name: "manifests", command: [process.execPath, "scripts/manifests.ts", "--check"] },
  { name: "build", command: [process.execPath, "build.ts"] },
];

let running: Bun.Subprocess | undefined;
let interruptedBy: NodeJS.Signals | undefined;

/** Without settings of whoever runs the tests that must not reach what they start. */
function environment(): Record<string, string | undefined> {
  const own = Object.entries(process.env).filter(([name]) => !PERSONAL.test(name));
  // All servers of the tests are on this machine, whatever proxy leads elsewhere.
  const direct = [process.env["NO_PROXY"] ?? process.env["no_proxy"], ...DIRECT].filter(Boolean).join(",");
  return { ...Object.fromEntries(own), LC_ALL: "C.UTF-8", NO_PROXY: direct, no_proxy: direct };
}

/**
 * Runs a command whose output is ours.
 * @returns how it ended: `exit code 0`, or a signal's name
 * @throws Error if a signal asked this process to end meanwhile
 */
async function run(command: readonly string[]): Promise<string> {
  running = Bun.spawn([...command], {
    cwd: ROOT,
    env: environment(),
    stdin: "ignore",
    stdout: "inherit",
    stderr: "inherit",
  });
  const code = await running.exited;
  if (interruptedBy !== undefined) throw new Error(`interrupted by ${interruptedBy}`);
  return `${running.signalCode ?? `exit code ${code}`}`;
}

function heading(text: string): void {
  process.stdout.write(process.stdout.isTTY ? `\n\x1b[1m== ${text}\x1b[0m\n` : `\n== ${text}\n`);
}

async function runChecks(tally: Tally): Promise<void> {
  for (const { name, command } of CHECKS) {
    heading(name);
    if ((await run(command)) === SUCCESS) tally.passed++;
    else tally.failed.push(name);
  }
}

/** Test files whose path has one of the filters in it, or that a filter names; without a filter all but the slow ones. */
function findTests(filters: readonly string[]): string[] {
  const all = [...new Bun.Glob("tests/**/*.test.ts").scanSync({ cwd: ROOT })].sort();
  if (filters.length === 0) return all.filter((file) => !file.startsWith(SLOW));
  const named = filters.filter((filter) => filter.endsWith(".test.ts") && existsSync(filter));
  const found = all.filter((file) => filters.some((filter) => file.includes(filter)));
  return [...new Set([...found, ...named.map((file) => relative(ROOT, resolve(file)))])];
}

async function runTests(files: readonly string[], tally: Tally): Promise<void> {
  heading("tests");
  using folder = new TemporaryFolder();
  const report = folder.at("report.xml");
  // What a test started ends with the run, also when that is interrupted.
  const options = ["--no-orphans", `--timeout=${TIMEOUT_MS}`, "--reporter=junit", `--reporter-outfile=${report}`];
  const ending = await run([process.execPath, "test", ...options, ...files.map((file) => `./${file}`)]);
  // With no file that it could load, bun test ends in the ordinary way and writes none either.
  if (!existsSync(report) && ending !== "exit code 1") {
    tally.failed.push(`bun test: ${ending} before it wrote its report, in the last file that it names above`);
    return;
  }
  const cases = existsSync(report) ? parseReport(await Bun.file(report).text()) : [];
  const failures = tally.failed.length;
  for (const { file, name, outcome } of cases) {
    if (outcome === "failed") tally.failed.push(`${file}: ${name}`);
    else tally[outcome]++;
  }
  const reported = new Set(cases.map(({ file }) => resolve(ROOT, file)));
  for (const file of files) if (!reported.has(resolve(ROOT, file))) tally.failed.push(`${file}: no test ran`);
  if (ending !== SUCCESS && tally.failed.length === failures) {
    tally.failed.push(`bun test: ${ending} though no test failed: an error outside of the tests, see above`);
  }
}

function close({ passed, skipped, failed }: Tally): void {
  heading("result");
  for (const name of failed) console.log(`failed: ${name}`);
  console.log(`${passed} passed, ${failed.length} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    interruptedBy = signal;
    running?.kill(signal);
  });
}

async function main(filters: readonly string[]): Promise<number> {
  const tally: Tally = { passed: 0, skipped: 0, failed: [] };
  const files = findTests(filters);
  if (filters.length === 0) await runChecks(tally);
  if (files.length > 0) await runTests(files, tally);
  else tally.failed.push(`no test file under tests/ has in its path: ${filters.join(", ")}`);
  close(tally);
  return tally.failed.length === 0 ? 0 : 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (interruptedBy === undefined) throw error;
  process.exitCode = 128 + constants.signals[interruptedBy];
}
