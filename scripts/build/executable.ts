// Makes dist/tartan for this machine. It does nothing while the executable is newer than all that goes into it.
import { mkdirSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { compileTartan } from "./program.ts";
import { versionOf } from "./version.ts";

/** What decides the outcome. package-lock.json stands for node_modules. */
const INPUTS = [
  ...["build.ts", "package.json", "package-lock.json", "tsconfig.json"],
  ...["scripts/compile.ts", "scripts/build/*", "src/**"],
];

/** What the executable was made of, and which file that describes. */
const Stamp = v.object({ inputs: v.string(), size: v.number(), modifiedMs: v.number() });

/** A digest over everything that goes into the executable. */
async function digestInputs(root: string, version: string): Promise<string> {
  const sources = INPUTS.flatMap((pattern) => [...new Bun.Glob(pattern).scanSync({ cwd: root, dot: true })]).sort();
  const hasher = new Bun.CryptoHasher("sha256").update(`${version}\n${Bun.version} ${Bun.revision} ${process.arch}\n`);
  for (const path of sources) {
    hasher.update(`${path}\n`).update(await Bun.file(join(root, path)).bytes());
  }
  return hasher.digest("hex");
}

async function isUpToDate(executable: string, stampFile: string, inputs: string): Promise<boolean> {
  const stamp = v.safeParse(
    Stamp,
    await Bun.file(stampFile)
      .json()
      .catch(() => undefined),
  );
  const file = statSync(executable, { throwIfNoEntry: false });
  if (!stamp.success || file === undefined) return false;
  return stamp.output.inputs === inputs && stamp.output.size === file.size && stamp.output.modifiedMs === file.mtimeMs;
}

/** Removes what builds left behind that were killed. */
function removeLeftovers(dist: string): void {
  for (const name of readdirSync(dist)) {
    const pid = /^\.tartan-(\d+)$/.exec(name)?.[1];
    if (pid !== undefined && !isRunning(Number(pid))) rmSync(join(dist, name), { recursive: true });
  }
}

function isRunning(pid: number): boolean {
  return statSync(`/proc/${pid}`, { throwIfNoEntry: false }) !== undefined;
}

/**
 * Makes `root`/dist/tartan.
 * @param say what was done, as one line
 */
export async function buildExecutable(root: string, say: (text: string) => void): Promise<void> {
  const started = performance.now();
  const dist = join(root, "dist");
  const [executable, stamp] = [join(dist, "tartan"), join(dist, ".tartan.json")];
  const version = await versionOf(root);
  const inputs = await digestInputs(root, version);
  if (await isUpToDate(executable, stamp, inputs)) {
    say(`dist/tartan ${version}: up to date`);
    return;
  }
  mkdirSync(dist, { recursive: true });
  removeLeftovers(dist);
  // A running executable can't be overwritten, but its name can be given to another file.
  const folder = join(dist, `.tartan-${process.pid}`);
  const outfile = join(folder, "tartan");
  try {
    mkdirSync(folder);
    await compileTartan(root, outfile, version);
    const { size, mtimeMs } = statSync(outfile);
    renameSync(outfile, executable);
    await Bun.write(stamp, JSON.stringify({ inputs, size, modifiedMs: mtimeMs } satisfies v.InferOutput<typeof Stamp>));
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    say(`dist/tartan ${version}: ${(size / 2 ** 20).toFixed(1)} MiB in ${seconds} s`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
