// node_modules as package-lock.json has it, and a bun that runs.
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { lineOf, run, SetupError, say } from "./run.mjs";

const BUN = join("node_modules", ".bin", "bun");
const BUN_INSTALLER = join("node_modules", "bun", "install.js");
const UNREACHABLE = /EAI_AGAIN|ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH/;
/** bytes; what npm unpacks in place of the executable is a short script, until bun's installer has run */
const LEAST_EXECUTABLE = 1 << 20;

function readLock(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8")).packages;
  } catch (error) {
    // npm writes its own copy last: none, or half of one, means that an installation did not end.
    if (error.code === "ENOENT" || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** @returns `modules` if packages are missing or of another version, `bun` if only its executable is, or undefined */
export function missingModules(root) {
  const wanted = readLock(join(root, "package-lock.json"));
  if (wanted === undefined) throw new SetupError("package-lock.json is missing or damaged: restore it from git");
  const present = readLock(join(root, "node_modules", ".package-lock.json"));
  if (present === undefined) return "modules";
  for (const [path, { version, integrity, optional }] of Object.entries(wanted)) {
    if (path === "") continue;
    const found = present[path];
    // An optional package that npm left out is one for another platform.
    if (found === undefined && optional) continue;
    const same = found?.version === version && found.integrity === integrity;
    if (!same || !existsSync(join(root, path, "package.json"))) return "modules";
  }
  const size = statSync(join(root, BUN), { throwIfNoEntry: false })?.size ?? 0;
  return size < LEAST_EXECUTABLE ? "bun" : undefined;
}

/** Brings what `missingModules` found missing. @throws SetupError, InterruptedError */
export async function installModules(root, what) {
  if (what === "modules") {
    say("installing the npm packages that package-lock.json names");
    // The one install script that is needed is run below: whether npm runs such scripts depends on its version.
    const args = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    const { code, output } = await run("npm", args, { cwd: root });
    if (code !== 0) throw new SetupError(`npm can't install the packages: ${npmReason(output)}`);
  }
  if (missingModules(root) === "bun") {
    const { code, output } = await run(process.execPath, [join(root, BUN_INSTALLER)], { cwd: root });
    if (code !== 0) throw new SetupError(`bun's installer failed: ${lineOf(output, /\S/, `exit code ${code}`)}`);
  }
  const { code, output } = await run(join(root, BUN), ["--version"]);
  if (code !== 0) {
    const reason = lineOf(output, /^error:|^(?=.)/, "a signal ended it, so its build may not fit this processor");
    throw new SetupError(`${BUN} does not run: ${reason}`);
  }
}

function npmReason(output) {
  if (UNREACHABLE.test(output)) return "its registry can't be reached; check the network, then run this again";
  return lineOf(output, /^npm error (?!code )/, "it does not say why; run 'npm ci' to see");
}
