// Makes dist/tartan: `bun build.ts [--quiet]`. It does nothing while the executable is newer than all that goes into it.
import { mkdirSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import * as v from "valibot";
import { compile } from "./scripts/compile.ts";

const ROOT = import.meta.dir;
const EXECUTABLE = join(ROOT, "dist", "tartan");
const STAMP = join(ROOT, "dist", ".tartan.json");
/** Beside src/: what else decides the outcome. package-lock.json stands for node_modules. */
const INPUTS = ["build.ts", "scripts/compile.ts", "package.json", "package-lock.json", "tsconfig.json"];

/** What the executable was made of, and which file that describes. */
const Stamp = v.object({ inputs: v.string(), size: v.number(), modifiedMs: v.number() });

/** The version in package.json with the commit, as in `0.1.0+1a2b3c4d5e6f.dirty`; without git, the former alone. */
async function version(): Promise<string> {
  const { version } = v.parse(v.object({ version: v.string() }), await Bun.file(join(ROOT, "package.json")).json());
  const commit = await commitOfCheckout();
  return commit === undefined ? version : `${version}+${commit}`;
}

async function commitOfCheckout(): Promise<string | undefined> {
  if (Bun.which("git") === null) return undefined;
  // Not the commit of a repository around an unpacked archive of this one.
  const env = { ...process.env, GIT_CEILING_DIRECTORIES: dirname(ROOT) };
  const command = ["git", "-C", ROOT, "describe", "--always", "--dirty=.dirty", "--abbrev=12", "--exclude=*"];
  const git = Bun.spawn(command, { env, stdout: "pipe", stderr: "ignore" });
  const [text, code] = await Promise.all([git.stdout.text(), git.exited]);
  return code === 0 ? text.trim() : undefined;
}

/** A digest over everything that goes into the executable. */
async function digestInputs(version: string): Promise<string> {
  const sources = [...new Bun.Glob("src/**").scanSync({ cwd: ROOT, dot: true })].sort();
  const hasher = new Bun.CryptoHasher("sha256").update(`${version}\n${Bun.version} ${Bun.revision} ${process.arch}\n`);
  for (const path of [...INPUTS, ...sources]) {
    hasher.update(`${path}\n`).update(await Bun.file(join(ROOT, path)).bytes());
  }
  return hasher.digest("hex");
}

async function isUpToDate(inputs: string): Promise<boolean> {
  const stamp = v.safeParse(
    Stamp,
    await Bun.file(STAMP)
      .json()
      .catch(() => undefined),
  );
  const file = statSync(EXECUTABLE, { throwIfNoEntry: false });
  if (!stamp.success || file === undefined) return false;
  return stamp.output.inputs === inputs && stamp.output.size === file.size && stamp.output.modifiedMs === file.mtimeMs;
}

/** Removes what builds left behind that were killed. */
function removeLeftovers(): void {
  for (const name of readdirSync(dirname(EXECUTABLE))) {
    const pid = /^\.tartan-(\d+)$/.exec(name)?.[1];
    if (pid !== undefined && !isRunning(Number(pid))) rmSync(join(dirname(EXECUTABLE), name));
  }
}

function isRunning(pid: number): boolean {
  return statSync(`/proc/${pid}`, { throwIfNoEntry: false }) !== undefined;
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { quiet: { type: "boolean", default: false } } });
  const started = performance.now();
  const named = await version();
  const inputs = await digestInputs(named);
  const say = (text: string) => {
    if (!values.quiet) console.log(`dist/tartan ${named}: ${text}`);
  };
  if (await isUpToDate(inputs)) {
    say("up to date");
    return;
  }
  mkdirSync(dirname(EXECUTABLE), { recursive: true });
  removeLeftovers();
  // A running executable can't be overwritten, but its name can be given to another file.
  const temporary = join(dirname(EXECUTABLE), `.tartan-${process.pid}`);
  try {
    await compile(join(ROOT, "src", "main.ts"), temporary, { TARTAN_VERSION: JSON.stringify(named) });
    const { size, mtimeMs } = statSync(temporary);
    renameSync(temporary, EXECUTABLE);
    await Bun.write(STAMP, JSON.stringify({ inputs, size, modifiedMs: mtimeMs } satisfies v.InferOutput<typeof Stamp>));
    say(`${(size / 2 ** 20).toFixed(1)} MiB in ${((performance.now() - started) / 1000).toFixed(1)} s`);
  } finally {
    rmSync(temporary, { force: true });
  }
}

await main();
