// Runs suites one after the other, each by its command line: `node scripts/ci.mjs "npm test" …`. The last line adds up
// theirs. Plain JavaScript, since the first suite is what sets up the machine.
import { spawn } from "node:child_process";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const CLOSING = /^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/;
const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** @returns how a suite ended (the exit code is null if by a signal), and the last line that it printed */
async function run(suite) {
  const [command, ...args] = suite.split(" ");
  const child = spawn(command, args, { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
  let tail = "";
  child.stdout.setEncoding("utf8").on("data", (text) => {
    process.stdout.write(text);
    tail = (tail + text).slice(-1000);
  });
  const code = await new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
  return { suite, code, last: tail.trimEnd().split("\n").at(-1) };
}

/** What is wrong about a suite, beside tests that failed. */
function complaint({ suite, code, last }) {
  const [, , failed] = CLOSING.exec(last) ?? [];
  if (failed === undefined) return `${suite}: no result, exit code ${code}`;
  if ((code === 0) !== (Number(failed) === 0)) return `${suite}: exit code ${code}, though ${last}`;
}

const endings = [];
for (const suite of process.argv.slice(2)) endings.push(await run(suite));
const complaints = endings.map(complaint).filter(Boolean);
const counts = endings.map(({ last }) => (CLOSING.exec(last) ?? []).slice(1).map((count) => Number(count ?? 0)));
const [passed, failed, skipped] = [0, 1, 2].map((index) => counts.reduce((sum, count) => sum + (count[index] ?? 0), 0));
const failures = failed + complaints.length;

console.log("\n== all suites");
for (const text of complaints) console.log(`failed: ${text}`);
console.log(`${passed} passed, ${failures} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
process.exitCode = failures === 0 ? 0 : 1;
