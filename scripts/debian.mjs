// Packages of Debian: installed with apt-get, or downloaded and unpacked into the checkout.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { PACKAGES, UNPACKED } from "./purposes.mjs";
import { lineOf, pause, run, SetupError, say } from "./run.mjs";

const INSTALL = [
  ...["install", "-q", "-y", "--no-install-recommends", "--no-remove"],
  ...["-o", "Dpkg::Use-Pty=0", "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"],
];
// The patterns below read English.
const APT_ENVIRONMENT = { DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C" };
const LOCKED = /Could not get lock/;
const STALE_LISTS =
  /Unable to locate package|no installation candidate|no candidate|find a source|Failed to fetch|Unable to fetch/;
const CUT_SHORT = /dpkg was interrupted/;
const UNREACHABLE = /Temporary failure resolving|Could not resolve|Could not connect|Network is unreachable|timed out/;
/** How long another apt-get or dpkg may keep its lock. */
const LOCK_PATIENCE_MS = 600_000;
const TEMPORARY = ".unpacking-";

/** @returns those of `names` whose content the system lacks */
export function missingPackages(names, root) {
  return names.filter((name) => !PACKAGES[name].isPresent(root));
}

/** Installs packages. @throws SetupError if this system or user can't, InterruptedError */
export async function installPackages(names, root) {
  const why = noApt();
  if (why !== undefined) throw cannot(names, why);
  if (process.getuid?.() !== 0) {
    const command = `apt-get install --no-install-recommends ${names.join(" ")}`;
    throw cannot(names, "only root can install Debian's packages", `run this as root, or '${command}' first`);
  }
  say(`installing ${names.join(", ")} from Debian's packages`);
  await apt([...INSTALL, ...names], names);
  const left = missingPackages(names, root);
  if (left.length === 0) return;
  throw cannot(left, "apt-get takes them for installed", `run 'apt-get install --reinstall ${left.join(" ")}'`);
}

/**
 * Unpacks packages into `.cache/debs/<name>`: complete or not at all.
 * @throws SetupError if this system can't, InterruptedError
 */
export async function unpackPackages(names, root) {
  const why = noApt();
  if (why !== undefined) throw cannot(names, why);
  say(`unpacking ${names.join(", ")} from Debian's packages into ${UNPACKED}`);
  const cache = join(root, UNPACKED);
  mkdirSync(cache, { recursive: true });
  // We hold the lock of the set-up, so what an earlier one left behind belongs to nobody.
  for (const entry of readdirSync(cache)) if (entry.startsWith(TEMPORARY)) remove(join(cache, entry));
  for (const name of names) {
    const temporary = join(cache, TEMPORARY + name);
    try {
      mkdirSync(temporary);
      await apt(["download", "-q", name], [name], temporary);
      const archive = readdirSync(temporary).find((file) => file.endsWith(".deb"));
      if (archive === undefined) throw cannot([name], "apt-get downloaded nothing");
      const { code, output } = await run("dpkg", ["-x", archive, "content"], { cwd: temporary });
      if (code !== 0) throw cannot([name], lineOf(output, /^dpkg(-deb)?: error: /, "dpkg -x failed"));
      remove(join(cache, name));
      renameSync(join(temporary, "content"), join(cache, name));
    } finally {
      remove(temporary);
    }
  }
}

/** Runs apt-get; refreshes its package lists, or ends an interrupted installation, if that is what it lacks. */
async function apt(args, names, cwd) {
  let result = await aptOnce(args, cwd);
  if (result.code !== 0 && CUT_SHORT.test(result.output)) {
    say("ending an installation that was interrupted (dpkg --configure -a)");
    await run("dpkg", ["--configure", "-a"], { env: APT_ENVIRONMENT });
    result = await aptOnce(args, cwd);
  }
  if (result.code !== 0 && STALE_LISTS.test(result.output) && !UNREACHABLE.test(result.output)) {
    say("refreshing Debian's package lists");
    const update = await aptOnce(["update", "-q"]);
    result = await aptOnce(args, cwd);
    // apt-get update ends well even if it reached nothing.
    if (result.code !== 0) result.output = update.output + result.output;
  }
  if (result.code === 0) return;
  if (UNREACHABLE.test(result.output)) {
    throw cannot(names, "Debian's package servers can't be reached", "check the network, then run this again");
  }
  throw cannot(names, `apt-get says: ${lineOf(result.output, /^E: /, `exit code ${result.code}`)}`);
}

/** One run of apt-get, as soon as no other holds its locks. */
async function aptOnce(args, cwd) {
  const deadline = Date.now() + LOCK_PATIENCE_MS;
  for (let told = false; ; told = true) {
    const result = await run("apt-get", args, { cwd, env: APT_ENVIRONMENT });
    if (result.code === 0 || !LOCKED.test(result.output) || Date.now() > deadline) return result;
    const holder = /process \d+ \([^)]*\)/.exec(result.output)?.[0] ?? "another process";
    if (!told) say(`waiting for ${holder}, which holds the lock of Debian's packages`);
    await pause(1000);
  }
}

function noApt() {
  const found = ["/usr/bin", "/bin"].some((folder) => existsSync(join(folder, "apt-get")));
  return found ? undefined : "this is not a Debian system (it has no apt-get)";
}

function cannot(names, why, what = "install them by hand, then run this again") {
  const things = names.map((name) => PACKAGES[name].provides).join(", ");
  return new SetupError(`missing: ${things} (Debian: ${names.join(", ")}); ${why}: ${what}`);
}

function remove(path) {
  rmSync(path, { recursive: true, force: true });
}
