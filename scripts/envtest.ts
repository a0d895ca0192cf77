// Builds Kubernetes' servers for the tests from Debian's source package: `npm run envtest`.
import { existsSync, mkdirSync, openSync, realpathSync, rmSync, statfsSync } from "node:fs";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { build, GO_PACKAGES, LOG, PATCH_PACKAGE } from "./envtest/build.ts";
import { BuildError, InterruptedError, runVisibly, stopIfInterrupted } from "./envtest/commands.ts";

const ROOT = join(import.meta.dir, "..");
const CACHE = join(".cache", "envtest");
const WORK = join(".cache", "envtest-build");
/** bytes, of sources, Go and its cache together */
const SPACE = 3 * 2 ** 30;
const LOCK_HELD = 75;
/** The tests need the first two. */
const NAMES: readonly string[] = [
  "kube-apiserver",
  "kube-controller-manager",
  "kube-scheduler",
  "kubelet",
  "kube-proxy",
];

const HELP = `usage: npm run envtest [-- [--keep] [NAME…]]

Builds Kubernetes' servers into ${CACHE}, where the tests look for them, from the source package
'kubernetes' of Debian 12 and with its Go 1.19. It builds only what is missing there.

  NAME    build only this one (repeatable), of
          ${NAMES.join(", ")}
  --keep  keep ${WORK} and what was unpacked into .cache/debs, to look at or to build again
  --help  print this text and exit

It needs Debian 12, its archive in apt's sources, ${SPACE / 2 ** 30} GB of disk while it runs and, on two cores, about
ten minutes. apt's settings stay as they are, and nothing is installed but xz-utils, if that is missing.
A build that was interrupted or failed goes on where it was when it is run again, or afresh after
'rm -r ${WORK}'. It ends with 0 when all is there, 1 if something failed, 2 at wrong usage.

Servers of your own need no build: name their folder in KUBEBUILDER_ASSETS.
`;

interface Usage {
  readonly help: boolean;
  readonly keep: boolean;
  readonly names: readonly string[];
}

function say(text: string): void {
  process.stderr.write(`envtest: ${text}\n`);
}

/** @returns what is asked for, or what is wrong with it */
function parse(args: readonly string[]): Usage | string {
  const options = { keep: { type: "boolean", default: false }, help: { type: "boolean", default: false } } as const;
  try {
    const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
    const unknown = positionals.find((name) => !NAMES.includes(name));
    if (unknown !== undefined) return `there is no '${unknown}' to build, but ${NAMES.join(", ")}`;
    return { ...values, names: NAMES.filter((name) => positionals.length === 0 || positionals.includes(name)) };
  } catch (error) {
    // What follows the first sentence of it is advice for arguments that begin with a dash.
    return (error instanceof Error ? error.message : String(error)).replace(/\. .*/s, "");
  }
}

/** Waits until no other build of this checkout runs. The lock ends with this process. @throws InterruptedError */
async function lock(path: string): Promise<void> {
  const file = openSync(path, "w");
  const attempt = async (...options: string[]) => {
    const child = Bun.spawn(["flock", ...options, "--conflict-exit-code", `${LOCK_HELD}`, "3"], {
      stdio: ["ignore", "inherit", "inherit", file],
    });
    const code = await child.exited;
    if (code !== 0 && code !== LOCK_HELD) throw new BuildError(`flock can't lock ${path}: exit code ${code}`);
    return code === 0;
  };
  if (await attempt("--nonblock")) return;
  say("waiting for another build of this checkout to end");
  while (!(await attempt("--timeout", "1"))) stopIfInterrupted();
}

/** Brings what the build needs of the system. @throws BuildError, InterruptedError */
async function setUp(): Promise<void> {
  if (Bun.which("apt-get") === null) {
    throw new BuildError("this is not a Debian system (it has no apt-get)", {
      next: "build the servers on Debian 12, and name their folder in KUBEBUILDER_ASSETS",
    });
  }
  const code = await runVisibly(["node", join("scripts", "setup.mjs"), "envtest"], ROOT);
  if (code === 0) return;
  throw new BuildError("the build lacks what is said above", { next: "mend that, then run this again" });
}

/** Refuses before the work what would fail in the middle of it. @throws BuildError */
function checkSpace(folder: string): void {
  const { bavail, bsize } = statfsSync(folder);
  const free = bavail * bsize;
  if (free >= SPACE) return;
  const [has, needs] = [free, SPACE].map((bytes) => `${(bytes / 2 ** 30).toFixed(1)} GB`);
  throw new BuildError(`${folder} has ${has} left, and the build needs ${needs}`, {
    next: "make room, then run this again",
  });
}

/** Builds what the cache lacks. @throws BuildError, InterruptedError */
async function fill({ names, keep }: Usage): Promise<void> {
  const lacking = () => names.filter((name) => !existsSync(join(ROOT, CACHE, name)));
  const complete = `${CACHE} has ${names.join(", ")}`;
  if (lacking().length === 0) return say(`${complete}: nothing to do`);
  mkdirSync(join(ROOT, CACHE), { recursive: true });
  // Go compares paths, and wants them without symbolic links.
  const top = realpathSync(join(ROOT, ".cache"));
  await lock(join(top, "envtest.lock"));
  // The one that this one waited for may have built them.
  const missing = lacking();
  if (missing.length === 0) return say(`${complete}: nothing to do`);

  const work = join(top, basename(WORK));
  rmSync(join(work, LOG), { force: true });
  if (!existsSync(work)) checkSpace(top);
  await setUp();
  await build({ names: missing, work, cache: join(top, basename(CACHE)) });
  say(complete);
  if (keep) return;
  const needless = [work, ...[...GO_PACKAGES, PATCH_PACKAGE].map((name) => join(top, "debs", name))];
  for (const folder of needless) rmSync(folder, { recursive: true, force: true });
}

/** @returns the exit code */
async function main(args: readonly string[]): Promise<number> {
  const usage = parse(args);
  if (typeof usage === "string") {
    say(`${usage}; 'npm run envtest -- --help' tells more`);
    return 2;
  }
  if (usage.help) process.stdout.write(HELP);
  else await fill(usage);
  return 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (error instanceof InterruptedError) {
    process.exitCode = error.exitCode;
  } else {
    if (!(error instanceof BuildError)) throw error;
    const log = join(WORK, LOG);
    const place = existsSync(join(ROOT, log)) ? ` (log: ${log})` : "";
    say(`${error.message}${place}; ${error.next ?? "run this again, and it goes on from here"}`);
    process.exitCode = 1;
  }
}
