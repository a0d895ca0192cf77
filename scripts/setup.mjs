// Gets a fresh clone ready: `node scripts/setup.mjs build|lab|test|envtest`, run first by the npm scripts. It adds only
// what is missing, says so on stderr, one line a step, and prints nothing when all is there. Plain JavaScript without
// dependencies, since it is what brings the dependencies.
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { installPackages, missingPackages, unpackPackages } from "./debian.mjs";
import { installModules, missingModules } from "./modules.mjs";
import { PURPOSES } from "./purposes.mjs";
import { InterruptedError, run, SetupError, say } from "./run.mjs";

const script = fileURLToPath(import.meta.url);
const root = dirname(dirname(script));
const LOCK_HELD = 75;

function missing(purpose) {
  return {
    modules: missingModules(root),
    installed: missingPackages(purpose.installed, root),
    unpacked: missingPackages(purpose.unpacked, root),
  };
}

function isComplete({ modules, installed, unpacked }) {
  return modules === undefined && installed.length === 0 && unpacked.length === 0;
}

async function complete(purpose) {
  // What is missing is looked up again here: another set-up may have brought it while this one waited for the lock.
  const { modules, installed, unpacked } = missing(purpose);
  if (installed.length > 0) await installPackages(installed, root);
  if (unpacked.length > 0) await unpackPackages(unpacked, root);
  if (modules !== undefined) await installModules(root, modules);
}

/** Runs this script again under a lock that the kernel drops with the last process that holds it. */
async function completeUnderLock(name) {
  mkdirSync(join(root, ".cache"), { recursive: true });
  const command = [join(root, ".cache", "setup.lock"), process.execPath, script, name, "--locked"];
  const attempt = (...options) => run("flock", ["--no-fork", ...options, ...command], { stdio: "inherit" });
  let { code } = await attempt("--nonblock", "--conflict-exit-code", `${LOCK_HELD}`);
  if (code === LOCK_HELD) {
    say("waiting for another set-up of this checkout to end");
    ({ code } = await attempt());
  }
  return code ?? 1;
}

async function main([name, locked]) {
  const [major] = process.versions.node.split(".").map(Number);
  if (major < 20) throw new SetupError(`Node ${process.versions.node} is too old: install Node 20 or newer`);
  const purpose = PURPOSES[name];
  if (purpose === undefined) throw new SetupError(`usage: node scripts/setup.mjs ${Object.keys(PURPOSES).join("|")}`);
  if (locked === "--locked") await complete(purpose);
  else if (!isComplete(missing(purpose))) return completeUnderLock(name);
  return 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof InterruptedError)) say(error instanceof Error ? error.message : String(error));
  process.exitCode = error instanceof InterruptedError ? error.exitCode : 1;
}
